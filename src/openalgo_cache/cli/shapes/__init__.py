"""The shapes of what ``--json`` prints: a module for each one of ``commands``, under the same name.

They only grow: a field is never renamed, and never changes its type. The texts beside the fields are the reference in
docs/cli.md.
"""

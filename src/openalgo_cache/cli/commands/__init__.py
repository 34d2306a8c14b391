"""The commands, in the order in which the help lists them.

A module here says what a command takes and what its help says. What the command does is in a module of the folder
above, which is loaded when it runs: asking for help stays quick.
"""

from __future__ import annotations

# The help lists them in this order.
# isort: off
from openalgo_cache.cli.app import app
from openalgo_cache.cli.commands import (
    info,
    stats,
    entries,
    transfers,
    symbols,
    keys,
    rotation,
    use,
    access,
    encryption,
    doctor,
    audit,
)

# isort: on

__all__ = [
    "access",
    "app",
    "audit",
    "doctor",
    "encryption",
    "entries",
    "info",
    "keys",
    "rotation",
    "stats",
    "symbols",
    "transfers",
    "use",
]

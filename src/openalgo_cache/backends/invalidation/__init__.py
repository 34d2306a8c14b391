"""What a Redis or Valkey server tells of changes, and how this process listens.

``streams.py`` is the entrance: one stream for each server and namespace of the process, shared by all caches.
``stream.py`` knows who listens and whether nothing can be missed; ``links.py`` holds the connections, one to each
primary, ``lookout.py`` watches which nodes are primaries, and ``wire.py`` is a connection that neither eventlet nor
gevent has patched.
"""

"""Redis and Valkey, which speak one protocol (RESP): everything but the choice of the client library.

``backend.py`` has the verbs, ``client.py`` the server as this process sees it, ``topology.py`` what nodes it consists
of; ``node.py`` talks to one of them over connections that ``pool.py`` keeps and ``dialling.py`` opens, until
``breaker.py`` says that it is away.
"""

from __future__ import annotations

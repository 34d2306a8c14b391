"""Waiting until a replica has what was written: what only the primary knows is lost with it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.errors import BackendUnavailableError

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.node import Command, Node

_log = logging.getLogger("openalgo_cache")

_SHARE: Final = 0.5
"""The part of an operation's time that a replica may take."""
_ALONE_FOR: Final = 1.0
"""Seconds for which a primary without replicas is not asked again: it would let each write wait in vain."""

_replicas = re.compile(rb"connected_slaves:(\d+)").search


class Replication:
    """Remembers which primaries are alone at the moment."""

    def __init__(self) -> None:
        self._alone_until: dict[str, float] = {}

    def wait(self, node: Node, seconds: float) -> Sequence[Command]:
        """Return the commands that, right behind a write, wait for a replica to have it."""
        if self._alone_until.get(node.name, 0.0) > monotonic():
            return ()
        return (("WAIT", 1, int(1000 * _SHARE * seconds)),)

    def check(self, node: Node, replies: Sequence[Any]) -> None:
        """Look at the replies to these commands.

        Raises:
            BackendUnavailableError: There are replicas, and none has the write.
        """
        if not replies or replies[0] == 1 or (isinstance(replies[0], int) and replies[0] > 0):
            if replies:
                self._alone_until.pop(node.name, None)
            return
        found = _replicas(node.call("INFO", "replication"))
        if found is None or int(found[1]) > 0 or isinstance(replies[0], Exception):
            raise BackendUnavailableError(f"no replica of {node.name} has acknowledged a write in time")
        if node.name not in self._alone_until:
            _log.warning("%s has no replica: what is written there is lost if it fails now", node.name)
        self._alone_until[node.name] = monotonic() + _ALONE_FOR

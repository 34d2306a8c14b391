"""The two ways in which changes are told: by the server, or by those who make them."""

from __future__ import annotations

from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from openalgo_cache.backends.invalidation.announcements import MARK_SECONDS, PATIENCE, Names, Sequence, open_sealed
from openalgo_cache.backends.invalidation.links import SILENCE, Hearer
from openalgo_cache.backends.invalidation.wire import Address, Wire

if TYPE_CHECKING:
    from openalgo_cache.settings import Server


class Doorkeeper(Hearer, Protocol):
    """A hearer who counts what is none of ours."""

    def ignore(self) -> None:
        """Count a message."""
        ...


class Tracking:
    """``CLIENT TRACKING ON BCAST``: the server names every key under a prefix that changes, whoever changes it.

    Args:
        wire: A connection that speaks RESP3.
        prefix: The prefix.
        hearer: Who is told.
    """

    def __init__(self, wire: Wire, prefix: str, hearer: Hearer) -> None:
        wire.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
        self._hearer = hearer

    def is_ready(self) -> bool:
        """From the start."""
        return True

    def take(self, message: list[Any]) -> None:
        """See Way."""
        if message[0] == b"invalidate":
            self._hearer.told(message[1])

    def beat(self) -> None:
        """Have nothing to do."""

    def close(self) -> None:
        """Have nothing to let go of."""


class Channel:
    """A subscription to what writers announce; see ``announcements.py``.

    Args:
        wire: A connection, logged in or not.
        server: How to log in.
        address: Where the node is.
        prefix: What all stored keys of the namespace begin with.
        secret: The key of the MAC.
        hearer: Who is told.
    """

    def __init__(  # noqa: PLR0913  # a second connection needs what the first one did
        self, wire: Wire, server: Server, address: Address, prefix: str, secret: bytes, hearer: Doorkeeper
    ) -> None:
        self._names = Names.of(prefix)
        self._secret = secret
        self._hearer = hearer
        self._sequence = Sequence()
        self._mark: bytes | None = None
        self._ready_at = 0.0
        self._commands = Wire(server, address, SILENCE)
        try:
            for one in (wire, self._commands):
                one.log_in_plainly(server)
            wire.ask("SUBSCRIBE", self._names.channel)
            self._keep_mark()
        except BaseException:
            self.close()
            raise

    def is_ready(self) -> bool:
        """When every writer must have seen the mark."""
        return monotonic() >= self._ready_at

    def take(self, message: list[Any]) -> None:
        """See Way."""
        if message[0] != b"message":
            return
        announcement = open_sealed(self._secret, self._names.channel, message[2])
        if announcement is None:
            self._hearer.ignore()
        elif self._sequence.has_gap(announcement):
            self._hearer.told(None)
        else:
            self._hearer.told(announcement.keys)

    def beat(self) -> None:
        """See Way."""
        if self._sequence.is_overdue():
            self._hearer.told(None)
        self._keep_mark()

    def close(self) -> None:
        """See Way."""
        self._commands.close()

    def _keep_mark(self) -> None:
        mark = self._names.mark
        found = self._commands.ask("GET", mark)
        if found is None:
            self._commands.ask("SET", mark, token_hex(8), "PX", MARK_SECONDS * 1000, "NX")
            found = self._commands.ask("GET", mark)
        else:
            self._commands.ask("PEXPIRE", mark, MARK_SECONDS * 1000)
        if self._mark is None:
            self._mark, self._ready_at = found, monotonic() + PATIENCE
        elif found != self._mark:
            raise ConnectionError("the mark of those who listen was gone")

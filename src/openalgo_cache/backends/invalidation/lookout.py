"""Where primaries are that may change: Sentinels and cluster nodes are asked twice a second, one after the other.

In turn, since one that lost touch with the rest goes on saying what was true before.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from openalgo_cache.backends.invalidation.links import BEAT, SILENCE
from openalgo_cache.backends.invalidation.wire import Address, Wire
from openalgo_cache.locks import make_lock, start_new_thread

if TYPE_CHECKING:
    from openalgo_cache.settings import Server

_TIMEOUT: Final = 0.4


class Watcher(Protocol):
    """Who is told what the lookout sees. Called from its thread."""

    def doubts(self) -> int:
        """Return how often it was doubted that the primaries are known."""
        ...

    def require(self, addresses: Iterable[Address], doubts: int) -> None:
        """Learn where the primaries are, by an answer to a question that was asked after so many doubts."""
        ...

    def blind(self) -> None:
        """Learn that nobody has said for a while where they are."""
        ...


class Lookout:
    """Asks for the primaries, in a thread of its own.

    Args:
        server: What the settings say.
        watcher: Who is told.
    """

    def __init__(self, server: Server, watcher: Watcher) -> None:
        self._server = server
        self._watcher = watcher
        self._service = server.sentinels.service if server.sentinels is not None else ""
        self._entrances = server.sentinels.addresses if server.sentinels is not None else ((server.host, server.port),)
        self._known: list[Address] = list(self._entrances)
        self._wires: dict[Address, Wire] = {}
        self._turn = 0
        self._stopped = False
        self._bell = make_lock()
        self._bell.acquire()

    def start(self) -> None:
        """Begin to look."""
        start_new_thread(self._run, ())

    def stop(self) -> None:
        """End, soon."""
        self._stopped = True
        self.look_now()

    def look_now(self) -> None:
        """Look again at once."""
        with suppress(RuntimeError):  # it is about to
            self._bell.release()

    def abandon(self) -> None:
        """Leave thread and connections to the parent, in a forked child."""
        self._stopped = True
        for wire in self._wires.values():
            wire.abandon()

    def _run(self) -> None:
        seen = monotonic()
        while not self._stopped:
            doubts = self._watcher.doubts()
            address = self._next()
            try:
                found = self._ask(address)
            except Exception:  # noqa: BLE001  # whatever it is, this one said nothing
                if (wire := self._wires.pop(address, None)) is not None:
                    wire.close()
                if monotonic() - seen >= SILENCE:
                    self._watcher.blind()
                self._bell.acquire(True, BEAT / len(self._known))
                continue
            seen = monotonic()
            if found and not self._stopped:
                self._watcher.require(found, doubts)
            self._bell.acquire(True, BEAT)
        for wire in list(self._wires.values()):
            wire.close()

    def _next(self) -> Address:
        self._turn += 1
        return self._known[self._turn % len(self._known)]

    def _ask(self, address: Address) -> list[Address]:
        wire = self._wires.get(address)
        if wire is None:
            wire = self._wires[address] = Wire(self._server, address, _TIMEOUT)
            if not self._service:
                wire.log_in(self._server)
        if self._service:
            found = wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            return [(found[0].decode(), int(found[1]))] if found else []
        primaries = _primaries(wire.ask("CLUSTER", "SLOTS"), address)
        self._known = [*dict.fromkeys((*primaries, *self._entrances))]
        for gone in self._wires.keys() - self._known:
            self._wires.pop(gone).close()
        return primaries


def _primaries(slots: list[Any], source: Address) -> list[Address]:
    """Return where the primaries are that a node lists; one without a host is the node itself."""
    found: dict[Address, None] = {}
    for _, _, primary, *_ in slots:
        host = primary[0].decode() if primary[0] else source[0]
        found[host, int(primary[1])] = None
    return list(found)

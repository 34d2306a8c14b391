"""Connections over which nodes tell which keys changed: each in a thread of its own, opened again when it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from openalgo_cache.backends.invalidation.wire import Address, RefusedError, Wire
from openalgo_cache.locks import make_lock, start_new_thread

if TYPE_CHECKING:
    from openalgo_cache.settings import Server

BEAT: Final = 0.5
"""Seconds from one sign of life to the next that we ask for."""
SILENCE: Final = 1.4
"""Seconds without one after which a node is taken for lost; looked at each beat, so that two pass at most."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_PAUSE_AFTER_REFUSAL: Final = 15.0


class Hearer(Protocol):
    """Who is told what links hear. Called from their threads."""

    def stands(self, link: Link) -> None:
        """Learn that every change on the link's node will be told from now on."""
        ...

    def lost(self, link: Link, refusal: str = "") -> None:
        """Learn that changes on the link's node may go untold from now on; said again for each vain attempt.

        Args:
            link: The link.
            refusal: What the node said, if somebody has to do something about it.
        """
        ...

    def told(self, keys: Iterable[bytes] | None) -> None:
        """Learn that ``keys`` changed (None: all)."""
        ...

    def beat(self) -> None:
        """Have a moment, twice a second."""
        ...


class Way(Protocol):
    """How a node tells of changes."""

    def is_ready(self) -> bool:
        """Return whether every change is told by now."""
        ...

    def take(self, message: list[Any]) -> None:
        """Take a message that arrived."""
        ...

    def beat(self) -> None:
        """Do what has to be done from time to time. Raise if changes may have gone untold."""
        ...

    def close(self) -> None:
        """Let go of what was opened for it."""
        ...


class Link:
    """One connection to one node, with a thread that listens to it.

    Args:
        server: What the settings say of the node and its like.
        address: Where it listens.
        hearer: Who is told.
        tune_in: Asks the node, over a new connection, to tell of changes.
    """

    def __init__(self, server: Server, address: Address, hearer: Hearer, tune_in: Callable[[Wire, Link], Way]) -> None:
        self.address = address
        self._server = server
        self._hearer = hearer
        self._tune_in = tune_in
        self._wire: Wire | None = None
        self._has_stood = False
        self._stopped = False
        self._bell = make_lock()
        self._bell.acquire()

    def start(self) -> None:
        """Begin to listen."""
        start_new_thread(self._run, ())

    def stop(self) -> None:
        """End, soon; nothing that is heard after this is told."""
        self._stopped = True
        if (wire := self._wire) is not None:
            wire.shut()
        with suppress(RuntimeError):  # it rings already
            self._bell.release()

    def abandon(self) -> None:
        """Leave thread and connection to the parent, in a forked child."""
        self._stopped = True
        if self._wire is not None:
            self._wire.abandon()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped:
            refusal, self._has_stood = "", False
            try:
                self._open_and_listen()
            except (RefusedError, ImportError) as error:
                is_passing = isinstance(error, RefusedError) and error.is_passing
                refusal = "" if is_passing else str(error)
                pause = _LONGEST_PAUSE if is_passing else _PAUSE_AFTER_REFUSAL
            except Exception:  # noqa: BLE001  # whatever it is, nothing is heard any more, and that has to be told
                pause = _FIRST_PAUSE if self._has_stood else min(pause * 2, _LONGEST_PAUSE)
            if not self._stopped:
                self._hearer.lost(self, refusal)
                self._bell.acquire(True, pause)

    def _open_and_listen(self) -> None:
        wire = self._wire = Wire(self._server, self.address, SILENCE)
        way: Way | None = None
        try:
            way = self._tune_in(wire, self)
            self._listen(wire, way)
        finally:
            self._wire = None
            wire.close()
            if way is not None:
                way.close()

    def _listen(self, wire: Wire, way: Way) -> None:
        heard = monotonic()
        due = heard
        while not self._stopped:
            now = monotonic()
            if now >= due:
                due = now + BEAT
                wire.send("PING")
                way.beat()
                self._hearer.beat()
            if not self._has_stood and way.is_ready():
                self._has_stood = True
                self._hearer.stands(self)
            try:
                arrived = wire.receive(due - now)
            except TimeoutError:
                if monotonic() - heard >= SILENCE:
                    raise TimeoutError("nothing is heard of it") from None
                continue
            heard = monotonic()
            for message in arrived:
                if isinstance(message, list):
                    way.take(message)

    def __repr__(self) -> str:
        return f"<Link {self.address[0]}:{self.address[1]}>"

"""The circuit breaker: while a server is away nobody waits for it, and one thread looks whether it is back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError
from openalgo_cache.locks import make_lock, sleep, start_new_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("openalgo_cache")

_FIRST_LOOK: Final = 0.1
_EVERY: Final = 0.5
"""Seconds from one look to the next."""


class OutageListener(Protocol):
    """Somebody who has to know when a server goes and comes. Called from any thread: be quick, and raise nothing."""

    def on_outage(self) -> None:
        """Learn that a server does not answer."""
        ...

    def on_recovery(self) -> None:
        """Learn that it answers again."""
        ...


class Breaker:
    """Closed while a server answers. A failure opens it, and then every operation fails at once.

    Args:
        name: The server, for the log: ``Redis at localhost:6379``.
        probe: Asks the server something on a new connection; raises if that fails.
        listeners: Whom to tell; may grow.

    Attributes:
        is_open: Whether operations are to fail at once.
    """

    __slots__ = ("_failed", "_listeners", "_lock", "_name", "_opened_at", "_probe", "_turn", "_why", "is_open")

    def __init__(self, name: str, probe: Callable[[], object], listeners: Sequence[OutageListener]) -> None:
        self._name = name
        self._probe = probe
        self._listeners = listeners
        self._lock = make_lock()
        self._turn = 0
        self._failed = 0
        self._opened_at = 0.0
        self._why = ""
        self.is_open = False

    def trip(self, error: BackendUnavailableError) -> BackendUnavailableError:
        """Open it because of ``error``, and return that to be raised."""
        with self._lock:
            self._failed += 1
            first = not self.is_open
            if first:
                self.is_open, self._opened_at, self._why = True, monotonic(), str(error)
                self._turn += 1
            turn = self._turn
        error.reported = True
        if first:
            _log.warning("%s; caches go on without it", error)
            for listener in list(self._listeners):
                listener.on_outage()
            start_new_thread(self._watch, (turn,))
        return error

    def refusal(self) -> BackendUnavailableError:
        """Return the error of an operation that is not tried."""
        self._failed += 1
        error = BackendUnavailableError(self._why)
        error.reported = True
        return error

    def close(self) -> None:
        """Close it without a word, and send its prober home: the server is not used any more."""
        self._turn += 1
        self.is_open = False

    def retire(self) -> None:
        """Close it because another server has taken over."""
        if self.is_open:
            self._recover(self._turn, "is not needed any more")
        self.close()

    def _watch(self, turn: int) -> None:
        pause = _FIRST_LOOK
        while True:
            sleep(pause)
            pause = min(2 * pause, _EVERY)
            if self._turn != turn:
                return
            try:
                self._probe()
            except BackendMisconfiguredError:
                pass  # it is back, and refuses us: the next caller is to hear that
            except Exception:  # noqa: BLE001, S112  # it was logged once; and nobody else would ever look again
                continue
            self._recover(turn, "answers again")
            return

    def _recover(self, turn: int, how: str) -> None:
        with self._lock:
            if self._turn != turn:
                return
            self._turn += 1
            failed, self._failed = self._failed, 0
            self.is_open = False
        _log.warning(
            "%s %s, after %.1f s and %d failed operations", self._name, how, monotonic() - self._opened_at, failed
        )
        for listener in list(self._listeners):
            listener.on_recovery()

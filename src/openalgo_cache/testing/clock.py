"""Clocks for tests: one whose hands a test turns, and one for stores that keep their own time."""

from __future__ import annotations

import time
from typing import Final, Protocol

_NEW_YEAR_2026: Final = 1_767_225_600.0


class TurnableClock(Protocol):
    """A clock that a test can let run."""

    def __call__(self) -> float:
        """Return the present as seconds since the epoch."""
        ...

    def advance(self, seconds: float) -> None:
        """Return when ``seconds`` have passed."""
        ...


class FakeClock:
    """Stands still until it is advanced; hand it in wherever a ``Clock`` is taken.

    Args:
        now: What it shows at first, seconds since the epoch.
    """

    __slots__ = ("now",)

    def __init__(self, now: float = _NEW_YEAR_2026) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return what the clock shows."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Turn the clock on by ``seconds``, or back if they are negative."""
        self.now += seconds

    def __repr__(self) -> str:
        return f"FakeClock({self.now!r})"


class PatientClock:
    """The system's clock, for a store that keeps time by a clock that nobody can turn: advancing it takes the time."""

    __slots__ = ()

    def __call__(self) -> float:
        """Return the present as seconds since the epoch."""
        return time.time()

    def advance(self, seconds: float) -> None:
        """Sleep until ``seconds`` have passed, and a little longer, since the store's clock may lag behind."""
        time.sleep(seconds + 0.02)

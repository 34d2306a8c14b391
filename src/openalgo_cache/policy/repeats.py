"""Of events that repeat, which ones are worth a line: the first, then one a minute that says how many there were.

So a loop that is refused a thousand times a second neither fills a log nor waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from openalgo_cache.locks import make_lock

EVERY: Final = 60.0
"""Seconds between two lines about the same."""

_MOST: Final = 512
"""Different events that are told apart; all others count as one."""
_OTHERS: Final = ("(others)",)


class Repeats:
    """Counts events by what they are.

    Args:
        clock: Where the time comes from.
    """

    __slots__ = ("_clock", "_lock", "_seen")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = make_lock()
        self._seen: dict[Hashable, list[float]] = {}

    def due(self, what: Hashable) -> int | None:
        """Count one more; return None if there is nothing to say yet, else how many have gone unsaid."""
        now = self._clock()
        with self._lock:
            if what not in self._seen and len(self._seen) >= _MOST:
                self._seen = {one: said for one, said in self._seen.items() if said[1] or now - said[0] < EVERY}
                what = what if len(self._seen) < _MOST else _OTHERS
            said = self._seen.get(what)
            if said is not None and 0 <= now - said[0] < EVERY:
                said[1] += 1
                return None
            self._seen[what] = [now, 0]
            return 0 if said is None else int(said[1])

    def unsaid(self) -> list[tuple[Hashable, int]]:
        """Return what has gone unsaid so far, and begin anew."""
        with self._lock:
            seen, self._seen = self._seen, {}
        return [(what, int(count)) for what, (_, count) in seen.items() if count]

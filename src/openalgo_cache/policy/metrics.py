"""Counters of one cache. They are incremented without a lock, so under many threads a few counts may get lost."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, TypeVar

T = TypeVar("T")

TIMED: Final = 32
"""Of so many reads of a cache without a near tier one is timed: to time each would cost them 4 %."""


class Timing:
    """How often a store's answer was timed, and how long that took in all.

    Attributes:
        count: How often.
        seconds: How long.
    """

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def call(self, verb: Callable[..., T], *arguments: Any) -> T:
        """Call a verb of the store and time it, unless it fails."""
        started = perf_counter()
        result = verb(*arguments)
        self.seconds += perf_counter() - started
        self.count += 1
        return result

    def figures(self) -> dict[str, float | None]:
        """Return what ``Cache.stats`` shows of it."""
        return {"count": self.count, "seconds": self.seconds, "avg_ms": _average_ms(self.count, self.seconds)}


class Counters:
    """What happened to a cache in this process.

    Attributes:
        hits: Reads answered by the store.
        near_hits: Reads answered by near tiers that were closed (the present one counts its own).
        misses: Reads answered by nobody.
        sets: Entries written.
        deletes: Entries removed, by ``delete``, ``pop`` or ``clear``.
        rejected: Records that could not be verified or read.
        errors: Operations that the store failed.
        stale: Times an expired value was served because its loader failed.
        denied: Calls that the access rules refused.
        reading: How long the store took to read. What the near tier answers is not timed, since that would cost as much
            as the answer, and of what goes by it only one in ``TIMED``.
        writing: How long it took to write, waiting for its locks included.
        deleting: Likewise to delete.
    """

    __slots__ = (
        "deletes",
        "deleting",
        "denied",
        "errors",
        "hits",
        "misses",
        "near_hits",
        "reading",
        "rejected",
        "sets",
        "stale",
        "writing",
    )

    def __init__(self) -> None:
        self.hits = 0
        self.near_hits = 0
        self.misses = 0
        self.sets = 0
        self.deletes = 0
        self.rejected = 0
        self.errors = 0
        self.stale = 0
        self.denied = 0
        self.reading = Timing()
        self.writing = Timing()
        self.deleting = Timing()

    def figures(self, near_hits: int, near_size: int, evictions: int) -> dict[str, Any]:
        """Return what ``Cache.stats`` shows of them.

        Args:
            near_hits: What the present near tier has answered.
            near_size: How many entries it holds.
            evictions: What the store counts itself.
        """
        near_hits += self.near_hits
        hits = self.hits + near_hits
        reads = hits + self.misses
        timings = {"get": self.reading, "set": self.writing, "delete": self.deleting}
        answers = sum(timing.count for timing in timings.values())
        return {
            "hits": hits,
            "near_hits": near_hits,
            "near_size": near_size,
            "misses": self.misses,
            "hit_rate": hits / reads if reads else None,
            "sets": self.sets,
            "deletes": self.deletes,
            "evictions": evictions,
            "rejected": self.rejected,
            "errors": self.errors,
            "stale": self.stale,
            "denied": self.denied,
            "avg_latency_ms": _average_ms(answers, sum(timing.seconds for timing in timings.values())),
            "latency": {operation: timing.figures() for operation, timing in timings.items()},
        }


def _average_ms(count: int, seconds: float) -> float | None:
    return 1000 * seconds / count if count else None

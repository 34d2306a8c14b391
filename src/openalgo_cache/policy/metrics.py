"""Counters of one cache. They are incremented without a lock, so under many threads a few counts may get lost."""

from __future__ import annotations

from typing import Any


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
    """

    __slots__ = ("deletes", "denied", "errors", "hits", "misses", "near_hits", "rejected", "sets", "stale")

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
        }

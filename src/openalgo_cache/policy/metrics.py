"""Counters of one cache. They are incremented without a lock, so under many threads a few counts may get lost."""

from __future__ import annotations


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
    """

    __slots__ = ("deletes", "errors", "hits", "misses", "near_hits", "rejected", "sets", "stale")

    def __init__(self) -> None:
        self.hits = 0
        self.near_hits = 0
        self.misses = 0
        self.sets = 0
        self.deletes = 0
        self.rejected = 0
        self.errors = 0
        self.stale = 0

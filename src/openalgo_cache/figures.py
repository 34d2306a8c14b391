"""What a cache is in figures: how large, how often it was asked, how long its store took."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.catalogue import Sealing
from openalgo_cache.lost import FAILURES

if TYPE_CHECKING:
    from openalgo_cache.handle import Handle
    from openalgo_cache.stack import Stack

_SHARE: Final = 20
"""Counting entries may take one part in so many of the time, for those who bear a size that is not quite new."""


class CountedSize:
    """The size that a handle counted last.

    Attributes:
        size: How many entries there were.
        counted_at: When, seconds since the epoch.
        took: How many seconds that took.
    """

    __slots__ = ("counted_at", "size", "took")

    def __init__(self) -> None:
        self.size: int | None = None
        self.counted_at = 0.0
        self.took = 0.0


def figures_of(cache: Handle, *, size_max_age: float | None) -> dict[str, Any]:
    """Return what ``Cache.stats`` returns; a store that fails is no failure of this.

    Args:
        cache: The cache.
        size_max_age: See ``Cache.stats``; None to open nothing and to ask nobody.
    """
    stack = cache._stack if size_max_age is None else cache._opened()
    near = cache._near if stack is None else stack.near
    figures: dict[str, Any] = {
        "size": cache._last_size.size if stack is None or size_max_age is None else _size(cache, stack, size_max_age),
        "backend": None if stack is None else stack.backend_name,
        "encrypted": cache.policy.sealing is Sealing.ENCRYPTED,
        "durability": cache.policy.durability.value,
        "memory_bytes": near.footprint() + (0 if stack is None else _held_by(stack)),
        "pending_deletes": 0 if stack is None else stack.pending_deletes(),
    }
    if cache._show_counts:
        evictions = 0 if stack is None else getattr(stack.backend, "evictions", 0)
        figures |= cache._counters.figures(near.hits(), len(near), evictions)
    return figures


def _size(cache: Handle, stack: Stack, max_age: float) -> int | None:
    """Return the number of entries; None while the store fails."""
    last, now = cache._last_size, cache._now()
    fresh_for = max(max_age, _SHARE * last.took) if max_age else 0.0
    if last.size is not None and 0 <= now - last.counted_at < fresh_for:
        return last.size
    started = perf_counter()
    try:
        last.size = stack.backend.size()
    except FAILURES as error:
        cache._note_failure(error)
        last.size = None
        return None
    last.counted_at, last.took = now, perf_counter() - started
    if cache._outage:
        cache._recovered()
    return last.size


def _held_by(stack: Stack) -> int:
    """Return about how many bytes of this process the store takes, where it is one that lies in memory."""
    footprint = getattr(stack.backend, "footprint", None)
    return 0 if footprint is None else int(footprint())

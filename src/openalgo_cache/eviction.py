"""A bounded dict that keeps what is used: S3-FIFO (Yang et al., SOSP 2023) on a plain dict.

New entries wait in a small queue; those that are used there move to the main queue, the others leave early, so that a
scan does not wash out what is hot. A hit costs nothing but an increment of the entry's own counter, without a lock;
only additions and removals are made under the lock of whoever owns the container.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

_SMALL_SHARE: Final = 10
"""The small queue gets one part in ten of the room."""

_MOST_CREDIT: Final = 3
"""Uses beyond this many since the last look save an entry no longer than this many do."""


class Counted(Protocol):
    """An entry that counts its own uses; ``seen`` is how many of them the container took into account."""

    uses: int
    seen: int


E = TypeVar("E", bound=Counted)


class BoundedDict(Generic[E]):
    """A dict of at most ``capacity`` entries.

    Attributes:
        entries: The dict itself, to read from directly; write only through the methods.
    """

    __slots__ = ("_capacity", "_ghosts", "_main", "_small", "entries")

    def __init__(self, capacity: int) -> None:
        self.entries: dict[str, E] = {}
        self._capacity = capacity
        self._small: deque[tuple[str, E]] = deque()
        self._main: deque[tuple[str, E]] = deque()
        self._ghosts: OrderedDict[str, None] = OrderedDict()

    def add(self, key: str, entry: E) -> list[tuple[str, E]]:
        """Put ``entry`` under ``key`` and return what had to leave for it."""
        known = key in self.entries
        self.entries[key] = entry
        if known or key in self._ghosts:
            self._ghosts.pop(key, None)
            self._main.append((key, entry))
        else:
            self._small.append((key, entry))
        gone = []
        while len(self.entries) > self._capacity:
            gone.append(self._evict(entry))
        self._drop_leftovers()
        return gone

    def remove(self, key: Hashable) -> E | None:
        """Remove and return the entry under ``key``, if there is one."""
        entry: E | None = self.entries.pop(key, None)  # type: ignore[call-overload]  # any key may be asked for
        return entry  # its place in a queue is passed over when it comes up

    def clear(self) -> None:
        """Remove everything."""
        self.entries.clear()
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()

    def _evict(self, newest: E) -> tuple[str, E]:
        while True:
            from_small = len(self._small) * _SMALL_SHARE >= self._capacity or not self._main
            key, entry = (self._small if from_small else self._main).popleft()
            if self.entries.get(key) is not entry:
                continue  # removed or replaced since
            credit = min(entry.uses - entry.seen, _MOST_CREDIT)
            if credit > 0 or (entry is newest and len(self.entries) > 1):
                entry.seen = entry.uses - max(credit - 1, 0)
                self._main.append((key, entry))
                continue
            if from_small:
                self._remember(key)
            del self.entries[key]
            return key, entry

    def _remember(self, key: str) -> None:
        self._ghosts[key] = None
        if len(self._ghosts) > self._capacity:
            self._ghosts.popitem(last=False)

    def _drop_leftovers(self) -> None:
        """Keep the queues from filling with places of entries that were replaced or removed."""
        if len(self._small) + len(self._main) > 2 * self._capacity + 16:
            for queue in (self._small, self._main):
                live = [(key, entry) for key, entry in queue if self.entries.get(key) is entry]
                queue.clear()
                queue.extend(live)

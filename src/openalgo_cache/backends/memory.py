"""The memory backend: a bounded dict in this process, gone when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from openalgo_cache.backends.base import CacheBackend, Entry, Request, TokenListener
from openalgo_cache.clock import Clock, system_clock
from openalgo_cache.eviction import BoundedDict
from openalgo_cache.footprint import footprint
from openalgo_cache.locks import make_lock

T = TypeVar("T")

_UNBOUNDED = 2**62


class _Slot:
    """An entry of the bounded dict."""

    __slots__ = ("entry", "seen", "uses")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.uses = 0
        self.seen = 0


class MemoryBackend(CacheBackend):
    """Keeps entries in this process's memory; safe under threads.

    Args:
        maxsize: The most entries to keep; None for no bound.
        clock: Where the time comes from.
    """

    def __init__(self, maxsize: int | None = 1024, clock: Clock = system_clock) -> None:
        self._slots: BoundedDict[_Slot] = BoundedDict(maxsize if maxsize is not None else _UNBOUNDED)
        self._now = clock
        self._lock = make_lock()
        self._listeners: list[TokenListener] = []
        self.change_token = [0]
        self.evictions = 0

    @classmethod
    def create(cls, request: Request) -> MemoryBackend:  # noqa: D102  # see CacheBackend
        return cls(request.maxsize, request.clock)

    async def on_loop(self, verb: Callable[..., T], *arguments: Any) -> T:
        """Call ``verb`` right away: memory waits for nothing."""
        return verb(*arguments)

    def get(self, key: str) -> Entry | None:  # noqa: D102
        slot = self._slots.entries.get(key)
        if slot is None or _expired(slot.entry, self._now()):
            return None
        slot.uses += 1
        return slot.entry

    def set(self, key: str, entry: Entry) -> None:  # noqa: D102
        self.set_many({key: entry})

    def set_many(self, entries: Mapping[str, Entry]) -> None:  # noqa: D102
        with self._lock:
            evicted = 0
            for key, entry in entries.items():
                evicted += len(self._slots.add(key, _Slot(entry)))
            self._changed(evicted)

    def delete(self, key: str) -> bool:  # noqa: D102
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Iterable[str]) -> int:  # noqa: D102
        now = self._now()
        with self._lock:
            removed = [slot for key in keys if (slot := self._slots.remove(key)) is not None]
            self._changed()
        return sum(not _expired(slot.entry, now) for slot in removed)

    def clear(self) -> int:  # noqa: D102
        count = self.size()
        with self._lock:
            self._slots.clear()
            self._changed()
        return count

    def size(self) -> int:  # noqa: D102
        return sum(1 for _ in self.scan())

    def footprint(self) -> int:
        """Return about how many bytes the entries take, those that have expired included."""
        with self._lock:
            return footprint(self._slots.entries.items(), len(self._slots.entries))

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:  # noqa: D102
        with self._lock:
            entry = self.get(key)
            if (None if entry is None else entry.payload) != expected:
                return False
            evicted = 0
            if new is None:
                self._slots.remove(key)
            else:
                evicted = len(self._slots.add(key, _Slot(new)))
            self._changed(evicted)
            return True

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield the live entries whose key begins with ``prefix``, as of the moment of the call."""
        now = self._now()
        with self._lock:
            slots = list(self._slots.entries.items())
        for key, slot in slots:
            if key.startswith(prefix) and not _expired(slot.entry, now):
                yield key, slot.entry

    def watch(self, listener: TokenListener) -> None:
        """See SupportsChangeToken. With two listeners, either's writes are news to the other, so none is advanced."""
        self._listeners.append(listener)

    def _changed(self, evicted: int = 0) -> None:
        self.evictions += evicted
        before = self.change_token[0]
        self.change_token[0] = before + 1
        if len(self._listeners) == 1 and not evicted:  # copies of what was evicted have to go, too
            self._listeners[0].advance(before, before + 1)


def _expired(entry: Entry, now: float) -> bool:
    return entry.expires_at is not None and entry.expires_at <= now

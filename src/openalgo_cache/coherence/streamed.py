"""A near tier that is told which keys changed, by a stream of messages from the store.

Messages may only drop entries. They come a little after the change, and they name neither who wrote nor what, so each
is taken for another's write, our own included. What keeps an old value out:

- A read that is under way when its key is named is refused: what it found may be from before. Nothing is registered
  for that. Each message gets the next number, a read notes the number that was due when it began, and the last numbers
  under which keys were named are kept for comparison.
- While the stream may have gaps nothing is served or kept. Once it stands again everything is dropped, and only what
  was read since then is kept.
- Of reads of one key that overlap, only the first to end may be kept, and not even that one if another found something
  else: one of the two is old, and nobody knows which.
- After an own write, a read that began before its end is refused, whether the message has come by then or not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final

from openalgo_cache.coherence.near import NEVER_READ, UNTRUSTED, NearEntry, NearTier

_TRUSTED: Final = (0,)

_NAMED_MOST: Final = 8192
"""How many named keys are remembered. One more, and reads under way are refused whatever they read: a stream that names
thousands of keys within one read leaves little to keep."""


class StreamedTier(NearTier):
    """See InvalidationListener for ``drop``, ``drop_all``, ``suspend`` and ``resume``.

    Args:
        capacity: As for NearTier.
        max_staleness: Likewise.
        subscribe: Has this tier told of every change; called, by whoever reads, while the tier is suspended.
    """

    __slots__ = ("__weakref__", "_dependents", "_keys", "_named", "_next", "_refused_before", "_subscribe")

    def __init__(self, capacity: int, max_staleness: float, subscribe: Callable[[StreamedTier], None]) -> None:
        super().__init__(capacity, max_staleness)
        self._subscribe = subscribe
        self._keys: dict[str, str] = {}
        self._dependents: dict[str, set[Hashable]] = {}
        self._named: dict[Hashable, int] = {}
        self._next = 0
        self._refused_before = 0

    def begin_fill(self) -> int:
        """Return the number that is due; subscribe if the tier hears nothing."""
        if self.words is UNTRUSTED:
            self._subscribe(self)
        return self._next

    def end_write(self, keys: Iterable[Hashable] | None) -> None:
        """Take fills of ``keys`` again, by reads that begin from now on."""
        keys = None if keys is None else tuple(keys)
        super().end_write(keys)
        with self._lock:
            if keys is None:
                self._refuse_all()
            else:
                self._name(keys)

    def drop(self, stored: Iterable[str]) -> None:
        """Drop what depends on any of these stored keys."""
        stored = tuple(stored)
        with self._lock:
            self._name(stored)
            for one in stored:
                if (key := self._keys.get(one)) is not None:
                    self._drop(key)
                for dependent in tuple(self._dependents.get(one, ())):
                    self._drop(dependent)

    def drop_all(self) -> None:
        """Drop everything."""
        with self._lock:
            self._refuse_all()
            self._empty()

    def suspend(self) -> None:
        """Serve and keep nothing until ``resume``."""
        with self._lock:
            self.words = UNTRUSTED
            self.token = NEVER_READ
            self._refuse_all()
            self._empty()

    def resume(self) -> None:
        """Keep and serve what is read from now on."""
        with self._lock:
            self._refuse_all()
            self._empty()
            self.token = _TRUSTED[0]
            self.words = _TRUSTED

    def _may_keep(self, key: str, entry: NearEntry, begun: int) -> bool:
        names = (key, *entry.stored)  # own writes name the caller's key
        in_time = begun >= self._refused_before and all(self._named.get(name, -1) < begun for name in names)
        if not in_time and (there := self.entries.get(key)) is not None and there.held != entry.held:
            self._drop(key)
        self._name(entry.stored[:1])
        return in_time and self.words is _TRUSTED

    def _name(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            self._named[key] = self._next
        self._next += 1
        if len(self._named) > _NAMED_MOST:
            self._refuse_all()

    def _refuse_all(self) -> None:
        """Refuse every read that is under way."""
        self._next += 1
        self._refused_before = self._next
        self._named.clear()

    def _empty(self) -> None:
        super()._empty()
        self._keys.clear()
        self._dependents.clear()

    def _remember(self, key: str, entry: NearEntry) -> None:
        own, *others = entry.stored
        self._keys[own] = key
        for other in others:
            self._dependents.setdefault(other, set()).add(key)

    def _forget(self, key: Hashable, entry: NearEntry) -> None:
        super()._forget(key, entry)
        own, *others = entry.stored
        self._keys.pop(own, None)
        for other in others:
            if (dependents := self._dependents.get(other)) is not None:
                dependents.discard(key)
                if not dependents:
                    del self._dependents[other]

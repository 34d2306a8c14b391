"""The near tier: verified entries in this process, trusted only while nobody can have changed them in the store.

Reading is a peephole in ``Cache.get``: it looks at ``entries``, ``words`` and ``token`` directly, since a call for
each would cost as much as the rest of the read. Everything that changes the tier is in its methods, under one lock
that is held over memory work only.

There are two kinds, by what a store can tell: one whose entries are dated by a change token (``dated.py``), and one
that is told which keys changed (``streamed.py``). Either way an own write drops its keys before it begins, and while
it is under way they are refused: whoever read the old value just before cannot put it here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final

from openalgo_cache.eviction import BoundedDict
from openalgo_cache.footprint import footprint
from openalgo_cache.locks import make_lock

UNTRUSTED: Final = (-1,)
"""What ``words`` is while nothing may be served: tokens are never negative, so it equals none of an entry."""

NEVER_READ: Final = -2
"""What ``token`` is while there is nothing to serve."""


class NearEntry:
    """A verified entry: ``load(held)`` is its value, or ``held`` itself is where ``load`` is None.

    Attributes:
        stored: The stored keys whose values went into it, its own first.
    """

    __slots__ = ("filled_at", "held", "load", "seen", "stored", "until", "uses")

    def __init__(
        self, held: Any, load: Callable[[Any], Any] | None, filled_at: float, until: float, stored: tuple[str, ...]
    ) -> None:
        self.held = held
        self.load = load
        self.filled_at = filled_at
        self.until = until
        self.stored = stored
        self.uses = 0
        self.seen = 0


class NearTier(ABC):
    """Holds at most ``capacity`` entries of one cache, keyed by the caller's own keys.

    Args:
        capacity: The most entries to keep.
        max_staleness: Seconds after which an entry is read from the store again, whatever was or was not heard.

    Attributes:
        entries: The peephole's dict.
        words: Element 0 is compared with ``token``: entries may be served while they are the same.
        token: See ``words``.
        keeps: Whether the tier keeps anything at all.
    """

    __slots__ = (
        "_bounded",
        "_lock",
        "_max_staleness",
        "_retired_uses",
        "_writing",
        "_writing_all",
        "entries",
        "keeps",
        "token",
        "words",
    )

    def __init__(self, capacity: int, max_staleness: float) -> None:
        self._bounded: BoundedDict[NearEntry] = BoundedDict(capacity)
        self._lock = make_lock()
        self._max_staleness = max_staleness
        self._retired_uses = 0
        self._writing: dict[Hashable, int] = {}
        self._writing_all = 0
        self.entries = self._bounded.entries
        self.keeps = capacity > 0
        self.words: Sequence[int] = UNTRUSTED
        self.token: int = NEVER_READ

    @abstractmethod
    def begin_fill(self) -> int:
        """Return what dates everything that is read from the store from now on; hand it to ``fill``."""

    @abstractmethod
    def _may_keep(self, key: str, entry: NearEntry, begun: int) -> bool:
        """Return, under the lock, whether no change was heard of that an entry read since ``begun`` may lack."""

    def fill(  # noqa: PLR0913  # what an entry consists of
        self,
        key: str,
        stored: tuple[str, ...],
        held: Any,
        load: Callable[[Any], Any] | None,
        now: float,
        expires_at: float,
        begun: int,
    ) -> None:
        """Keep an entry that was read after ``begin_fill`` returned ``begun``, unless it may be out of date already.

        Args:
            key: The caller's key.
            stored: The stored keys that were read for it, all of them since ``begun``: its own, and then those of what
                else it depends on. A change of any of them is a change of the entry.
            held: What may lie in memory.
            load: Makes the value of it; None if it is the value.
            now: Seconds since the epoch, read before the entry was.
            expires_at: Seconds since the epoch; infinity for never.
            begun: What ``begin_fill`` returned.
        """
        entry = NearEntry(held, load, now, min(expires_at, now + self._max_staleness), stored)
        with self._lock:
            if self._writing_all or key in self._writing or not self._may_keep(key, entry, begun):
                return
            if (replaced := self.entries.get(key)) is not None:  # by a reader who came at the same time, or in its age
                self._forget(key, replaced)
            for gone_key, gone in self._bounded.add(key, entry):
                self._forget(gone_key, gone)
            if self.entries.get(key) is entry:
                self._remember(key, entry)

    def begin_write(self, keys: Iterable[Hashable] | None) -> None:
        """Drop ``keys`` (None: all) and refuse fills of them until ``end_write``."""
        with self._lock:
            if keys is None:
                self._writing_all += 1
                self._empty()
                return
            for key in keys:
                self._writing[key] = self._writing.get(key, 0) + 1
                if key in self.entries:
                    self._drop(key)

    def end_write(self, keys: Iterable[Hashable] | None) -> None:
        """Take fills of ``keys`` again."""
        with self._lock:
            if keys is None:
                self._writing_all -= 1
                return
            for key in keys:
                if (left := self._writing[key] - 1) == 0:
                    del self._writing[key]
                else:
                    self._writing[key] = left

    def hits(self) -> int:
        """Return how many reads the tier has answered."""
        with self._lock:
            return self._retired_uses + sum(entry.uses for entry in self.entries.values())

    def footprint(self) -> int:
        """Return about how many bytes the entries take."""
        with self._lock:
            return footprint(self.entries.items(), len(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    def _drop(self, key: Hashable) -> None:
        if (entry := self._bounded.remove(key)) is not None:
            self._forget(key, entry)

    def _empty(self) -> None:
        self._retired_uses += sum(entry.uses for entry in self.entries.values())
        self._bounded.clear()

    def _remember(self, key: str, entry: NearEntry) -> None:  # noqa: B027  # some tiers have nothing to note
        """Take note of an entry that came."""

    def _forget(self, key: Hashable, entry: NearEntry) -> None:
        """Take note of an entry that left."""
        del key
        self._retired_uses += entry.uses


class NoNearTier(NearTier):
    """No tier: every read goes to the store."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0, math.inf)

    def begin_fill(self) -> int:
        """Have nothing to fill."""
        return NEVER_READ

    def _may_keep(self, key: str, entry: NearEntry, begun: int) -> bool:
        del key, entry, begun
        return False

    def begin_write(self, keys: Iterable[Hashable] | None) -> None:
        """Have nothing to drop."""

    def end_write(self, keys: Iterable[Hashable] | None) -> None:
        """Have nothing to take again."""

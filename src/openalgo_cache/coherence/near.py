"""The near tier: verified entries in this process, trusted only while the store's change token stands still.

Reading is a peephole in ``Cache.get``: it looks at ``entries``, ``words`` and ``token`` directly, since a call for
each would cost as much as the rest of the read. Everything that changes the tier is here, under one lock that is held
over memory work only.

An entry is stale in two ways only, and both are excluded:

- Another process or handle wrote. Then the token moved, and nothing in the tier is served until it was emptied.
- We wrote. Then the token moves too, and the tier may follow it without being emptied, if the move was ours alone.
  While a write is under way its keys are refused: whoever read the old value just before cannot put it here. Whoever
  read it before that and comes after holds the token of that time, and is refused for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final

from openalgo_cache.eviction import BoundedDict
from openalgo_cache.locks import make_lock

_LOST: Final = (-1,)
"""Stands for a token that is not at hand: tokens are never negative, so it equals none that an entry was read under."""

_NEVER_READ: Final = -2


class NearEntry:
    """A verified entry: ``load(held)`` is its value, or ``held`` itself is where ``load`` is None."""

    __slots__ = ("filled_at", "held", "load", "seen", "until", "uses")

    def __init__(self, held: Any, load: Callable[[Any], Any] | None, filled_at: float, until: float) -> None:
        self.held = held
        self.load = load
        self.filled_at = filled_at
        self.until = until
        self.uses = 0
        self.seen = 0


class NearTier:
    """Holds at most ``capacity`` entries of one cache, keyed by the caller's own keys.

    Args:
        capacity: The most entries to keep.
        max_staleness: Seconds after which an entry is read from the store again whatever the token says.
        find_token: Returns the words whose first element is the change token; asked at the start and after ``lose``.

    Attributes:
        entries: The peephole's dict.
        words: Element 0 is the token now.
        token: The token that ``entries`` were read under.
        keeps: Whether the tier keeps anything at all.
    """

    __slots__ = (
        "_bounded",
        "_find_token",
        "_lock",
        "_losses",
        "_max_staleness",
        "_retired_uses",
        "_writing",
        "_writing_all",
        "entries",
        "keeps",
        "token",
        "words",
    )

    def __init__(self, capacity: int, max_staleness: float, find_token: Callable[[], Sequence[int]]) -> None:
        self._bounded: BoundedDict[NearEntry] = BoundedDict(capacity)
        self._find_token = find_token
        self._lock = make_lock()
        self._losses = 0
        self._max_staleness = max_staleness
        self._retired_uses = 0
        self._writing: dict[Hashable, int] = {}
        self._writing_all = 0
        self.entries = self._bounded.entries
        self.keeps = capacity > 0
        self.words: Sequence[int] = _LOST
        self.token: int = _NEVER_READ

    def begin_fill(self) -> int:
        """Return the token that an entry, read from now on, is dated by; empty the tier if it moved."""
        if self.words is _LOST:
            # Without the lock: the search takes the store's, under which the store calls advance() and lose().
            losses, words = self._losses, self._find_token()
            with self._lock:
                if self._losses == losses:
                    self.words = words
        token = self.words[0]
        if token != self.token:
            with self._lock:
                token = self.words[0]
                if self.words is not _LOST:
                    self._empty()
                    self.token = token
        return token

    def fill(  # noqa: PLR0913  # what an entry consists of
        self, key: str, held: Any, load: Callable[[Any], Any] | None, now: float, expires_at: float, token: int
    ) -> None:
        """Keep an entry that was read after ``begin_fill`` returned ``token``, unless it may be out of date already.

        Args:
            key: The caller's key.
            held: What may lie in memory.
            load: Makes the value of it; None if it is the value.
            now: Seconds since the epoch, read before the entry was.
            expires_at: Seconds since the epoch; infinity for never.
            token: What ``begin_fill`` returned.
        """
        entry = NearEntry(held, load, now, min(expires_at, now + self._max_staleness))
        with self._lock:
            if token == self.token and not self._writing_all and key not in self._writing:
                if (replaced := self.entries.get(key)) is not None:  # by a reader who came at the same time
                    self._retired_uses += replaced.uses
                self._retire(gone for _, gone in self._bounded.add(key, entry))

    def begin_write(self, keys: Iterable[Hashable] | None) -> None:
        """Drop ``keys`` (None: all) and refuse fills of them until ``end_write``."""
        with self._lock:
            if keys is None:
                self._writing_all += 1
                self._empty()
                return
            for key in keys:
                self._writing[key] = self._writing.get(key, 0) + 1
                if (entry := self._bounded.remove(key)) is not None:
                    self._retired_uses += entry.uses

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

    def advance(self, before: int, after: int) -> None:
        """Follow the token over our own write (see TokenListener)."""
        with self._lock:
            if self.token == before:
                self.token = after

    def lose(self) -> None:
        """Trust nothing until the token was found again (see TokenListener)."""
        with self._lock:
            self._losses += 1
            self.words = _LOST
            self._empty()
            self.token = _NEVER_READ

    def hits(self) -> int:
        """Return how many reads the tier has answered."""
        with self._lock:
            return self._retired_uses + sum(entry.uses for entry in self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def _empty(self) -> None:
        self._retire(self.entries.values())
        self._bounded.clear()

    def _retire(self, gone: Iterable[NearEntry]) -> None:
        self._retired_uses += sum(entry.uses for entry in gone)


class NoNearTier(NearTier):
    """No tier: every read goes to the store."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0, math.inf, lambda: _LOST)

    def begin_write(self, keys: Iterable[Hashable] | None) -> None:
        """Have nothing to drop."""

    def end_write(self, keys: Iterable[Hashable] | None) -> None:
        """Have nothing to take again."""

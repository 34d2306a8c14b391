"""A near tier whose entries are dated by the store's change token, which moves with every change of any key.

An entry is stale in two ways only, and both are excluded:

- Another process or handle wrote. Then the token moved, and nothing in the tier is served until it was emptied.
- We wrote. Then the token moves too, and the tier may follow it without being emptied, if the move was ours alone.
  Whoever read the old value before the write and comes after it holds the token of that time, and is refused for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from openalgo_cache.coherence.near import NEVER_READ, UNTRUSTED, NearEntry, NearTier


class DatedTier(NearTier):
    """See TokenListener for ``advance`` and ``lose``.

    Args:
        capacity: As for NearTier.
        max_staleness: Likewise.
        find_token: Returns the words whose first element is the change token; asked at the start and after ``lose``.
    """

    __slots__ = ("_find_token", "_losses")

    def __init__(self, capacity: int, max_staleness: float, find_token: Callable[[], Sequence[int]]) -> None:
        super().__init__(capacity, max_staleness)
        self._find_token = find_token
        self._losses = 0

    def begin_fill(self) -> int:
        """Return the token that an entry, read from now on, is dated by; empty the tier if it moved."""
        if self.words is UNTRUSTED:
            # Without the lock: the search takes the store's, under which the store calls advance() and lose().
            losses, words = self._losses, self._find_token()
            with self._lock:
                if self._losses == losses:
                    self.words = words
        token = self.words[0]
        if token != self.token:
            with self._lock:
                token = self.words[0]
                if self.words is not UNTRUSTED:
                    self._empty()
                    self.token = token
        return token

    def _may_keep(self, key: str, entry: NearEntry, begun: int) -> bool:
        del key, entry  # the token is of all keys
        return begun == self.token

    def advance(self, before: int, after: int) -> None:
        """Follow the token over our own write."""
        with self._lock:
            if self.token == before:
                self.token = after

    def lose(self) -> None:
        """Trust nothing until the token was found again."""
        with self._lock:
            self._losses += 1
            self.words = UNTRUSTED
            self._empty()
            self.token = NEVER_READ

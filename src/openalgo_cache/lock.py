"""Locks across threads, processes and hosts: one holder of a name at a time, for as long as it says it needs.

A lock is a record in a store beside the cache's own, so that neither ``clear`` nor eviction takes a lock away, and
nobody's near tier is disturbed by one. The record says who holds it and until when; it is taken, prolonged and
released by compare-and-set, and whoever dies holding it loses it when that time is over.

Every time it is taken the record's number, the fence, rises. It also never falls below the microseconds since the
epoch at which it was taken, so that it rises even where the record was lost. A store that notes the highest fence that
it has seen can refuse whoever was overtaken without noticing (Kleppmann, "How to do distributed locking", 2016).

These locks are for caches. They keep work from being done twice; they can't promise it, since a store may be emptied
and clocks may differ. What must not happen twice, an order above all, needs a fence in its own database, checked in
its own transaction.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final

from openalgo_cache.course import Course, drive, pauses
from openalgo_cache.errors import CacheError, InvalidLifetimeError, LockLostError, LockTimeoutError
from openalgo_cache.expiry import Lifetime, expires_at
from openalgo_cache.steps import Found, Keep, Put

if TYPE_CHECKING:
    from openalgo_cache.keys import Key
    from openalgo_cache.writing import Writer

_REMEMBERED_FOR: Final = 86_400.0
"""Seconds for which a lock that nobody holds keeps its fence, whatever the clocks do."""

_NOBODY: Final = b""
_Record = tuple[bytes, int, float]
"""Who holds the lock, its fence, and until when."""


class Lock:
    """One lock, to be taken by ``with``; made by ``Cache.lock``.

    Args:
        records: The handle of the locks' records.
        name: The lock's name.
        ttl: Seconds (or a timedelta) after which the lock is free again, unless it was prolonged.
        timeout: Seconds to wait for it; None for as long as it takes.

    Raises:
        InvalidLifetimeError: ``ttl`` is no possible time, or None.
    """

    __slots__ = ("_fence", "_holder", "_name", "_records", "_timeout", "_ttl")

    def __init__(self, records: Writer, name: Key, ttl: Lifetime, timeout: float | None) -> None:
        if expires_at(ttl, 0.0) is None:
            raise InvalidLifetimeError("a lock is free again by itself: its ttl is a time, not None")
        self._records = records
        self._name = name
        self._ttl = ttl
        self._timeout = timeout
        self._holder = _NOBODY
        self._fence = 0

    def __enter__(self) -> int:
        """Wait for the lock, and return its fence.

        Raises:
            LockTimeoutError: Others held it all the time.
            BackendUnavailableError: The store fails.
        """
        return drive(self.taking())

    def taking(self) -> Course[int]:
        """Yield seconds to wait until the lock is ours, and return its fence."""
        if self._holder != _NOBODY:
            raise CacheError("this lock object holds its lock already: ask the cache for another one")
        holder = os.urandom(16)
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        for pause in pauses():
            try:
                fence: int | None = self._records._exchange(self._name, lambda found: self._take(found, holder), None)
            except Exception:
                raise
            except BaseException:  # a cancellation, or Ctrl-C: it may be ours all the same
                self._holder = holder
                self._give_back()
                raise
            if fence is not None:
                self._holder, self._fence = holder, fence
                return fence
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise LockTimeoutError(f"others held the lock for {self._timeout:g} seconds")
            yield min(pause, left)
        raise AssertionError("pauses never end")  # pragma: no cover

    def extend(self, ttl: Lifetime = None) -> None:
        """Hold the lock for a while from now on, if it is still ours.

        Args:
            ttl: Seconds, or a timedelta; left out, as many as it was taken for.

        Raises:
            LockLostError: It took too long, and somebody else has taken the lock.
        """
        until = self._until(self._ttl if ttl is None else ttl)
        self._replace_ours((self._holder, self._fence, until), until)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock. Raise LockLostError if it was not ours all the time, unless there is an error already."""
        try:
            self._replace_ours((_NOBODY, self._fence, 0.0), self._records._now())
        except CacheError:
            if kind is None:
                raise
        except BaseException:  # a cancellation, or Ctrl-C, in the middle
            self._give_back()
            raise
        finally:
            self._holder = _NOBODY

    def _give_back(self) -> None:
        """Release the lock if it is ours."""
        with suppress(CacheError):
            self._replace_ours((_NOBODY, self._fence, 0.0), self._records._now())
        self._holder = _NOBODY

    def _take(self, found: Found | None, holder: bytes) -> Keep | Put:
        now = self._records._now()
        last: _Record = (_NOBODY, 0, 0.0) if found is None else found.value
        if last[0] != _NOBODY and last[2] > now:
            return Keep(None)
        fence, until = max(last[1] + 1, int(now * 1e6)), self._until(self._ttl)
        return Put((holder, fence, until), until + _REMEMBERED_FOR, fence)

    def _replace_ours(self, record: _Record, until: float) -> None:
        def decide(found: Found | None) -> Keep | Put:
            if self._holder == _NOBODY or found is None or found.value[0] != self._holder:
                return Keep(result=False)
            return Put(record, until + _REMEMBERED_FOR, result=True)

        if not self._records._exchange(self._name, decide, None):
            raise LockLostError("the lock was not ours all the time: it took longer than its ttl")

    def _until(self, ttl: Lifetime) -> float:
        until = expires_at(ttl, self._records._now())
        assert until is not None  # noqa: S101  # for the type checker: None was refused
        return until

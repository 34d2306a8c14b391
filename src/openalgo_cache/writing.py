"""The steps below the verbs that write: seal, change atomically, and let nobody keep what is out of date."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeVar

from openalgo_cache.backends.base import Entry
from openalgo_cache.bridge import pause
from openalgo_cache.catalogue import policy_of_locks
from openalgo_cache.codec.envelope import Extras, TagsOfRecord
from openalgo_cache.expiry import expires_at
from openalgo_cache.keys import OF_LOCKS, Key
from openalgo_cache.lost import FAILURES
from openalgo_cache.reading import Reader
from openalgo_cache.sentinels import Sentinel, Ttl
from openalgo_cache.stack import Stack
from openalgo_cache.steps import NOTHING, Found, Keep, Put, Remove, Seen

_log = logging.getLogger("openalgo_cache")

_TRIES_WITHOUT_PAUSE: Final = 3
_MOST_FAILING: Final = 1024

T = TypeVar("T")


class Writer(Reader):
    """A handle that can read and write."""

    __slots__ = ()

    def _lock_records(self) -> Writer:
        """Return the handle of the records of this cache's locks."""
        stack = self._opened()
        with self._lock:
            locks: Writer | None = self._locks
            if locks is None:
                name = self.name + OF_LOCKS
                locks = self._locks = Writer(
                    name, policy_of_locks(self.policy), stack.lock_stack, self._now, audit=self._audit
                )
        return locks

    def _exchange(
        self,
        key: Key,
        decide: Callable[[Found | None], Keep | Put | Remove],
        fallback: Any,
        epoch: bytes | None = None,
        *,
        is_delete: bool = False,
    ) -> Any:
        """Take one atomic step on ``key``: look, decide, and act if nobody came between; else look again."""
        stack = self._opened()
        stored = stack.keyspace.stored(key)
        deletes = (stored,) if is_delete else ()
        tries = 0
        while True:
            seen: Seen = self._swallowing(NOTHING, self._look_up, stack, stored, epoch, deletes=deletes)
            decision = decide(seen.value)
            if isinstance(decision, Keep) or (seen.payload is None and isinstance(decision, Remove)):
                return decision.result
            done = self._change((key,), self._step, stack, stored, seen.payload, decision, deletes=deletes)
            if done is None:
                return fallback
            if done:
                return decision.result
            tries += 1
            if tries > _TRIES_WITHOUT_PAUSE:
                pause(random.random() * 0.0002 * min(tries, 16))  # noqa: S311  # only parts those who collide

    def _step(self, stack: Stack, stored: str, expected: bytes | None, decision: Put | Remove) -> bool:
        new = None
        if isinstance(decision, Put):
            _, expires, _, tags, epoch = decision
            new = self._entry(stack, stored, decision.value, self._now(), expires, tags, epoch)
            if decision.tags:  # their records have to last as long; what was cleared meanwhile stays cleared
                stack.tags.cover(tuple(tag for tag, _ in decision.tags), new.expires_at)
        return stack.backend.compare_and_set(stored, expected, new)

    def _entry(  # noqa: PLR0913  # what an entry consists of
        self,
        stack: Stack,
        stored: str,
        value: Any,
        now: float,
        expires: float | None,
        tags: TagsOfRecord = (),
        epoch: bytes | None = None,
    ) -> Entry:
        """Return the entry of a value: sealed, and kept in the store for as long as it may be of use."""
        if not tags and epoch is None and self.policy.stale_for is None:
            return Entry(stack.codec.encode(stored, value, now, expires), expires)
        kept_until = self._kept_until(expires)
        extras = Extras(None if kept_until == expires else kept_until, epoch, tags)
        return Entry(stack.codec.encode(stored, value, now, expires, extras), kept_until)

    def _kept_until(self, expires: float | None) -> float | None:
        """Return until when a value that expires then may stand in for one that cannot be loaded."""
        stale_for = self.policy.stale_for
        return expires if expires is None or stale_for is None else expires + stale_for

    def _set_on_terms(  # what the entries consist of
        self,
        stack: Stack,
        values: dict[str, Any],
        expires: float | None,
        ids: tuple[bytes, ...],
        epoch: bytes | None,
    ) -> None:
        """Store values with an epoch or tags, whose generations are read before the values are sealed."""
        tags, now = stack.tags.cover(ids, self._kept_until(expires)), self._now()
        stack.backend.set_many(
            {stored: self._entry(stack, stored, value, now, expires, tags, epoch) for stored, value in values.items()}
        )

    def _change(
        self, keys: Iterable[Key] | None, write: Callable[..., T], *arguments: Any, deletes: Collection[str] | None = ()
    ) -> T | None:
        """Call ``write``, which changes ``keys`` (None: all), while nobody can keep what it makes out of date.

        Args:
            keys: The callers' keys.
            write: Does it.
            *arguments: For ``write``.
            deletes: The stored keys that it deletes; None for all.

        Returns:
            What ``write`` returns, or None if the store failed and the cache does not raise.
        """
        stack = self._stack or self._opened()
        near = stack.near
        if self._flights.under_way:
            self._flights.cancel(keys, stack.keyspace.stored)
        if near.keeps:
            near.begin_write(keys)
        try:
            if stack.lost is not None:
                stack.lost.clear_the_way(None if keys is None else [stack.keyspace.stored(key) for key in keys])
            timing = self._counters.writing if deletes == () else self._counters.deleting
            result = timing.call(write, *arguments)
        except FAILURES as error:
            self._failed(error, deletes=deletes)
            return None
        finally:
            if near.keeps:
                near.end_write(keys)
        if self._outage:
            self._recovered()
        return result

    def _expiry(self, ttl: Ttl, now: float) -> float | None:
        policy = self.policy
        expires = expires_at(policy.lifetime if isinstance(ttl, Sentinel) else ttl, now)
        if policy.limit is None:
            return expires
        limit = expires_at(policy.limit, now)
        return limit if expires is None or (limit is not None and limit < expires) else expires

    def _served_stale(self, key: Key, stored: str, error: Exception) -> None:
        """Note that an expired value stands in for one that could not be loaded; the error's words may be secret."""
        self._counters.stale += 1
        if stored not in self._failing:
            if len(self._failing) >= _MOST_FAILING:
                self._failing.clear()
            self._failing.add(stored)
            kind = type(error).__name__
            _log.warning("cache %s: %s cannot be loaded (%s): it stays as it was", self.name, self.shown(key), kind)

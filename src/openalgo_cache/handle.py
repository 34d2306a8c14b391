"""The steps below the verbs: open the stack, read and verify, change atomically, bear a failing store.

A handle is the only place that may swallow a failure of the store, and each verb names what it returns instead.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, TypeVar

from openalgo_cache.backends.base import Entry, SupportsScan
from openalgo_cache.bridge import pause
from openalgo_cache.catalogue import Durability, Policy, Sealing, policy_of_locks
from openalgo_cache.clock import Clock
from openalgo_cache.codec.codec import Terms
from openalgo_cache.codec.envelope import Extras, TagsOfRecord
from openalgo_cache.codec.sealing import ForgedRecordError
from openalgo_cache.coherence.near import NearTier, NoNearTier
from openalgo_cache.errors import BackendUnavailableError, CacheError, InvalidKeyError, UnreadableRecordError
from openalgo_cache.expiry import expires_at
from openalgo_cache.flight import Flights
from openalgo_cache.handles import HANDLES
from openalgo_cache.health import Trouble
from openalgo_cache.keys import OF_LOCKS, Key
from openalgo_cache.locks import make_lock
from openalgo_cache.lost import FAILURES, DeleteLostError
from openalgo_cache.policy.metrics import Counters
from openalgo_cache.sentinels import MISSING, Sentinel, Ttl
from openalgo_cache.stack import Stack
from openalgo_cache.steps import NOTHING, Found, Keep, Put, Remove, Seen

_log = logging.getLogger("openalgo_cache")

_CLOCK_SLACK: Final = 1.0
"""Seconds by which a store may round an expiry up."""
_TRIES_WITHOUT_PAUSE: Final = 3
_MOST_FAILING: Final = 1024

T = TypeVar("T")
K = TypeVar("K", bound=Key)


class Handle:
    """A cache's name and policy, and the stack below it, which is built at the first use.

    Args:
        name: The cache's name.
        policy: What it is like.
        build: Makes its stack; called at the first use.
        clock: Where the time comes from.
        log_reads: Whether every hit and miss of the store is logged at level DEBUG, without key and value.
        show_counts: Whether ``stats`` includes what was counted.
    """

    __slots__ = (
        "__weakref__",
        "_build",
        "_counters",
        "_failing",
        "_flights",
        "_lock",
        "_locks",
        "_log_reads",
        "_near",
        "_now",
        "_outage",
        "_show_counts",
        "_stack",
        "_trouble",
        "name",
        "policy",
    )

    def __init__(  # noqa: PLR0913  # what a handle is made of
        self,
        name: str,
        policy: Policy,
        build: Callable[[], Stack],
        clock: Clock,
        *,
        log_reads: bool = False,
        show_counts: bool = True,
    ) -> None:
        self.name = name
        self.policy = policy
        self._build = build
        self._now = clock
        self._log_reads = log_reads
        self._show_counts = show_counts
        self._stack: Stack | None = None
        self._near: NearTier = NoNearTier()
        self._counters = Counters()
        self._flights = Flights()
        self._lock = make_lock()
        self._outage = False
        self._trouble = Trouble()
        self._failing: set[str] = set()
        self._locks: Handle | None = None
        HANDLES.add(self)

    def close(self) -> None:
        """Let go of the store. The cache opens again when it is used again."""
        with self._lock:
            stack, self._stack, self._near = self._stack, None, NoNearTier()
            locks, self._locks = self._locks, None
            if stack is not None:
                self._counters.near_hits += stack.near.hits()
                stack.backend.close()
        if locks is not None:
            locks.close()

    def shown(self, key: Key) -> str:
        """Return how a key may appear in logs: blinded where the store has it blinded, else its text."""
        keyspace = self._opened().keyspace
        return keyspace.stored(key).removeprefix(keyspace.prefix)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.policy.sealing.value}, {self.policy.durability.value}>"

    # --- down the storeys --------------------------------------------------------------------------------------------

    def _opened(self) -> Stack:
        stack = self._stack
        if stack is None:
            with self._lock:
                if (stack := self._stack) is None:
                    stack = self._stack = self._build()
                    self._near = stack.near
        return stack

    def _lock_records(self) -> Handle:
        """Return the handle of the records of this cache's locks."""
        stack = self._opened()
        with self._lock:
            if (locks := self._locks) is None:
                name = self.name + OF_LOCKS
                locks = self._locks = Handle(name, policy_of_locks(self.policy), stack.lock_stack, self._now)
        return locks

    def _read(self, key: Key, default: Any) -> Any:
        """Read from the store, where there is no near tier: in one piece, since each call would show in the figures."""
        stack = self._stack
        if stack is None:
            stack = self._opened()
            if stack.near.keeps:
                return self._read_near(key, default)
        try:
            stored = stack.keyspace.known.get(key) or stack.keyspace.stored(key)  # type: ignore[arg-type]  # any key
        except TypeError:  # not hashable: the keyspace says so properly
            stored = stack.keyspace.stored(key)
        lost = stack.lost
        try:
            found = None if lost is not None and lost.withholds(stored) else stack.backend.look(stored)
        except BackendUnavailableError as error:
            self._failed(error)
            return default
        if self._outage:
            self._recovered()
        if found is not None:
            payload, kept_until = found
            try:
                value, expires_at, terms = stack.codec.decode(stored, payload)
                # Where the store says the same, it has just looked at the clock.
                if (terms is None and expires_at == kept_until) or _in_force(
                    Entry(*found), expires_at, terms, self._now(), stack.tags.hold
                ):
                    self._counters.hits += 1
                    if self._log_reads:
                        _log.debug("cache %s: hit", self.name)
                    return value
            except UnreadableRecordError as error:
                self._unreadable(stack, stored, payload, error)
            except BackendUnavailableError as error:
                self._failed(error)
        self._counters.misses += 1
        if self._log_reads:
            _log.debug("cache %s: miss", self.name)
        return default

    def _read_near(self, key: Key, default: Any) -> Any:
        """Read from the store, and keep what was read near."""
        stack = self._opened()
        stored = stack.keyspace.stored(key)
        generation = stack.generation()
        try:
            begun = stack.near.begin_fill()
            now = self._now()
            entry = None if stack.withholds(stored) else stack.backend.get(stored)
        except BackendUnavailableError as error:
            self._failed(error)
            return default
        if self._outage:
            self._recovered()
        value = (
            MISSING if entry is None else self._open(stack, key, stored, entry, begun, now, stack.tags.hold, generation)
        )
        if value is MISSING:
            self._counters.misses += 1
            return default
        self._counters.hits += 1
        return value

    def _open(  # noqa: PLR0913  # what was looked for, what was found, and when
        self,
        stack: Stack,
        key: Key,
        stored: str,
        entry: Entry,
        begun: int | None,
        now: float,
        tags_hold: Callable[[TagsOfRecord], bool],
        generation: int = 0,
    ) -> Any:
        """Verify an entry and return its value, or MISSING; keep it near if the read is a dated one."""
        try:
            if begun is None or type(key) is not str:
                value, expires_at, terms = stack.codec.decode(stored, entry.payload)
                # Where the store says the same, it has just looked at the clock.
                if terms is None and expires_at == entry.expires_at:
                    return value
                return value if _in_force(entry, expires_at, terms, now, tags_hold) else MISSING
            (value, expires_at, terms), admitted = stack.codec.admit(stored, entry.payload)
            if admitted is None or not _in_force(entry, expires_at, terms, now, tags_hold):
                return MISSING
            depends_on = (stored,) if terms is None else (stored, *stack.tags.stored_of(terms.tags))
            load = admitted.load if stack.lost is None else stack.lost.guard(admitted.load, generation)
            stack.near.fill(key, depends_on, admitted.held, load, now, expires_at, begun)
            return value
        except UnreadableRecordError as error:
            self._unreadable(stack, stored, entry.payload, error)
        except BackendUnavailableError as error:
            self._failed(error)
        return MISSING

    def _read_many(self, missing: dict[str, K]) -> dict[K, Any]:
        stack = self._opened()
        generation = stack.generation()

        def look() -> tuple[int | None, float, dict[str, Entry]]:
            begun = stack.near.begin_fill() if stack.near.keeps else None
            wanted: Iterable[str] = missing
            if stack.lost is not None:
                wanted = [stored for stored in missing if not stack.withholds(stored)]
            return begun, self._now(), stack.backend.get_many(wanted)

        begun, now, entries = self._swallowing((None, 0.0, {}), look)
        tags_hold = stack.tags.hold_each([entry.payload for entry in entries.values()])
        found = {}
        for stored, entry in entries.items():
            value = self._open(stack, missing[stored], stored, entry, begun, now, tags_hold, generation)
            if value is not MISSING:
                found[missing[stored]] = value
        self._counters.hits += len(found)
        self._counters.misses += len(missing) - len(found)
        return found

    def _peek(self, key: Key) -> Any:
        """Return the value under ``key`` from the near tier, or MISSING: the peephole of ``get`` for loops."""
        near = self._near
        entry = near.entries.get(key) if type(key) is str else None
        if entry is None or near.words[0] != near.token or not entry.filled_at <= self._now() < entry.until:
            return MISSING
        try:
            value = entry.held if entry.load is None else entry.load(entry.held)
        except DeleteLostError:
            return MISSING
        entry.uses += 1
        return value

    def _peek_many(self, keys: Iterable[K]) -> tuple[dict[K, Any], dict[str, K]]:
        """Return what the near tier holds of ``keys``, and the others by their stored form."""
        found: dict[K, Any] = {}
        missing: dict[str, K] = {}
        keyspace = self._opened().keyspace
        if not self._near.keeps:
            return found, {keyspace.stored(key): key for key in keys}
        for key in keys:
            if (value := self._peek(key)) is not MISSING:
                found[key] = value
            else:
                missing[keyspace.stored(key)] = key
        return found, missing

    def _items(self, stack: Stack, backend: SupportsScan, matching: str) -> Iterator[tuple[Key, Any]]:
        scanning, generation = backend.scan(matching), stack.generation()
        while (found := self._swallowing(None, next, scanning, None)) is not None:
            stored, entry = found
            # A lost delete may be carried out by the very question; then what was read before is out of date.
            withheld = stack.withholds(stored)
            if stack.generation() != generation:
                entry = self._swallowing(None, stack.backend.get, stored)
            if withheld or entry is None:
                continue
            try:
                key = stack.keyspace.original(stored)
            except InvalidKeyError:  # nobody can ask for it: it was put there past us
                continue
            value = self._open(stack, key, stored, entry, None, self._now(), stack.tags.hold)
            if value is not MISSING:
                yield key, value

    def _look_up(self, stack: Stack, stored: str) -> Seen:
        """Return what is under a key; what is not in force is in the way of a write all the same."""
        if stack.lost is not None:
            stack.lost.clear_the_way((stored,))
        entry = stack.backend.get(stored)
        if entry is None:
            return NOTHING
        payload, now = entry.payload, self._now()
        try:
            value, expires_at, terms = stack.codec.decode(stored, payload)
            stands = _stands(entry, expires_at, terms, now)
        except UnreadableRecordError as error:
            self._unreadable(stack, stored, None, error)
            return Seen(payload)
        found = Found(value, None if expires_at == math.inf else expires_at)
        if terms is not None:
            if terms.is_lease:
                return Seen(payload, leased=stands)
            if not stack.tags.hold(terms.tags):
                return Seen(payload)
            found = found._replace(tags=terms.tags, stale_until=terms.stale_until)
        if stands:
            return Seen(payload, found)
        return Seen(payload, stale=found if terms is not None and terms.stale_until > now else None)

    def _exchange(
        self, key: Key, decide: Callable[[Found | None], Keep | Put | Remove], fallback: Any, *, is_delete: bool = False
    ) -> Any:
        """Take one atomic step on ``key``: look, decide, and act if nobody came between; else look again."""
        stack = self._opened()
        stored = stack.keyspace.stored(key)
        deletes = (stored,) if is_delete else ()
        tries = 0
        while True:
            seen: Seen = self._swallowing(NOTHING, self._look_up, stack, stored, deletes=deletes)
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
            new = self._entry(stack, stored, decision.value, self._now(), decision.expires_at, decision.tags)
            if decision.tags:  # their records have to last as long; what was cleared meanwhile stays cleared
                stack.tags.cover(tuple(tag for tag, _ in decision.tags), new.expires_at)
        return stack.backend.compare_and_set(stored, expected, new)

    def _entry(  # noqa: PLR0913  # what an entry consists of
        self, stack: Stack, stored: str, value: Any, now: float, expires: float | None, tags: TagsOfRecord = ()
    ) -> Entry:
        """Return the entry of a value: sealed, and kept in the store for as long as it may be of use."""
        kept_until = self._kept_until(expires)
        if not tags and kept_until == expires:
            return Entry(stack.codec.encode(stored, value, now, expires), expires)
        extras = Extras(None if kept_until == expires else kept_until, None, tags)
        return Entry(stack.codec.encode(stored, value, now, expires, extras), kept_until)

    def _kept_until(self, expires: float | None) -> float | None:
        """Return until when a value that expires then may stand in for one that cannot be loaded."""
        stale_for = self.policy.stale_for
        return expires if expires is None or stale_for is None else expires + stale_for

    def _set_tagged(self, stack: Stack, values: dict[str, Any], expires: float | None, ids: tuple[bytes, ...]) -> None:
        """Store values that carry tags; their generations are read before the values are sealed."""
        tags, now = stack.tags.cover(ids, self._kept_until(expires)), self._now()
        entries = {stored: self._entry(stack, stored, value, now, expires, tags) for stored, value in values.items()}
        stack.backend.set_many(entries)

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
        self._flights.cancel(keys, stack.keyspace.stored)
        if near.keeps:
            near.begin_write(keys)
        try:
            if stack.lost is not None:
                stack.lost.clear_the_way(None if keys is None else [stack.keyspace.stored(key) for key in keys])
            result = write(*arguments)
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

    def _unreadable(self, stack: Stack, stored: str, payload: bytes | None, error: UnreadableRecordError) -> None:
        """Deal with an unreadable record: state raises; elsewhere it is a miss, and goes if it is surely ours."""
        self._counters.rejected += 1
        if self.policy.durability is Durability.STATE:
            raise UnreadableRecordError(f"cache {self.name!r}: {error}; the record is kept") from None
        level = logging.WARNING if self._counters.rejected == 1 else logging.DEBUG
        _log.log(level, "cache %s: %s; it counts as a miss (see 'rejected' in the statistics)", self.name, error)
        if payload is not None and isinstance(error, ForgedRecordError):
            self._swallowing(None, stack.backend.compare_and_set, stored, payload, None)

    def _served_stale(self, key: Key, stored: str, error: Exception) -> None:
        """Note that an expired value stands in for one that could not be loaded; the error's words may be secret."""
        self._counters.stale += 1
        if stored not in self._failing:
            if len(self._failing) >= _MOST_FAILING:
                self._failing.clear()
            self._failing.add(stored)
            kind = type(error).__name__
            _log.warning("cache %s: %s cannot be loaded (%s): it stays as it was", self.name, self.shown(key), kind)

    # --- failures of the store ---------------------------------------------------------------------------------------

    def _swallowing(
        self, fallback: Any, verb: Callable[..., Any], *arguments: Any, deletes: Collection[str] | None = ()
    ) -> Any:
        """Call ``verb``; if the store fails and the policy allows it, return ``fallback``."""
        try:
            result = verb(*arguments)
        except FAILURES as error:
            self._failed(error, deletes=deletes)
            return fallback
        if self._outage:
            self._recovered()
        return result

    def _failed(self, error: CacheError, *, deletes: Collection[str] | None = ()) -> None:
        """Count a failure, and raise it where it must not be swallowed.

        Args:
            error: What the store raised.
            deletes: The stored keys that it should have deleted (None: all). A secret that was revoked must not look
                deleted, and is not served until it is.
        """
        self._note_failure(error)
        if deletes != () and self.policy.sealing is Sealing.ENCRYPTED:
            lost = self._opened().lost
            raise error if lost is None else type(error)(f"{error}; {lost.note(deletes, self._now())}") from None
        if self.policy.raises or not isinstance(error, BackendUnavailableError):
            raise error
        if not self._trouble.told and not error.reported:
            self._trouble.told = True
            _log.warning("cache %s goes on without its store: %s", self.name, error)

    def _note_failure(self, error: CacheError) -> None:
        self._counters.errors += 1
        self._trouble.last_error = type(error).__name__
        if not self._outage:
            self._outage = True
            self._trouble.since = self._now()

    def _recovered(self) -> None:
        self._outage = False
        self._trouble.since = None
        if self._trouble.told:
            self._trouble.told = False
            _log.warning(
                "cache %s has its store again, after %d failed operations in all", self.name, self._counters.errors
            )


def _in_force(
    entry: Entry,
    expires_at: float,
    terms: Terms | None,
    now: float,
    tags_hold: Callable[[TagsOfRecord], bool],
) -> bool:
    """Return whether a verified record is a value that may be served. Raise if the store claims more than is sealed."""
    if not _stands(entry, expires_at, terms, now):
        return False
    return terms is None or (not terms.is_lease and tags_hold(terms.tags))


def _stands(entry: Entry, sealed_expiry: float, terms: Terms | None, now: float) -> bool:
    """Return whether an entry has not expired by the word that is sealed in it. Raise if the store claims more."""
    if sealed_expiry > now:
        return True
    kept_until = sealed_expiry if terms is None else terms.stale_until
    if entry.expires_at is None or entry.expires_at > kept_until + _CLOCK_SLACK:
        raise ForgedRecordError("a record was kept beyond the expiry that is sealed in it")
    return False

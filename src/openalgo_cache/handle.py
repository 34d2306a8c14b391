"""The steps below the verbs: open the stack, read and verify, change atomically, bear a failing store.

A handle is the only place that may swallow a failure of the store, and each verb names what it returns instead.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from openalgo_cache.backends.base import Entry, SupportsScan
from openalgo_cache.catalogue import Durability, Policy, Sealing
from openalgo_cache.clock import Clock
from openalgo_cache.codec.codec import Read
from openalgo_cache.codec.sealing import ForgedRecordError
from openalgo_cache.coherence.near import NearTier, NoNearTier
from openalgo_cache.errors import BackendUnavailableError, InvalidKeyError, UnreadableRecordError
from openalgo_cache.expiry import expires_at
from openalgo_cache.flight import Flights
from openalgo_cache.keys import Key
from openalgo_cache.locks import make_lock, sleep
from openalgo_cache.policy.metrics import Counters
from openalgo_cache.sentinels import MISSING, Sentinel, Ttl
from openalgo_cache.stack import Stack
from openalgo_cache.steps import Found, Keep, Put, Remove

_log = logging.getLogger("openalgo_cache")

_CLOCK_SLACK: Final = 1.0
"""Seconds by which a store may round an expiry up."""
_TRIES_WITHOUT_PAUSE: Final = 3

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
        "_flights",
        "_lock",
        "_log_reads",
        "_near",
        "_now",
        "_outage",
        "_show_counts",
        "_stack",
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

    def close(self) -> None:
        """Let go of the store. The cache opens again when it is used again."""
        with self._lock:
            stack, self._stack, self._near = self._stack, None, NoNearTier()
            if stack is not None:
                self._counters.near_hits += stack.near.hits()
                stack.backend.close()

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
        try:
            entry = stack.backend.get(stored)
        except BackendUnavailableError as error:
            self._failed(error)
            return default
        if self._outage:
            self._recovered()
        if entry is not None:
            try:
                value, expires_at, is_lease = stack.codec.decode(stored, entry.payload)
                # Where the store says the same, it has just looked at the clock.
                if not is_lease and (expires_at == entry.expires_at or _stands(entry, expires_at, self._now())):
                    self._counters.hits += 1
                    if self._log_reads:
                        _log.debug("cache %s: hit", self.name)
                    return value
            except UnreadableRecordError as error:
                self._unreadable(stack, stored, entry.payload, error)
        self._counters.misses += 1
        if self._log_reads:
            _log.debug("cache %s: miss", self.name)
        return default

    def _read_near(self, key: Key, default: Any) -> Any:
        """Read from the store, and keep what was read near."""
        stack = self._opened()
        stored = stack.keyspace.stored(key)
        try:
            begun = stack.near.begin_fill()
            now = self._now()
            entry = stack.backend.get(stored)
        except BackendUnavailableError as error:
            self._failed(error)
            return default
        if self._outage:
            self._recovered()
        value = MISSING if entry is None else self._open(stack, key, stored, entry, begun, now)
        if value is MISSING:
            self._counters.misses += 1
            return default
        self._counters.hits += 1
        return value

    def _open(  # noqa: PLR0913  # what was looked for, what was found, and when
        self, stack: Stack, key: Key, stored: str, entry: Entry, begun: int | None, now: float
    ) -> Any:
        """Verify an entry and return its value, or MISSING; keep it near if the read is a dated one."""
        try:
            if begun is None or type(key) is not str:
                value, expires_at, is_lease = stack.codec.decode(stored, entry.payload)
                return value if not is_lease and _stands(entry, expires_at, now) else MISSING
            (value, expires_at, _), admitted = stack.codec.admit(stored, entry.payload)
            if admitted is None or not _stands(entry, expires_at, now):
                return MISSING
            stack.near.fill(key, (stored,), admitted.held, admitted.load, now, expires_at, begun)
            return value
        except UnreadableRecordError as error:
            self._unreadable(stack, stored, entry.payload, error)
        return MISSING

    def _read_many(self, missing: dict[str, K]) -> dict[K, Any]:
        stack = self._opened()

        def look() -> tuple[int | None, float, dict[str, Entry]]:
            begun = stack.near.begin_fill() if stack.near.keeps else None
            return begun, self._now(), stack.backend.get_many(missing)

        begun, now, entries = self._swallowing((None, 0.0, {}), look)
        found = {}
        for stored, entry in entries.items():
            value = self._open(stack, missing[stored], stored, entry, begun, now)
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
        entry.uses += 1
        return entry.held if entry.load is None else entry.load(entry.held)

    def _items(self, stack: Stack, backend: SupportsScan, matching: str) -> Iterator[tuple[Key, Any]]:
        scanning = backend.scan(matching)
        while (found := self._swallowing(None, next, scanning, None)) is not None:
            stored, entry = found
            try:
                key = stack.keyspace.original(stored)
            except InvalidKeyError:  # nobody can ask for it: it was put there past us
                continue
            value = self._open(stack, key, stored, entry, None, self._now())
            if value is not MISSING:
                yield key, value

    def _look_up(self, stack: Stack, stored: str) -> tuple[bytes | None, Read | None]:
        """Return the payload in the store and, if it is a value or a lease in force, what it holds."""
        entry = stack.backend.get(stored)
        if entry is None:
            return None, None
        try:
            read = stack.codec.decode(stored, entry.payload)
            if _stands(entry, read[1], self._now()):
                return entry.payload, read
        except UnreadableRecordError as error:
            self._unreadable(stack, stored, None, error)
        return entry.payload, None

    def _look_up_value(self, key: Key) -> tuple[bytes | None, Found | None]:
        stack = self._opened()
        payload, read = self._look_up(stack, stack.keyspace.stored(key))
        if read is None or read[2]:
            return payload, None
        return payload, Found(read[0], None if read[1] == math.inf else read[1])

    def _exchange(
        self, key: Key, decide: Callable[[Found | None], Keep | Put | Remove], fallback: Any, *, deletes: bool = False
    ) -> Any:
        """Take one atomic step on ``key``: look, decide, and act if nobody came between; else look again."""
        stack = self._opened()
        stored = stack.keyspace.stored(key)
        tries = 0
        while True:
            payload, read = self._swallowing((None, None), self._look_up_value, key, deletes=deletes)
            decision = decide(read)
            if isinstance(decision, Keep) or (payload is None and isinstance(decision, Remove)):
                return decision.result
            new = None
            if isinstance(decision, Put):
                record = stack.codec.encode(stored, decision.value, self._now(), decision.expires_at)
                new = Entry(record, decision.expires_at)
            done = self._change((key,), stack.backend.compare_and_set, stored, payload, new, deletes=deletes)
            if done is None:
                return fallback
            if done:
                return decision.result
            tries += 1
            if tries > _TRIES_WITHOUT_PAUSE:
                sleep(random.random() * 0.0002 * min(tries, 16))  # noqa: S311  # only parts those who collide

    def _change(
        self, keys: Iterable[Key] | None, write: Callable[..., T], *arguments: Any, deletes: bool = False
    ) -> T | None:
        """Call ``write``, which changes ``keys`` (None: all), while nobody can keep what it makes out of date.

        Returns:
            What ``write`` returns, or None if the store failed and the cache does not raise.
        """
        stack = self._stack or self._opened()
        near = stack.near
        self._flights.cancel(keys, stack.keyspace.stored)
        if near.keeps:
            near.begin_write(keys)
        try:
            result = write(*arguments)
        except BackendUnavailableError as error:
            self._failed(error, must_raise=deletes and self.policy.sealing is Sealing.ENCRYPTED)
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

    # --- failures of the store ---------------------------------------------------------------------------------------

    def _swallowing(self, fallback: Any, verb: Callable[..., Any], *arguments: Any, deletes: bool = False) -> Any:
        """Call ``verb``; if the store fails and the policy allows it, return ``fallback``."""
        try:
            result = verb(*arguments)
        except BackendUnavailableError as error:
            self._failed(error, must_raise=deletes and self.policy.sealing is Sealing.ENCRYPTED)
            return fallback
        if self._outage:
            self._recovered()
        return result

    def _failed(self, error: BackendUnavailableError, *, must_raise: bool = False) -> None:
        self._counters.errors += 1
        if self.policy.raises or must_raise:
            raise error
        if not self._outage:
            self._outage = True
            _log.warning("cache %s goes on without its store: %s", self.name, error)

    def _recovered(self) -> None:
        self._outage = False
        _log.warning(
            "cache %s has its store again, after %d failed operations in all", self.name, self._counters.errors
        )


def _stands(entry: Entry, sealed_expiry: float, now: float) -> bool:
    """Return whether an entry has not expired by the word that is sealed in it. Raise if the store claims more."""
    if sealed_expiry > now:
        return True
    if entry.expires_at is None or entry.expires_at > sealed_expiry + _CLOCK_SLACK:
        raise ForgedRecordError("a record was kept beyond the expiry that is sealed in it")
    return False

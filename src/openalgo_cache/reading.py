"""The steps below the verbs that read: look, verify, and keep near what may be kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from openalgo_cache.backends.base import Entry, SupportsScan
from openalgo_cache.catalogue import LONGEST_LOAD
from openalgo_cache.codec.codec import Terms
from openalgo_cache.codec.envelope import TagsOfRecord
from openalgo_cache.codec.sealing import ForgedRecordError
from openalgo_cache.epochs import Epoch, sealed_form
from openalgo_cache.errors import BackendUnavailableError, InvalidKeyError, UnreadableRecordError
from openalgo_cache.handle import Handle
from openalgo_cache.keys import Key
from openalgo_cache.lost import DeleteLostError
from openalgo_cache.policy.metrics import TIMED
from openalgo_cache.sentinels import MISSING
from openalgo_cache.stack import Stack
from openalgo_cache.steps import NOTHING, Found, Seen

_log = logging.getLogger("openalgo_cache")

_CLOCK_SLACK: Final = 1.0
"""Seconds by which a store may round an expiry up."""

_SKEW: Final = 5.0
"""Seconds by which the clocks of two hosts that share a server may differ."""

K = TypeVar("K", bound=Key)


class Reader(Handle):
    """A handle that can read."""

    __slots__ = ()

    def _read(self, key: Key, default: Any, epoch: Epoch | None) -> Any:  # noqa: C901, PLR0912  # in one piece
        """Read from the store alone: in one piece, since each call would show in the figures.

        So is read where there is no near tier, and what has an epoch, since that is not kept near.
        """
        stack = self._stack
        if stack is None:
            stack = self._opened()
            if epoch is None and stack.near.keeps:
                return self._read_near(key, default)
        named = None if epoch is None else sealed_form(epoch, stack.epoch_secret)
        try:
            stored = stack.keyspace.known.get(key) or stack.keyspace.stored(key)  # type: ignore[arg-type]  # any key
        except TypeError:  # not hashable: the keyspace says so properly
            stored = stack.keyspace.stored(key)
        lost, counters = stack.lost, self._counters
        try:
            if lost is not None and lost.withholds(stored):
                found = None
            elif (counters.hits + counters.misses) % TIMED:
                found = stack.backend.look(stored)
            else:
                found = counters.reading.call(stack.backend.look, stored)
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
                if (terms is None and expires_at == kept_until and named is None) or _in_force(
                    Entry(*found), expires_at, terms, self._now(), stack.tags.hold, named
                ):
                    counters.hits += 1
                    if self._log_reads:
                        _log.debug("cache %s: hit", self.name)
                    return value
            except UnreadableRecordError as error:
                self._unreadable(stack, stored, payload, error)
            except BackendUnavailableError as error:
                self._failed(error)
        counters.misses += 1
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
            entry = None if stack.withholds(stored) else self._counters.reading.call(stack.backend.get, stored)
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
        epoch: bytes | None = None,
    ) -> Any:
        """Verify an entry and return its value, or MISSING; keep it near if the read is a dated one."""
        try:
            if begun is None or type(key) is not str:
                value, expires_at, terms = stack.codec.decode(stored, entry.payload)
                # Where the store says the same, it has just looked at the clock.
                if terms is None and expires_at == entry.expires_at and epoch is None:
                    return value
                return value if _in_force(entry, expires_at, terms, now, tags_hold, epoch) else MISSING
            (value, expires_at, terms), admitted = stack.codec.admit(stored, entry.payload)
            if admitted is None or not _in_force(entry, expires_at, terms, now, tags_hold, epoch):
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

    def _read_many(self, missing: dict[str, K], epoch: bytes | None) -> dict[K, Any]:
        stack = self._opened()
        generation = stack.generation()

        def look() -> tuple[int | None, float, dict[str, Entry]]:
            begun = stack.near.begin_fill() if stack.near.keeps and epoch is None else None
            wanted: Iterable[str] = missing
            if stack.lost is not None:
                wanted = [stored for stored in missing if not stack.withholds(stored)]
            return begun, self._now(), self._counters.reading.call(stack.backend.get_many, wanted)

        begun, now, entries = self._swallowing((None, 0.0, {}), look)
        tags_hold = stack.tags.hold_each([entry.payload for entry in entries.values()])
        found = {}
        for stored, entry in entries.items():
            value = self._open(stack, missing[stored], stored, entry, begun, now, tags_hold, generation, epoch)
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

    def _peek_many(self, keys: Iterable[K], epoch: bytes | None) -> tuple[dict[K, Any], dict[str, K]]:
        """Return what the near tier holds of ``keys``, and the others by their stored form."""
        found: dict[K, Any] = {}
        missing: dict[str, K] = {}
        keyspace = self._opened().keyspace
        if epoch is not None or not self._near.keeps:
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

    def _look_up(self, stack: Stack, stored: str, epoch: bytes | None = None) -> Seen:
        """Return what is under a key; what is not in force is in the way of a write all the same."""
        if stack.lost is not None:
            stack.lost.clear_the_way((stored,))
        entry = self._counters.reading.call(stack.backend.get, stored)
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
                # Nobody believes one that ends later than any does: its holder's clock was ahead, and may be gone.
                return Seen(payload, leased=stands and expires_at < now + LONGEST_LOAD + _SKEW)
            found = found._replace(tags=terms.tags, epoch=terms.epoch, stale_until=terms.stale_until)
        if found.epoch != epoch or not stack.tags.hold(found.tags):
            return Seen(payload)
        if stands:
            return Seen(payload, found)
        return Seen(payload, stale=found if terms is not None and terms.stale_until > now else None)


def _in_force(  # noqa: PLR0913  # what was found, and what it is held against
    entry: Entry,
    expires_at: float,
    terms: Terms | None,
    now: float,
    tags_hold: Callable[[TagsOfRecord], bool],
    epoch: bytes | None,
) -> bool:
    """Return whether a verified record is a value that may be served. Raise if the store claims more than is sealed."""
    if not _stands(entry, expires_at, terms, now):
        return False
    if terms is None:
        return epoch is None
    return not terms.is_lease and terms.epoch == epoch and tags_hold(terms.tags)


def _stands(entry: Entry, sealed_expiry: float, terms: Terms | None, now: float) -> bool:
    """Return whether an entry has not expired by the word that is sealed in it. Raise if the store claims more."""
    if sealed_expiry > now:
        return True
    kept_until = sealed_expiry if terms is None else terms.stale_until
    if entry.expires_at is None or entry.expires_at > kept_until + _CLOCK_SLACK:
        raise ForgedRecordError("a record was kept beyond the expiry that is sealed in it")
    return False

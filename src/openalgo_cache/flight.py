"""Loading a missing value once: single-flight in this process, a lease in the store between processes.

Whoever loads first puts a lease under the key: a record that is no value, lives for a while, and that every reader
takes for a miss. What was loaded replaces exactly that lease. A set, a delete or a clear meanwhile takes the lease
away, and with it the right to store: a value that was revoked while it was loaded does not come back (Nishtala et
al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1).

While a loader fails, an expired value may stand in for what it does not return, where the cache's policy allows it. It
is stored again for a moment, so that not every caller tries the loader anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from openalgo_cache.backends.base import Entry
from openalgo_cache.codec.envelope import Extras, TagsOfRecord
from openalgo_cache.course import LOAD, Course, pauses
from openalgo_cache.epochs import Epoch, sealed_form
from openalgo_cache.errors import AccessDeniedError, BackendUnavailableError
from openalgo_cache.locks import make_lock
from openalgo_cache.steps import NOTHING, Found, Seen

if TYPE_CHECKING:
    from openalgo_cache.keys import Key
    from openalgo_cache.sentinels import Ttl
    from openalgo_cache.writing import Writer

RETRY_SECONDS: Final = 10.0
"""How long an expired value stands in for one that could not be loaded, until the loader is tried again."""


class Flight:
    """A load under way in this process, and what came of it."""

    __slots__ = ("cancelled", "epoch", "error", "landed", "loop", "record")

    def __init__(self, epoch: bytes | None, loop: object | None) -> None:
        self.epoch = epoch  # of what it loads
        self.loop = loop  # on which it is led, if on one
        self.landed = False
        self.cancelled = False
        self.error: Exception | None = None
        self.record: bytes | None = None


class Flights:
    """The loads under way in this process, by stored key (the caller's 1 and True would be one to a dict).

    Attributes:
        under_way: The loads themselves; where there are none, nothing has to be cancelled.
    """

    __slots__ = ("_lock", "_process", "under_way")

    def __init__(self) -> None:
        self._lock = make_lock()
        self._process = -1
        self.under_way: dict[str, Flight] = {}

    def board(self, stored: str, epoch: bytes | None, loop: object | None) -> tuple[Flight, bool]:
        """Return the flight for a key, and whether the caller, on that event loop, has to lead it.

        There is one at a time, whatever its epoch: there is one place in the store for what it brings.
        """
        with self._lock:
            if self._process != os.getpid():  # a forked child waits for its parent's loads at the leases in the store
                self._process = os.getpid()
                self.under_way = {}
            flight = self.under_way.get(stored)
            if flight is not None:
                return flight, False
            flight = self.under_way[stored] = Flight(epoch, loop)
            return flight, True

    def land(self, stored: str, flight: Flight) -> None:
        """End a flight."""
        with self._lock:
            if self.under_way.get(stored) is flight:
                del self.under_way[stored]
        flight.landed = True

    def cancel(self, keys: Iterable[Key] | None, stored: Callable[[Key], str]) -> None:
        """Let nobody board the flights for ``keys`` (None: all) any more, nor those on board take their results.

        Args:
            keys: The caller's keys.
            stored: Returns the stored form of one.
        """
        changed = None if keys is None else [stored(key) for key in keys]
        with self._lock:
            for key in list(self.under_way) if changed is None else changed:
                if (flight := self.under_way.pop(key, None)) is not None:
                    flight.cancelled = True


def course(  # noqa: PLR0913  # what a load consists of
    cache: Writer, key: Key, ttl: Ttl, tags: Iterable[str] = (), epoch: Epoch | None = None, loop: object | None = None
) -> Course[Any]:
    """Yield what to do next until the value is there, and return it.

    Args:
        cache: The cache.
        key: The key.
        ttl: The lifetime of what is loaded.
        tags: The tags that it carries.
        epoch: The epoch that it is stored with, and that has to be of what is there already.
        loop: The event loop of an asyncio caller, who awaits what is yielded.

    Yields:
        Seconds to wait, or LOAD: then send the loaded value, or throw what the loader raised.
    """
    stack = cache._opened()
    stored, ids, named = stack.keyspace.stored(key), stack.tags.ids(tags), sealed_form(epoch, stack.epoch_secret)
    waited = False
    while True:
        flight, leads = cache._flights.board(stored, named, loop)
        if leads:
            return (yield from _lead(cache, key, stored, flight, ttl, ids))
        if waited and flight.epoch != named:
            return (yield LOAD)  # others' epochs came first twice: so that nobody waits for ever
        for pause in pauses():
            if flight.landed:
                break
            if loop is None and flight.loop is not None and flight.loop is _running_loop():
                return (yield LOAD)  # it is led by a task of the loop that the caller keeps from running
            yield pause
        if flight.epoch != named:
            waited = True
            continue
        if flight.cancelled:
            continue
        if flight.error is not None:
            raise flight.error
        if flight.record is not None:
            stack = cache._opened()
            value, _, terms = stack.codec.decode(stored, flight.record)
            if terms is None or not terms.tags or cache._swallowing(False, stack.tags.hold, terms.tags):
                return value


def _running_loop() -> object | None:
    import asyncio  # noqa: PLC0415  # slow to import, and there already where this is asked

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Ground(NamedTuple):
    """What a leader found: a value, or nothing and the right to load one, if the store could give it.

    Attributes:
        seen: What was under the key.
        lease: Our lease; None if somebody else loads, or the store fails.
        tags: The generations of the tags that the value is to carry, from before it is loaded.
    """

    seen: Seen
    lease: bytes | None = None
    tags: TagsOfRecord = ()


def _lead(  # noqa: PLR0913  # what a load consists of
    cache: Writer, key: Key, stored: str, flight: Flight, ttl: Ttl, ids: tuple[bytes, ...]
) -> Course[Any]:
    lease: bytes | None = None
    try:
        ground = _Ground(NOTHING)
        for pause in pauses():
            ground = _reserve(cache, key, stored, flight.epoch, ttl, ids)
            if ground.seen.value is not None:
                return ground.seen.value.value
            if ground.lease is not None or cache._outage:
                break
            yield pause
        lease = ground.lease
        try:
            value = yield LOAD
        except Exception as error:
            stand_in = _fall_back(cache, key, stored, flight, ground)
            if stand_in is None or isinstance(error, AccessDeniedError):
                raise
            cache._served_stale(key, stored, error)
            return stand_in.value
        if cache._failing:
            cache._failing.discard(stored)
        now = cache._now()
        expires = cache._expiry(ttl, now)
        entry = cache._entry(cache._opened(), stored, value, now, expires, ground.tags, flight.epoch)
        flight.record = entry.payload
        if lease is not None and _settle(cache, key, stored, lease, entry) is False:
            flight.cancelled = True  # whoever came on board after that change must not get what was loaded before it
        return value
    except BaseException as error:
        if isinstance(error, Exception):
            flight.error = error
        if lease is not None:
            _settle(cache, key, stored, lease, None)
        raise
    finally:
        cache._flights.land(stored, flight)


def _reserve(  # noqa: PLR0913  # what a load consists of
    cache: Writer, key: Key, stored: str, epoch: bytes | None, ttl: Ttl, ids: tuple[bytes, ...]
) -> _Ground:
    """Look, and put a lease where nothing is."""
    stack, now = cache._opened(), cache._now()
    ends = now + cache.policy.load_within
    lease = stack.codec.encode_lease(stored, now, ends)
    try:
        seen = cache._look_up(stack, stored, epoch)
        if seen.value is not None or seen.leased:
            return _Ground(seen)
        # The tags come first: if one of them is cleared while the value is loaded, the value is not to be served.
        tags = stack.tags.cover(ids, cache._kept_until(cache._expiry(ttl, now)))
        reserved = stack.backend.compare_and_set(stored, seen.payload, Entry(lease, ends))
    except BackendUnavailableError as error:
        cache._failed(error)
        return _Ground(NOTHING)
    except Exception:
        raise
    except BaseException:  # a cancellation, or Ctrl-C: the lease may have been put there all the same
        _settle(cache, key, stored, lease, None)
        raise
    return _Ground(seen, lease if reserved else None, tags)


def _fall_back(cache: Writer, key: Key, stored: str, flight: Flight, ground: _Ground) -> Found | None:
    """Store the expired value again for a while; return None if there is none, or it was revoked meanwhile."""
    stack, now, stale = cache._opened(), cache._now(), ground.seen.stale
    if cache.policy.stale_for is None or stale is None or ground.lease is None:
        return None
    if stale.stale_until is None or stale.stale_until <= now:
        return None
    if not cache._swallowing(False, stack.tags.hold, stale.tags):
        return None
    expires = min(now + RETRY_SECONDS, stale.stale_until)
    extras = Extras(stale.stale_until, flight.epoch, stale.tags)
    entry = Entry(stack.codec.encode(stored, stale.value, now, expires, extras), stale.stale_until)
    if not _settle(cache, key, stored, ground.lease, entry):
        return None
    flight.record = entry.payload
    return stale


def _settle(cache: Writer, key: Key, stored: str, lease: bytes, new: Entry | None) -> bool | None:
    """Replace our lease.

    Returns:
        False if somebody has taken it away by a change of the key; None if the store fails, so that nobody knows.
    """
    stack = cache._opened()
    near = stack.near
    near.begin_write((key,))
    try:
        if stack.lost is not None:
            stack.lost.clear_the_way((stored,))
        timing = cache._counters.deleting if new is None else cache._counters.writing
        stood = timing.call(stack.backend.compare_and_set, stored, lease, new)
        cache._counters.sets += stood and new is not None
        return stood
    except BackendUnavailableError as error:
        if new is not None:  # a lease that cannot be removed expires by itself
            cache._failed(error)
        return None
    finally:
        near.end_write((key,))

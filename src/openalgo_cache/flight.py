"""Loading a missing value once: single-flight in this process, a lease in the store between processes.

Whoever loads first puts a lease under the key: a record that is no value, lives for a while, and that every reader
takes for a miss. What was loaded replaces exactly that lease. A set, a delete or a clear meanwhile takes the lease
away, and with it the right to store: a value that was revoked while it was loaded does not come back (Nishtala et
al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1).

The course of events is written once, as a generator that says when to wait and when to load; plain and async callers
drive it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from openalgo_cache.backends.base import Entry
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.locks import make_lock

if TYPE_CHECKING:
    from openalgo_cache.handle import Handle
    from openalgo_cache.keys import Key
    from openalgo_cache.sentinels import Ttl
    from openalgo_cache.stack import Stack

LEASE_SECONDS: Final = 30.0
"""How long others wait for a loader before one of them takes over."""

_FIRST_PAUSE: Final = 0.000_5
_LONGEST_PAUSE: Final = 0.02

LOAD: Final = -1.0
"""What a course yields when it is time to load; anything else is seconds to wait."""

T = TypeVar("T")
Course = Generator[float, Any, Any]


class Flight:
    """A load under way in this process, and what came of it."""

    __slots__ = ("cancelled", "error", "landed", "record")

    def __init__(self) -> None:
        self.landed = False
        self.cancelled = False
        self.error: Exception | None = None
        self.record: bytes | None = None


class Flights:
    """The loads under way in this process, by stored key (the caller's 1 and True would be one to a dict)."""

    __slots__ = ("_lock", "_process", "_under_way")

    def __init__(self) -> None:
        self._lock = make_lock()
        self._process = -1
        self._under_way: dict[str, Flight] = {}

    def board(self, stored: str) -> tuple[Flight, bool]:
        """Return the flight for a key, and whether the caller has to lead it."""
        with self._lock:
            if self._process != os.getpid():  # a forked child waits for its parent's loads at the leases in the store
                self._process = os.getpid()
                self._under_way = {}
            flight = self._under_way.get(stored)
            if flight is not None:
                return flight, False
            flight = self._under_way[stored] = Flight()
            return flight, True

    def land(self, stored: str, flight: Flight) -> None:
        """End a flight."""
        with self._lock:
            if self._under_way.get(stored) is flight:
                del self._under_way[stored]
        flight.landed = True

    def cancel(self, keys: Iterable[Key] | None, stored: Callable[[Key], str]) -> None:
        """Let nobody board the flights for ``keys`` (None: all) any more, nor those on board take their results.

        Args:
            keys: The caller's keys.
            stored: Returns the stored form of one.
        """
        if not self._under_way:
            return
        changed = None if keys is None else [stored(key) for key in keys]
        with self._lock:
            for key in list(self._under_way) if changed is None else changed:
                if (flight := self._under_way.pop(key, None)) is not None:
                    flight.cancelled = True


def course(cache: Handle, key: Key, ttl: Ttl) -> Course:
    """Yield what to do next until the value is there, and return it.

    Yields:
        Seconds to wait, or LOAD: then send the loaded value, or throw what the loader raised.
    """
    stored = cache._opened().keyspace.stored(key)
    while True:
        flight, leads = cache._flights.board(stored)
        if leads:
            return (yield from _lead(cache, key, stored, flight, ttl))
        pause = _FIRST_PAUSE
        while not flight.landed:
            yield pause
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        if flight.cancelled:
            continue
        if flight.error is not None:
            raise flight.error
        if flight.record is not None:
            return cache._opened().codec.decode(stored, flight.record)[0]


def fly(steps: Course, load: Callable[[], T]) -> T:
    """Drive a course, waiting with ``time.sleep`` (which eventlet and gevent patch, so that greenlets make way)."""
    try:
        step = next(steps)
        while True:
            if step != LOAD:
                time.sleep(step)
                step = next(steps)
                continue
            try:
                value = load()
            except BaseException as error:  # noqa: BLE001  # passed on to the course, which raises it
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what load returned, here or elsewhere


async def fly_async(steps: Course, load: Callable[[], Awaitable[T]]) -> T:
    """Drive a course, awaiting."""
    import asyncio  # noqa: PLC0415  # slow to import, and there already where this runs

    try:
        step = next(steps)
        while True:
            if step != LOAD:
                await asyncio.sleep(step)
                step = next(steps)
                continue
            try:
                value = await load()
            except BaseException as error:  # noqa: BLE001  # passed on to the course, which raises it
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what load returned, here or elsewhere


def _lead(cache: Handle, key: Key, stored: str, flight: Flight, ttl: Ttl) -> Course:
    stack = cache._opened()
    lease: bytes | None = None
    try:
        pause = _FIRST_PAUSE
        while True:
            found, lease = _reserve(cache, stack, stored)
            if found is not None:
                return stack.codec.decode(stored, found)[0]
            if lease is not None or cache._outage:
                break
            yield pause
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        value = yield LOAD
        now = cache._now()
        expires = cache._expiry(ttl, now)
        flight.record = stack.codec.encode(stored, value, now, expires)
        if lease is not None and not _settle(cache, key, stored, lease, Entry(flight.record, expires)):
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


def _reserve(cache: Handle, stack: Stack, stored: str) -> tuple[bytes | None, bytes | None]:
    """Return (a value's record, None), (None, our lease), or (None, None) if somebody else loads or the store fails."""
    now = cache._now()
    lease = stack.codec.encode_lease(stored, now, now + LEASE_SECONDS)
    try:
        payload, read = cache._look_up(stack, stored)
        if read is not None:
            return (None, None) if read[2] else (payload, None)
        reserved = stack.backend.compare_and_set(stored, payload, Entry(lease, now + LEASE_SECONDS))
    except BackendUnavailableError as error:
        cache._failed(error)
        return None, None
    return None, lease if reserved else None


def _settle(cache: Handle, key: Key, stored: str, lease: bytes, new: Entry | None) -> bool:
    """Replace our lease; return False if somebody has taken it away by a change of the key."""
    stack = cache._opened()
    near = stack.near
    near.begin_write((key,))
    try:
        stood = stack.backend.compare_and_set(stored, lease, new)
        cache._counters.sets += stood and new is not None
        return stood
    except BackendUnavailableError as error:
        if new is not None:  # a lease that cannot be removed expires by itself
            cache._failed(error)
        return True
    finally:
        near.end_write((key,))

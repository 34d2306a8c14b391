"""The verbs of a backend in the commands of Redis, which Valkey understands as well.

A value is the expiry (8 bytes, a big-endian double; infinity for never) and the payload. The server gets a lifetime
besides, so that it can free the memory; which entries live is decided by the expiry and our own clock alone.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from openalgo_cache import bridge
from openalgo_cache.backends.base import CacheBackend, Entry, InvalidationListener, Request
from openalgo_cache.backends.invalidation.streams import Subscriptions
from openalgo_cache.backends.resp.client import acquire, release
from openalgo_cache.locks import is_patched
from openalgo_cache.workers import SHARED

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.breaker import OutageListener
    from openalgo_cache.backends.resp.driver import Driver
    from openalgo_cache.backends.resp.node import Command
    from openalgo_cache.clock import Clock
    from openalgo_cache.settings import Server
    from openalgo_cache.settings.server import ServerName

T = TypeVar("T")

_EXPIRY: Final = struct.Struct(">d")
_HEAD: Final = _EXPIRY.size
_expiry_of = _EXPIRY.unpack_from
_entry = partial(tuple.__new__, Entry)
"""Makes an entry without the call that its class would make of it."""
_NEVER: Final = _EXPIRY.pack(math.inf)
_STRANGE: Final = (struct.error, TypeError)
"""What reading an expiry raises where the value is not of our making: too short, or no bytes at all."""
_LONGEST: Final = 10**14
"""Milliseconds, about 3,000 years: more than that overflows in the server."""
_CHUNK: Final = 500
_SCANNED: Final = 64
"""Values that a scan reads at a time: those that it has not yielded yet are in memory."""


class RespBackend(CacheBackend):
    """Keeps one cache on a server that every process and host can share.

    Args:
        server: Where it is.
        prefix: What every stored key of the cache begins with.
        clock: Where the time comes from.
        subkey: See Request.
        durable: Whether a write has to reach a replica, where there are replicas, before it counts.

    Attributes:
        driver: The client library.
        name: Which variables it reads.
    """

    driver: ClassVar[Driver]
    name: ClassVar[ServerName]

    def __init__(
        self, server: Server, prefix: str, clock: Clock, subkey: Callable[[str], bytes], *, durable: bool = False
    ) -> None:
        self._server = server
        self._prefix = prefix
        self._now = clock
        self._client = acquire(self.driver, server)
        self._call = self._client.call
        self._write = self._client.write if durable else self._client.call
        self._durable = durable
        self._subscriptions = Subscriptions(server, prefix, lambda: subkey("announcements"))
        self._closed = False

    @classmethod
    def create(cls, request: Request) -> Self:  # noqa: D102  # see CacheBackend
        server = request.settings.server(cls.name)
        return cls(server, request.prefix, request.clock, request.subkey, durable=request.durable)

    async def on_loop(self, verb: Callable[..., T], *arguments: Any) -> T:
        """Call ``verb`` on the running loop, in a greenlet; without greenlet, or where it is taken, in a thread."""
        if is_patched() or bridge.find_greenlet() is None:
            return await SHARED.run(verb, *arguments)
        return await bridge.run(verb, *arguments)

    def listen(self, listener: OutageListener) -> None:
        """Tell ``listener`` when the server goes and comes."""
        self._client.listeners.append(listener)

    def subscribe(self, listener: InvalidationListener) -> None:
        """See SupportsInvalidation."""
        self._subscriptions.add(listener)

    def get(self, key: str) -> Entry | None:  # noqa: D102
        value = self._call(key, "GET", key)
        return None if value is None else _live(value, self._now())

    def exists(self, key: str) -> bool:  # noqa: D102
        return _is_live(self._call(key, *_look(key)), self._now())

    def set(self, key: str, entry: Entry) -> None:  # noqa: D102
        try:
            self._write(key, *_put(key, entry, self._now()))
        finally:
            self._announce((key,))

    def delete(self, key: str) -> bool:  # noqa: D102
        return self.delete_many((key,)) == 1

    def get_many(self, keys: Iterable[str]) -> dict[str, Entry]:  # noqa: D102
        wanted = list(dict.fromkeys(keys))
        now = self._now()
        found = {}
        for key, value in zip(wanted, self._values(wanted), strict=True):
            if value is not None:  # then what ``_live`` does, without its call
                try:
                    (expires_at,) = _expiry_of(value)
                except _STRANGE:
                    continue
                if expires_at > now:
                    found[key] = _entry((value[_HEAD:], None if expires_at == math.inf else expires_at))
        return found

    def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store all of ``entries``; without a transaction, since their keys may lie on several nodes."""
        if self._durable:
            for key, entry in entries.items():
                self.set(key, entry)
            return
        now = self._now()
        try:
            self._client.calls((key, _put(key, entry, now)) for key, entry in entries.items())
        finally:
            self._announce(entries)

    def delete_many(self, keys: Iterable[str]) -> int:  # noqa: D102
        now = self._now()
        wanted = list(keys)
        if self._durable:
            return sum(self._delete_replicated(key) for key in wanted)
        commands: list[tuple[str, Command]] = []
        for key in wanted:
            commands += ((key, _look(key)), (key, ("UNLINK", key)))
        try:
            replies = iter(self._client.calls(commands))
        finally:
            self._announce(wanted)
        # What came in between the two was alive when it was removed.
        return sum(
            removed == 1 and (not seen or _is_live(seen, now)) for seen, removed in zip(replies, replies, strict=True)
        )

    def clear(self) -> int:  # noqa: D102
        return sum(self.delete_many(keys) for keys in self._client.scan(self._prefix + "*"))

    def size(self) -> int:  # noqa: D102
        now = self._now()
        return sum(
            sum(_is_live(seen, now) for seen in self._client.calls((key, _look(key)) for key in keys))
            for keys in self._client.scan(self._prefix + "*")
        )

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield the live entries whose key begins with ``prefix``, once each."""
        for keys in self._client.scan((prefix or self._prefix) + "*"):
            for chunk in _chunks(keys, _SCANNED):
                yield from self.get_many(chunk).items()

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:  # noqa: D102
        try:
            return self._compare_and_set(key, expected, new)
        finally:
            self._announce((key,))

    def _compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        now = self._now()
        if expected is None and new is not None:
            added = self._write(key, *_put(key, new, now), "NX", repeatable=False)
            if added is not None:
                return True

        def decide(value: bytes | None) -> tuple[Command, ...] | None:
            entry = None if value is None else _live(value, now)
            if (None if entry is None else entry.payload) != expected:
                return None
            return (("UNLINK", key),) if new is None else (_put(key, new, now),)

        return self._client.exchange(key, decide, replicate=self._durable)

    def close(self) -> None:  # noqa: D102
        if not self._closed:
            self._closed = True
            self._subscriptions.close()
            release(self.driver, self._server, self._client)

    def _announce(self, keys: Iterable[str]) -> None:
        """Let those know to whom the server can't tell it; of state nobody keeps copies."""
        if not self._durable:
            self._subscriptions.changed(keys, self._call)

    def _delete_replicated(self, key: str) -> bool:
        seen = self._call(key, *_look(key))
        return self._write(key, "UNLINK", key) == 1 and (not seen or _is_live(seen, self._now()))

    def _values(self, keys: list[str]) -> list[bytes | None]:
        if self._client.scattered:
            return self._client.calls((key, ("GET", key)) for key in keys)
        values: list[bytes | None] = []
        for chunk in _chunks(keys, _CHUNK):
            found = self._call(chunk[0], "MGET", *chunk)
            if not isinstance(found, list) or len(found) != len(chunk):
                raise self._client.misunderstood(chunk[0])
            values += found
        return values


def _put(key: str, entry: Entry, now: float) -> tuple[Any, ...]:
    """Return the command that stores an entry. The server's lifetime is relative, so that its clock does not matter."""
    if entry.expires_at is None:
        return "SET", key, _NEVER + entry.payload
    lifetime = min(max(1, math.ceil((entry.expires_at - now) * 1000)), _LONGEST)
    return "SET", key, _EXPIRY.pack(entry.expires_at) + entry.payload, "PX", lifetime


def _look(key: str) -> tuple[Any, ...]:
    """Return the command that reads an entry's expiry alone."""
    return "GETRANGE", key, 0, _HEAD - 1


def _is_live(value: bytes, now: float) -> bool:
    try:
        return bool(_expiry_of(value)[0] > now)
    except _STRANGE:
        return False


def _live(value: bytes, now: float) -> Entry | None:
    try:
        (expires_at,) = _expiry_of(value)
    except _STRANGE:
        return None
    if not expires_at > now:
        return None
    return Entry(value[_HEAD:], None if expires_at == math.inf else expires_at)


def _chunks(keys: list[str], size: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while chunk := list(islice(rest, size)):
        yield chunk

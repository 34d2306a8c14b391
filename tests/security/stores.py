"""The stores themselves, as somebody who may write to them sees them: past the cache, over a connection of his own."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import apsw

from openalgo_cache import CacheManager
from openalgo_cache.backends.base import CacheBackend, Entry
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.clock import Clock, system_clock
from tests.stacks import manager

BACKENDS: Final = ("memory", "sqlite", "redis", "valkey")
_EXPIRY: Final = struct.Struct(">d")


class Store(Protocol):
    """One cache's store."""

    def read(self, stored: str) -> bytes | None:
        """Return the record under a stored key."""

    def write(self, stored: str, record: bytes, expires_at: float | None = None) -> None:
        """Put a record there, with the expiry that the store goes by."""


class InMemory:
    """The dictionary of the process."""

    def __init__(self, backend: CacheBackend) -> None:
        self._backend = backend

    def read(self, stored: str) -> bytes | None:
        """See Store."""
        entry = self._backend.get(stored)
        return None if entry is None else entry.payload

    def write(self, stored: str, record: bytes, expires_at: float | None = None) -> None:
        """See Store."""
        self._backend.set(stored, Entry(record, expires_at))


class InFile:
    """A file of SQLite's."""

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path))
        self.connection.set_busy_timeout(5000)
        self.connection.pragma("synchronous", 0)

    def read(self, stored: str) -> bytes | None:
        """See Store."""
        found: bytes | None = self.connection.execute("SELECT value FROM cache WHERE key = ?", (stored,)).get
        return found

    def write(self, stored: str, record: bytes, expires_at: float | None = None) -> None:
        """See Store."""
        self.connection.execute(
            "INSERT OR REPLACE INTO cache (key, expires_at, created_at, value) VALUES (?,?,0,?)",
            (stored, expires_at, record),
        )


class OnServer:
    """A server, on which the expiry stands before the record."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def read(self, stored: str) -> bytes | None:
        """See Store."""
        found: bytes | None = self.client.get(stored)
        return None if found is None else found[_EXPIRY.size :]

    def write(self, stored: str, record: bytes, expires_at: float | None = None) -> None:
        """See Store."""
        self.client.set(stored, _EXPIRY.pack(math.inf if expires_at is None else expires_at) + record)


@contextmanager
def store_of(backend: CacheBackend, client: Any) -> Iterator[Store]:
    """Yield the store behind a backend."""
    if isinstance(backend, SQLiteBackend):
        in_file = InFile(backend.path)
        with closing(in_file.connection):
            yield in_file
    elif client is not None:
        yield OnServer(client)
    else:
        yield InMemory(backend)


class Ground:
    """A backend, and managers on it, which are installations, or more processes of one.

    Args:
        name: The backend's name.
        folder: Where the files of installations lie.
        server: The server of that backend, if it needs one.
    """

    def __init__(self, name: str, folder: Path, server: Any) -> None:
        self.name = name
        self._folder = folder
        self._server = server
        self._client = None if server is None else server.client()
        self._opened: list[CacheManager] = []
        if self._client is not None:
            self._client.flushall()

    def house(self, place: str = "here", clock: Clock = system_clock, **settings: Any) -> CacheManager:
        """Return a manager; those of one place have one key ring."""
        (folder := self._folder / place).mkdir(exist_ok=True)
        where = {} if self._server is None else self._server.settings()
        house = manager(folder, clock, self.name, **where, **{"cache_near_enabled": False, **settings})
        self._opened.append(house)
        return house

    def store(self, backend: CacheBackend) -> Any:
        """Return the store behind a backend, in a ``with`` statement."""
        return store_of(backend, self._client)

    def close(self) -> None:
        """Close everything."""
        for house in self._opened:
            house.close()
        if self._client is not None:
            self._client.close()


def ground_on(name: str, folder: Path, server: Callable[[str], Any]) -> Ground:
    """Return a ground; ``server`` returns the running server of a brand."""
    return Ground(name, folder, server(f"{name}_server") if name in {"redis", "valkey"} else None)

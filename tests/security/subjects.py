"""Who is attacked: the proposal's model and our own cache, each through its public face, over stores that are real."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import apsw

from openalgo_cache import CacheManager, Settings
from openalgo_cache.cache import Cache
from tests.security.proposal.manager import SecureCacheManager
from tests.security.proposal.wrappers import SignedCache
from tests.servers.process import ServerProcess


class Subject(Protocol):
    """One of the two, as an installation that can be restarted, and its store, which somebody else can write to."""

    name: str
    house: Any

    @property
    def is_proposal(self) -> bool:
        """Whether it is the model of the proposal."""

    def cache(self, name: str, **options: Any) -> Any:
        """Return a cache."""

    def restart(self) -> None:
        """Let a new process take the place of the present one."""

    def read(self, name: str, key: str) -> bytes | None:
        """Return what the store holds for a key of a cache."""

    def plant(self, name: str, key: str, record: bytes) -> None:
        """Put something else there, which never expires as far as the store knows."""

    def prolong(self, name: str, key: str) -> None:
        """Let the store keep what is there for ever."""

    def contents(self) -> bytes:
        """Return all that the store holds, as somebody who copied it would see it."""

    def close(self) -> None:
        """End it."""


class _Installation:
    """What both have in common, wherever they store."""

    def __init__(self, name: str, folder: Path, now: Callable[[], float] | None, **settings: Any) -> None:
        self.name = name
        self.folder = folder / name
        self.db = self.folder / "db"
        self.db.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clock: dict[str, Any] = {} if now is None else {"clock": now}
        self._settings = settings
        self.house = self._start()

    @property
    def is_proposal(self) -> bool:
        return self.name == "proposal"

    def _start(self) -> Any:
        if self.is_proposal:
            environment = {key.upper(): str(value) for key, value in self._settings.items()}
            return SecureCacheManager(self.db, environment, *self._clock.values())
        return CacheManager(Settings(base_folder=self.folder, **self._settings), **self._clock)

    def cache(self, name: str, **options: Any) -> Any:
        return self.house.get_cache(name, **options)

    def restart(self) -> None:
        self.house.close()
        self.house = self._start()

    def close(self) -> None:
        self.house.close()

    def _stored(self, name: str, key: str) -> str:
        cache = self.cache(name)
        if isinstance(cache, Cache):
            return cache._opened().keyspace.stored(key)
        return key if self._settings["cache_backend"] == "sqlite" else f"openalgo:{name}:{key}"


def signed(subject: Any, name: str = "quotes") -> Any:
    """Return a cache whose values are signed, not encrypted."""
    cache = subject.cache(name)
    return SignedCache(cache, b"a secret of the application") if subject.is_proposal else cache


class OnFile(_Installation):
    """On SQLite.

    Args:
        name: ``proposal`` or ``ours``.
        folder: An existing folder.
        now: Where the time comes from.
        **settings: Further ones, by their attributes.
    """

    def __init__(self, name: str, folder: Path, now: Callable[[], float] | None = None, **settings: Any) -> None:
        super().__init__(name, folder, now, cache_backend="sqlite", **settings)

    def path(self, name: str) -> Path:
        """Return the file of a cache."""
        return self.db / f"cache_{name}.db"

    def read(self, name: str, key: str) -> bytes | None:
        """See Subject."""
        with self._opened(name) as connection:
            row = connection.execute("SELECT value FROM cache WHERE key = ?", (self._stored(name, key),)).fetchone()
            return None if row is None else bytes(row[0])

    def plant(self, name: str, key: str, record: bytes) -> None:
        """See Subject."""
        row = (self._stored(name, key), record, None, 0.0)
        with self._opened(name) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO cache (key, value, expires_at, created_at) VALUES (?,?,?,?)", row
            )

    def prolong(self, name: str, key: str) -> None:
        """See Subject."""
        with self._opened(name) as connection:
            connection.execute("UPDATE cache SET expires_at = NULL WHERE key = ?", (self._stored(name, key),))

    def contents(self) -> bytes:
        """See Subject."""
        return b"".join(path.read_bytes() for path in sorted(self.db.iterdir()) if path.is_file())

    def _opened(self, name: str) -> closing[Any]:
        """Return a connection of the attacker's.

        It is of the library that the subject uses: of two copies of SQLite in one process each drops the other's locks.
        """
        self.cache(name).size()  # the file is there
        if self.is_proposal:
            return closing(sqlite3.connect(self.path(name), isolation_level=None, timeout=5))
        connection = apsw.Connection(str(self.path(name)))
        connection.set_busy_timeout(5000)
        return closing(connection)


class OnServer(_Installation):
    """On a Redis.

    Args:
        name: ``proposal`` or ``ours``.
        folder: An existing folder.
        server: The server.
        now: Where the time comes from.
        at: The port to reach it at, if not its own.
        **settings: Further ones, by their attributes.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        server: ServerProcess,
        now: Callable[[], float] | None = None,
        at: int | None = None,
        **settings: Any,
    ) -> None:
        self.server = server
        there = server.settings()
        if at is not None:  # a line that may be cut
            there |= {"redis_port": at, "redis_operation_timeout": 0.25}
        super().__init__(name, folder, now, cache_backend="redis", **there, **settings)

    def read(self, name: str, key: str) -> bytes | None:
        """See Subject."""
        with self.server.client() as client:
            found: bytes | None = client.get(self._stored(name, key))
            return found

    def plant(self, name: str, key: str, record: bytes) -> None:
        """See Subject."""
        with self.server.client() as client:
            client.set(self._stored(name, key), record)

    def prolong(self, name: str, key: str) -> None:
        """See Subject."""
        stored = self._stored(name, key)
        with self.server.client() as client:
            client.persist(stored)
            if not self.is_proposal:  # the expiry that readers look at stands before the record
                client.setrange(stored, 0, struct.pack(">d", math.inf))

    def contents(self) -> bytes:
        """See Subject."""
        with self.server.client() as client:
            keys: list[bytes] = list(client.scan_iter())
            return b"\n".join(key + b" " + (client.get(key) or b"") for key in keys)

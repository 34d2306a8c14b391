"""The stores: "Cache Backend Interface", "Backend Implementations", "SQLite Security"."""

from __future__ import annotations

import os
import pickle
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class CacheBackend(Protocol):
    """The interface of a store, or of what is wrapped around one."""

    def get(self, key: str) -> Any:
        """Return a value, or None."""

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value for so many seconds."""

    def delete(self, key: str) -> None:
        """Delete a key."""

    def clear(self) -> None:
        """Delete all."""

    def exists(self, key: str) -> bool:
        """Return whether a key is there."""

    def size(self) -> int:
        """Count the entries."""


class SQLiteBackend:
    """A file with the proposal's table; values are pickled."""

    def __init__(self, db_path: str, default_ttl: float = 3600, now: Callable[[], float] = time.time) -> None:
        Path(db_path).parent.mkdir(parents=True, exist_ok=True)
        self._default_ttl = default_ttl
        self._now = now
        self._connection = sqlite3.connect(db_path, check_same_thread=False, isolation_level=None, timeout=5)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, value BLOB, expires_at REAL,"
            " created_at TIMESTAMP, accessed_at TIMESTAMP, access_count INTEGER)"
        )
        os.chmod(db_path, stat.S_IRUSR | stat.S_IWUSR)

    def get(self, key: str) -> Any:
        row = self._connection.execute("SELECT value, expires_at FROM cache WHERE key = ?", (key,)).fetchone()
        if row is None or (row[1] is not None and row[1] <= self._now()):
            return None
        return pickle.loads(row[0])

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        ttl = self._default_ttl if ttl is None else ttl
        expires_at = self._now() + ttl if ttl else None
        row = (key, pickle.dumps(value), expires_at, self._now())
        self._connection.execute(
            "INSERT OR REPLACE INTO cache (key, value, expires_at, created_at) VALUES (?,?,?,?)", row
        )

    def delete(self, key: str) -> None:
        self._connection.execute("DELETE FROM cache WHERE key = ?", (key,))

    def clear(self) -> None:
        self._connection.execute("DELETE FROM cache")

    def exists(self, key: str) -> bool:
        return self.get(key) is not None

    def size(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM cache").fetchone()[0])

    def close(self) -> None:
        self._connection.close()


class RedisBackend:
    """Keys behind a prefix; values are pickled."""

    def __init__(self, prefix: str, host: str, port: int, default_ttl: float = 3600, **login: Any) -> None:
        self.prefix = prefix
        self._default_ttl = default_ttl
        once = Retry(NoBackoff(), 0)  # redis-py's own ten attempts would only take the tests' time
        self._client = redis.Redis(host=host, port=port, retry=once, **login)

    def get(self, key: str) -> Any:
        found: Any = self._client.get(self.prefix + key)
        return None if found is None else pickle.loads(found)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        seconds = int(self._default_ttl if ttl is None else ttl)
        self._client.set(self.prefix + key, pickle.dumps(value), ex=seconds)

    def delete(self, key: str) -> None:
        self._client.delete(self.prefix + key)

    def clear(self) -> None:
        for key in self._client.scan_iter(self.prefix + "*"):
            self._client.delete(key)

    def exists(self, key: str) -> bool:
        return bool(self._client.exists(self.prefix + key))

    def size(self) -> int:
        return sum(1 for _ in self._client.scan_iter(self.prefix + "*"))

    def close(self) -> None:
        self._client.close()

"""The tables, the statements, and how a connection is set up.

An ordinary table: WITHOUT ROWID would keep only a quarter of a page of each row in place.

The proposal's columns are all there: ``accessed_at`` and ``access_count`` live in a narrow table of a second file, so
that noting a read neither rewrites a value nor counts as a change of the cache. There is no index on ``expires_at``
or ``accessed_at``: each would cost every write more than it saves the purge, which walks the table in small steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher

APPLICATION_ID: Final = 0x4F414331
"""Marks the files as ours ("OAC1")."""

PAGE_SIZE: Final = 2048
"""Bytes; the same in every file, so that a damaged header can be mended. A write costs a page's checksum and copy."""

BUSY_TIMEOUT_MS: Final = 5_000
"""For writers that do not take our lock, such as the sqlite3 shell."""

_CHECKPOINT_PAGES: Final = 8000
"""Pages in the log (16 MB) at which a writer brings it to the database. A page that changed often is
written once, and the disk is waited for: with SQLite's 1000 that is nearly half of the cost of a write."""

LOG_BYTES: Final = _CHECKPOINT_PAGES * PAGE_SIZE
"""What a log may keep of its size, bytes."""

CACHE_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS cache (
        key TEXT PRIMARY KEY, expires_at REAL, created_at REAL NOT NULL, value BLOB NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS counter (entries INTEGER NOT NULL)",
    "INSERT INTO counter SELECT (SELECT count(*) FROM cache) WHERE NOT EXISTS (SELECT 1 FROM counter)",
    "CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON cache BEGIN UPDATE counter SET entries = entries + 1; END",
    "CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON cache BEGIN UPDATE counter SET entries = entries - 1; END",
)

RECENCY_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS recency (
        key TEXT PRIMARY KEY, accessed_at REAL NOT NULL, access_count INTEGER NOT NULL) WITHOUT ROWID""",
)

GET: Final = "SELECT value, expires_at FROM cache WHERE key = ?"
PUT: Final = """INSERT INTO cache (key, expires_at, created_at, value) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at, created_at = excluded.created_at, value =
    excluded.value"""
REMOVE: Final = "DELETE FROM cache WHERE key = ? RETURNING expires_at IS NULL OR expires_at > ?"
FORGET: Final = "DELETE FROM cache WHERE key = ?"
REMOVE_EXPIRED: Final = "DELETE FROM cache WHERE key = ? AND expires_at <= ?"
CLEAR: Final = "DELETE FROM cache"
LIVE: Final = "SELECT count(*) FROM cache WHERE expires_at IS NULL OR expires_at > ?"
COUNT: Final = "SELECT entries FROM counter"
PAGE: Final = "SELECT value, expires_at, key FROM cache WHERE key >= ? AND key > ? ORDER BY key LIMIT 256"
_OBJECTS: Final = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
WINDOW: Final = "SELECT key, expires_at, CAST(created_at AS REAL) FROM cache WHERE key > ? ORDER BY key LIMIT ?"


def connect(path: Path, synchronous: str, *, wal: bool, cipher: Cipher = PLAIN) -> apsw.Connection:
    """Open a cache file, which may be new and empty.

    Args:
        path: The file; it exists already, with its final mode.
        synchronous: ``OFF``, ``NORMAL``, ``FULL`` or ``EXTRA``.
        wal: Whether to keep a write-ahead log.
        cipher: How it is encrypted.
    """
    # Each connection is used by one thread at a time, so SQLite need not see to it with mutexes of its own.
    connection = cipher.open(str(path), apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX, statements=16)
    if connection.readonly("main"):  # it would stay so when the file may be written again
        connection.close()
        raise apsw.ReadOnlyError("the file may not be written")
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        mode = connection.pragma("journal_mode")
        if connection.pragma("page_count") == 0:
            mark(connection)
        if mode != ("wal" if wal else "delete"):
            connection.pragma("journal_mode", "wal" if wal else "delete")
        connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
        connection.pragma("journal_size_limit", LOG_BYTES)
    except BaseException:
        connection.close()
        raise
    return connection


def ensure(connection: apsw.Connection, statements: tuple[str, ...]) -> None:
    """Create what is missing of a schema, in one transaction, under the writer's lock.

    Raises:
        apsw.NotADBError: The file is a database of another program.
    """
    if connection.pragma("application_id") != APPLICATION_ID:
        raise apsw.NotADBError("a database of another program")
    with transaction(connection):
        for statement in statements:
            connection.execute(statement)


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit what is done within, or nothing of it.

    Unlike apsw's own way it raises what went wrong, where SQLite itself has rolled back already, as for a full disk.
    """
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(apsw.Error):
                connection.execute("ROLLBACK")
        raise


def in_memory(statements: tuple[str, ...]) -> apsw.Connection:
    """Return an empty database with a schema, in memory."""
    connection = apsw.Connection(":memory:")
    mark(connection)
    ensure(connection, statements)
    return connection


def is_complete(connection: apsw.Connection, statements: tuple[str, ...]) -> bool:
    """Return whether a file is ours and has every table and trigger of a schema, word for word."""
    expected = in_memory(statements)
    try:
        wanted = set(expected.execute(_OBJECTS))
    finally:
        expected.close()
    return connection.pragma("application_id") == APPLICATION_ID and wanted <= set(connection.execute(_OBJECTS))


def mark(connection: apsw.Connection) -> None:
    """Make an empty database one of ours."""
    connection.pragma("page_size", PAGE_SIZE)
    with transaction(connection):  # at once: a file with half of it would be taken for another program's
        connection.pragma("auto_vacuum", 2)  # incremental; has to be said before the first table
        connection.pragma("application_id", APPLICATION_ID)

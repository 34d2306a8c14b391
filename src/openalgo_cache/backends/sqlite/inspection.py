"""A look into a cache file from outside: how much is in it, how old it is, and whether it is sound. Nothing is changed.

A store rebuilds a damaged file, and creates one that is missing. A look must do neither, so it has a connection of its
own, through the same SQLite library as all others of this process, which therefore knows of all their locks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher
from openalgo_cache.backends.sqlite.errors import DAMAGED, translated
from openalgo_cache.backends.sqlite.recency import recency_file

_PROBLEMS_SHOWN: Final = 5
_PATIENCE_MS: Final = 2_000
_TABLES: Final = "SELECT name FROM sqlite_schema WHERE type = 'table'"
_ROWS: Final = """SELECT count(*), count(*) FILTER (WHERE expires_at <= ?), ifnull(sum(length(value)), 0),
    min(created_at), max(created_at) FROM cache"""
_READS: Final = "SELECT count(*), ifnull(sum(access_count), 0), max(accessed_at) FROM recency"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a cache file holds. Sizes are in bytes, times in seconds since the epoch.

    Attributes:
        path: The file.
        file_bytes: Its size.
        journal_bytes: The size of the log beside it; part of the entries may still be there.
        entries: Live and expired ones.
        expired: Those of them that are past their expiry and wait for the purge.
        payload_bytes: The size of all records.
        oldest_at: When the oldest entry was written; None if there is none.
        newest_at: When the newest was.
        unused_bytes: Space that the next entries will take, or that goes back to the file system.
        keys_read: How many different keys were read, as far as that is on the disk yet; None for an unbounded cache.
        reads: How many reads of those there were.
        last_read_at: When the last of them was.
        problems: What is damaged; if anything is, the numbers above may be missing (0 or None).
    """

    path: Path
    file_bytes: int
    journal_bytes: int
    entries: int = 0
    expired: int = 0
    payload_bytes: int = 0
    oldest_at: float | None = None
    newest_at: float | None = None
    unused_bytes: int = 0
    keys_read: int | None = None
    reads: int = 0
    last_read_at: float | None = None
    problems: tuple[str, ...] = ()


def inspect(path: Path, now: float, *, check: bool = False, cipher: Cipher = PLAIN) -> Inspection | None:
    """Look into a cache file. Not while this process forks: the connection is not closed for that.

    Args:
        path: The file.
        now: Seconds since the epoch; decides what has expired.
        check: Whether SQLite walks the whole file and compares tables with indexes (``PRAGMA quick_check``).
        cipher: How it is encrypted.

    Returns:
        What was seen; None if there is no such file, or an empty one that nobody has written to yet.

    Raises:
        BackendUnavailableError: The file cannot be opened or read.
        BackendMisconfiguredError: We may not use it, or it is not encrypted as it should be.
    """
    if not path.exists():
        return None

    def look(connection: apsw.Connection) -> dict[str, Any] | None:
        tables = {name for (name,) in connection.execute(_TABLES)}
        if "cache" not in tables:
            return {"problems": ("it is a database of another program",)} if tables else None
        entries, expired, payload, oldest, newest = connection.execute(_ROWS, (now,)).get
        return {
            "entries": entries,
            "expired": expired,
            "payload_bytes": payload,
            "oldest_at": oldest,
            "newest_at": newest,
            "unused_bytes": connection.pragma("freelist_count") * connection.pragma("page_size"),
            "problems": _check(connection) if check else (),
        }

    try:
        cipher.refuse_others(path)
        seen = _looking(path, cipher, look)
    except DAMAGED as error:
        seen = {"problems": (f"it is no readable database ({type(error).__name__})",)}
    except (apsw.Error, OSError) as error:
        raise translated(error, path) from None
    if seen is None:
        return None
    file_bytes, journal_bytes = _size(path), _size(_log(path))
    return Inspection(path=path, file_bytes=file_bytes, journal_bytes=journal_bytes, **seen, **_recency(path, cipher))


def _recency(path: Path, cipher: Cipher) -> dict[str, Any]:
    """Look into the recency file; what cannot be read there costs nothing but the order of evictions."""
    recency = recency_file(path)
    if not recency.exists():
        return {}
    try:
        keys_read, reads, last_read_at = _looking(recency, cipher, lambda connection: connection.execute(_READS).get)
    except (apsw.Error, OSError):
        return {}
    return {"keys_read": keys_read, "reads": reads, "last_read_at": last_read_at}


def _check(connection: apsw.Connection) -> tuple[str, ...]:
    found = [str(row[0]) for row in connection.execute(f"PRAGMA quick_check({_PROBLEMS_SHOWN})")]
    return () if found == ["ok"] else tuple(found)


def _looking(path: Path, cipher: Cipher, look: Callable[[apsw.Connection], T]) -> T:
    """Return what ``look`` sees, by a connection that leaves nothing behind in the folder."""
    if _log(path).exists() or path.with_name(f"{path.name}-journal").exists():
        return _connected(path, cipher, "mode=ro", look)
    # Nobody has the file open. To open it the usual way would create a log, which a reader cannot remove again.
    try:
        seen = _connected(path, cipher, "immutable=1", look)
    except apsw.Error:
        if not _log(path).exists():
            raise
    else:
        if not _log(path).exists():
            return seen
    # Somebody began to write meanwhile: what was seen may be half of it.
    return _connected(path, cipher, "mode=ro", look)


def _connected(path: Path, cipher: Cipher, how: str, look: Callable[[apsw.Connection], T]) -> T:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = cipher.open(f"{path.absolute().as_uri()}?{how}", flags)
    try:
        connection.set_busy_timeout(_PATIENCE_MS)
        return look(connection)
    finally:
        connection.close()


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

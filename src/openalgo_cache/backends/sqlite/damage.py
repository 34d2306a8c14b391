"""Damaged files: looked at closely, set aside as a copy, then written anew in place.

A file that others have open cannot be replaced by renaming: they would go on writing to the old one, or mix the two. So
what it shall hold is made apart first, and then copied over it by SQLite, page by page in one transaction, under a
flag that makes it overlook what is there (https://sqlite.org/c3ref/c_dbconfig_defensive.html, RESET_DATABASE). Whoever
has the file open sees the old pages or the new ones; if the disk is full, nothing has changed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from openalgo_cache.backends.sqlite import schema
from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher
from openalgo_cache.backends.sqlite.errors import FAILURES, may_be_damage
from openalgo_cache.backends.sqlite.rawfile import raw

_log = logging.getLogger("openalgo_cache")

_COPIES_KEPT: Final = 5
_CHUNK: Final = 1 << 20
_HEADER_BYTES: Final = 100
_PAGES: Final = slice(28, 32)
"""Where the header has their number (https://sqlite.org/fileformat.html, section 1.3)."""

# By rowid, so that the table alone is read, not its index. As bytes: a damaged text may be none. A value of another
# type than bytes was never written.
_FORWARDS: Final = "SELECT CAST(key AS BLOB), expires_at, created_at, CAST(value AS BLOB) FROM cache ORDER BY rowid"
_BACKWARDS: Final = f"{_FORWARDS} DESC"
_WRONG_TYPES: Final = """SELECT count(*) FROM cache WHERE typeof(key) <> 'text' OR typeof(value) <> 'blob'
    OR typeof(created_at) <> 'real' OR typeof(expires_at) NOT IN ('real', 'null')"""
_KEYS: Final = "SELECT key FROM cache NOT INDEXED"

Row = tuple[str, float | None, float, bytes]
"""Key, expiry, time of creation, value."""


class Salvage(NamedTuple):
    """What can still be read of a damaged file.

    Attributes:
        rows: By key.
        complete: Whether these are surely all: what is not among them had been deleted.
    """

    rows: dict[str, Row]
    complete: bool


Restore = Callable[[Salvage], list[Row]]
"""Chooses the rows that the new file shall have."""


def rebuild(
    path: Path, statements: tuple[str, ...], restore: Restore | None, *, wal: bool, cipher: Cipher = PLAIN
) -> bool:
    """Set a damaged file aside and write it anew; the caller holds the writer's lock.

    Args:
        path: The file. This process has no connection to it that is in use.
        statements: The schema.
        restore: Chooses what the new file shall hold; None for nothing.
        wal: Whether to keep a write-ahead log.
        cipher: How it is encrypted. One that was written in another way must not come here.

    Returns:
        False if the file turns out to be sound: somebody else was here first.
    """
    keep_log(path)
    if _is_sound(path, statements, cipher):
        return False
    copy = _copy_aside(path)
    _log.error(
        "the cache file %s is damaged: it is written anew, and what it held %s",
        path,
        f"is kept in {copy}" if copy else f"is not kept, since {_COPIES_KEPT} damaged copies are there already",
    )
    _lengthen_log(path)
    _mend_header(path, statements, cipher)
    rows = [] if restore is None else restore(salvage(path, cipher))
    with closing(_open(path, cipher, verify=False)) as connection, _apart(path, statements, cipher) as content:
        with content:
            content.executemany(schema.PUT, rows)
        _overwrite(connection, content)
    with closing(schema.connect(path, "FULL", wal=wal, cipher=cipher)) as connection:
        # The log may be what is damaged: it is not needed any more, and begins anew.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return True


def keep_log(path: Path) -> None:
    """Keep SQLite from deleting the log of an emptied file, which others may write to; call it before opening a file.

    Two bytes are enough; one is none to SQLite. The path is used, since closing a descriptor would drop the locks that
    SQLite holds in this process.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size == 0 and log_of(path).exists():
            os.truncate(path, 2)


def log_of(path: Path) -> Path:
    """Return the write-ahead log of a file."""
    return path.with_name(f"{path.name}-wal")


def salvage(path: Path, cipher: Cipher = PLAIN) -> Salvage:
    """Return what can be read of a cache file, from either end up to the first page that makes no sense.

    Whether a page carries its tag is not asked, since records are verified one by one.
    """
    rows: dict[str, Row] = {}
    with _bearing_damage(), closing(_open(path, cipher, verify=False)) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)  # bears a file that was cut off
        for order in (_FORWARDS, _BACKWARDS):
            with _bearing_damage():
                count = 0
                for row in connection.execute(order):
                    count += 1
                    rows.update(_usable(row))
                return Salvage(rows, complete=count == len(rows) == connection.execute(schema.COUNT).get)
    return Salvage(rows, complete=False)


@contextmanager
def _bearing_damage() -> Iterator[None]:
    """Go on after damage; what the circumstances explain, such as a lock, is raised: it may be over soon."""
    try:
        yield
    except FAILURES as error:
        if not may_be_damage(error):
            raise


def _usable(row: tuple[Any, ...]) -> Iterator[tuple[str, Row]]:
    """Yield (key, row) if a row has a key and a value; times that are none are left out."""
    key, expires_at, created_at, value = row
    with suppress(AttributeError, UnicodeDecodeError):
        text = key.decode()
        if type(value) is bytes:
            usable_expiry = expires_at if type(expires_at) is float else None
            yield text, (text, usable_expiry, created_at if type(created_at) is float else 0.0, value)


def _is_sound(path: Path, statements: tuple[str, ...], cipher: Cipher) -> bool:
    """Return whether a file is whole, ours, and holds nothing that was never written."""
    with _bearing_damage(), closing(_open(path, cipher)) as connection:
        return (
            schema.is_complete(connection, statements)
            and connection.execute("PRAGMA integrity_check(1)").get == "ok"
            and (statements is not schema.CACHE_SCHEMA or _holds_a_cache(connection))
        )
    return False


def _open(path: Path, cipher: Cipher, *, verify: bool = True) -> apsw.Connection:
    """Open a file as it is; to close it again does not bring its log to it, so that both can be copied."""
    connection = cipher.open(str(path), apsw.SQLITE_OPEN_READWRITE, verify=verify)
    connection.set_busy_timeout(schema.BUSY_TIMEOUT_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def _holds_a_cache(connection: apsw.Connection) -> bool:
    for _ in connection.execute(_KEYS):  # each is decoded, or raises
        pass
    return connection.execute(_WRONG_TYPES).get == 0 and type(connection.execute(schema.COUNT).get) is int


def _lengthen_log(path: Path) -> None:
    """Let what was cut off a log read as zeros, so that it can be overwritten; SQLite takes an empty log for none."""
    with suppress(FileNotFoundError):
        os.truncate(log_of(path), log_of(path).stat().st_size + 2 * schema.LOG_BYTES)


def _mend_header(path: Path, statements: tuple[str, ...], cipher: Cipher) -> None:
    """Put a new header in the place of whatever is there, so that the pages behind it can be read.

    It also fits the pages in the log, and those that others have in mind: all our files have pages of the same size.
    """
    header = _first_page(path, statements, cipher) if cipher.encrypts else _header(statements)
    with raw(path, apsw.SQLITE_OPEN_MAIN_DB) as file:
        if cipher.encrypts or file.xFileSize() > len(header):
            file.xWrite(header, 0)


def _header(statements: tuple[str, ...]) -> bytes:
    with closing(schema.in_memory(statements)) as content:
        header = bytearray(content.serialize("main")[:_HEADER_BYTES])
    header[_PAGES] = bytes(4)  # unknown: as many as the file has
    return bytes(header)


def _first_page(path: Path, statements: tuple[str, ...], cipher: Cipher) -> bytes:
    """Return an encrypted first page: its tag covers the header, so it is replaced with it."""
    with _apart(path, statements, cipher) as content:
        # As many pages as the damaged file at least, or those behind would be no part of it.
        content.execute("CREATE TABLE padding (bytes BLOB)")
        content.execute("INSERT INTO padding VALUES (zeroblob(?))", (path.stat().st_size,))
        content.execute("DROP TABLE padding")
        with raw(Path(content.filename), apsw.SQLITE_OPEN_MAIN_DB) as file:
            return file.xRead(schema.PAGE_SIZE, 0)


@contextmanager
def _apart(path: Path, statements: tuple[str, ...], cipher: Cipher) -> Iterator[apsw.Connection]:
    """Make an empty database with a schema: in memory, or, since SQLite copies between encrypted files only, beside."""
    if not cipher.encrypts:
        with closing(schema.in_memory(statements)) as content:
            yield content
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        with closing(schema.connect(unfinished, "OFF", wal=False, cipher=cipher)) as content:
            schema.ensure(content, statements)
            yield content
    finally:
        unfinished.unlink(missing_ok=True)


def _overwrite(connection: apsw.Connection, content: apsw.Connection) -> None:
    connection.pragma("page_size", schema.PAGE_SIZE)  # where nothing is left that would say so
    connection.config(apsw.SQLITE_DBCONFIG_RESET_DATABASE, 1)
    try:
        with connection.backup("main", content, "main") as copying:
            copying.step(-1)
    finally:
        connection.config(apsw.SQLITE_DBCONFIG_RESET_DATABASE, 0)


def _copy_aside(path: Path) -> Path | None:
    """Copy a file and its log, and return the copy; None if there are enough already."""
    for number in range(1, _COPIES_KEPT + 1):
        copy = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        try:
            target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except FileExistsError:
            continue
        try:
            _copy(path, target, apsw.SQLITE_OPEN_MAIN_DB)
            if log_of(path).exists():
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
                _copy(log_of(path), os.open(log_of(copy), flags, 0o600), apsw.SQLITE_OPEN_WAL)
        except BaseException:
            copy.unlink()  # half a copy would be taken for one
            raise
        return copy
    return None


def _copy(path: Path, target: int, kind: int) -> None:
    with os.fdopen(target, "wb") as file, raw(path, kind) as source:
        size = source.xFileSize()
        for offset in range(0, size, _CHUNK):
            file.write(source.xRead(min(_CHUNK, size - offset), offset))

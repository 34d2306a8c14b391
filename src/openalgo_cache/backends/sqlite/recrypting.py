"""Encrypting the files of a cache that is there already, and decrypting them.

A file is copied into a new one beside it, row by row; the copy is read back and compared, and takes the old one's place
in one step. So whoever is killed in the middle leaves the one or the other, and doing it again goes on where it ended.
Everybody who opens a cache file does so under the writers' lock, which is held here all the time; and a log can only be
given up by the last who has the file open, which tells whether anybody has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from openalgo_cache import files
from openalgo_cache.backends.sqlite import schema
from openalgo_cache.backends.sqlite.cipher import Cipher, Kind
from openalgo_cache.backends.sqlite.errors import FAILURES, may_be_damage, translated
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError
from openalgo_cache.locks import FileLock

_PATIENCE_MS: Final = 500
_ROWS_A_STEP: Final = 1000

Tell = Callable[[Path, float], None]
"""Told which file is under way, and how much of it is done, from 0 to 1."""


class Table(NamedTuple):
    """The one table whose rows a file of ours keeps; the rest of its schema follows from them."""

    name: str
    statements: tuple[str, ...]


ENTRIES: Final = Table("cache", schema.CACHE_SCHEMA)
READS: Final = Table("recency", schema.RECENCY_SCHEMA)


def recrypt(paths: list[Path], table: Table, before: Cipher, after: Cipher, tell: Tell) -> list[int | None]:
    """Write a cache file, and others that go with it, anew under another cipher.

    Args:
        paths: The file whose writers' lock is taken; then those that are only written under it: its backups.
        table: What they hold.
        before: How they are encrypted.
        after: How they shall be.
        tell: Told of progress.

    Returns:
        For each how many rows it has; None if it was encrypted so already, or is empty or gone.

    Raises:
        BackendUnavailableError: Another process has one open, it is damaged, or the disk is full.
        BackendMisconfiguredError: One is encrypted with another key.
    """
    lock = FileLock(paths[0].with_name(paths[0].name + ".lock"))
    try:
        with lock:
            return [_recrypted(path, table, before, after, tell) for path in paths]
    finally:
        lock.close()


def _recrypted(path: Path, table: Table, before: Cipher, after: Cipher, tell: Tell) -> int | None:
    try:
        if not path.exists():
            return None
        for left in path.parent.glob(f".{path.name}.*.tmp*"):  # by a process that was killed here
            left.unlink()
        kind, wanted = before.kind_of(path), Kind.OURS if after.encrypts else Kind.PLAIN
        if kind is Kind.EMPTY or after.kind_of(path) is wanted:
            return None
        if kind is Kind.FOREIGN:
            raise BackendMisconfiguredError(f"the cache file {path} {kind.value}: restore the key ring it belongs to")
        return _rewrite(path, table, before, after, tell)
    except (apsw.BusyError, apsw.LockedError):
        raise BackendUnavailableError(f"the cache file {path} is in use: stop the application first") from None
    except FAILURES as error:
        if may_be_damage(error):
            raise BackendUnavailableError(
                f"the cache file {path} is damaged: start the application with its settings as they were; it mends it"
            ) from None
        if isinstance(error, BackendUnavailableError):
            raise
        raise translated(error, path) from None


def _rewrite(path: Path, table: Table, before: Cipher, after: Cipher, tell: Tell) -> int:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with closing(before.open(str(path), apsw.SQLITE_OPEN_READWRITE)) as old:
            old.set_busy_timeout(_PATIENCE_MS)
            if old.pragma("journal_mode", "delete") != "delete":
                raise apsw.BusyError("somebody else has it open")
            old.execute("BEGIN EXCLUSIVE")
            _require_sound(old, table)
            os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(schema.connect(unfinished, "EXTRA", wal=False, cipher=after)) as new:
                _copy(old, new, table, lambda done: tell(path, done))
            with closing(after.open(str(unfinished), apsw.SQLITE_OPEN_READONLY)) as new:
                _require_sound(new, table)
                count = _compare(old, new, table)
        files.take_place(unfinished, path)
    finally:
        for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
            left.unlink(missing_ok=True)
    return count


def _require_sound(connection: apsw.Connection, table: Table) -> None:
    if not schema.is_complete(connection, table.statements) or connection.pragma("integrity_check") != "ok":
        raise apsw.CorruptError("not as it was written")


def _copy(old: apsw.Connection, new: apsw.Connection, table: Table, tell: Callable[[float], None]) -> None:
    schema.ensure(new, table.statements)
    columns = len(list(new.execute(f"PRAGMA table_info({table.name})")))
    insert = f"INSERT INTO {table.name} VALUES ({', '.join('?' * columns)})"  # noqa: S608  # our own names
    count = old.execute(f"SELECT count(*) FROM {table.name}").get  # noqa: S608  # our own names
    with schema.transaction(new):
        new.executemany(insert, _told(_rows(old, table), count, tell))
        new.pragma("user_version", old.pragma("user_version"))


def _compare(old: apsw.Connection, new: apsw.Connection, table: Table) -> int:
    count = 0
    for one, other in zip_longest(_rows(old, table), _rows(new, table)):
        if one != other:
            raise apsw.CorruptError("the copy is not what was copied")
        count += 1
    return count


def _rows(connection: apsw.Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    return iter(connection.execute(f"SELECT * FROM {table.name} ORDER BY key"))  # noqa: S608  # our own names


def _told(rows: Iterator[tuple[Any, ...]], count: int, tell: Callable[[float], None]) -> Iterator[tuple[Any, ...]]:
    for number, row in enumerate(rows):
        if number % _ROWS_A_STEP == 0:
            tell(number / count)
        yield row

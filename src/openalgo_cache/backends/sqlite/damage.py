"""Damaged files: set aside as a copy, then reset in place.

A file that others have open cannot be replaced by renaming: they would go on writing to the old one, or mix the two.
SQLite's own reset empties it under all its locks instead (https://sqlite.org/c3ref/c_dbconfig_defensive.html,
RESET_DATABASE).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.backends.sqlite import schema

_log = logging.getLogger("openalgo_cache")

_COPIES_KEPT: Final = 5
_CHUNK: Final = 1 << 20

Restore = Callable[[apsw.Connection, Path], None]


def rebuild(path: Path, statements: tuple[str, ...], restore: Restore | None) -> bool:
    """Set a damaged file aside and make it an empty one with our schema; the caller holds the writer's lock.

    Args:
        path: The file. No connection of this process to it is open.
        statements: The schema.
        restore: Fills the new file; gets a connection and the path of the copy.

    Returns:
        False if the file turns out to be sound: somebody else was here first.
    """
    if _is_sound(path):
        return False
    copy = _copy_aside(path)
    _log.error(
        "the cache file %s is damaged: it was rebuilt, and what it held %s",
        path,
        f"is kept in {copy}" if copy else f"is not kept, since {_COPIES_KEPT} damaged copies are there already",
    )
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(schema.BUSY_TIMEOUT_MS)
        connection.config(apsw.SQLITE_DBCONFIG_RESET_DATABASE, 1)
        try:
            connection.execute("VACUUM")
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_RESET_DATABASE, 0)
    finally:
        connection.close()
    connection = schema.connect(path, "FULL", wal=True)
    try:
        schema.ensure(connection, statements)
        if restore is not None:
            with connection:
                restore(connection, copy or path)
    finally:
        connection.close()
    return True


def _is_sound(path: Path) -> bool:
    try:
        connection = schema.connect(path, "NORMAL", wal=True)
        try:
            return bool(connection.pragma("integrity_check(1)") == "ok")
        finally:
            connection.close()
    except apsw.Error:
        return False


def _copy_aside(path: Path) -> Path | None:
    for number in range(1, _COPIES_KEPT + 1):
        copy = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        try:
            target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except FileExistsError:
            continue
        with os.fdopen(target, "wb") as file:
            # Read through SQLite: closing a descriptor of our own would drop the locks that SQLite holds in this
            # process.
            source = apsw.VFSFile("", str(path), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0])
            try:
                size = source.xFileSize()
                for offset in range(0, size, _CHUNK):
                    file.write(source.xRead(min(_CHUNK, size - offset), offset))
            finally:
                source.xClose()
        return copy
    return None

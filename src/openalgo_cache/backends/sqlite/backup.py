"""Backups of state: one a day, sealed as the records in it are, and the source that a damaged file comes back from."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from openalgo_cache import files

_log = logging.getLogger("openalgo_cache")

_KEPT: Final = 3
_FORWARDS: Final = "SELECT key, expires_at, created_at, value FROM cache ORDER BY key"
_BACKWARDS: Final = "SELECT key, expires_at, created_at, value FROM cache ORDER BY key DESC"
_PUT_BACK: Final = "INSERT OR REPLACE INTO cache (key, expires_at, created_at, value) VALUES (?, ?, ?, ?)"

Row = tuple[str, float | None, float, bytes]
IsIntact = Callable[[str, bytes], bool]


class Backups:
    """The backups of one cache file, ``cache_x.backup-YYYYMMDD.db`` beside it.

    Args:
        path: The cache file.
        is_intact: Whether a record, under its stored key, is as it was written.
    """

    __slots__ = ("_is_intact", "_path")

    def __init__(self, path: Path, is_intact: IsIntact) -> None:
        self._path = path
        self._is_intact = is_intact

    def existing(self) -> list[Path]:
        """Return the backups, the newest first."""
        found = self._path.parent.glob(f"{self._path.stem}.backup-????????{self._path.suffix}")
        return sorted(found, reverse=True)

    def make(self, connection: apsw.Connection, now: float) -> bool:
        """Make the day's backup, unless it is there; return whether it was made.

        Args:
            connection: To the cache file.
            now: Seconds since the epoch.
        """
        day = datetime.fromtimestamp(now, UTC)
        target = self._path.with_name(f"{self._path.stem}.backup-{day:%Y%m%d}{self._path.suffix}")
        if target.exists():
            return False
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            copy = apsw.Connection(str(unfinished))
            try:
                with copy.backup("main", connection, "main") as backup:
                    backup.step(-1)
                copy.pragma("journal_mode", "delete")  # a single file, which can be read without a log beside it
            finally:
                copy.close()
            files.replace_private(target, unfinished.read_bytes())
        finally:
            unfinished.unlink(missing_ok=True)
        for old in self.existing()[_KEPT:]:
            old.unlink(missing_ok=True)
        return True

    def restore(self, connection: apsw.Connection, damaged: Path) -> None:
        """Fill an empty file from the newest readable backup, then with every intact record of the damaged one.

        Args:
            connection: To the empty file, inside a transaction.
            damaged: The copy of the damaged file.
        """
        rows: dict[str, Row] = {}
        for source in self.existing():
            if found := {row[0]: row for row in _readable_rows(source)}:
                _log.warning("%s is filled from its backup %s (%d records)", self._path, source.name, len(found))
                rows = found
                break
        newer = {row[0]: row for row in _readable_rows(damaged) if self._is_intact(row[0], row[3])}
        _log.warning("%s: %d records of the damaged file are intact and were kept", self._path, len(newer))
        connection.executemany(_PUT_BACK, list((rows | newer).values()))


def _readable_rows(source: Path) -> list[Row]:
    """Return the rows of a file up to the first that cannot be read, from either end."""
    rows: list[Row] = []
    try:
        connection = apsw.Connection(
            f"file:{quote(str(source))}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
    except apsw.Error:
        return rows
    try:
        for order in (_FORWARDS, _BACKWARDS):
            with suppress(apsw.Error):
                rows.extend(connection.execute(order))
                return rows
    finally:
        connection.close()
    return rows

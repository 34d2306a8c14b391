"""Backups of state: one a day, sealed as the records in it are, and the source that a damaged file comes back from."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache import files
from openalgo_cache.backends.sqlite import schema
from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher
from openalgo_cache.backends.sqlite.damage import Row, Salvage, salvage
from openalgo_cache.backends.sqlite.errors import FAILURES, translated
from openalgo_cache.backends.sqlite.schema import PAGE_SIZE

_log = logging.getLogger("openalgo_cache")

_KEPT: Final = 3
_RECORDS: Final = "SELECT key, value FROM cache"
_REPLACE: Final = "UPDATE cache SET value = ? WHERE key = ?"

IsIntact = Callable[[str, bytes], bool]


class Backups:
    """The backups of one cache file, ``cache_x.backup-YYYYMMDD.db`` beside it.

    Args:
        path: The cache file.
        is_intact: Whether a record, under its stored key, is as it was written.
        cipher: How the file is encrypted, and so they.
    """

    __slots__ = ("_cipher", "_is_intact", "_path")

    def __init__(self, path: Path, is_intact: IsIntact, cipher: Cipher = PLAIN) -> None:
        self._path = path
        self._is_intact = is_intact
        self._cipher = cipher

    def existing(self) -> list[Path]:
        """Return the backups, the newest first."""
        return backups_of(self._path)

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
        pattern = f".{self._path.stem}.backup-????????{self._path.suffix}"
        for left in self._path.parent.glob(f"{pattern}.*"):  # by a process that was killed: only one makes backups
            left.unlink(missing_ok=True)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            _copy(connection, unfinished, self._cipher)
            files.replace_private(target, unfinished.read_bytes())
        finally:
            unfinished.unlink(missing_ok=True)
        for old in self.existing()[_KEPT:]:
            old.unlink(missing_ok=True)
        return True

    def restore(self, salvaged: Salvage) -> list[Row]:
        """Choose what a damaged file shall hold: every record, in the newest form that is intact.

        A record that is intact nowhere is kept as it is: it may be readable with another key ring. One that is only in
        the backup comes back, unless it is certain that it was deleted since.

        Args:
            salvaged: What can still be read of the file.
        """
        sources = [salvaged.rows, *(found for path in self.existing() if (found := salvage(path, self._cipher).rows))]
        wanted = set(salvaged.rows)
        # A record that is not intact under its key may be another's, whose key is what was damaged.
        certain = salvaged.complete and all(self._is_intact(row[0], row[3]) for row in salvaged.rows.values())
        if not certain and len(sources) > 1:
            wanted |= set(sources[1])
        chosen = [self._best([rows[key] for rows in sources if key in rows]) for key in sorted(wanted)]
        _log.warning(
            "%s: %d records are kept, %d of them from its backups",
            self._path,
            len(chosen),
            sum(salvaged.rows.get(row[0]) is not row for row in chosen),
        )
        return chosen

    def rewrite(self, change: Callable[[str, bytes], bytes]) -> None:
        """Let every record of the backups be what ``change`` makes of it; each file is replaced in one atomic step.

        Args:
            change: Gets a stored key and a record. Where it returns the same for all, the file stays as it is.

        Raises:
            BackendUnavailableError: A backup cannot be read or replaced.
        """
        for path in self.existing():
            try:
                self._rewrite(path, change)
            except FileNotFoundError:  # it was the oldest, and a new one was made
                continue
            except FAILURES as error:
                raise translated(error, path) from None

    def _rewrite(self, path: Path, change: Callable[[str, bytes], bytes]) -> None:
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            files.write_private_new(unfinished, path.read_bytes())
            with closing(self._cipher.open(str(unfinished), apsw.SQLITE_OPEN_READWRITE)) as copy:
                is_changed = _change_records(copy, change)
            if is_changed:
                files.replace_private(path, unfinished.read_bytes())
        finally:
            unfinished.unlink(missing_ok=True)

    def _best(self, candidates: list[Row]) -> Row:
        return next((row for row in candidates if self._is_intact(row[0], row[3])), candidates[0])


def backups_of(path: Path) -> list[Path]:
    """Return the backups of a cache file, the newest first."""
    return sorted(path.parent.glob(f"{path.stem}.backup-????????{path.suffix}"), reverse=True)


def _change_records(connection: apsw.Connection, change: Callable[[str, bytes], bytes]) -> bool:
    """Let every record of a file be what ``change`` makes of it; return whether any is another one."""
    rows = [row for row in connection.execute(_RECORDS) if type(row[0]) is str and type(row[1]) is bytes]
    changed = [(new, key) for key, record in rows if (new := change(key, record)) != record]
    if changed:
        connection.pragma("journal_mode", "memory")
        with schema.transaction(connection):
            connection.executemany(_REPLACE, changed)
    return bool(changed)


def _copy(connection: apsw.Connection, target: Path, cipher: Cipher) -> None:
    with closing(cipher.open(str(target), apsw.SQLITE_OPEN_READWRITE)) as copy:
        copy.pragma("page_size", PAGE_SIZE)  # an encrypted file is only copied to one of the same pages
        with copy.backup("main", connection, "main") as copying:
            copying.step(-1)
        copy.pragma("journal_mode", "delete")  # a single file, which can be read without a log beside it
        if copy.pragma("integrity_check") != "ok":
            raise apsw.CorruptError("the file is damaged, and its backup would be")

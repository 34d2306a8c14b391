"""When a key was last read, and how often: collected in memory, flushed in batches to a narrow table of its own file.

Reads never write. A file of its own keeps a flush from counting as a change of the cache, which would empty every
process's near tier. Losing this file costs nothing but the order of evictions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.backends.sqlite import schema
from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher
from openalgo_cache.backends.sqlite.store import Store
from openalgo_cache.clock import Clock
from openalgo_cache.errors import CacheError

_MOST_NOTED: Final = 50_000
"""Reads kept in memory between two flushes; the oldest are forgotten first."""

_NOTE: Final = """INSERT INTO recency (key, accessed_at, access_count) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET accessed_at = max(accessed_at, excluded.accessed_at),
    access_count = access_count + excluded.access_count"""
_WHEN: Final = "SELECT accessed_at FROM recency WHERE key = ?"
_FORGET: Final = "DELETE FROM recency WHERE key = ?"


def recency_file(path: Path) -> Path:
    """Return the recency file of a cache file. The dot in its name keeps it from being another cache's file."""
    return path.with_name(f"{path.stem}.recency{path.suffix}")


class Recency:
    """What was read when, for one cache file.

    Args:
        path: The recency file.
        clock: Where the time comes from.
        wal: Whether to keep a write-ahead log.
        cipher: How the file is encrypted.

    Attributes:
        note: Notes a read of a key: the queue's own method, since every read calls it.
    """

    __slots__ = ("_gone", "_noted", "_now", "_reads", "_store", "note")

    def __init__(self, path: Path, clock: Clock, *, wal: bool = True, cipher: Cipher = PLAIN) -> None:
        self._store = Store(path, schema.RECENCY_SCHEMA, synchronous="OFF", wal=wal, cipher=cipher)
        self._now = clock
        self._gone: set[str] = set()
        self._noted: dict[str, tuple[float, int]] = {}
        self._reads: deque[str] = deque(maxlen=_MOST_NOTED)
        self.note: Callable[[str], None] = self._reads.append

    def last_reads(self, keys: Iterable[str]) -> dict[str, float]:
        """Return when those of ``keys`` were last read that were read at all, seconds since the epoch."""
        self._absorb()
        noted, known = self._noted, {}

        def look_up(cursor: apsw.Cursor) -> None:
            cursor.execute("BEGIN")  # one set of locks for all
            try:
                for key in keys:
                    when = noted[key][0] if key in noted else cursor.execute(_WHEN, (key,)).get
                    if when is not None:
                        known[key] = when
            finally:
                cursor.execute("COMMIT")

        with suppress(CacheError):  # without it, entries leave in the order in which they were written
            self._store.read(look_up)
        return known

    def forget(self, keys: Iterable[str]) -> None:
        """Forget keys that left the cache."""
        self._gone.update(keys)
        if len(self._gone) >= _MOST_NOTED:
            self.flush()

    def flush(self) -> None:
        """Bring what was noted to the file. If that fails, it is forgotten."""
        self._absorb()
        noted, self._noted = self._noted, {}
        gone, self._gone = self._gone, set()
        rows = sorted((key, when, count) for key, (when, count) in noted.items() if key not in gone)
        if not rows and not gone:
            return

        def work(cursor: apsw.Cursor) -> None:
            cursor.executemany(_FORGET, [(key,) for key in sorted(gone)])
            cursor.executemany(_NOTE, rows)

        with suppress(CacheError):
            self._store.write(work)

    def _absorb(self) -> None:
        """Sum up the reads noted since the last time. Each is dated now, less a moment for every later one."""
        now, count = self._now(), len(self._reads)
        for later in range(count - 1, -1, -1):
            try:
                key = self._reads.popleft()
            except IndexError:  # another thread absorbs, too
                return
            self._noted[key] = (now - later * 1e-6, self._noted.get(key, (0.0, 0))[1] + 1)

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        self._store.close()

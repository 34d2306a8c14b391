"""When a key was last read, and how often: collected in memory, flushed in batches to a narrow table of its own file.

Reads never write. A file of its own keeps a flush from counting as a change of the cache, which would empty every
process's near tier. Losing this file costs nothing but the order of evictions.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.backends.sqlite import schema
from openalgo_cache.backends.sqlite.store import Store
from openalgo_cache.errors import CacheError

_FLUSH_AT: Final = 2_000
"""Keys; beyond it the next read flushes."""

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
    """

    __slots__ = ("_gone", "_pending", "_store")

    def __init__(self, path: Path) -> None:
        self._store = Store(path, schema.RECENCY_SCHEMA, synchronous="OFF")
        self._pending: dict[str, tuple[float, int]] = {}
        self._gone: set[str] = set()

    def note(self, key: str, now: float) -> None:
        """Note a read of ``key``."""
        pending = self._pending
        noted = pending.get(key)
        pending[key] = (now, noted[1] + 1 if noted is not None else 1)
        if len(pending) >= _FLUSH_AT:
            self.flush()

    def last_reads(self, keys: Iterable[str]) -> dict[str, float]:
        """Return when those of ``keys`` were last read that were read at all, seconds since the epoch."""
        pending = self._pending
        known = {}

        def look_up(cursor: apsw.Cursor) -> None:
            for key in keys:
                if (noted := pending.get(key)) is not None:
                    known[key] = noted[0]
                elif (when := cursor.execute(_WHEN, (key,)).get) is not None:
                    known[key] = when

        with suppress(CacheError):  # without it, entries leave in the order in which they were written
            self._store.read(look_up)
        return known

    def forget(self, keys: Iterable[str]) -> None:
        """Forget keys that left the cache."""
        for key in keys:
            self._pending.pop(key, None)
            self._gone.add(key)
        if len(self._gone) >= _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Bring what was noted to the file. If that fails, it is forgotten."""
        pending, self._pending = self._pending, {}
        gone, self._gone = self._gone, set()
        if not pending and not gone:
            return
        rows = sorted((key, when, count) for key, (when, count) in pending.items())

        def work(cursor: apsw.Cursor) -> None:
            cursor.executemany(_FORGET, [(key,) for key in sorted(gone)])
            cursor.executemany(_NOTE, rows)

        with suppress(CacheError):
            self._store.write(work)

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        self._store.close()

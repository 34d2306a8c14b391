"""What a cache file needs from time to time, done in the background and in small steps, so that nobody waits for it.

One thread a process serves all files. It starts with the first write in that process, and again in a forked child.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import Final

import apsw

from openalgo_cache.backends.sqlite import schema
from openalgo_cache.backends.sqlite.backup import Backups
from openalgo_cache.backends.sqlite.recency import Recency
from openalgo_cache.backends.sqlite.store import Store
from openalgo_cache.clock import Clock
from openalgo_cache.errors import CacheError
from openalgo_cache.locks import make_lock, sleep, start_new_thread

_log = logging.getLogger("openalgo_cache")

_FIRST: Final = 5.0
_INTERVAL: Final = 60.0
_KEYS_A_STEP: Final = 200
_PAGES_A_STEP: Final = 64
_EXPIRED: Final = "SELECT key FROM cache WHERE expires_at <= ? LIMIT 5000"


class Upkeep:
    """The upkeep of one cache file.

    Args:
        store: The file.
        recency: Its recency, if it is bounded.
        backups: Its backups, if it is durable.
        vacuum_interval: Seconds between giving unused space back; 0 for never.
        clock: Where the time comes from.
    """

    def __init__(
        self, store: Store, recency: Recency | None, backups: Backups | None, vacuum_interval: float, clock: Clock
    ) -> None:
        self._store = store
        self._recency = recency
        self._backups = backups
        self._vacuum_interval = vacuum_interval
        self._now = clock
        self._vacuumed_at = clock()
        self._is_served = False
        self.purged = 0

    def start(self) -> None:
        """See to it that the background thread looks after this file."""
        if not _served.runs:
            _served.begin()
        if not self._is_served:
            self._is_served = True
            _served.all.add(self)

    def stop(self) -> None:
        """Leave this file alone from now on."""
        self._is_served = False
        _served.all.discard(self)

    def run(self) -> None:
        """Purge what expired, give unused space back if it is time, flush recency, make the day's backup."""
        now = self._now()
        self.purge(now)
        if self._recency is not None:
            self._recency.flush()
        if self._backups is not None:
            backups = self._backups
            self._store.maintain(lambda connection: backups.make(connection, now))
        if self._vacuum_interval and now - self._vacuumed_at >= self._vacuum_interval:
            self._vacuumed_at = now
            self.vacuum()

    def purge(self, now: float) -> None:
        """Delete what expired: found without a lock, deleted in small transactions, each entry looked at again."""
        expired = self._store.read(lambda cursor: cursor.execute(_EXPIRED, (now,)).fetchall())
        for start in range(0, len(expired), _KEYS_A_STEP):
            rows = [(str(key), now) for (key,) in expired[start : start + _KEYS_A_STEP]]
            self._store.write(lambda cursor, rows=rows: cursor.executemany(schema.REMOVE_EXPIRED, rows))  # type: ignore[misc]
            if self._recency is not None:
                self._recency.forget(key for key, _ in rows)
        self.purged += len(expired)

    def vacuum(self) -> None:
        """Give unused pages back to the file system, a few under each lock."""

        def step(connection: apsw.Connection) -> int:
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})").fetchall()
            left: int = connection.pragma("freelist_count")
            return left

        left = self._store.maintain(step)
        while left and (remaining := self._store.maintain(step)) < left:
            left = remaining


class _Served:
    """The files that this process's background thread looks after.

    Attributes:
        runs: Whether the thread runs in this process.
        all: The files' upkeep.
    """

    def __init__(self) -> None:
        self.runs = False
        self.all: weakref.WeakSet[Upkeep] = weakref.WeakSet()
        self._lock = make_lock()

    def begin(self) -> None:
        """Start the thread, unless it runs."""
        with self._lock:
            if not self.runs:
                self.runs = True
                start_new_thread(self._loop, ())

    def _loop(self) -> None:
        sleep(_FIRST)
        while True:
            for upkeep in list(self.all):
                try:
                    upkeep.run()
                except CacheError as error:
                    _log.warning("upkeep was put off: %s", error)
            sleep(_INTERVAL)


_served: Final = _Served()


def _after_fork_in_child() -> None:
    _served.runs = False  # threads stay with the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

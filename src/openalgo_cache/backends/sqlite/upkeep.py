"""What a cache file needs from time to time, done in the background and in small steps, so that nobody waits for it.

One thread a process serves all files. It starts with the first write in that process, and again in a forked child.
"""

from __future__ import annotations

import logging
import math
import os
import time
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

_TICK: Final = 1.0
_FIRST: Final = 5.0
_INTERVAL: Final = 60.0
_KEYS_A_STEP: Final = 200
_PAGES_A_STEP: Final = 64
_VERSION_SECONDS: Final = 60.0
"""What one of ``PRAGMA user_version``, a number of 32 bits, stands for where it tells when space was given back."""
_MISCOUNTED: Final = "SELECT entries IS NOT (SELECT count(*) FROM cache) FROM counter"
_RECOUNT: Final = "UPDATE counter SET entries = (SELECT count(*) FROM cache)"
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
        self._vacuumed_at = -math.inf
        self._is_served = False
        self._busy = make_lock()
        self.purged = 0

    def start(self) -> None:
        """See to it that the background thread looks after this file."""
        self._is_served = True
        _served.add(self)

    def stop(self) -> None:
        """Leave this file alone from now on; returns when the background thread does."""
        self._is_served = False
        _served.discard(self)
        with self._busy:
            pass

    def tick(self, *, run: bool) -> None:
        """Do what is to be done every second and, if ``run``, :meth:`run`, unless it was stopped meanwhile."""
        with self._busy:
            if self._is_served:
                self._store.look_for_replacement()
                self._store.checkpoint()
                if run:
                    self.run()

    def run(self) -> None:
        """Purge what expired, give unused space back if it is time, flush recency, make the day's backup."""
        now = self._now()
        self.purge(now)
        if self._recency is not None:
            self._count_again()
            self._recency.flush()
        if self._backups is not None:
            backups = self._backups
            self._store.maintain(lambda connection: backups.make(connection, now))
        if self._may_vacuum(now) and self._store.maintain(lambda connection: self._is_time_to_vacuum(connection, now)):
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

    def _count_again(self) -> None:
        """Put the counter right, by which the bound is kept, should the file have been changed by something else."""
        if self._store.read(lambda cursor: cursor.execute(_MISCOUNTED).get):
            self._store.write(lambda cursor: cursor.execute(_RECOUNT))

    def _may_vacuum(self, now: float) -> bool:
        """Return whether, as far as we know, it is time; a clock that was set back is no reason to wait."""
        return self._vacuum_interval > 0 and not 0 <= now - self._vacuumed_at < self._vacuum_interval

    def _is_time_to_vacuum(self, connection: apsw.Connection, now: float) -> bool:
        """Return whether it is time by what the file says, which outlives processes; if so, say there that we do it."""
        self._vacuumed_at = connection.pragma("user_version") * _VERSION_SECONDS
        if not self._may_vacuum(now):
            return False
        self._vacuumed_at = now
        connection.pragma("user_version", int(now / _VERSION_SECONDS) & 0x7FFF_FFFF)
        return True

    def vacuum(self) -> None:
        """Give unused pages back to the file system, a few under each lock."""

        def step(connection: apsw.Connection) -> int:
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})").fetchall()
            left: int = connection.pragma("freelist_count")
            return left

        left = self._store.maintain(step)
        while left and (remaining := self._store.maintain(step)) < left:
            left = remaining
        # The file itself shrinks when the log is brought to it; PASSIVE waits for no reader.
        self._store.maintain(lambda connection: connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall())


class _Served:
    """The files that this process's background thread looks after."""

    def __init__(self) -> None:
        self._runs = False
        self._all: weakref.WeakSet[Upkeep] = weakref.WeakSet()
        self._lock = make_lock()

    def add(self, upkeep: Upkeep) -> None:
        """Look after a file, too; the first starts the thread."""
        with self._lock:
            self._all.add(upkeep)
            if not self._runs:
                self._runs = True
                start_new_thread(self._loop, ())

    def discard(self, upkeep: Upkeep) -> None:
        """Look after a file no more."""
        with self._lock:
            self._all.discard(upkeep)

    def forget_the_thread(self) -> None:
        """In a forked child: the thread stayed with the parent."""
        self._runs = False

    def _loop(self) -> None:
        next_run = time.monotonic() + _FIRST
        while True:
            sleep(_TICK)
            if run := time.monotonic() >= next_run:
                next_run = time.monotonic() + _INTERVAL
            with self._lock:
                everybody = list(self._all)
            for upkeep in everybody:
                try:
                    upkeep.tick(run=run)
                except CacheError as error:
                    _log.warning("upkeep was put off: %s", error)
                except Exception as error:  # noqa: BLE001  # what is wrong with one file must not keep the others waiting
                    _log.error("upkeep failed: %s", type(error).__name__)  # its text could hold a value
            del everybody  # or the last of them could not be collected


_served: Final = _Served()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_served.forget_the_thread)

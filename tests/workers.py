"""What other processes do in tests: functions that a spawned process can import without the tests around them."""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import apsw

from openalgo_cache.cache import Cache
from tests.databases import connect
from tests.stacks import manager

SPAWN: Final[SpawnContext] = multiprocessing.get_context("spawn")
"""A process of its own: nothing is inherited."""

LOCK_SECONDS: Final = 300.0
"""Of a lock whose holder is killed."""

PATIENCE: Final = 60.0
"""Seconds for what takes none on an idle machine."""


class Acknowledged:
    """What a writer has promised, in memory that processes share: every version up to these is written."""

    def __init__(self) -> None:
        self.written: Any = RawValue(ctypes.c_longlong, 0)
        self.deleted: Any = RawValue(ctypes.c_longlong, 0)


def start(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Run ``work`` in a process of its own, which ends when this one does."""
    process = SPAWN.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def join(process: BaseProcess) -> None:
    """Wait for a process that is about to end well."""
    process.join(PATIENCE)
    assert process.exitcode == 0, f"the process ended with {process.exitcode}"


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.001)


def write_versions(folder: Path, options: dict[str, Any], acknowledged: Acknowledged, stop: Event) -> None:
    """Write rising versions to ``key``, and set and delete ``gone``, each acknowledged once the cache has returned."""
    settings = options.pop("settings", {})
    cache = manager(folder, **settings).get_cache("quotes", **options)
    version = max(acknowledged.written.value, acknowledged.deleted.value) + 1_000
    while not stop.is_set():
        for _ in range(50):
            version += 1
            cache.set("key", version)
            acknowledged.written.value = version
        cache.set("gone", version)
        cache.delete("gone")
        acknowledged.deleted.value = version


def read_versions(cache: Cache, acknowledged: Acknowledged, seconds: float) -> tuple[int, list[str]]:
    """Read as fast as possible; return how often, and what was older than promised before the read began.

    A read that the store did not answer, since somebody else had it locked for too long, is no old one: it says so.
    """
    deadline = time.monotonic() + seconds
    reads, failed = 0, cache._counters.errors
    stale: list[str] = []
    written, deleted = acknowledged.written, acknowledged.deleted
    while time.monotonic() < deadline:
        for _ in range(200):
            least = written.value
            if (found := cache.get("key", -1)) < least:
                before, failed = failed, cache._counters.errors
                if found != -1 or failed == before:
                    stale.append(f"read {found} after {least} was acknowledged")
        least = deleted.value
        if (gone := cache.get("gone")) is not None and gone <= least:
            stale.append(f"read {gone} after its deletion was acknowledged")
        reads += 201
    return reads, stale


def truncate_the_log(database: Path, stop: Event) -> None:
    """Run checkpoints that begin the write-ahead log anew, past our locks, as another program may."""
    connection = connect(database)
    connection.set_busy_timeout(100)
    while not stop.wait(0.02):
        with suppress(apsw.BusyError, apsw.LockedError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def kill(process: BaseProcess) -> None:
    """End a process in the middle of whatever it does."""
    process.kill()
    process.join(PATIENCE)


def delete_key(folder: Path, verb: str) -> None:
    """Change ``key`` in one way or another."""
    cache = manager(folder).get_cache("quotes")
    if verb == "set":
        cache.set("key", "set by another process")
    elif verb == "delete":
        cache.delete("key")
    elif verb == "pop":
        cache.pop("key", None)
    else:
        cache.clear()


def count_under_a_lock(folder: Path, counted: str, rounds: int) -> None:
    """Add to a file, one at a time; its content is a count and the last fence."""
    cache, file = manager(folder).get_cache("quotes"), Path(counted)
    for _ in range(rounds):
        with cache.lock("name", ttl=PATIENCE) as fence:
            count, last = map(int, file.read_text().split())
            assert fence > last
            file.write_text(f"{count + 1} {fence}")


def hold_a_lock(folder: Path, held: Event) -> None:
    """Take a lock and never give it back."""
    with manager(folder).get_cache("quotes").lock("name", ttl=LOCK_SECONDS):
        held.set()
        time.sleep(PATIENCE)

"""What lies near is never older than what another process was told is written."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import workers
from tests.stacks import manager
from tests.workers import SPAWN, Acknowledged, read_versions

OPTIONS: dict[str, dict[str, Any]] = {
    "signed": {},
    "encrypted": {"encrypted": True, "blinded": True},
    "without a log": {"settings": {"sqlite_wal_mode": False}},
}


@pytest.fixture
def stop() -> Iterator[Any]:
    """An event that ends the processes of a test, whatever becomes of it."""
    event = SPAWN.Event()
    yield event
    event.set()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_no_read_is_older_than_an_acknowledged_write(options: dict[str, Any], tmp_path: Path, stop: Any) -> None:
    """One process writes, another reads from near, both as fast as they can."""
    own = dict(options)
    house = manager(tmp_path, **own.pop("settings", {}))
    cache = house.get_cache("quotes", **own)
    acknowledged = Acknowledged()
    writer = workers.start(workers.write_versions, tmp_path, options, acknowledged, stop)
    workers.wait_until(lambda: acknowledged.deleted.value, "the writer has begun")
    before = acknowledged.written.value
    reads, stale = read_versions(cache, acknowledged, 1.2)
    writes = acknowledged.written.value - before
    stop.set()
    workers.join(writer)
    stats = cache.stats()
    house.close()
    assert stale == []
    assert writes > 20, "nothing was written meanwhile"
    assert stats["near_hits"] > reads / 2, "nearly all reads are to be answered from near"
    assert stats["rejected"] == 0


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_threads_see_what_other_threads_were_told_is_written(backend: str, tmp_path: Path) -> None:
    """One handle, some writers and readers: what ``set`` has returned for is what everybody reads from then on."""
    house = manager(tmp_path, backend=backend)
    cache = house.get_cache("quotes")
    told = [0, 0]
    stop = threading.Event()
    wrong: list[str] = []

    def write(nth: int) -> None:
        for version in range(1, 1_000_000):
            if stop.is_set():
                return
            cache.set(f"key {nth}", version)
            told[nth] = version
            if version % 7 == 0:
                cache.delete("gone")
                cache.get_or_set("gone", lambda: "loaded")

    def read() -> None:
        while not stop.is_set():
            for nth in (0, 1):
                least = told[nth]
                if (found := cache.get(f"key {nth}", 0)) < least:
                    wrong.append(f"read {found} after {least}")

    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(write, 0), pool.submit(write, 1), *(pool.submit(read) for _ in range(3))]
        time.sleep(0.7)
        stop.set()
        for one in running:
            one.result(20)
    stats = cache.stats()
    house.close()
    assert wrong == []
    assert min(told) > 5
    assert stats["near_hits"] > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_both_sides_of_a_fork_stay_coherent(tmp_path: Path, stop: Any) -> None:
    """With the cache in use and warm: parent and child read what a third process writes, and what each other writes."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    acknowledged, by_parent, by_child = Acknowledged(), Acknowledged(), Acknowledged()
    writer = workers.start(workers.write_versions, tmp_path, {}, acknowledged, stop)
    workers.wait_until(lambda: acknowledged.deleted.value, "the writer has begun")
    read_versions(cache, acknowledged, 0.1)

    def live(mine: str, own: Acknowledged, theirs: str, others: Acknowledged) -> list[str]:
        wrong = []
        for turn in range(1, 300):
            wrong += read_versions(cache, acknowledged, 0)[1]
            cache.set(mine, turn)
            own.written.value = turn
            least = others.written.value
            for _ in range(20):
                if (found := cache.get(theirs, 0)) < least:
                    wrong.append(f"{mine} read {found} of {theirs} after {least} was acknowledged")
        return wrong

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        wrong = ["the child failed"]
        try:
            wrong = live("child", by_child, "parent", by_parent)
        finally:
            os.write(writing, "\n".join(wrong[:20]).encode())
            os._exit(0)
    os.close(writing)
    wrong = live("parent", by_parent, "child", by_child)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b""
    os.waitpid(child, 0)
    stop.set()
    workers.join(writer)
    house.close()
    assert wrong == []
    assert [by_parent.written.value, by_child.written.value] == [299, 299]


def test_a_writer_that_is_killed_leaves_the_reader_coherent(tmp_path: Path, stop: Any) -> None:
    """Its last commit may be half done: whoever opens the file next begins the WAL index anew, counter and all."""
    torment(tmp_path, stop, seconds=3, kill_after=(0.1, 0.4))


@pytest.mark.soak
def test_coherence_under_checkpoints_and_kills(tmp_path: Path, stop: Any) -> None:
    """For minutes: writers killed at random, checkpoints that truncate the log, a reader that opens the file anew."""
    torment(tmp_path, stop, seconds=float(os.environ.get("SOAK_SECONDS", "180")), kill_after=(0.05, 2.0))


def torment(folder: Path, stop: Any, seconds: float, kill_after: tuple[float, float]) -> None:
    """Read while writers are killed and started again, and the log is truncated past our locks."""
    house = manager(folder)
    cache = house.get_cache("quotes")
    acknowledged = Acknowledged()
    writer = workers.start(workers.write_versions, folder, {}, acknowledged, stop)
    workers.wait_until(lambda: acknowledged.deleted.value, "the writer has begun")
    truncating = workers.start(workers.truncate_the_log, folder / "db" / "cache_quotes.db", stop)
    deadline = time.monotonic() + seconds
    reads, kills, near_hits = 0, 0, 0
    stale: list[str] = []
    for turn in itertools.count(1):
        more, found = read_versions(cache, acknowledged, random.uniform(*kill_after))
        reads, stale = reads + more, stale + found
        if stale or (time.monotonic() > deadline and kills):
            break
        workers.kill(writer)
        kills += 1
        more, found = read_versions(cache, acknowledged, 0.02)
        reads, stale = reads + more, stale + found
        promised = acknowledged.written.value
        writer = workers.start(workers.write_versions, folder, {}, acknowledged, stop)
        while acknowledged.written.value == promised:
            more, found = read_versions(cache, acknowledged, 0.005)
            reads, stale = reads + more, stale + found
            assert writer.is_alive(), "a writer could not begin after one was killed"
        if turn % 5 == 0:
            near_hits += cache.stats()["near_hits"]
            cache.close()
    stop.set()
    workers.join(writer)
    workers.join(truncating)
    near_hits += cache.stats()["near_hits"]
    rejected = cache.stats()["rejected"]
    house.close()
    print(f"{reads:,} reads, {near_hits:,} near, {kills} kills", file=sys.stderr)  # noqa: T201  # shown with -s, or on failure
    assert stale == []
    assert near_hits > reads / 2
    assert rejected == 0

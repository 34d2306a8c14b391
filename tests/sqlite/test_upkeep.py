"""What a file needs from time to time: done in small steps, between which everybody reads and writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.backends.sqlite import SQLiteBackend, upkeep
from openalgo_cache.testing import FakeClock
from tests.workers import PATIENCE

DAY: Final = 86_400.0
BIG: Final = b"x" * 4_000


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def backend(tmp_path: Path, clock: FakeClock) -> Iterator[SQLiteBackend]:
    """A file of a process."""
    with closing(SQLiteBackend(tmp_path / "cache.db", maxsize=10_000, vacuum_interval=DAY, clock=clock)) as backend:
        yield backend


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Another thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def again(backend: SQLiteBackend, clock: FakeClock) -> SQLiteBackend:
    """Return the same file as the next process has it."""
    backend.close()
    return SQLiteBackend(backend.path, maxsize=10_000, vacuum_interval=DAY, clock=clock)


def fill(backend: SQLiteBackend, count: int, expires_at: float | None = None) -> None:
    """Write large entries, and bring them from the log to the database."""
    backend.set_many({f"key {number:05}": Entry(BIG, expires_at) for number in range(count)})
    checkpoint(backend)


def checkpoint(backend: SQLiteBackend) -> None:
    """Bring the log to the database."""
    backend._store.maintain(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())


def unused(backend: SQLiteBackend) -> int:
    """Return how many pages are in the file for nothing."""
    return int(backend._store.read(lambda cursor: cursor.execute("PRAGMA freelist_count").get))


# Space


def test_space_is_given_back(backend: SQLiteBackend, clock: FakeClock) -> None:
    """What was deleted makes the file smaller, once an interval."""
    fill(backend, 500)
    backend.maintain()
    before = backend.path.stat().st_size
    assert before > 500 * len(BIG)
    backend.clear()
    backend.maintain()
    assert backend.path.stat().st_size == before, "it is not time yet"
    clock.advance(DAY)
    backend.maintain()
    assert backend.path.stat().st_size < before / 20
    assert unused(backend) == 0


def test_the_interval_survives_restarts(backend: SQLiteBackend, clock: FakeClock) -> None:
    """A process that runs for an hour a day gives space back, too; many that start one by one do not each time."""
    fill(backend, 100)
    backend.maintain()
    backend.clear()
    for _ in range(10):
        clock.advance(DAY / 11)
        backend = again(backend, clock)
        backend.maintain()
        assert unused(backend) > 0
    clock.advance(DAY / 11 + 60)
    backend = again(backend, clock)
    backend.maintain()
    assert unused(backend) == 0
    backend.close()


def test_of_several_processes_one_gives_space_back(backend: SQLiteBackend, clock: FakeClock) -> None:
    """The others see in the file that it was done."""
    fill(backend, 100)
    with closing(SQLiteBackend(backend.path, maxsize=10_000, vacuum_interval=DAY, clock=clock)) as other:
        backend.maintain()
        clock.advance(DAY + 60)
        other.maintain()
        backend.clear()
        backend.maintain()
        assert unused(backend) > 0
        clock.advance(DAY + 60)
        backend.maintain()
        assert unused(other) == 0


def test_a_clock_that_was_set_back_is_no_reason_to_wait(backend: SQLiteBackend, clock: FakeClock) -> None:
    """Nobody waits for years until the time comes again that the file speaks of."""
    clock.advance(3650 * DAY)
    fill(backend, 100)
    backend.maintain()
    backend.clear()
    clock.advance(-3650 * DAY)
    backend.maintain()
    assert unused(backend) == 0


def test_space_is_never_given_back_where_that_is_asked_for(tmp_path: Path, clock: FakeClock) -> None:
    """An interval of 0."""
    with closing(SQLiteBackend(tmp_path / "cache.db", vacuum_interval=0, clock=clock)) as backend:
        fill(backend, 100)
        backend.clear()
        clock.advance(3650 * DAY)
        backend.maintain()
        assert unused(backend) > 0


Step = Callable[[], object]


def between(monkeypatch: pytest.MonkeyPatch, store: Any, verb: str, during: Step, after: Step) -> list[int]:
    """Do something during each step that holds the writer's lock, and after it; return a list that grows by each."""
    steps: list[int] = []
    original = getattr(store, verb)

    def stepwise(work: Callable[[Any], Any], *rest: Any) -> Any:
        def watched(connection: Any) -> Any:
            result = work(connection)
            during()
            return result

        steps.append(1)
        monkeypatch.setattr(store, verb, original)  # what comes in between is no step
        try:
            result = original(watched, *rest)
            after()
        finally:
            monkeypatch.setattr(store, verb, stepwise)
        return result

    monkeypatch.setattr(store, verb, stepwise)
    return steps


def test_nobody_waits_while_space_is_given_back(
    backend: SQLiteBackend, clock: FakeClock, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers read during each step, writers write between any two, and a reader who lingers delays nothing."""
    fill(backend, 500)
    backend.set("kept", Entry(b"value", None))
    before = backend.path.stat().st_size
    held, release = threading.Event(), threading.Event()

    def linger(cursor: apsw.Cursor) -> Any:
        cursor.execute("BEGIN")
        seen = cursor.execute("SELECT count(*) FROM cache").get
        held.set()
        assert release.wait(PATIENCE)
        assert cursor.execute("SELECT count(*) FROM cache").get == seen
        cursor.execute("COMMIT")
        return seen

    lingering = threading.Thread(target=backend._store.read, args=(linger,))
    lingering.start()
    assert held.wait(PATIENCE)
    backend.delete_many([f"key {number:05}" for number in range(500)])
    written = iter(range(10_000))

    def read() -> None:
        assert pool.submit(backend.get, "kept").result(PATIENCE) == Entry(b"value", None)

    def write() -> None:
        backend.set("between", Entry(b"%d" % next(written), None))

    clock.advance(DAY)
    with monkeypatch.context() as patched:
        patched.setattr(upkeep, "_PAGES_A_STEP", 50)
        steps = between(patched, backend._store, "maintain", read, write)
        backend.maintain()
    assert len(steps) >= 10
    assert unused(backend) == 0
    release.set()
    lingering.join(PATIENCE)
    clock.advance(DAY)
    backend.maintain()
    assert backend.path.stat().st_size < before / 20


# Expired entries


def test_what_expired_leaves_in_small_steps(
    backend: SQLiteBackend, clock: FakeClock, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred at a time; meanwhile others read and write."""
    fill(backend, 1_000, clock() + 60)
    backend.set("kept", Entry(b"value", None))
    clock.advance(60)
    sizes: list[int] = []
    count = "SELECT entries FROM counter"

    def read() -> None:
        assert pool.submit(backend.get, "kept").result(PATIENCE) == Entry(b"value", None)

    def write() -> None:
        sizes.append(backend._store.read(lambda cursor: cursor.execute(count).get))
        backend.set("kept", Entry(b"value", None))

    with monkeypatch.context() as patched:
        between(patched, backend._store, "write", read, write)
        backend.maintain()
    assert [size for size in sizes if size > 1] == [801, 601, 401, 201]
    assert (backend.size(), backend._upkeep.purged) == (1, 1_000)


def test_what_was_written_again_meanwhile_stays(
    backend: SQLiteBackend, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found expired is looked at again when it is deleted."""
    fill(backend, 300, clock() + 60)
    clock.advance(60)

    def write() -> None:
        backend.set("key 00250", Entry(b"new", None))

    with monkeypatch.context() as patched:
        between(patched, backend._store, "write", lambda: None, write)
        backend.maintain()
    assert backend.get("key 00250") == Entry(b"new", None)
    assert backend.size() == 1

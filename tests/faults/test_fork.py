"""Forks after the files were opened: parent and child share nothing that only one of them may have, and both go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from openalgo_cache.backends.sqlite import SQLiteBackend, forking, store, upkeep
from openalgo_cache.backends.sqlite.store import Store
from openalgo_cache.cache import Cache
from openalgo_cache.codec import envelope
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.locks import make_lock
from openalgo_cache.manager import CacheManager
from tests.faults.forks import Child, forks, open_files
from tests.stacks import manager
from tests.workers import PATIENCE

pytestmark = [forks, pytest.mark.xdist_group("forks")]

CACHES: Final[dict[str, dict[str, Any]]] = {
    "quotes": {},  # signed
    "tokens": {"encrypted": True, "ttl": None},
    "running_strategies": {},  # a state
}


def caches_of(house: CacheManager) -> list[Cache]:
    """Return a cache of each kind."""
    return [house.get_cache(name, **options) for name, options in CACHES.items()]


def writer_of(cache: Cache, key: str) -> str:
    """Return the writer's id in the record under a key."""
    entry = cache.backend.get(cache._opened().keyspace.stored(key))
    assert entry is not None
    return envelope.parse_head(entry.payload).writer.hex()


def store_of(cache: Cache) -> Store:
    """Return what has the connections of a cache."""
    assert isinstance(cache.backend, SQLiteBackend)
    return cache.backend._store


def fork_again_and_again(folder: Path, times: int) -> None:
    """Fork, let both sides read and write at once, and compare their writer ids and what became of the counters."""
    house = manager(folder)
    caches = caches_of(house)
    writers: set[str] = set()
    descriptors = -1

    def live(turn: int) -> list[str]:
        inherited = open_files(folder)
        assert inherited == [], "the child has files of its parent open"
        for cache in caches:
            assert cache.get(f"before {turn}") == turn
            cache.incr("turns")
            cache.set(f"child {turn}", turn)
            assert cache.get(f"child {turn}") == turn
        return [writer_of(cache, f"child {turn}") for cache in caches]

    for turn in range(times):
        for cache in caches:
            cache.set(f"before {turn}", turn)
            assert cache.get(f"before {turn}") == turn
        child = Child(lambda turn=turn: live(turn))  # type: ignore[misc]  # mypy can't infer a default's type
        for cache in caches:
            cache.incr("turns")
            cache.set(f"parent {turn}", turn)
        told = child.result()
        for cache in caches:
            assert cache.get(f"child {turn}") == turn
            assert cache.get(f"parent {turn}") == turn
            assert cache.get("turns") == 2 * (turn + 1)
        own = [writer_of(cache, f"{when} {turn}") for cache in caches for when in ("before", "parent")]
        assert not writers & set(told), "a child sealed as its parent, or as another child, did"
        assert len(set(told)) == len(caches)
        assert set(own) <= writers or turn == 0, "the parent goes on as the writer that it was"
        writers |= {*told, *own}
        if turn == 10:
            descriptors = len(os.listdir("/dev/fd"))  # noqa: PTH208  # the names themselves
    assert descriptors in {-1, len(os.listdir("/dev/fd"))}, "forks leave files open"  # noqa: PTH208  # likewise
    assert [(cache.stats()["errors"], cache.stats()["rejected"]) for cache in caches] == [(0, 0)] * len(caches)
    house.close()


def test_both_sides_of_a_fork_go_on(tmp_path: Path) -> None:
    """A few dozen forks: no shared file, no shared writer id, no lost update."""
    fork_again_and_again(tmp_path, 30)


@pytest.mark.soak
def test_a_thousand_forks(tmp_path: Path) -> None:
    """The same, a thousand times."""
    fork_again_and_again(tmp_path, 1000)


def test_children_of_children(tmp_path: Path) -> None:
    """Each generation reads what all before it wrote, and is a writer of its own."""
    with closing(manager(tmp_path)) as house:
        caches = caches_of(house)

        def descend(generation: int) -> list[list[str]]:
            assert generation == 0 or open_files(tmp_path) == []
            for cache in caches:
                assert cache.get_many([f"key {one}" for one in range(generation)]) == {
                    f"key {one}": one for one in range(generation)
                }
                cache.set(f"key {generation}", generation)
            writers = [writer_of(cache, f"key {generation}") for cache in caches]
            deeper: list[list[str]] = Child(lambda: descend(generation + 1)).result() if generation < 4 else []
            for cache in caches:
                assert cache.get("key 4") == 4
            return [writers, *deeper]

        generations = descend(0)
        assert len({writer for writers in generations for writer in writers}) == 5 * len(caches)


@contextmanager
def busy(*works: Callable[[int], None]) -> Iterator[list[int]]:
    """Let threads do works again and again, turn after turn; yield how many turns each has done. None of them fails."""
    stop = threading.Event()
    turns = [0] * len(works)
    failures: list[BaseException] = []

    def run(number: int, work: Callable[[int], None]) -> None:
        try:
            while not stop.is_set():
                work(turns[number])
                turns[number] += 1
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number, work)) for number, work in enumerate(works)]
    for thread in threads:
        thread.start()
    try:
        yield turns
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)
    assert all(turns), "a thread never had its turn"


def test_threads_that_are_busy_while_the_process_forks(tmp_path: Path) -> None:
    """In the middle of reads, writes and loads: they wait, nothing fails, and no child finds anything locked."""
    with closing(manager(tmp_path)) as house:
        quotes, tokens, running = caches_of(house)
        quotes.set_many({f"key {number}": number for number in range(100)})

        def read(turn: int) -> None:
            assert quotes.get(f"key {turn % 100}") == turn % 100

        def read_many(_: int) -> None:
            assert len(quotes.get_many([f"key {number}" for number in range(100)])) == 100

        def write(turn: int) -> None:
            tokens.set(f"own {turn % 10}", turn)
            tokens.incr("count")

        def save(turn: int) -> None:
            running.set("state", turn)

        def load(turn: int) -> None:
            quotes.get_or_set("loaded", lambda: turn)
            quotes.delete("loaded")

        def live() -> list[Any]:
            tokens.incr("forks")
            running.set(f"child {os.getpid()}", 1)
            quotes.set("from the child", os.getpid())
            return [quotes.get("key 7"), quotes.get("from the child") == os.getpid(), tokens.exists("count")]

        forked = 12
        with busy(read, read_many, write, save, load) as turns:
            for number in range(1, forked + 1):
                while not all(turn >= number for turn in turns):
                    threading.Event().wait(0.001)
                assert Child(live).result() == [7, True, True]
        assert tokens.get("forks") == forked
        assert tokens.get("count") == turns[2]
        assert running.get("state") == turns[3] - 1
        assert running.size() == 1 + forked
        assert [cache.stats()["errors"] for cache in (quotes, tokens, running)] == [0, 0, 0]


class Watched:
    """A lock that says when somebody has to wait for it."""

    def __init__(self) -> None:
        self._lock = make_lock()
        self.waited_for = threading.Event()

    def acquire(self) -> None:
        """Wait for it."""
        if not self._lock.acquire(blocking=False):
            self.waited_for.set()
            self._lock.acquire()

    def release(self) -> None:
        """Let it go."""
        self._lock.release()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


class Holding:
    """Holds a fork up until something happens."""

    def __init__(self, until: Callable[[], bool]) -> None:
        self.begun = threading.Event()
        self._until = until
        self.in_time = False

    def before_fork(self) -> None:
        """Wait for it."""
        self.begun.set()
        self.in_time = self._until()

    def after_fork(self, *, child: bool) -> None:
        """Have nothing to do."""


def test_a_store_that_another_thread_makes_during_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made when the fork is over: its child would inherit it in the middle of a write, locked for ever."""
    lock = Watched()
    monkeypatch.setattr(forking, "_lock", lock)
    holding = Holding(lambda: lock.waited_for.wait(PATIENCE))
    forking.register(holding)
    made: list[Store] = []

    def make() -> None:
        assert holding.begun.wait(PATIENCE)
        made.append(Store(tmp_path / "late.db"))
        made[0].write(lambda cursor: cursor.execute("CREATE TABLE of_the_thread (a)"))

    def live() -> int:
        with closing(Store(tmp_path / "late.db")) as own:
            own.write(lambda cursor: cursor.execute("CREATE TABLE of_the_child (a)"))
        return len(made)

    thread = threading.Thread(target=make)
    thread.start()
    child = Child(live)
    thread.join(PATIENCE)
    assert child.result() == 0
    assert holding.in_time
    tables = "SELECT name FROM sqlite_schema WHERE name LIKE 'of_the_%' ORDER BY name"
    assert made[0].read(lambda cursor: cursor.execute(tables).fetchall()) == [("of_the_child",), ("of_the_thread",)]
    made[0].close()


def test_a_read_that_does_not_end_in_time_for_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is the parent's: the child does without this file, and says so, and the parent goes on."""
    monkeypatch.setattr(store, "_PATIENCE", 0.0)
    with closing(manager(tmp_path)) as house:
        quotes, tokens, running = caches_of(house)
        for cache in (quotes, tokens, running):
            cache.set("key", 1)
        held, release = threading.Event(), threading.Event()

        def dawdle(cursor: apsw.Cursor) -> None:
            cursor.execute("SELECT count(*) FROM cache").fetchall()
            held.set()
            release.wait(PATIENCE)

        def live() -> list[Any]:
            with pytest.raises(BackendUnavailableError, match="was in use when this process was forked"):
                running.get("key")
            with pytest.raises(BackendUnavailableError, match="was in use when this process was forked"):
                running.set("key", 2)
            tokens.set("key", 2)
            return [quotes.get("key"), tokens.get("key")]

        thread = threading.Thread(target=store_of(running).read, args=(dawdle,))
        thread.start()
        assert held.wait(PATIENCE)
        child = Child(live)
        release.set()
        thread.join(PATIENCE)
        assert child.result() == [1, 2]
        assert [cache.get("key") for cache in (quotes, tokens, running)] == [1, 2, 1]
        running.set("key", 3)
        assert running.get("key") == 3


def test_a_child_does_its_own_upkeep(tmp_path: Path) -> None:
    """The thread that did it stayed with the parent."""
    with closing(manager(tmp_path)) as house:
        cache = house.get_cache("quotes")
        cache.set("key", 1)
        assert upkeep._served._runs

        def live() -> list[bool]:
            before = upkeep._served._runs
            cache.set("key", 2)
            return [before, upkeep._served._runs]

        assert Child(live).result() == [False, True]
        assert cache.get("key") == 2

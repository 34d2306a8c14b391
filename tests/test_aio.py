"""The verbs for asyncio callers, on memory and SQLite: tests/redis/test_aio.py has those of servers."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import workers
from openalgo_cache.aio import AsyncCache
from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Policy, Sealing
from openalgo_cache.clock import system_clock
from openalgo_cache.errors import BackendUnavailableError, InvalidLifetimeError, LockTimeoutError
from openalgo_cache.flight import Flights
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from openalgo_cache.stack import Ground, Stack, build_stack
from openalgo_cache.testing import ChaosBackend
from openalgo_cache.workers import Workers
from tests.awaiting import AwaitedCacheContract
from tests.stacks import manager
from tests.workers import PATIENCE, wait_until

# Every verb, as the contract of all caches has it


class TestMemory(AwaitedCacheContract):
    """Called on the loop itself."""

    def make_backend(self, request: Request) -> CacheBackend:
        """Make a backend of its own memory."""
        return MemoryBackend.create(request)


class TestSQLite(AwaitedCacheContract):
    """Called in threads."""

    def make_backend(self, request: Request) -> CacheBackend:
        """Open the file of this test."""
        return SQLiteBackend.create(request)


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheManager]:
    """A manager of either backend."""
    house = manager(tmp_path, backend=request.param)
    yield house
    house.close()


@pytest.fixture
def cache(house: CacheManager) -> Cache:
    """A cache of it."""
    return house.get_cache("quotes", ttl=1_000)


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[Cache]:
    """A cache on SQLite."""
    house = manager(tmp_path)
    yield house.get_cache("quotes", ttl=1_000)
    house.close()


def is_idle(cache: Cache) -> bool:
    """Return whether no load is under way and no write marks a key."""
    near = cache._near
    return not cache._flights.under_way and not near._writing and not near._writing_all


async def happens(condition: Callable[[], object], what: str) -> None:
    """Wait for something, with the loop turning."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        await asyncio.sleep(0.001)


def test_importing_the_package_does_not_import_asyncio() -> None:
    """Nor greenlet: only who uses ``aio`` pays for it."""
    script = (
        "import sys, openalgo_cache; from openalgo_cache import get_cache; import openalgo_cache.cache;"
        "print([name for name in ('asyncio', 'greenlet', 'openalgo_cache.aio') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_every_verb_of_a_cache_is_there(cache: Cache) -> None:
    """All but what is for plain code: the mapping face, and what does not look at the store."""
    plain = {"aio", "backend", "cached", "close", "lost_deletes", "maxsize", "name", "policy", "setdefault", "shown"}
    plain |= {"update", "values"}
    verbs = {name for name in dir(Cache) if not name.startswith("_")} - plain
    assert verbs <= {name for name in dir(AsyncCache) if not name.startswith("_")}
    assert cache.aio is cache.aio


# Where it is done


def advance(coroutine: Any) -> Any:
    """Run a coroutine that never waits, without any loop; return its result."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    return end.value.value


def test_a_near_hit_neither_waits_nor_changes_threads(cache: Cache) -> None:
    """It works without a loop, even."""
    cache.set("NIFTY", {"ltp": 1})
    cache.get("NIFTY")
    if not cache._near.keeps:
        pytest.skip("memory has no near tier in this configuration")
    assert advance(cache.aio.get("NIFTY")) == {"ltp": 1}
    assert advance(cache.aio.exists("NIFTY")) is True
    assert advance(cache.aio.get_many(["NIFTY"])) == {"NIFTY": {"ltp": 1}}
    assert advance(cache.aio.get_or_set("NIFTY", lambda: 2)) == {"ltp": 1}


def test_a_file_is_read_in_a_thread(filed: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the loop goes on, however long it takes; context variables go along."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    may_read = threading.Event()
    seen = []
    get = type(filed.backend).get

    def slowly(backend: Any, stored: str) -> Any:
        seen.append((threading.get_ident(), name.get()))
        assert may_read.wait(PATIENCE)
        return get(backend, stored)

    monkeypatch.setattr(type(filed.backend), "get", slowly)

    async def read() -> None:
        name.set("mine")
        task = asyncio.create_task(filed.aio.get("NIFTY"))
        await happens(lambda: seen, "the read began")
        may_read.set()
        assert await task is None

    asyncio.run(read())
    assert seen[0][0] != threading.get_ident()
    assert seen[0][1] == "mine"


def test_a_thousand_reads_at_once_take_eight_threads(filed: Cache) -> None:
    """They queue up, and none fails."""
    filed.set_many({f"key {number}": number for number in range(1_000)})

    async def read() -> list[Any]:
        return await asyncio.gather(*(filed.aio.get(f"key {number}") for number in range(1_000)))

    assert asyncio.run(read()) == list(range(1_000))
    assert workers.SHARED._threads <= 8


def test_loops_in_turn_and_in_threads_share_a_cache(cache: Cache) -> None:
    """What one has written, the others read."""

    async def count() -> int:
        return (await asyncio.gather(*(cache.aio.incr("count") for _ in range(20))))[-1]

    for _ in range(3):
        asyncio.run(count())
    threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("count") == 100
    assert is_idle(cache)


def test_iteration_can_be_left(cache: Cache) -> None:
    """In the middle, too."""
    cache.set_many({f"key {number}": number for number in range(600)})

    async def some() -> list[Any]:
        found = []
        async for key in cache.aio.keys():
            found.append(key)
            if len(found) == 300:
                break
        return found

    assert len(set(asyncio.run(some()))) == 300


# Loading


def test_one_loader_for_plain_and_asyncio_callers(cache: Cache) -> None:
    """Two loops and threads ask for one cold key at once."""
    runs = []
    asking = threading.Barrier(6)

    def load() -> str:
        runs.append(1)
        time.sleep(0.02)
        return "loaded"

    async def load_async() -> str:
        runs.append(1)
        await asyncio.sleep(0.02)
        return "loaded"

    async def ask() -> None:
        asking.wait()
        answers = await asyncio.gather(
            *(cache.aio.get_or_set("NIFTY", load) for _ in range(10)),
            *(cache.aio.get_or_set("NIFTY", load_async) for _ in range(10)),
        )
        found.extend(answers)

    def ask_plainly() -> None:
        asking.wait()
        found.append(cache.get_or_set("NIFTY", load))

    found: list[str] = []
    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(2)]
    threads += [threading.Thread(target=ask_plainly) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["loaded"] * 44
    assert len(runs) == 1
    assert is_idle(cache)


def test_a_plain_loader_runs_in_a_thread_and_an_async_one_on_the_loop(cache: Cache) -> None:
    """What a plain one returns is awaited, if it can be."""
    here = threading.get_ident()

    async def on_loop() -> int:
        return threading.get_ident()

    async def ask() -> None:
        assert await cache.aio.get_or_set("plain", threading.get_ident) != here
        assert await cache.aio.get_or_set("async", on_loop) == here
        assert await cache.aio.get_or_set("both", lambda: on_loop())  # noqa: PLW0108  # not a coroutine function == here

    asyncio.run(ask())


def test_a_plain_caller_does_not_wait_for_a_task_of_the_loop_it_stops(cache: Cache) -> None:
    """It would wait forever, so it loads by itself."""

    async def ask() -> None:
        loading = asyncio.Event()
        may_load = asyncio.Event()

        async def load() -> str:
            loading.set()
            await may_load.wait()
            return "the task's"

        task = asyncio.create_task(cache.aio.get_or_set("NIFTY", load))
        await loading.wait()
        assert cache.get_or_set("NIFTY", lambda: "my own") == "my own"
        may_load.set()
        assert await task == "the task's"

    asyncio.run(ask())
    assert cache.get("NIFTY") == "the task's"


def test_cached_coroutine_functions_leave_the_loop_alone(filed: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the store does, the loop turns meanwhile."""
    threads: set[object] = set()
    board = Flights.board

    def noted(*arguments: Any) -> Any:
        threads.add(threading.get_ident())
        return board(*arguments)

    monkeypatch.setattr(Flights, "board", noted)

    @filed.cached("{symbol}")
    async def quote(symbol: str) -> str:
        threads.add("loaded")
        return symbol

    assert asyncio.run(quote("NIFTY")) == "NIFTY"
    assert "loaded" in threads
    assert threading.get_ident() not in threads


# Cancellation


def test_a_cancelled_load_gives_its_lease_back(cache: Cache) -> None:
    """At once, and whoever waited loads in its place."""

    async def ask() -> None:
        loading = asyncio.Event()

        async def load() -> str:
            loading.set()
            await asyncio.sleep(PATIENCE)
            return "never"

        first = asyncio.create_task(cache.aio.get_or_set("NIFTY", load))
        await loading.wait()
        second = asyncio.create_task(cache.aio.get_or_set("NIFTY", lambda: "second"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == "second"

    asyncio.run(ask())
    assert is_idle(cache)


@pytest.mark.parametrize("after", range(12))
def test_a_load_can_be_cancelled_at_any_time(cache: Cache, after: int) -> None:
    """After any number of turns of the loop, nothing is left of it."""

    async def ask() -> None:
        task = asyncio.create_task(cache.aio.get_or_set("NIFTY", lambda: "loaded"))
        for _ in range(after):
            await asyncio.sleep(0 if after % 2 else 0.000_2)
        task.cancel()
        with suppress(asyncio.CancelledError):
            assert await task == "loaded"
        assert is_idle(cache)
        assert await cache.aio.get_or_set("NIFTY", lambda: "again") in {"loaded", "again"}

    asyncio.run(ask())
    assert is_idle(cache)
    assert cache.size() == 1


def test_a_cancelled_write_ends_with_its_task(filed: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread can't be stopped: when the cancellation is raised it has ended, and no mark of the write is left."""
    writing, may_write = threading.Event(), threading.Event()
    set_ = type(filed.backend).set

    def slowly(backend: Any, *arguments: Any) -> None:
        writing.set()
        assert may_write.wait(PATIENCE)
        set_(backend, *arguments)

    monkeypatch.setattr(type(filed.backend), "set", slowly)

    async def write() -> None:
        task = asyncio.create_task(filed.aio.set("NIFTY", 1))
        await happens(writing.is_set, "the write began")
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        may_write.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert is_idle(filed)
        assert await filed.aio.get("NIFTY") == 1

    asyncio.run(write())


# Locks


def test_a_lock_excludes_tasks_threads_and_plain_callers(cache: Cache) -> None:
    """Its fence rises; who waits too long is told, and the loop goes on while many wait."""
    inside = []

    async def work() -> int:
        async with cache.aio.lock("rebuild") as fence:
            inside.append(fence)
            assert len(inside) == 1
            await asyncio.sleep(0)
            inside.remove(fence)
            return fence

    async def use() -> None:
        lock = cache.aio.lock("rebuild")
        async with lock as first:
            with pytest.raises(LockTimeoutError):
                cache.lock("rebuild", timeout=0).__enter__()
            with pytest.raises(LockTimeoutError):
                await cache.aio.lock("rebuild", timeout=0.001).__aenter__()
            await lock.extend(60)
            others = [asyncio.create_task(work()) for _ in range(20)]
            await asyncio.sleep(0.001)
        assert min(await asyncio.gather(*others)) > first
        with pytest.raises(InvalidLifetimeError):
            await cache.aio.lock("rebuild", ttl=None).__aenter__()

    asyncio.run(use())


@pytest.mark.parametrize("after", range(8))
def test_a_cancelled_task_holds_no_lock(cache: Cache, after: int) -> None:
    """Whether it was waiting, or had just got it."""

    async def take() -> None:
        async with cache.aio.lock("rebuild", ttl=1_000):
            await asyncio.sleep(0)

    async def use() -> None:
        task = asyncio.create_task(take())
        for _ in range(after):
            await asyncio.sleep(0 if after % 2 else 0.000_2)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(use())
    with cache.lock("rebuild", timeout=0):
        pass


# Failures


@pytest.mark.parametrize("raises", [False, True])
def test_failures_are_those_of_plain_verbs(tmp_path: Path, raises: bool) -> None:
    """A read is a miss, a write does nothing, unless the cache raises."""
    chaos = ChaosBackend(MemoryBackend())
    ground = Ground(Settings(base_folder=tmp_path), system_clock, lambda: pytest.fail("no ring is needed"))
    policy = Policy(sealing=Sealing.PLAIN, raises=raises)

    def build() -> Stack:
        return build_stack("quotes", policy, "chaos", ground, lambda _: chaos)

    cache = Cache("quotes", policy, build, system_clock)

    async def use() -> None:
        await cache.aio.set("NIFTY", 1)
        assert await cache.aio.get("NIFTY") is None
        assert await cache.aio.get_or_set("NIFTY", lambda: 2) == 2
        assert (await cache.aio.health(probe=True))["status"] != "healthy"

    chaos.fail()
    if raises:
        with pytest.raises(BackendUnavailableError):
            asyncio.run(use())
    else:
        asyncio.run(use())


# Threads of our own


def test_workers_end_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """And come again when there is."""
    monkeypatch.setattr(workers, "_IDLE_SECONDS", 0.01)
    pool = Workers(2)
    for _ in range(2):
        assert asyncio.run(pool.run(abs, -3)) == 3
        wait_until(lambda: pool._threads == 0, "the thread ended")
    with pytest.raises(ZeroDivisionError):
        asyncio.run(pool.run(divmod, 1, 0))


def test_what_has_not_begun_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queued call is withdrawn when its caller is cancelled."""
    pool = Workers(1)
    busy, release = threading.Event(), threading.Event()
    done: list[int] = []

    def occupy() -> None:
        busy.set()
        assert release.wait(PATIENCE)

    async def use() -> None:
        first = asyncio.create_task(pool.run(occupy))
        await happens(busy.is_set, "the thread was busy")
        second = asyncio.create_task(pool.run(done.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        await first

    asyncio.run(use())
    assert asyncio.run(pool.run(len, done)) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_threads_of_its_own(filed: Cache) -> None:
    """Those of its parent are not there."""
    assert asyncio.run(filed.aio.get("NIFTY")) is None

    def child() -> None:
        asyncio.run(filed.aio.set("NIFTY", 1))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert asyncio.run(filed.aio.get("NIFTY")) == 1

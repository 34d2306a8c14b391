"""Loading: once across threads, tasks and processes; and nothing comes back that was revoked meanwhile."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import LONGEST_LOAD
from openalgo_cache.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidLifetimeError,
    UnsupportedValueError,
)
from openalgo_cache.manager import CacheManager
from openalgo_cache.testing import FakeClock
from tests import cold_key, workers
from tests.stacks import manager
from tests.workers import PATIENCE

LEASE = LONGEST_LOAD


class Loader:
    """A loader that a test can hold, counts its runs, and returns a new value each time."""

    def __init__(self, *, held: bool = False) -> None:
        self.running = threading.Event()
        self.release = threading.Event()
        self.runs = 0
        if not held:
            self.release.set()

    def __call__(self) -> str:
        """Load."""
        self.runs += 1
        run = self.runs
        self.running.set()
        assert self.release.wait(PATIENCE)
        return f"load {run}"


@pytest.fixture
def clock() -> FakeClock:
    """A clock of the test's own: leases do not run out by themselves."""
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[CacheManager]:
    """A manager of either backend."""
    house = manager(tmp_path, clock, request.param)
    yield house
    house.close()


@pytest.fixture
def cache(house: CacheManager) -> Cache:
    """A cache of it."""
    return house.get_cache("quotes", ttl=1_000)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads."""
    with ThreadPoolExecutor(60) as pool:
        yield pool


def in_flight(cache: Cache) -> bool:
    """Return whether a load is under way in this handle."""
    return bool(cache._flights.under_way)


# Once


def test_of_fifty_threads_one_loads(cache: Cache, pool: ThreadPoolExecutor) -> None:
    """The others wait and get what it loaded, each a copy of its own."""
    load = Loader(held=True)

    def wrapped() -> list[str]:
        return [load()]

    results = [pool.submit(cache.get_or_set, "key", wrapped) for _ in range(50)]
    assert load.running.wait(PATIENCE)
    load.release.set()
    values = [result.result(PATIENCE) for result in results]
    assert load.runs == 1
    assert values == [["load 1"]] * 50
    assert len({id(value) for value in values}) == 50
    assert cache.get("key") == ["load 1"]
    assert not in_flight(cache)


def test_different_keys_load_at_once(cache: Cache, pool: ThreadPoolExecutor) -> None:
    """Nobody waits for another key's loader; 1, True and "1" are three keys."""
    loaders = {key: Loader(held=True) for key in ("a", "b", "1")}
    odd = {kind: Loader(held=True) for kind in ("int", "bool")}
    results: list[Future[str]] = [pool.submit(cache.get_or_set, key, load) for key, load in loaders.items()]
    results += [pool.submit(cache.get_or_set, 1, odd["int"]), pool.submit(cache.get_or_set, True, odd["bool"])]
    for load in (*loaders.values(), *odd.values()):
        assert load.running.wait(PATIENCE), "a loader waits for another key's"
    for load in (*loaders.values(), *odd.values()):
        load.release.set()
    assert [result.result(PATIENCE) for result in results] == ["load 1"] * 5
    assert cache.size() == 5


def test_of_two_handles_one_loads(tmp_path: Path, clock: FakeClock, pool: ThreadPoolExecutor) -> None:
    """As of two processes: a lease in the store tells the other to wait."""
    houses = [manager(tmp_path, clock) for _ in range(2)]
    one, other = (house.get_cache("quotes") for house in houses)
    load, never = Loader(held=True), Loader()
    first = pool.submit(one.get_or_set, "key", load)
    assert load.running.wait(PATIENCE)
    second = pool.submit(other.get_or_set, "key", never)
    workers.wait_until(lambda: in_flight(other), "the other handle has come")
    assert other.get("key") is None, "a lease is no value"
    assert "key" not in other
    assert other.get_many(["key"]) == {}
    assert list(other.keys()) == []
    with pytest.raises(KeyError):
        other.ttl("key")
    load.release.set()
    assert [first.result(PATIENCE), second.result(PATIENCE)] == ["load 1", "load 1"]
    assert never.runs == 0
    for house in houses:
        house.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_wait_for_a_load_that_nobody_leads(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """The thread that loads stays in the parent: the child waits at the lease, like any other process."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    load = Loader(held=True)
    result = pool.submit(cache.get_or_set, "key", load)
    assert load.running.wait(PATIENCE)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"ready ")
            os.write(writing, cache.get_or_set("key", lambda: "loaded by the child").encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert os.read(reading, 6) == b"ready "
        load.release.set()
        assert result.result(PATIENCE) == "load 1"
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.append(pipe.read()), daemon=True)
        reader.start()
        reader.join(PATIENCE)
        if reader.is_alive():
            os.kill(child, 9)
            reader.join()
    os.waitpid(child, 0)
    house.close()
    assert said == [b"load 1"]


# Revoked


CHANGES: dict[str, tuple[Callable[[Cache], object], Any]] = {
    "set": (lambda cache: cache.set("key", "changed"), "changed"),
    "set_many": (lambda cache: cache.set_many({"other": 1, "key": "changed"}), "changed"),
    "add": (lambda cache: cache.add("key", "changed"), "changed"),
    "incr": (lambda cache: cache.incr("key", 5), 5),
    "setdefault": (lambda cache: cache.setdefault("key", "changed"), "changed"),
    "delete": (lambda cache: cache.delete("key"), None),
    "delete_many": (lambda cache: cache.delete_many(["other", "key"]), None),
    "pop": (lambda cache: cache.pop("key", None), None),
    "clear": (Cache.clear, None),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("by", ["the same handle", "another handle"])
def test_a_change_cancels_the_load(change: str, by: str, tmp_path: Path, clock: FakeClock) -> None:
    """Whoever makes it: the loaded value goes to the one caller that loaded it, and is not kept."""
    houses = [manager(tmp_path, clock) for _ in range(2)]
    cache, other = (house.get_cache("quotes") for house in houses)
    do, left = CHANGES[change]

    def load() -> str:
        do(cache if by == "the same handle" else other)
        return "loaded before"

    assert cache.get_or_set("key", load) == "loaded before"
    assert [cache.get("key"), other.get("key")] == [left, left]
    for house in houses:
        house.close()


@pytest.mark.parametrize("by", ["the same handle", "another handle"])
def test_who_comes_after_the_change_does_not_get_what_was_loaded_before_it(
    by: str, tmp_path: Path, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    """A caller that asks after a delete has returned must not be given the value that was being loaded before it."""
    houses = [manager(tmp_path, clock) for _ in range(2)]
    cache, other = (house.get_cache("quotes") for house in houses)
    before, after = Loader(held=True), Loader()
    leader = pool.submit(cache.get_or_set, "key", before)
    assert before.running.wait(PATIENCE)
    (cache if by == "the same handle" else other).delete("key")
    followers = [pool.submit(cache.get_or_set, "key", lambda: "after: " + after()) for _ in range(3)]
    time.sleep(0.02)  # that they have come is not needed for the assertion, only likely
    before.release.set()
    assert leader.result(PATIENCE) == "load 1"
    assert [follower.result(PATIENCE) for follower in followers] == ["after: load 1"] * 3
    assert after.runs == 1
    assert [cache.get("key"), other.get("key")] == ["after: load 1"] * 2
    for house in houses:
        house.close()


def test_who_comes_after_the_change_does_not_wait_for_the_load_before_it(
    tmp_path: Path, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    """It loads at once: a loader that hangs must not hold up what came after a revocation."""
    houses = [manager(tmp_path, clock) for _ in range(2)]
    cache, other = (house.get_cache("quotes") for house in houses)
    for asking in (cache, other):
        hanging, after = Loader(held=True), Loader()
        leader = pool.submit(cache.get_or_set, "key", hanging)
        assert hanging.running.wait(PATIENCE)
        cache.delete("key")
        assert pool.submit(asking.get_or_set, "key", after).result(PATIENCE) == "load 1"
        assert after.runs == 1
        hanging.release.set()
        assert leader.result(PATIENCE) == "load 1"
        cache.delete("key")
    for house in houses:
        house.close()


def test_a_change_from_another_process_cancels_the_load(tmp_path: Path) -> None:
    """Set, delete, pop and clear."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    for verb, left in (("delete", None), ("set", "set by another process"), ("clear", None), ("pop", None)):
        cache.delete("key")

        def load(verb: str = verb) -> str:
            workers.join(workers.start(workers.delete_key, tmp_path, verb))
            return "loaded before"

        assert cache.get_or_set("key", load) == "loaded before"
        assert cache.get("key") == left
    house.close()


def test_touch_does_not_cancel_a_load(cache: Cache) -> None:
    """There is nothing to touch yet, and nothing revoked."""

    def load() -> str:
        assert cache.touch("key") is False
        return "loaded"

    assert cache.get_or_set("key", load) == "loaded"
    assert cache.get("key") == "loaded"


# Failed


class LoadError(Exception):
    """What a loader of the tests raises."""


def test_an_error_reaches_everyone_who_waits_and_is_not_kept(cache: Cache, pool: ThreadPoolExecutor) -> None:
    """The next call loads again."""
    load = Loader(held=True)

    def failing() -> str:
        load()
        raise LoadError("no broker")

    results = [pool.submit(cache.get_or_set, "key", failing) for _ in range(10)]
    assert load.running.wait(PATIENCE)
    workers.wait_until(pool._work_queue.empty, "all threads have come")
    load.release.set()
    for result in results:
        with pytest.raises(LoadError, match="no broker"):
            result.result(PATIENCE)
    assert cache.size() == 0, "the lease is gone, too"
    assert cache.get_or_set("key", lambda: "loaded") == "loaded"


def test_a_value_that_cannot_be_stored_is_an_error_for_everyone(cache: Cache) -> None:
    """And leaves no lease behind."""
    with pytest.raises(UnsupportedValueError):
        cache.get_or_set("key", object)
    assert cache.size() == 0
    assert not in_flight(cache)


def test_an_interrupt_is_not_passed_on(cache: Cache, pool: ThreadPoolExecutor) -> None:
    """Ctrl-C in one thread ends its own load; who waits for it loads anew."""
    load = Loader(held=True)

    def interrupted() -> str:
        load()
        raise KeyboardInterrupt

    leader = pool.submit(cache.get_or_set, "key", interrupted)
    assert load.running.wait(PATIENCE)
    follower = pool.submit(cache.get_or_set, "key", lambda: "loaded anew")
    load.release.set()
    with pytest.raises(KeyboardInterrupt):
        leader.result(PATIENCE)
    assert follower.result(PATIENCE) == "loaded anew"


def test_loads_can_be_nested(cache: Cache) -> None:
    """A loader may use the cache, under other keys."""
    value = cache.get_or_set("outer", lambda: ["outer", cache.get_or_set("inner", lambda: "inner")])
    assert value == ["outer", "inner"]
    assert cache.get("inner") == "inner"


# Dead


class WatchedClock(FakeClock):
    """A clock that says how often it was looked at."""

    looks = 0

    def __call__(self) -> float:
        """Return what the clock shows."""
        self.looks += 1
        return super().__call__()


def test_an_expired_lease_is_taken_over(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """Whoever waits for a loader that never comes back loads itself when the lease has run out; not before."""
    clock, others = FakeClock(), WatchedClock()
    houses = [manager(tmp_path, clock), manager(tmp_path, others)]
    one, other = (house.get_cache("quotes") for house in houses)
    hanging, second = Loader(held=True), Loader()
    first = pool.submit(one.get_or_set, "key", hanging)
    assert hanging.running.wait(PATIENCE)
    waiting = pool.submit(other.get_or_set, "key", lambda: "taken over: " + second())
    workers.wait_until(lambda: in_flight(other), "the other handle has come")
    for hands in (clock, others):
        hands.advance(LEASE - 1)
    seen = others.looks
    workers.wait_until(lambda: others.looks > seen + 10, "it has looked again")
    assert second.runs == 0
    for hands in (clock, others):
        hands.advance(1)
    assert waiting.result(PATIENCE) == "taken over: load 1"
    hanging.release.set()
    assert first.result(PATIENCE) == "load 1"
    assert [one.get("key"), other.get("key")] == ["taken over: load 1"] * 2, "who comes back late does not store"
    for house in houses:
        house.close()


@pytest.mark.parametrize("ahead, believed", [(3.0, True), (60.0, False), (1e9, False)])
def test_a_lease_from_the_future_is_not_believed(
    tmp_path: Path, pool: ThreadPoolExecutor, ahead: float, believed: bool
) -> None:
    """Whose clock was far ahead when it died keeps nobody waiting until then; clocks may differ by some seconds."""
    ours, theirs = WatchedClock(), FakeClock()
    theirs.advance(ahead)
    houses = [manager(tmp_path, ours), manager(tmp_path, theirs)]
    one, other = (house.get_cache("quotes") for house in houses)
    hanging = Loader(held=True)
    first = pool.submit(other.get_or_set, "key", hanging)
    assert hanging.running.wait(PATIENCE)
    load = Loader()
    waiting = pool.submit(one.get_or_set, "key", load)
    if believed:
        workers.wait_until(lambda: in_flight(one), "we have come")
        seen = ours.looks
        workers.wait_until(lambda: ours.looks > seen + 10, "we have looked again")
        assert load.runs == 0
        hanging.release.set()
        assert waiting.result(PATIENCE) == first.result(PATIENCE) == "load 1"
        assert load.runs == 0
    else:
        assert waiting.result(PATIENCE) == "load 1"
        assert load.runs == 1
        hanging.release.set()
        assert first.result(PATIENCE) == "load 1"
    for house in houses:
        house.close()


def test_a_loader_that_was_killed_is_taken_over(tmp_path: Path, clock: FakeClock) -> None:
    """Its process is gone; its lease stands in the store until it runs out."""
    cold_key.load_and_be_killed({"base_folder": tmp_path, "cache_backend": "sqlite"})
    house = manager(tmp_path, clock)
    cache = house.get_cache("quotes")
    clock.now = time.time() + LEASE / 2
    assert cache.add("another key", 1)
    assert cache.size() == 2, "the lease is there"
    clock.now = time.time() + LEASE + 1
    assert cache.get_or_set("key", lambda: "taken over") == "taken over"
    assert cache.get("key") == "taken over"
    house.close()


def test_how_long_a_loader_is_waited_for(tmp_path: Path, clock: FakeClock) -> None:
    """As long as the cache says that its loads take; others' caches go on waiting for theirs."""
    cold_key.load_and_be_killed({"base_folder": tmp_path, "cache_backend": "sqlite"}, load_within=4)
    house = manager(tmp_path, clock)
    clock.now = time.time() + 5
    assert house.get_cache("quotes").get_or_set("key", lambda: "taken over") == "taken over"
    assert house.get_cache("auth").policy.load_within == 5
    for impossible in (0, -1, 31, None, float("nan"), True):
        with pytest.raises((ConfigurationError, InvalidLifetimeError)):
            house.get_cache("depth", load_within=impossible)  # type: ignore[arg-type]  # on purpose
    house.close()


def test_a_write_does_not_wait_for_a_lease(cache: Cache) -> None:
    """A lease holds up loaders only."""

    def load() -> str:
        cache.set("key", "set")
        assert cache.get("key") == "set"
        assert cache.add("key", "added") is False
        return "loaded"

    cache.get_or_set("key", load)
    assert cache.get("key") == "set"


# Async


def test_of_many_tasks_one_loads(cache: Cache) -> None:
    """On one loop, and none of them holds it up."""
    runs = 0

    @cache.cached("{symbol}")
    async def quote(symbol: str) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.01)
        return {"symbol": symbol, "run": runs}

    async def ask() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(quote("NIFTY") for _ in range(20))))

    assert asyncio.run(ask()) == [{"symbol": "NIFTY", "run": 1}] * 20
    assert runs == 1


def test_a_cancelled_task_lets_another_load(cache: Cache) -> None:
    """Its lease goes with it."""
    runs = 0
    loading = asyncio.Event()

    @cache.cached("{symbol}")
    async def quote(symbol: str) -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            loading.set()
            await asyncio.sleep(PATIENCE)
        return f"{symbol} {runs}"

    async def ask() -> str:
        first = asyncio.create_task(quote("NIFTY"))
        await loading.wait()
        second = asyncio.create_task(quote("NIFTY"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return str(await second)

    assert asyncio.run(ask()) == "NIFTY 2"


def test_an_async_error_is_raised_and_not_kept(cache: Cache) -> None:
    """As of a plain loader."""

    @cache.cached("{symbol}")
    async def quote(symbol: str) -> str:
        raise LoadError(symbol)

    for _ in range(2):
        with pytest.raises(LoadError):
            asyncio.run(quote("NIFTY"))
    assert cache.size() == 0


def test_threads_and_tasks_share_a_load(cache: Cache, pool: ThreadPoolExecutor) -> None:
    """A task waits for a thread's loader without holding up its loop."""
    load = Loader(held=True)
    leader = pool.submit(cache.get_or_set, "NIFTY", load)
    assert load.running.wait(PATIENCE)

    @cache.cached("{symbol}")
    async def quote(symbol: str) -> str:
        return f"{symbol} loaded by a task"

    async def ask() -> str:
        waiting = asyncio.create_task(quote("NIFTY"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        load.release.set()
        return str(await waiting)

    assert asyncio.run(ask()) == "load 1"
    assert leader.result(PATIENCE) == "load 1"


# The store fails: see test_cache_failures.py; here only what a load has to do with it.


def test_a_state_cache_raises_before_it_loads(tmp_path: Path) -> None:
    """What cannot be kept need not be loaded."""
    house = manager(tmp_path)
    house.ring()
    (tmp_path / "db" / "cache_strategy_configs.db").mkdir()  # cannot be opened
    load = Loader()
    with pytest.raises(BackendUnavailableError):
        house.get_cache("strategy_configs").get_or_set("key", load)
    assert load.runs == 0
    house.close()

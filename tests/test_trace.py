"""Traces: what answered, in which order; nothing of what was read; and nothing at all without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openalgo_cache import cache_trace
from openalgo_cache.cache import Cache
from openalgo_cache.manager import CacheManager
from openalgo_cache.testing import FakeClock
from openalgo_cache.trace import Trace
from openalgo_cache.wrappers import EncryptedCacheWrapper
from tests.stacks import manager
from tests.workers import PATIENCE, wait_until


@pytest.fixture
def clock() -> FakeClock:
    """A clock of the test's own."""
    return FakeClock()


@pytest.fixture
def house(tmp_path: Path, clock: FakeClock) -> Iterator[CacheManager]:
    """A manager on files."""
    house = manager(tmp_path, clock)
    yield house
    house.close()


@pytest.fixture
def cache(house: CacheManager) -> Cache:
    """A cache of it."""
    return house.get_cache("quotes", ttl=60, stale_for=1_000)


def answers(trace: Trace) -> list[tuple[str, str]]:
    """Return what answered for which key."""
    return [(step.answer, step.key) for step in trace]


def test_each_storey_is_told_apart(cache: Cache) -> None:
    """A miss, then the store, then near; by every verb that reads."""
    with cache_trace() as trace:
        assert cache.get("key", 7) == 7
        cache.set("key", 1)
        assert cache.get("key") == 1
        assert cache.get("key") == 1
        assert "key" in cache
        assert cache["key"] == 1
        assert cache.get_many(["key", "absent"]) == {"key": 1}
        assert cache.get(5) is None
    assert answers(trace) == [
        ("miss", "key"),
        ("store", "key"),
        *[("near", "key")] * 4,
        ("miss", "absent"),
        ("miss", "!i5"),
    ]
    assert all(step.cache == "quotes" and step.microseconds > 0 for step in trace)
    assert len(trace) == 8


def test_loads_are_told_apart(cache: Cache, clock: FakeClock) -> None:
    """Whether a loader ran, failed and was stood in for; plain and async; with what it read itself before it."""

    @cache.cached(key="async")
    async def load() -> int:
        return 2

    def fail() -> int:
        return 1 // 0

    with cache_trace() as trace:
        cache.get_or_set("key", lambda: cache.get("inner", 1))
        cache.get_or_set("key", lambda: 1)
        assert asyncio.run(load()) == 2
        clock.advance(60)
        cache.get_or_set("key", fail)
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("never there", fail)
    assert answers(trace) == [
        ("miss", "key"),
        ("miss", "inner"),
        ("loader", "key"),
        ("store", "key"),
        ("miss", "async"),
        ("loader", "async"),
        ("miss", "key"),
        ("loader", "key"),
        ("stale", "key"),
        ("miss", "never there"),
        ("loader", "never there"),
    ]


def test_the_verbs_for_asyncio_are_traced_as_well(cache: Cache) -> None:
    """Wherever they are run."""

    async def load() -> int:
        return 3

    async def reads() -> Trace:
        with cache_trace() as trace:
            await cache.aio.get("key")
            await cache.aio.set("key", 1)
            await cache.aio.get("key")
            await cache.aio.get("key")
            await cache.aio.get_many(["key", "absent"])
            await cache.aio.get_or_set("loaded", load)
            await cache.aio.get_or_set("in a thread", lambda: 4)
        return trace

    assert answers(asyncio.run(reads())) == [
        ("miss", "key"),
        ("store", "key"),
        ("near", "key"),
        ("near", "key"),
        ("miss", "absent"),
        ("miss", "loaded"),
        ("loader", "loaded"),
        ("miss", "in a thread"),
        ("loader", "in a thread"),
    ]


def test_who_waits_for_anothers_load_is_told_so(cache: Cache) -> None:
    """It loaded nothing itself."""
    loading, release = threading.Event(), threading.Event()

    def load() -> int:
        loading.set()
        assert release.wait(PATIENCE)
        return 1

    def waiting() -> list[tuple[str, str]]:
        with cache_trace() as trace:
            threading.Timer(0.02, release.set).start()
            cache.get_or_set("key", load)
        return answers(trace)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get_or_set, "key", load)
        assert loading.wait(PATIENCE)
        assert pool.submit(waiting).result(PATIENCE) == [("miss", "key"), ("waited", "key")]
        assert first.result(PATIENCE) == 1


def test_a_trace_shows_neither_values_nor_what_is_blinded(house: CacheManager) -> None:
    """It may be printed and kept."""
    cache = house.get_cache("auth")
    with cache_trace() as trace:
        cache.set("telling-key", "telling-value")
        cache.get("telling-key")
        cache.get_or_set("telling-too", lambda: "telling-value")
    assert "telling" not in str(trace) + repr(trace) + repr(list(trace))
    assert str(trace).count("\n") == 2
    first = str(trace).splitlines()[0].split()
    assert first[1:4] == ["µs", "store", "auth"]
    assert first[4].startswith("~")


def test_a_trace_is_of_its_own_thread_and_task(cache: Cache) -> None:
    """What others read meanwhile is theirs; one inside another notes for both."""

    async def task(key: str) -> list[tuple[str, str]]:
        with cache_trace() as trace:
            cache.get(key)
            await asyncio.sleep(0)
            cache.get(key)
        return answers(trace)

    async def tasks() -> list[list[tuple[str, str]]]:
        return list(await asyncio.gather(task("a"), task("b")))

    with cache_trace() as outer:
        thread = threading.Thread(target=cache.get, args=("elsewhere",))
        thread.start()
        thread.join()
        with cache_trace() as inner:
            cache.get("key")
        cache.get("after")
    assert answers(inner) == [("miss", "key")]
    assert answers(outer) == [("miss", "key"), ("miss", "after")]
    assert asyncio.run(tasks()) == [[("miss", "a")] * 2, [("miss", "b")] * 2]


def test_without_a_trace_a_cache_is_what_it_was(house: CacheManager, cache: Cache) -> None:
    """Not even a comparison is left behind; while one runs, new caches take notes, too, and everything else works."""
    wrapped = EncryptedCacheWrapper(cache, b"k" * 43 + b"=", "wrapped")
    with cache_trace() as trace:
        assert type(cache) is not Cache
        assert repr(cache) == "<Cache 'quotes', signed, cache>"
        made = house.get_cache("made_meanwhile")
        made.get("key")
        with cache.lock("name"):
            wrapped.get("key")
        cache.close()
        cache.get("key")
    assert [step.cache for step in trace] == ["made_meanwhile", "wrapped", "quotes"]
    assert [type(one) for one in (cache, made, wrapped)] == [Cache, Cache, EncryptedCacheWrapper]
    cache.get("key")
    assert len(trace) == 3
    with pytest.raises(ZeroDivisionError), cache_trace():
        raise ZeroDivisionError
    assert type(cache) is Cache


def test_traces_that_overlap_end_one_by_one(cache: Cache) -> None:
    """The last one to end takes the notes' class away."""
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with cache_trace():
            entered.set()
            assert leave.wait(PATIENCE)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(PATIENCE)
    with cache_trace() as trace:
        cache.get("key")
    assert type(cache) is not Cache
    leave.set()
    thread.join()
    wait_until(lambda: type(cache) is Cache, "the last trace has ended")
    assert answers(trace) == [("miss", "key")]

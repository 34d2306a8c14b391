"""What statistics say of time, memory and size."""

from __future__ import annotations

import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Sealing
from openalgo_cache.policy.metrics import TIMED
from openalgo_cache.symbols import SymbolMaster
from openalgo_cache.testing import FakeClock, Rig
from openalgo_cache.testing.rig import eventually
from tests.rigs import chaos
from tests.stacks import manager
from tests.symbols.samples import RING, ROWS

STATE: dict[str, Any] = {"sealing": Sealing.ENCRYPTED, "durability": Durability.STATE, "raises": True}


def timed(cache: Cache) -> list[int]:
    """Return how many reads, writes and deletes were timed."""
    latency = cache.stats()["latency"]
    return [latency[operation]["count"] for operation in ("get", "set", "delete")]


def test_what_the_store_answers_is_timed(rig: Rig) -> None:
    """Each kind of operation by itself, a bulk verb once; near hits not at all."""
    cache = rig.cache()
    assert cache.stats()["avg_latency_ms"] is None
    cache.set("a", 1)
    cache.set_many({"b": 2, "c": 3})
    assert timed(cache) == [0, 2, 0]
    cache.get("a")
    cache.get_many(["b", "c", "absent"])
    assert timed(cache) == [2, 2, 0]
    for _ in range(100):
        cache.get("a")
        cache.get_many(["b", "c"])
    assert timed(cache) == [2, 2, 0]
    cache.delete("a")
    cache.pop("b")
    cache.clear()
    assert timed(cache)[2] == 3
    stats = cache.stats()
    of_each = stats["latency"].values()
    seconds, count = sum(one["seconds"] for one in of_each), sum(one["count"] for one in of_each)
    assert stats["avg_latency_ms"] == pytest.approx(1000 * seconds / count)
    assert 0 < stats["latency"]["set"]["avg_ms"] < 10_000


def test_what_a_load_stores_is_a_write(rig: Rig) -> None:
    """Its look-ups are reads; and what is counted, incremented or touched is written, too."""
    cache = rig.cache()
    cache.get_or_set("key", lambda: "loaded")
    assert timed(cache) == [2, 1, 0]
    cache.incr("number")
    cache.touch("number", 5)
    cache.add("other", 1)
    assert timed(cache)[1:] == [4, 0]


def test_without_a_near_tier_some_reads_are_timed(rig: Rig) -> None:
    """The first, and then one in so many: to time each would show in what it costs."""
    cache = rig.cache(**STATE)
    cache.set("key", "value")
    cache.get("key")
    assert timed(cache) == [1, 1, 0]
    for _ in range(10 * TIMED):
        cache.get("key")
    assert timed(cache) == [11, 1, 0]


def test_a_size_that_is_not_quite_new(rig: Rig) -> None:
    """It is good for as long as the caller says; else the store is asked."""
    assert isinstance(rig.clock, FakeClock)
    cache = rig.cache()
    cache.set("a", 1)
    calls = chaos(cache).calls
    assert cache.stats(size_max_age=10)["size"] == 1
    cache.set("b", 2)
    assert cache.stats(size_max_age=10)["size"] == 1
    assert calls["size"] == 1
    assert cache.stats()["size"] == 2
    assert cache.stats(size_max_age=10)["size"] == 2
    rig.clock.advance(10)
    cache.set("c", 3)
    assert cache.stats(size_max_age=10)["size"] == 3
    rig.clock.advance(-3600)
    cache.set("d", 4)
    assert cache.stats(size_max_age=10)["size"] == 4, "a clock that was set back keeps no old size alive"


def test_a_size_that_took_long_is_good_for_longer(rig: Rig) -> None:
    """Counting a large cache on a server may take a twentieth of the time, not all of it."""
    assert isinstance(rig.clock, FakeClock)
    cache = rig.cache()
    cache.stats()
    cache._last_size.took = 3.0
    cache.set("a", 1)
    rig.clock.advance(59)
    assert cache.stats(size_max_age=10)["size"] == 0
    rig.clock.advance(2)
    assert cache.stats(size_max_age=10)["size"] == 1


@pytest.mark.parametrize("policy", [{}, {"raises": True}, STATE], ids=["cache", "raising", "state"])
def test_a_store_that_fails_has_no_size(rig: Rig, policy: dict[str, Any]) -> None:
    """Whoever wants to know what is wrong is told, and gets no error; when the store is back, so is the size."""
    cache = rig.cache(**policy)
    cache.set("a", 1)
    chaos(cache).fail()
    for max_age in (0, 10):
        assert cache.stats(size_max_age=max_age)["size"] is None
    assert cache.stats()["errors"] == 3
    assert cache.health()["status"] == "unavailable"
    chaos(cache).heal()
    assert cache.stats()["size"] == 1
    assert cache.health()["status"] == "healthy"


def test_memory_is_what_this_process_holds(tmp_path: Path) -> None:
    """Near copies, and the entries of a cache in memory; nothing of what lies in a file alone."""
    with closing(manager(tmp_path)) as house:
        quotes, state = house.get_cache("quotes"), house.get_cache("strategy_configs")
        here = house.get_cache("here", local=True)
        assert [cache.stats()["memory_bytes"] for cache in (quotes, state, here)] == [0, 0, 0]
        for cache in (quotes, state, here):
            cache.set_many({str(number): "x" * 1000 for number in range(500)})
        assert quotes.stats()["memory_bytes"] == 0

        def held() -> bool:  # unless the tier was emptied in between
            quotes.get_many([str(number) for number in range(500)])
            return bool(500_000 < quotes.stats()["memory_bytes"] < 1_000_000)

        assert eventually(held, 10)
        state.get("1")
        assert 500_000 < here.stats()["memory_bytes"] < 1_000_000
        assert state.stats()["memory_bytes"] == 0
        here.clear()
        assert here.stats()["memory_bytes"] == 0


@pytest.mark.parametrize(
    "value", ["text" * 50, {"price": 1.5, "name": "a name of somebody", "n": 7_777}, [["nested"] * 9]]
)
@pytest.mark.parametrize("encrypted", [False, True], ids=["signed", "encrypted"])
def test_the_estimate_is_an_honest_one(tmp_path: Path, value: object, encrypted: bool) -> None:
    """About what the interpreter says it allocated; too much, rather, by the texts of keys that are there anyway."""
    with closing(manager(tmp_path, backend="memory")) as house:  # whose tier nothing empties meanwhile
        cache = house.get_cache("quotes", encrypted=encrypted, maxsize=None)
        keys = [f"key-{number}" for number in range(2_000)]
        cache.set_many(dict.fromkeys(keys, value))
        cache.get("key-0")
        tracemalloc.start()
        for key in keys:
            cache.get(key)
        allocated, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        near = cache._opened().near
        assert len(near) == 2_000
        assert 0.7 < near.footprint() / allocated < 2.5


def test_the_master_counts_look_ups(tmp_path: Path) -> None:
    """Found in the file, found in memory, and not there, one by one and in bulk."""
    with closing(SymbolMaster(tmp_path / "cache", RING)) as master:
        assert (master.stats()["size"], master.stats()["hit_rate"]) == (0, None)
        master.import_master(ROWS)
        one = master.listed()[0]
        for _ in range(3):
            assert master.by_symbol(one.symbol, one.exchange) == one
        assert master.by_symbol("NOSUCH", one.exchange) is None
        stats = master.stats()
        assert [stats[what] for what in ("hits", "near_hits", "misses", "near_size")] == [3, 2, 1, 1]
        assert stats["latency"]["get"]["count"] == 2
        assert stats["memory_bytes"] > 0
        master.many_by_symbol([(one.symbol, one.exchange), ("NOSUCH", one.exchange), ("NOSUCH", "NOWHERE")])
        stats = master.stats()
        assert [stats[what] for what in ("hits", "near_hits", "misses")] == [4, 3, 3]
        assert stats["hit_rate"] == pytest.approx(4 / 7)
        assert stats["size"] == len(ROWS)


def test_a_manager_has_the_figures_of_all(tmp_path: Path) -> None:
    """The master's, too, once it was asked for."""
    with closing(manager(tmp_path)) as house:
        house.get_cache("quotes").set("a", 1)
        assert set(house.get_stats()) == {"quotes"}
        house.symbols(background=False)
        stats = house.get_stats(size_max_age=10)
        assert {name: one["size"] for name, one in stats.items()} == {"quotes": 1, "symbols": 0}
        common = {
            "size",
            "backend",
            "encrypted",
            "durability",
            "memory_bytes",
            "pending_deletes",
            "hits",
            "avg_latency_ms",
        }
        assert all(common <= set(one) for one in stats.values())

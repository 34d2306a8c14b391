"""The near tier as a cache uses it: when it answers, and when the store is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Sealing
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing import FakeClock, Rig
from tests.rigs import OnSQLite

SEALINGS: dict[str, dict[str, Any]] = {
    "plain": {"sealing": Sealing.PLAIN},
    "signed": {"sealing": Sealing.SIGNED},
    "blinded": {"sealing": Sealing.ENCRYPTED, "blinded": True},
}


@pytest.fixture(params=SEALINGS)
def cache(request: pytest.FixtureRequest, rig: Rig) -> Cache:
    """A cache, sealed in each way."""
    return rig.cache(**SEALINGS[request.param])


def reads(cache: Cache) -> int:
    """Return how often the store was read."""
    calls = cache.backend.calls  # type: ignore[attr-defined]  # it is chaos that counts
    return int(calls["get"] + calls["get_many"])


@pytest.mark.parametrize("value", [None, 0, "text", b"bytes", {"flat": 1}, {"nested": [1]}, [1, 2], (1, [2])], ids=repr)
def test_a_second_read_is_near(cache: Cache, value: Any) -> None:
    """Whatever the value; and so is its part of a bulk read."""
    cache.set("key", value)
    assert cache.get("key", MISSING) == value
    before = reads(cache)
    for _ in range(3):
        assert cache.get("key", MISSING) == value
        assert cache["key"] == value
        assert cache.get_many(["key"]) == {"key": value}
        assert "key" in cache
        assert cache.get_or_set("key", lambda: "loaded") == value
    assert reads(cache) == before
    assert cache.stats()["near_hits"] == 15
    assert cache.stats()["near_size"] == 1


def test_a_bulk_read_fills_and_asks_only_for_the_rest(cache: Cache) -> None:
    """One trip to the store for what is not near."""
    cache.set_many({"a": 1, "b": 2, "c": 3})
    assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
    before = reads(cache)
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2, "c": 3}
    assert reads(cache) == before + 1
    assert cache.get_many(["c", "b", "a"]) == {"a": 1, "b": 2, "c": 3}
    assert reads(cache) == before + 1


def test_an_own_write_leaves_the_others_near(cache: Cache) -> None:
    """Only what was written is read from the store again."""
    cache.set_many({"a": 1, "b": 2})
    assert [cache.get("a"), cache.get("b")] == [1, 2]
    for verb in (
        lambda: cache.set("b", 3),
        lambda: cache.incr("b"),
        lambda: cache.touch("b", 100),
        lambda: cache.pop("b"),
        lambda: cache.add("b", 5),
        lambda: cache.delete("b"),
        lambda: cache.set_many({"b": 1, "c": 2}),
    ):
        verb()
        before = reads(cache)
        assert cache.get("a") == 1
        assert reads(cache) == before


def test_anothers_write_empties_it(rig: Rig) -> None:
    """Of whichever key: what moved is not known."""
    cache, other = rig.cache(), rig.cache()
    cache.set("a", 1)
    cache.get("a")
    other.set("b", 2)
    before = reads(cache)
    assert [cache.get("a"), cache.get("a")] == [1, 1]
    assert reads(cache) == before + 1


def test_an_absent_key_is_not_kept(cache: Cache) -> None:
    """Each read of it asks the store: somebody may have set it."""
    before = reads(cache)
    assert [cache.get("key"), cache.get("key")] == [None, None]
    assert reads(cache) == before + 2


def test_other_keys_than_text_are_not_kept(cache: Cache) -> None:
    """1, True and 1.0 would be one to the tier's dict."""
    cache.set("1", "str")
    cache.set(1, "int")
    cache.set(True, "bool")
    assert [cache.get(1), cache.get(True), cache.get("1")] == ["int", "bool", "str"]
    assert [cache.get(1), cache.get(True), cache.get("1")] == ["int", "bool", "str"]
    assert cache.stats()["near_size"] == 1


def test_it_is_not_served_longer_than_it_may_be_stale(rig: Rig, cache: Cache) -> None:
    """CACHE_NEAR_MAX_STALENESS, and never past its own expiry."""
    cache.set("long", 1, ttl=None)
    cache.set("short", 1, ttl=10)
    assert [cache.get("long"), cache.get("short")] == [1, 1]
    rig.clock.advance(10)
    before = reads(cache)
    assert [cache.get("long"), cache.get("short")] == [1, None]
    assert reads(cache) == before + 1
    rig.clock.advance(20)
    assert cache.get("long") == 1
    assert reads(cache) == before + 2


def test_a_clock_that_is_set_back_does_not_make_it_older_than_it_may_be(rig: Rig, cache: Cache) -> None:
    """What was filled in the future, as it seems now, is asked for again: nobody knows how old it is."""
    cache.set("key", 1, ttl=None)
    assert cache.get("key") == 1
    looks: list[Callable[[], object]] = [lambda: cache.get("key"), lambda: cache.get_many(["key"])["key"]]
    for look in looks:
        rig.clock.advance(-3_600)
        before = reads(cache)
        assert look() == 1
        assert reads(cache) == before + 1
        assert look() == 1
        assert reads(cache) == before + 1, "from that moment on it is near again"


def test_what_lies_in_memory_of_an_encrypted_cache_is_ciphertext(rig: Rig) -> None:
    """Neither value nor its serialised form."""
    cache = rig.cache(sealing=Sealing.ENCRYPTED)
    cache.set_many({"a": "a secret that shows", "b": {"token": "a secret that shows"}})
    cache.get_many(["a", "b"])
    entries = cache._near.entries
    assert set(entries) == {"a", "b"}
    for entry in entries.values():
        assert "a secret that shows" not in repr(entry.held)
        assert b"a secret that shows" not in b"".join(part for part in entry.held if isinstance(part, bytes))


@pytest.mark.parametrize("why", ["state", "turned off"])
def test_there_may_be_none(why: str, tmp_path: Path) -> None:
    """State is always read from the store; and CACHE_NEAR_ENABLED=false says so for all."""

    class Without(OnSQLite):
        def make_settings(self, folder: Path) -> Any:
            return replace(super().make_settings(folder), cache_near_enabled=why == "state")

    rig = Rig(Without(), tmp_path)
    options: dict[str, Any] = {"durability": Durability.STATE} if why == "state" else {}
    cache = rig.cache(**options)
    cache.set("key", 1)
    assert [cache.get("key") for _ in range(3)] == [1] * 3
    stats = cache.stats()
    assert (stats["near_hits"], stats["near_size"], stats["hits"]) == (0, 0, 3)
    rig.close()


def test_it_is_bounded(rig: Rig) -> None:
    """By the cache's own size, however many keys are read."""
    cache = rig.cache(maxsize=5)
    for number in range(40):
        cache.set(f"key {number}", number)
        cache.get(f"key {number}")
        assert cache.stats()["near_size"] <= 5


def test_hits_near_are_counted_when_their_entry_is_gone(rig: Rig) -> None:
    """Evicted, written over, or emptied by another's write."""
    cache, other = rig.cache(maxsize=3), rig.cache(maxsize=3)
    expected = 0
    for number in range(12):
        cache.set("key", number)
        cache.get("key")
        for _ in range(number):
            cache.get("key")
        expected += number
        if number % 3 == 0:
            other.set(f"other {number}", 1)
    assert cache.stats()["near_hits"] == expected


def test_counts_survive_a_close(rig: Rig) -> None:
    """What is counted only ever rises."""
    cache = rig.cache()
    cache.set("key", 1)
    for closings in range(1, 4):
        for _ in range(5):
            cache.get("key")
        stats = cache.stats()
        assert (stats["near_hits"], stats["hits"]) == (4 * closings, 5 * closings)
        cache.close()


def test_the_rig_has_a_clock_of_its_own(rig: Rig) -> None:
    """What this module relies on."""
    assert isinstance(rig.clock, FakeClock)

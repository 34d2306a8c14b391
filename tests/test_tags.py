"""Tags: what a clear ends, what it costs, what the store gets to see, and what happens when the store fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Sealing
from openalgo_cache.errors import BackendUnavailableError, ConfigurationError, InvalidKeyError, UnreadableRecordError
from openalgo_cache.keys import Keyspace
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing import ChaosBackend, Rig
from openalgo_cache.testing.sealings import BY_NAME
from tests.stacks import manager

HOUR = 3_600.0


@pytest.fixture
def store(rig: Rig) -> ChaosBackend:
    """A store that works until it is told not to."""
    store = rig.backend()
    assert isinstance(store, ChaosBackend)
    return store


def record_of(cache: Cache, tag: str) -> tuple[str, Entry | None]:
    """Return where the record of a tag lies, and what is there."""
    tags = cache._opened().tags
    stored = tags.stored(tags.ids((tag,))[0])
    return stored, cache.backend.get(stored)


# Cost


def test_a_clear_is_one_deletion_however_many_carry_the_tag(rig: Rig, store: ChaosBackend) -> None:
    """And nothing is listed or read for it."""
    cache = rig.cache(backend=store)
    cache.set_many({f"key {number}": number for number in range(500)}, tags=("tag",))
    store.calls.clear()
    cache.clear(tag="tag")
    assert store.calls == {"delete_many": 1}
    assert cache.get_many([f"key {number}" for number in range(500)]) == {}


def test_what_carries_no_tag_costs_nothing_more(rig: Rig, store: ChaosBackend) -> None:
    """One call of the store for each verb, as ever."""
    cache = rig.cache(backend=store)
    cache.set("key", 1)
    cache.set_many({"a": 1, "b": 2})
    cache.get("key")
    cache.get_many(["a", "b"])
    assert {verb: count for verb, count in store.calls.items() if verb != "change_token"} == {
        "set": 1,
        "set_many": 1,
        "get": 1,
        "get_many": 1,
    }


def test_a_bulk_read_reads_all_tags_at_once(rig: Rig, store: ChaosBackend) -> None:
    """Whatever the number of entries and of their tags."""
    cache = rig.cache(backend=store)
    for number in range(20):
        cache.set(f"key {number}", number, tags=("all", f"tag {number}"))
    cache.clear(tag="tag 7")
    store.calls.clear()
    assert len(cache.get_many([f"key {number}" for number in range(20)])) == 19
    assert store.calls["get_many"] == 2


def test_a_second_read_is_near_and_ends_with_the_tag(rig: Rig, store: ChaosBackend) -> None:
    """Neither the entry nor its tag is read again, until another handle clears the tag."""
    cache, other = rig.cache(backend=store), rig.cache()
    cache.set("key", [1], tags=("tag",))
    assert cache.get("key") == [1]
    store.calls.clear()
    assert [cache.get("key"), cache.get_many(["key"])] == [[1], {"key": [1]}]
    assert not store.calls["get"] + store.calls["get_many"]
    other.clear(tag="tag")
    assert cache.get("key") is None


# What the store sees


@pytest.mark.parametrize("sealing", BY_NAME.values(), ids=BY_NAME.keys())
def test_no_name_of_a_tag_is_in_the_store(rig: Rig, sealing: dict[str, Any], tmp_path: Path) -> None:
    """Tags have users' names: the store gets hashes, keyed wherever there is a key."""
    cache = rig.cache(**sealing)
    cache.set("key", 1, tags=("user:telling-name",))
    stored, entry = record_of(cache, "user:telling-name")
    assert entry is not None
    cache.close()
    assert all(b"telling" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    other = rig.cache("other", **sealing)
    other.set("key", 1, tags=("user:telling-name",))
    hashed = stored.rpartition("!g")[2]
    assert (record_of(other, "user:telling-name")[0].rpartition("!g")[2] == hashed) is (
        sealing["sealing"] is Sealing.PLAIN
    )


def test_a_generation_cannot_be_moved_or_made_up(rig: Rig, store: ChaosBackend) -> None:
    """Yesterday's entry stays ended, whatever is put under the tag, short of the very record that was cleared."""
    cache = rig.cache(backend=store)
    cache.set("key", "ended", tags=("tag",))
    cache.set("another", 1, tags=("another tag",))
    cache.set("a number", 7)
    payload = store.get(f"{rig.prefix('quotes')}key")
    _, foreign = record_of(cache, "another tag")
    number = store.get(f"{rig.prefix('quotes')}a number")
    cache.clear(tag="tag")
    where, _ = record_of(cache, "tag")
    assert payload is not None
    for planted in (foreign, number, payload, Entry(b"", None), Entry(b"garbage" * 20, None)):
        assert planted is not None
        store.set(where, planted)
        assert cache.get("key", MISSING) is MISSING
        assert cache.get_many(["key"]) == {}
        cache.set("new", 1, tags=("tag",))
        assert cache.get("new") == 1


# How long a tag's record lasts


@pytest.mark.parametrize("stale_for", [None, 10 * HOUR])
def test_a_tag_lasts_as_long_as_its_entries(rig: Rig, stale_for: float | None) -> None:
    """And not for ever: a record that nobody needs expires like any other."""
    cache = rig.cache(stale_for=stale_for)
    cache.set("short", 1, ttl=60, tags=("tag",))
    _, first = record_of(cache, "tag")
    assert first is not None
    assert first.expires_at is not None
    assert first.expires_at >= rig.clock() + 60 + (stale_for or 0)
    cache.set("long", 2, ttl=5 * HOUR, tags=("tag",))
    rig.clock.advance(5 * HOUR - 1)
    assert cache.get("long") == 2
    cache.touch("long", None)
    rig.clock.advance(1_000 * HOUR)
    assert cache.get("long") == 2
    assert record_of(cache, "tag")[1] is not None
    cache.clear()
    cache.set("short", 1, ttl=60, tags=("tag",))
    rig.clock.advance(24 * HOUR)
    assert record_of(cache, "tag")[1] is None


def test_few_entries_have_to_prolong_their_tag(rig: Rig, store: ChaosBackend) -> None:
    """Otherwise each would write twice."""
    cache = rig.cache(backend=store)
    for number in range(100):
        cache.set(f"key {number}", number, ttl=300, tags=("tag",))
        rig.clock.advance(30)
    assert store.calls["compare_and_set"] <= 3


def test_an_evicted_tag_is_a_miss(rig: Rig) -> None:
    """A bound counts tags' records like any other; what is gone ends what needed it, and no more."""
    cache = rig.cache(maxsize=6)
    cache.set("key", 1, tags=("tag",))
    for number in range(30):
        rig.clock.advance(1)
        cache.set(f"key {number}", number)
    assert cache.get("key") is None
    assert cache.get("key 29") == 29
    assert cache.size() <= 6


# Failing stores

CLEARING_WRITES: dict[str, Callable[[Cache], object]] = {
    "set": lambda cache: cache.set("key", 2, tags=("tag",)),
    "set_many": lambda cache: cache.set_many({"key": 2}, tags=("tag",)),
    "add": lambda cache: cache.add("new", 2, tags=("tag",)),
    "touch": lambda cache: cache.touch("key"),
    "get_or_set": lambda cache: cache.get_or_set("new", lambda: 2, tags=("tag",)),
}


@pytest.mark.parametrize("verb", CLEARING_WRITES)
def test_without_its_store_a_cache_goes_on(rig: Rig, store: ChaosBackend, verb: str) -> None:
    """A read is a miss and a write does nothing; where a cache raises, everything does."""
    cache, raising = rig.cache(backend=store), rig.cache(backend=store, raises=True)
    cache.set("key", 1, tags=("tag",))
    store.fail()
    assert CLEARING_WRITES[verb](cache) in {None, False, 2}
    assert cache.get("key") is None
    assert cache.clear(tag="tag") == 0
    for call in (CLEARING_WRITES[verb], lambda cache: cache.clear(tag="tag"), lambda cache: cache.get("key")):
        with pytest.raises(BackendUnavailableError):
            call(raising)
    store.heal()
    assert cache.get("key") == 1


def test_if_only_the_tag_cannot_be_read_an_entry_is_a_miss(rig: Rig, store: ChaosBackend) -> None:
    """Nobody knows whether it stands."""
    cache = rig.cache(backend=store)
    cache.set("key", 1, tags=("tag",))
    store.fail("get_many", times=1)
    assert cache.get("key") is None
    assert cache.get("key") == 1


def test_a_clear_of_an_encrypted_cache_that_fails_raises(rig: Rig, store: ChaosBackend) -> None:
    """A revoked token must not look revoked when it is not; it is as soon as the store is back."""
    cache = rig.cache(backend=store, sealing=Sealing.ENCRYPTED, blinded=True)
    cache.set("key", 1, tags=("user:1",))
    store.fail(*store.WRITES)
    with pytest.raises(BackendUnavailableError):
        cache.clear(tag="user:1")
    store.heal()
    assert cache.get("key") is None


def test_state_under_an_unreadable_tag_raises(rig: Rig, store: ChaosBackend) -> None:
    """It is the only copy: nobody is to believe that it is gone."""
    policy: dict[str, Any] = {"durability": Durability.STATE, "sealing": Sealing.ENCRYPTED, "raises": True}
    cache = rig.cache(backend=store, **policy)
    cache.set("key", 1, tags=("tag",))
    where, record = record_of(cache, "tag")
    assert record is not None
    store.set(where, Entry(record.payload[:-1] + bytes([record.payload[-1] ^ 1]), None))
    for verb in (cache.get, cache.exists, cache.touch, lambda key: cache.get_many([key])):
        with pytest.raises(UnreadableRecordError):
            verb("key")
    store.set(where, record)
    assert cache.get("key") == 1


# Names


def test_names_are_told_apart_by_their_text(tmp_path: Path) -> None:
    """A name may be whatever a str key may be."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    names = ["a", "A", "a ", "a:b", "50%", "*", "!x", "~x", "é", "निफ्टी", ""]
    for name in names:
        cache.set(name, name, tags=(name,))
    for name in names:
        cache.clear(tag=name)
        assert cache.get_many(names) == {left: left for left in names[names.index(name) + 1 :]}
    house.close()


def test_templates_of_tags_are_checked_when_they_are_written(tmp_path: Path) -> None:
    """As those of keys are."""
    cache = manager(tmp_path).get_cache("quotes")
    with pytest.raises(ConfigurationError, match=r"'user:\{user\}' names user"):

        @cache.cached(tags=("user:{user}",))
        def load(user_id: int) -> int:
            return user_id

    with pytest.raises(InvalidKeyError, match="comma"):
        cache.cached(tags="user:{user_id}")


def test_tags_lie_where_no_key_of_a_caller_leads() -> None:
    """Whatever a caller asks for, plain or blinded."""
    keyspace = Keyspace("openalgo", "quotes")
    stored = keyspace.of_tag(bytes(16))
    assert stored == "openalgo:quotes:!g" + 32 * "0"
    for key in ("!g" + 32 * "0", "g" + 32 * "0", ("g",), b"g"):
        assert keyspace.stored(key) != stored

"""A delete that fails is not forgotten: until it was carried out the key is served by nobody, whatever happens."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openalgo_cache.backends.base import CacheBackend, Entry, Request
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Sealing
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError, CacheError
from openalgo_cache.journal import SLOTS
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing import ChaosBackend, Contract, Rig
from tests.faults.processes import Process
from tests.patching import patch_here
from tests.rigs import OnSQLite, chaos
from tests.stacks import manager

SECRET: Final[dict[str, Any]] = {"sealing": Sealing.ENCRYPTED}
POLICIES: Final[dict[str, dict[str, Any]]] = {
    "encrypted": SECRET,
    "blinded": {**SECRET, "blinded": True},
    "state": {**SECRET, "durability": Durability.STATE, "raises": True},
}
DELETES: Final[dict[str, Callable[[Cache], object]]] = {
    "delete": lambda cache: cache.delete("key"),
    "del": lambda cache: cache.__delitem__("key"),
    "delete_many": lambda cache: cache.delete_many(["key", "absent"]),
    "pop": lambda cache: cache.pop("key", None),
    "clear": lambda cache: cache.clear(),
}


def pending(cache: Cache) -> int:
    """Return how many deletes are to be carried out."""
    return int(cache.stats()["pending_deletes"])


def lose(cache: Cache, delete: Callable[[Cache], object] = DELETES["delete"]) -> None:
    """Let a delete fail, and the store go on failing to write."""
    chaos(cache).fail(*ChaosBackend.WRITES)
    with pytest.raises(BackendUnavailableError, match="noted, and not served"):
        delete(cache)


# While the store cannot be written


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("verb", DELETES)
def test_what_could_not_be_deleted_is_not_served(rig: Rig, policy: str, verb: str) -> None:
    """Not by this handle nor by another one's near tier; and what nobody deleted is."""
    cache, other = (rig.cache("secrets", **POLICIES[policy]) for _ in range(2))
    cache.set_many({"key": 1, "spared": 2})
    for one in (cache, other):
        assert one.get_many(["key", "spared"]) == {"key": 1, "spared": 2}
        assert one.get("key") == 1
    chaos(other).fail(*ChaosBackend.WRITES)
    lose(cache, DELETES[verb])
    spared = None if verb == "clear" else 2
    for one in (other, cache):
        assert one.get("key") is None
        assert one.get("key", MISSING) is MISSING
        assert not one.exists("key")
        assert one.get_many(["key", "spared"]) == ({} if spared is None else {"spared": 2})
        assert one.get("spared") == one.get("spared") == spared
        if policy == "encrypted":
            assert dict(one.items()) == ({} if spared is None else {"spared": 2})
        assert pending(one) >= 1


@pytest.mark.parametrize("verb", DELETES)
def test_listing_does_not_serve_what_it_has_just_deleted(rig: Rig, verb: str) -> None:
    """A listing that carries a lost delete out has read the entries before; it leaves them out all the same."""
    cache = rig.cache("secrets", **SECRET)
    cache.set_many({"key": 1, "spared": 2})
    lose(cache, DELETES[verb])
    chaos(cache).heal()
    assert dict(cache.items()) == ({} if verb == "clear" else {"spared": 2})
    assert pending(cache) == 0


@pytest.mark.parametrize("policy", ["encrypted", "blinded"])
def test_verbs_that_write_take_it_for_absent(rig: Rig, policy: str) -> None:
    """As far as they can do anything without a store that can be written."""
    cache = rig.cache("secrets", **POLICIES[policy])
    cache.set("key", 1)
    lose(cache)
    assert not cache.add("key", 2)
    assert not cache.touch("key", 60)
    assert cache.incr("key", 5) == 5
    assert cache.get_or_set("key", lambda: 3) == 3
    assert cache.setdefault("key", 4) == 4
    cache.set("key", 6)
    with pytest.raises(KeyError):
        cache.ttl("key")
    assert cache.get("key") is None
    chaos(cache).heal()
    assert cache.get("key") is None
    assert cache.add("key", 7)
    assert cache.get("key") == 7


def test_state_raises_where_it_cannot_write(rig: Rig) -> None:
    """As it always does."""
    cache = rig.cache("secrets", **POLICIES["state"])
    cache.set("key", 1)
    lose(cache)
    for write in (lambda: cache.set("key", 2), lambda: cache.add("key", 2), lambda: cache.incr("key")):
        with pytest.raises(BackendUnavailableError):
            write()
    assert cache.get("key") is None


def test_a_store_that_refuses_us_loses_deletes_too(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right that was taken away, for example; the error stays what it is."""
    cache = rig.cache("secrets", **SECRET)
    cache.set("key", 1)

    def refuse(*_: object) -> int:
        raise BackendMisconfiguredError("no right to delete")

    monkeypatch.setattr(chaos(cache), "delete_many", refuse)
    monkeypatch.setattr(chaos(cache), "compare_and_set", refuse)
    with pytest.raises(BackendMisconfiguredError, match="noted"):
        cache.delete("key")
    assert cache.get("key") is None
    monkeypatch.undo()
    assert cache.get("key") is None
    assert pending(cache) == 0


def test_signed_caches_have_no_journal(rig: Rig) -> None:
    """Nothing in them is a secret."""
    cache = rig.cache("prices")
    cache.set("key", 1)
    chaos(cache).fail()
    assert not cache.delete("key")
    chaos(cache).heal()
    assert cache.get("key") == 1
    assert not list(rig.settings.cache_folder.glob("*.deletes"))


# When it can be again


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("verb", DELETES)
@pytest.mark.parametrize("who", ["this process", "another process", "after a restart"])
def test_it_is_deleted_before_the_first_read(rig: Rig, policy: str, verb: str, who: str) -> None:
    """By whichever process reads first, be it of another key."""
    cache, other = (rig.cache("secrets", **POLICIES[policy]) for _ in range(2))
    cache.set_many({"key": 1, "spared": 2})
    assert other.get("key") == 1
    lose(cache, DELETES[verb])
    if who == "after a restart":
        cache.close()
        other.close()
        other = rig.cache("secrets", **POLICIES[policy])
    chaos(cache).heal()
    reader = cache if who == "this process" else other
    assert reader.get("spared") == (None if verb == "clear" else 2)
    assert pending(reader) == 0
    assert reader.backend.size() == (0 if verb == "clear" else 1), "it is not in the store any more"
    assert reader.get("key") is None
    assert pending(cache) == pending(other) == 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("verb", ["delete", "clear"])
def test_what_is_set_afterwards_stays(rig: Rig, policy: str, verb: str) -> None:
    """Whoever sets it: the delete comes first, and only once."""
    cache, other = (rig.cache("secrets", **POLICIES[policy]) for _ in range(2))
    cache.set("key", 1)
    lose(cache, DELETES[verb])
    other.set("key", 2)
    chaos(cache).heal()
    assert cache.get("key") == other.get("key") == 2
    assert rig.cache("secrets", **POLICIES[policy]).get("key") == 2


@pytest.mark.parametrize("verb", ["delete", "clear"])
@pytest.mark.parametrize("age, stays", [(-1.0, False), (4.0, False), (6.0, True)])
def test_state_that_another_host_has_set_since_stays(rig: Rig, verb: str, age: float, stays: bool) -> None:
    """It knows nothing of our folder. By the record's own time, as far as two clocks can be trusted."""
    cache = rig.cache("secrets", **POLICIES["state"])
    cache.set("key", 1)
    lose(cache, DELETES[verb])
    stored = f"{rig.prefix('secrets')}key"
    record = cache._opened().codec.encode(stored, 2, rig.clock() + age, None)
    with closing(rig.backend("secrets")) as elsewhere:
        entry = elsewhere.get(stored)
        assert entry is not None
        elsewhere.set(stored, entry._replace(payload=record))
    chaos(cache).heal()
    assert cache.get("key") == (2 if stays else None)
    assert pending(cache) == 0


def test_a_clock_that_was_set_back_keeps_no_secret_alive(rig: Rig) -> None:
    """A record of the future is deleted like any other."""
    cache = rig.cache("secrets", **SECRET)
    cache.set("key", 1)
    rig.clock.advance(-3_600)
    lose(cache)
    chaos(cache).heal()
    rig.clock.advance(7_200)
    assert cache.get("key") is None


@pytest.mark.parametrize("policy", POLICIES)
def test_a_load_under_way_does_not_bring_it_back(rig: Rig, policy: str) -> None:
    """Its lease goes with the delete, be it carried out late, and however long it takes."""
    cache, other = (rig.cache("secrets", **POLICIES[policy]) for _ in range(2))

    def load() -> str:
        lose(other)
        chaos(other).heal()
        rig.clock.advance(10)
        return "of before"

    assert cache.get_or_set("key", load) == "of before"
    assert cache.get("key") is None
    assert other.get("key") is None


def test_two_that_carry_it_out_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds what was set after the first, and leaves it alone."""
    cache, other = (rig.cache("secrets", **SECRET) for _ in range(2))
    cache.set("key", 1)
    lose(cache)
    chaos(cache).heal()
    get = chaos(cache).get
    others_turn = [True]

    def after_the_other(key: str) -> Entry | None:
        if others_turn:
            others_turn.clear()
            other.set("key", 2)
        return get(key)

    monkeypatch.setattr(chaos(cache), "get", after_the_other)
    assert cache.get("key") == 2
    assert other.get("key") == 2
    assert pending(cache) == 0


def test_an_answer_that_was_lost_is_no_harm(rig: Rig) -> None:
    """The store deleted it; that it is deleted once more changes nothing."""
    cache = rig.cache("secrets", **SECRET)
    cache.set("key", 1)
    chaos(cache).fail("delete_many", when="after", times=1)
    with pytest.raises(BackendUnavailableError):
        cache.delete("key")
    cache.set("key", 2)
    assert cache.get("key") == 2


def test_more_than_the_journal_has_room_for(rig: Rig) -> None:
    """Then the whole cache goes; a miss more is better than a secret less."""
    cache = rig.cache("secrets", **SECRET)
    cache.set_many({f"key{n}": n for n in range(SLOTS + 6)})
    lose(cache, lambda one: one.delete_many([f"key{n}" for n in range(SLOTS + 1)]))
    assert cache.get(f"key{SLOTS + 5}") is None
    chaos(cache).heal()
    assert cache.get("key3") is None
    assert cache.backend.size() == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_tag_that_could_not_be_cleared(rig: Rig, policy: str) -> None:
    """What carries it is not served; what does not is, and nobody can carry it anew before it was cleared."""
    cache, other = (rig.cache("secrets", **POLICIES[policy]) for _ in range(2))
    cache.set("key", 1, tags=("user:1",))
    cache.set("spared", 2)
    for _ in range(2):
        assert other.get("key") == 1
    lose(cache, lambda one: one.clear(tag="user:1"))
    assert cache.get_many(["key", "spared"]) == {"spared": 2}
    if policy != "state":
        cache.set("key", 3, tags=("user:1",))
        assert not cache.add("new", 3, tags=("user:1",))
    chaos(cache).heal()
    assert cache.get("key") is other.get("key") is None
    assert cache.get("spared") == 2
    cache.set("key", 4, tags=("user:1",))
    assert other.get("key") == 4
    assert pending(cache) == 0


def test_a_damaged_journal_costs_the_cache(rig: Rig) -> None:
    """Whose delete it was is forgotten, so all goes that may be rebuilt."""
    cache = rig.cache("secrets", **SECRET)
    cache.set_many({"key": 1, "spared": 2})
    lose(cache)
    cache.close()
    (path,) = rig.settings.cache_folder.glob("*.deletes")
    content = bytearray(path.read_bytes())
    content[4096 + 100] ^= 1
    path.write_bytes(content)
    after = rig.cache("secrets", **SECRET)
    assert after.get("spared") is None
    assert after.get("key") is None
    assert after.backend.size() == 0
    after.set("key", 3)
    assert after.get("key") == 3


def test_it_is_told_once_without_the_key(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A line when it is noted, and one when it was carried out."""
    caplog.set_level(logging.INFO, "openalgo_cache")
    cache = rig.cache("secrets", **SECRET)
    cache.set("my-key", 1)
    lose(cache, lambda one: one.delete("my-key"))
    for _ in range(3):
        cache.get("my-key")
        cache.get("another")
    chaos(cache).heal()
    cache.get("another")
    said = [record.getMessage() for record in caplog.records]
    assert sum("a delete failed" in line for line in said) == 1
    assert sum("1 lost delete was carried out" in line for line in said) == 1
    assert "my-key" not in caplog.text


# Any course of events


class OnMemory(Contract):
    """A rig whose stores are all one memory, each of which can be made to fail by itself."""

    shared: CacheBackend | None = None

    def make_backend(self, request: Request) -> ChaosBackend:
        """Put chaos around what is there."""
        if self.shared is None:
            self.shared = MemoryBackend.create(request)
        return ChaosBackend(self.shared)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.sampled_from(["get", "get", "set", "set", "delete", "pop", "clear", "get_many", "fail", "lose", "heal"]),
        st.sampled_from("abc"),
    ),
    min_size=5,
    max_size=40,
)


class Course:
    """Two handles, and what must be there.

    Args:
        rig: Makes them.
    """

    def __init__(self, rig: Rig) -> None:
        policy = {**SECRET, "raises": True}
        self.caches = [rig.cache("secrets", **policy), rig.cache("secrets", **policy)]
        self.there: dict[str, int] = {}
        self.is_deaf = [False, False]

    def run(self, steps: list[tuple[int, str, str]]) -> None:
        """Take steps, comparing each answer with what must be there; in the end all stores work again."""
        for number, (who, verb, key) in enumerate(steps):
            if verb in {"heal", "fail", "lose"}:
                self._order(who, verb)
                continue
            try:
                self._take(self.caches[who], verb, key, number)
            except BackendUnavailableError:
                assert self.is_deaf[who]
        for who in (0, 1):
            self._order(who, "heal")
        for cache in self.caches:
            assert cache.get_many("abc") == self.there
            assert pending(cache) == 0

    def _order(self, who: int, what: str) -> None:
        self.is_deaf[who] = what != "heal"
        store = chaos(self.caches[who])
        store.heal()
        if what == "fail":
            store.fail(*store.WRITES)
        elif what == "lose":
            store.fail(*store.READS, *store.WRITES)

    def _take(self, cache: Cache, verb: str, key: str, value: int) -> None:
        there = self.there
        if verb == "get":
            assert cache.get(key) == there.get(key)
        elif verb == "get_many":
            assert cache.get_many("abc") == there
        elif verb == "set":
            cache.set(key, value)
            there[key] = value
        elif verb == "clear":
            there.clear()
            cache.clear()
        else:  # what could not be deleted must be gone all the same
            was = there.pop(key, None)
            if verb == "pop":
                assert cache.pop(key, None) == was
            else:
                assert cache.delete(key) == (was is not None)


@settings(max_examples=200)
@given(STEPS)
def test_any_course_of_events(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, str]]) -> None:
    """Two handles set, delete and read while their stores fail and recover: nothing deleted is ever read."""
    Course(Rig(OnMemory(), tmp_path_factory.mktemp("memory"))).run(steps)


@settings(max_examples=20)
@given(STEPS)
def test_any_course_of_events_on_sqlite(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, str]]
) -> None:
    """With its near tier."""
    rig = Rig(OnSQLite(), tmp_path_factory.mktemp("sqlite"))
    Course(rig).run(steps)
    rig.close()


# Real failures


FULL = """
import resource, sys
from pathlib import Path
from openalgo_cache.errors import BackendUnavailableError
from tests.stacks import manager
cache = manager(Path(sys.argv[1])).get_cache("auth")
cache.set_many({"key": "revoked", "other": "good"}, ttl=1000)
assert cache.get("key") == "revoked"
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, resource.RLIM_INFINITY))  # no file can grow: the disk is full
failed = 0
while failed < 3:  # several in a row: there is no room for a single page
    before = cache.stats()["errors"]
    cache.set("filler", "x", ttl=1000)
    failed = failed + 1 if cache.stats()["errors"] > before else 0
try:
    cache.delete("key")
except BackendUnavailableError as error:
    print("raised:", "full" in str(error) or "failed" in str(error), "noted" in str(error), flush=True)
print(cache.get("key"), cache.get("other"), cache.stats()["pending_deletes"], flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(cache.get("key"), cache.stats()["pending_deletes"], cache.get("other"), flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
@pytest.mark.parametrize("end", ["goes on", "is killed"])
def test_a_full_disk(tmp_path: Path, end: str) -> None:
    """SQLite cannot even delete then. The journal can: its blocks are there."""
    other = manager(tmp_path).get_cache("auth")
    with Process(FULL, tmp_path) as process:
        assert process.hear() == "raised: True True"
        assert process.hear() == "None good 1"
        if end == "goes on":
            assert process.ask() == "None 0 good"
        else:
            process.kill()
        assert other.get("key") is None
        assert other.get("other") == "good"
        assert pending(other) == 0
    other.close()


LOCKED = """
import sys
from pathlib import Path
import openalgo_cache.backends.sqlite.schema as schema
from openalgo_cache.errors import BackendUnavailableError
from tests.stacks import manager
schema.BUSY_TIMEOUT_MS = 50
cache = manager(Path(sys.argv[1])).get_cache("auth")
cache.set("key", "revoked", ttl=1000)
cache.set("other", "good", ttl=1000)
print(cache.get("key"), flush=True)
while line := sys.stdin.readline().split():
    try:
        print(getattr(cache, line[0])(*line[1:]), flush=True)
    except BackendUnavailableError:
        print("raised", flush=True)
"""


def test_a_locked_file_and_two_processes(tmp_path: Path) -> None:
    """One loses its delete to a lock; the other, whose near tier had the key, does not serve it, nor after a kill."""
    house = manager(tmp_path)
    with Process(LOCKED, tmp_path) as one, Process(LOCKED, tmp_path) as other:
        assert one.hear() == other.hear() == "revoked"
        assert one.ask("get key") == other.ask("get key") == "revoked"
        (path,) = (tmp_path / "db").glob("cache_auth.db")
        with closing(apsw.Connection(str(path))) as locker:
            locker.execute("BEGIN IMMEDIATE")
            assert one.ask("delete key") == "raised"
            assert other.ask("get key") == one.ask("get key") == "None"
            assert other.ask("get other") == one.ask("get other") == "good"
            one.kill()
            assert other.ask("get key") == "None"
            locker.execute("COMMIT")
        cache = house.get_cache("auth")
        assert cache.get("other") == "good"
        assert cache.get("key") is None
        assert pending(cache) == 0
        assert other.ask("get key") == "None"
        assert other.ask("set key fresh") == "None"
        assert other.ask("get key") == cache.get("key") == "fresh"
    house.close()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Its own folder may be read-only for others; here the file itself is in the way."""
    house = manager(tmp_path)
    cache = house.get_cache("auth")
    cache.set("key", "revoked", ttl=1000)
    (path,) = (tmp_path / "db").glob("cache_auth.db")
    cache.close()
    away = path.rename(path.with_name("away"))
    path.mkdir()
    with pytest.raises(CacheError):
        cache.delete("key")
    path.rmdir()
    away.rename(path)
    assert cache.get("key") is None
    assert manager(tmp_path).get_cache("auth").get("key") is None
    house.close()


def test_reads_look_at_memory_only(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to be deleted nobody opens the journal to find that out."""
    cache = rig.cache("secrets", **SECRET)
    cache.set("key", 1)
    assert cache.get("key") == 1
    journal = cache._opened().lost
    assert journal is not None

    def never(*_: object) -> None:
        raise AssertionError("the journal was looked into")

    monkeypatch.setattr(type(journal.journal), "_refresh", never)
    patch_here(monkeypatch, os, "stat", never)
    for _ in range(3):
        assert cache.get("key") == 1
        assert cache.get("absent") is None
        assert cache.get_many(["key"]) == {"key": 1}

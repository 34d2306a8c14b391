"""The store fails: what each verb returns instead, what raises, what is logged, and that it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.base import CacheBackend, Entry, Request
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Sealing
from openalgo_cache.errors import BackendUnavailableError, CacheError, InvalidKeyError, UnsupportedValueError
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing import ChaosBackend, Contract, FakeClock, Rig
from tests.rigs import OnSQLite
from tests.stacks import manager

POLICIES: dict[str, dict[str, Any]] = {
    "plain": {"sealing": Sealing.PLAIN},
    "signed": {},
    "encrypted": {"sealing": Sealing.ENCRYPTED},
    "raising": {"raises": True},
    "state": {"sealing": Sealing.ENCRYPTED, "durability": Durability.STATE, "raises": True},
}

READS: dict[str, tuple[Callable[[Cache], object], object]] = {
    "get": (lambda cache: cache.get("key"), None),
    "get with a default": (lambda cache: cache.get("key", 7), 7),
    "get of an int key": (lambda cache: cache.get(1, 7), 7),
    "get_many": (lambda cache: cache.get_many(["key", "other"]), {}),
    "exists": (lambda cache: cache.exists("key"), False),
    "in": (lambda cache: "key" in cache, False),
    "size": (lambda cache: cache.size(), 0),
    "len": (len, 0),
    "keys": (lambda cache: list(cache.keys()), []),
    "items": (lambda cache: list(cache.items("k")), []),
    "iter": (lambda cache: [*iter(cache)], []),  # list(cache) asks for its length first
}
WRITES: dict[str, tuple[Callable[[Cache], object], object]] = {
    "set": (lambda cache: cache.set("key", 2), None),
    "set_many": (lambda cache: cache.set_many({"key": 2}), None),
    "[]=": (lambda cache: cache.update(key=2), None),
    "add": (lambda cache: cache.add("new", 2), False),
    "touch": (lambda cache: cache.touch("key"), False),
    "incr": (lambda cache: cache.incr("count", 5), 5),
    "setdefault": (lambda cache: cache.setdefault("new", 2), 2),
    "get_or_set": (lambda cache: cache.get_or_set("new", lambda: 2), 2),
}
DELETES: dict[str, tuple[Callable[[Cache], object], object]] = {
    "delete": (lambda cache: cache.delete("key"), False),
    "delete_many": (lambda cache: cache.delete_many(["key"]), 0),
    "clear": (lambda cache: cache.clear(), 0),
    "pop": (lambda cache: cache.pop("key", 7), 7),
}
VERBS = READS | WRITES | DELETES


class OnMemory(Contract):
    """A rig whose store is memory that can be made to fail."""

    def make_backend(self, request: Request) -> ChaosBackend:
        """Put chaos around memory."""
        return ChaosBackend(MemoryBackend.create(request))


@pytest.fixture(params=[OnMemory, OnSQLite], ids=["memory", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """A rig on either store."""
    return Rig(request.param(), tmp_path)


@pytest.fixture
def store(rig: Rig) -> ChaosBackend:
    """A store that works until it is told not to."""
    store = rig.backend()
    assert isinstance(store, ChaosBackend)
    return store


def errors(cache: Cache) -> int:
    """Return how many operations failed."""
    return int(cache._counters.errors)


# What each verb does


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("policy", ["plain", "signed"])
def test_without_its_store_a_cache_reads_misses_and_writes_nothing(
    rig: Rig, store: ChaosBackend, policy: str, verb: str
) -> None:
    """Whatever the application asks, it goes on; and when the store is back, what was there is there."""
    cache = rig.cache(backend=store, **POLICIES[policy])
    cache.set_many({"key": 1, 1: 1})
    call, fallback = VERBS[verb]
    store.fail()
    assert call(cache) == fallback
    assert errors(cache) >= 1
    store.heal()
    assert cache.get("key") == 1
    assert cache.get("new") is None
    assert cache.size() == 2


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("policy", ["raising", "state"])
def test_where_it_is_asked_for_every_verb_raises(rig: Rig, store: ChaosBackend, policy: str, verb: str) -> None:
    """``on_error="raise"``, and state: a failure is never taken for an answer. Lost secrets are deleted later."""
    cache = rig.cache(backend=store, **POLICIES[policy])
    cache.set_many({"key": 1, 1: 1})
    cache._near._empty()  # so that a read has to ask the store
    store.fail()
    with pytest.raises(BackendUnavailableError):
        VERBS[verb][0](cache)
    store.heal()
    assert cache.get("key") == (None if policy == "state" and verb in DELETES else 1)
    assert cache.get("new") is None


@pytest.mark.parametrize("verb", DELETES)
def test_deleting_from_an_encrypted_cache_raises(rig: Rig, store: ChaosBackend, verb: str) -> None:
    """A revoked token must not look deleted. Its reads and writes do without the store, as any cache's."""
    cache = rig.cache(backend=store, **POLICIES["encrypted"])
    cache.set("key", 1)
    store.fail()
    with pytest.raises(BackendUnavailableError):
        DELETES[verb][0](cache)
    for call, fallback in (READS | WRITES).values():
        assert call(cache) == fallback


@pytest.mark.parametrize("verb", ["ttl", "[]", "del", "pop"])
@pytest.mark.parametrize("policy", ["signed", "raising"])
def test_verbs_that_raise_for_an_absent_key(rig: Rig, store: ChaosBackend, policy: str, verb: str) -> None:
    """Without the store nothing is there; where failures raise, that is what they raise."""
    cache = rig.cache(backend=store, **POLICIES[policy])
    cache.set("key", 1)
    store.fail()
    calls: dict[str, Callable[[], object]] = {
        "ttl": lambda: cache.ttl("key"),
        "[]": lambda: cache["key"],
        "del": lambda: cache.__delitem__("key"),
        "pop": lambda: cache.pop("key"),
    }
    with pytest.raises(KeyError if policy == "signed" else BackendUnavailableError):
        calls[verb]()


def test_what_is_near_is_served_on_while_the_store_is_down(rig: Rig, store: ChaosBackend) -> None:
    """As long as nothing says that it changed; it may not become staler than it may ever be."""
    cache = rig.cache(backend=store)
    cache.set("key", 1)
    assert cache.get("key") == 1
    store.fail()
    assert cache.get("key") == 1
    rig.clock.advance(rig.settings.cache_near_max_staleness)
    assert cache.get("key") is None


def test_mistakes_raise_whether_the_store_works_or_not(rig: Rig, store: ChaosBackend) -> None:
    """They are the application's, not the store's."""
    cache = rig.cache(backend=store)
    store.fail()
    with pytest.raises(InvalidKeyError):
        cache.get("a\nb")
    with pytest.raises(UnsupportedValueError):
        cache.set("key", object())
    with pytest.raises(UnsupportedValueError):
        cache.get_or_set("key", object)


def test_other_errors_of_a_store_are_not_swallowed(rig: Rig, store: ChaosBackend, monkeypatch: Any) -> None:
    """Only its being unavailable is: a bug in a backend must not look like a miss."""
    cache = rig.cache(backend=store)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store, "get", broken)
    with pytest.raises(ZeroDivisionError):
        cache.get("key")


# An answer that was lost


def test_a_write_whose_answer_was_lost_is_seen(rig: Rig, store: ChaosBackend) -> None:
    """The store did it and could not say so: what is near does not hide it."""
    cache = rig.cache(backend=store)
    cache.set("key", "old")
    assert cache.get("key") == "old"
    store.fail(*store.WRITES, when="after")
    cache.set("key", "new")
    assert cache.get("key") == "new"
    assert cache.delete("key") is False
    assert cache.get("key") is None
    assert cache.add("key", "added") is False
    assert cache.get("key") == "added"
    cache.clear()
    assert cache.get("key") is None


def test_a_lost_answer_raises_where_failures_raise(rig: Rig, store: ChaosBackend) -> None:
    """Nobody knows whether it was done."""
    cache = rig.cache(backend=store, raises=True)
    store.fail("compare_and_set", when="after", times=1)
    with pytest.raises(BackendUnavailableError):
        cache.incr("key")
    assert cache.get("key") == 1


def test_a_write_that_failed_leaves_what_was_there(rig: Rig, store: ChaosBackend) -> None:
    """And what was near before it is not served for it: the store is asked."""
    cache = rig.cache(backend=store)
    cache.set("key", "old")
    assert cache.get("key") == "old"
    store.fail(*store.WRITES)
    cache.set("key", "new")
    store.heal()
    before = store.calls["get"]
    assert cache.get("key") == "old"
    assert store.calls["get"] == before + 1


# Outages in the log


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as a warning."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_outage_is_logged_once_and_its_end_once(
    rig: Rig, store: ChaosBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """However many operations failed; and the next outage is another one."""
    cache = rig.cache("broker_tokens", backend=store)
    cache.set("telling-key", "telling-value")
    caplog.clear()
    for outage in (1, 2):
        store.fail()
        for number in range(50):
            cache.get(f"telling-key {number}")
            cache.set("telling-key", "telling-value")
        assert len(messages(caplog)) == 2 * outage - 1
        store.heal()
        for _ in range(3):
            assert cache.get("telling-key") == "telling-value"
        assert len(messages(caplog)) == 2 * outage
    goes_on, has_again = messages(caplog)[:2]
    assert "broker_tokens goes on without its store" in goes_on
    assert "broker_tokens has its store again" in has_again
    assert "100 failed" in has_again
    assert "telling" not in caplog.text
    assert cache.stats()["errors"] == 200


@pytest.mark.parametrize("verb", ["get", "get_many", "set", "delete", "size", "add", "keys", "get_or_set"])
def test_any_verb_notices_that_the_store_is_back(
    rig: Rig, store: ChaosBackend, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    """Not only reads."""
    cache = rig.cache(backend=store)
    store.fail()
    assert cache.get("key") is None
    store.heal()
    VERBS[verb][0](cache)
    assert any("has its store again" in message for message in messages(caplog))


@pytest.mark.parametrize("verb", READS)
def test_a_read_waits_for_a_store_that_is_down_only_once(rig: Rig, store: ChaosBackend, verb: str) -> None:
    """Each wait may be a timeout: after the first failure there is no other attempt."""
    cache = rig.cache(backend=store)
    cache.set("key", 1)
    cache._near._empty()
    store.fail()
    call, fallback = READS[verb]
    assert call(cache) == fallback
    assert errors(cache) == 1


def test_hits_and_misses_are_counted_in_an_outage(rig: Rig, store: ChaosBackend) -> None:
    """A read that the store did not answer is an error, and the application got nothing."""
    cache = rig.cache(backend=store)
    store.fail()
    cache.get("key")
    cache.get_many(["a", "b"])
    stats = cache.stats()
    assert stats["hits"] == 0
    assert stats["errors"] == 3, "of the question how many there are, too"
    assert stats["size"] is None
    assert stats["latency"]["get"]["count"] == 0, "what failed was no answer"


# Loading


def test_a_load_goes_on_without_a_lease(rig: Rig, store: ChaosBackend) -> None:
    """The store cannot keep it: everyone loads for himself, one at a time in this process."""
    cache = rig.cache(backend=store)
    store.fail()
    assert cache.get_or_set("key", lambda: "first") == "first"
    assert cache.get_or_set("key", lambda: "second") == "second"
    store.heal()
    assert cache.get_or_set("key", lambda: "third") == "third"
    assert cache.get("key") == "third"


def test_threads_share_a_load_without_a_store(rig: Rig, store: ChaosBackend) -> None:
    """A broker that is asked by fifty threads at once is asked once."""
    cache = rig.cache(backend=store)
    store.fail()
    running, release = threading.Event(), threading.Event()
    runs = []

    def load() -> str:
        runs.append(1)
        running.set()
        assert release.wait(20)
        return "loaded"

    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(cache.get_or_set, "key", load)
        assert running.wait(20)
        others = [pool.submit(cache.get_or_set, "key", load) for _ in range(9)]
        while not pool._work_queue.empty():
            pass
        release.set()
        assert {result.result(20) for result in (first, *others)} == {"loaded"}
    assert len(runs) <= 3, "those that were not there yet may have loaded again"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lease_that_may_or_may_not_be_there(rig: Rig, store: ChaosBackend, when: Any) -> None:
    """The reservation failed: the value is loaded and returned, and nothing hangs, then or later."""
    cache = rig.cache(backend=store)
    store.fail("compare_and_set", when=when, times=1)
    assert cache.get_or_set("key", lambda: "loaded") == "loaded"
    if when == "after":  # a lease stands that nobody holds
        rig.clock.advance(30)
    assert cache.get_or_set("key", lambda: "again") == "again"
    assert cache.get("key") == "again"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_value_that_cannot_be_stored_after_its_load(rig: Rig, store: ChaosBackend, when: Any) -> None:
    """It is returned all the same; whether it was kept, the next read sees."""
    cache = rig.cache(backend=store)

    def load() -> str:
        store.fail("compare_and_set", when=when, times=1)
        return "loaded"

    assert cache.get_or_set("key", load) == "loaded"
    assert cache.get("key") == (None if when == "before" else "loaded")
    rig.clock.advance(30)
    assert cache.get_or_set("key", lambda: "again") == ("again" if when == "before" else "loaded")


def test_a_loader_that_fails_while_the_store_is_down(rig: Rig, store: ChaosBackend) -> None:
    """Its own error is raised, not the store's; the lease that could not be removed runs out."""
    cache = rig.cache(backend=store)

    def load() -> str:
        store.fail()
        raise LookupError("no such symbol")

    with pytest.raises(LookupError):
        cache.get_or_set("key", load)
    store.heal()
    rig.clock.advance(30)
    assert cache.get_or_set("key", lambda: "loaded") == "loaded"


def test_a_load_that_may_raise_does(rig: Rig, store: ChaosBackend) -> None:
    """Where failures raise, a value that could not be kept is a failure; and no flight is left over."""
    cache = rig.cache(backend=store, raises=True)

    def load() -> str:
        store.fail("compare_and_set", times=1)
        return "loaded"

    with pytest.raises(BackendUnavailableError):
        cache.get_or_set("key", load)
    assert cache.get_or_set("key", lambda: "again") == "again"


# Others


def test_the_chaos_itself(tmp_path: Path) -> None:
    """It fails what it is told to, as often, and counts."""
    store = ChaosBackend(MemoryBackend(clock=FakeClock()))
    store.fail("get", times=2)
    for _ in range(2):
        with pytest.raises(BackendUnavailableError):
            store.get("key")
    assert store.get("key") is None
    assert store.calls["get"] == 3
    with pytest.raises(ValueError, match="no verb 'got'"):
        store.fail("got")
    with pytest.raises(TypeError, match=r"ChaosBackend\(inner\)"):
        ChaosBackend.create(None)  # type: ignore[arg-type]


class Bare(CacheBackend):
    """A backend with the verbs and no other capability."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    @classmethod
    def create(cls, request: Request) -> CacheBackend:
        """See CacheBackend."""
        del request
        return cls()

    def get(self, key: str) -> Entry | None:
        """See CacheBackend."""
        return self.entries.get(key)

    def set(self, key: str, entry: Entry) -> None:
        """See CacheBackend."""
        self.entries[key] = entry

    def delete(self, key: str) -> bool:
        """See CacheBackend."""
        return self.entries.pop(key, None) is not None

    def clear(self) -> int:
        """See CacheBackend."""
        count = len(self.entries)
        self.entries.clear()
        return count

    def size(self) -> int:
        """See CacheBackend."""
        return len(self.entries)

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        """See CacheBackend."""
        entry = self.entries.get(key)
        if (None if entry is None else entry.payload) != expected:
            return False
        self.entries.pop(key, None)
        if new is not None:
            self.entries[key] = new
        return True


def test_a_backend_needs_nothing_but_its_verbs(rig: Rig) -> None:
    """Without a change token nothing is kept near, and what cannot list says so by name."""
    cache = rig.cache(backend=ChaosBackend(Bare()))
    cache.set("key", 1)
    assert [cache.get("key", MISSING) for _ in range(3)] == [1, 1, 1]
    assert cache.stats()["near_hits"] == 0
    assert cache.get_many(["key", "other"]) == {"key": 1}
    assert cache.incr("key") == 2
    assert cache.delete_many(["key", "other"]) == 1
    for listing in (cache.keys, cache.items, cache.values, lambda: iter(cache)):
        with pytest.raises(CacheError, match="cannot list what it holds"):
            list(listing())


def test_a_file_that_cannot_be_opened_is_a_store_that_is_down(tmp_path: Path) -> None:
    """From the first read on: that it was never open makes no difference."""
    for name in ("quotes", "broker"):
        (tmp_path / "db" / f"cache_{name}.db").mkdir(parents=True)
    house = manager(tmp_path)
    cache, secret = house.get_cache("quotes"), house.get_cache("broker")
    assert cache.get("key", 7) == 7
    cache.set("key", 1)
    assert cache.get_many(["key"]) == {}
    assert cache.stats()["errors"] >= 3
    assert secret.get("key") is None
    with pytest.raises(BackendUnavailableError):
        secret.delete("key")
    (tmp_path / "db" / "cache_quotes.db").rmdir()
    cache.set("key", 1)
    assert cache.get("key") == 1
    house.close()

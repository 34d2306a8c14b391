"""Records that were damaged, moved, prolonged or made up in the store: none is ever served, whichever verb asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from openalgo_cache import CacheManager
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.codec.envelope import AEAD, MAC
from openalgo_cache.codec.sealing import RingSeal, Unsealed
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing import FakeClock
from tests.stacks import manager

KEY_ID = slice(24, 28)
VALUE = {"token": "abc", "user": "user_123"}
STATE = "running_strategies"
CACHES: dict[str, dict[str, Any]] = {
    "quotes": {},  # signed
    "user_strategies": {},  # encrypted
    "auth": {},  # encrypted, with blinded keys
    "bare": {"encrypted": True},
}


class Store:
    """What somebody who may write to a cache's file can do.

    Args:
        cache: The cache.
    """

    def __init__(self, cache: Cache) -> None:
        backend = cache.backend
        assert isinstance(backend, SQLiteBackend)
        self.cache = cache
        self.path = backend.path
        self._connection = apsw.Connection(str(self.path))
        self._connection.set_busy_timeout(5000)

    def stored(self, key: str) -> str:
        """Return the stored form of a key."""
        return self.cache._opened().keyspace.stored(key)

    def record(self, key: str) -> Any:
        """Return what is in the file under a key, None if nothing is."""
        return self._connection.execute("SELECT value FROM cache WHERE key = ?", (self.stored(key),)).get

    def put(self, key: str, record: object, expires_at: float | None = None) -> None:
        """Write a row."""
        row = (self.stored(key), expires_at, 0.0, record)
        self._connection.execute(
            "INSERT OR REPLACE INTO cache (key, expires_at, created_at, value) VALUES (?,?,?,?)", row
        )

    def prolong(self, key: str, expires_at: float | None) -> None:
        """Give a row another expiry."""
        self._connection.execute("UPDATE cache SET expires_at = ? WHERE key = ?", (expires_at, self.stored(key)))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CacheManager]:
    """A manager on SQLite, near tier and all."""
    one = manager(tmp_path)
    yield one
    one.close()


@pytest.fixture(params=list(CACHES))
def store(request: pytest.FixtureRequest, house: CacheManager) -> Iterator[Store]:
    """The file of each kind of sealed cache, with one record that was read before."""
    cache = house.get_cache(request.param, **CACHES[request.param])
    cache.set("key", VALUE, 1000)
    assert cache.get("key") == VALUE
    with closing(Store(cache)) as one:
        yield one


@pytest.fixture
def state(house: CacheManager) -> Iterator[Store]:
    """The file of a state, with one record."""
    cache = house.get_cache(STATE)
    cache.set("key", VALUE)
    with closing(Store(cache)) as one:
        yield one


def refuses(store: Store, key: str = "key", *, rejected: int = 1) -> None:
    """Check that a read is a miss, and that it was counted."""
    before = store.cache.stats()["rejected"]
    assert store.cache.get(key, MISSING) is MISSING
    assert store.cache.stats()["rejected"] == before + rejected


def test_every_bit_of_a_stored_record(store: Store) -> None:
    """Flipped one at a time, each makes the record a miss. If the key it names is ours, it is forged, and goes."""
    record = store.record("key")
    for bit in range(len(record) * 8):
        changed = bytearray(record)
        changed[bit // 8] ^= 1 << bit % 8
        store.put("key", bytes(changed))
        refuses(store)
        left = store.record("key")
        if KEY_ID.start <= bit // 8 < KEY_ID.stop:
            assert left == changed, "a record of an unknown key was deleted"
        elif bit // 8 >= 8:
            assert left is None, "a forged record was kept"
        else:
            assert left in {None, bytes(changed)}
    store.put("key", record)
    assert store.cache.get("key") == VALUE, "the record itself is as good as before"


def test_every_bit_of_a_stored_state_record(state: Store) -> None:
    """Each raises, and the record stays, byte for byte."""
    record = state.record("key")
    for bit in range(len(record) * 8):
        changed = bytearray(record)
        changed[bit // 8] ^= 1 << bit % 8
        state.put("key", bytes(changed))
        with pytest.raises(UnreadableRecordError, match="the record is kept"):
            state.cache.get("key")
        assert state.record("key") == changed
    state.put("key", record)
    assert state.cache.get("key") == VALUE


def test_every_truncation_of_a_stored_record(store: Store) -> None:
    """Cut off at any byte, or with something behind it, it is a miss."""
    record = store.record("key")
    for other in [*(record[:size] for size in range(len(record))), record + b"\0", record * 2]:
        store.put("key", other)
        refuses(store)


@pytest.mark.parametrize("record", ["text", "OAC\x01", 7, 7.5, b"", b"\0" * 90, "\0" * 90], ids=repr)
def test_rows_of_another_kind(store: Store, record: object) -> None:
    """A text or a number where bytes belong: a miss like any other, and the key can be used again."""
    store.put("key", record)
    refuses(store)
    store.cache.set("key", 1)
    assert store.cache.get("key") == 1


@pytest.mark.parametrize("record", ["text", 7, b""], ids=repr)
def test_state_rows_of_another_kind(state: Store, record: object) -> None:
    """They raise, and stay."""
    state.put("key", record)
    with pytest.raises(UnreadableRecordError):
        state.cache.get("key")
    assert state.record("key") == record


@pytest.mark.parametrize("expires_at", ["never", "9" * 20, b"\xff", 0, -1.0, math.inf], ids=repr)
def test_expiries_of_another_kind(store: Store, expires_at: Any) -> None:
    """Whatever stands in the column, no error, and nothing that its seal does not vouch for."""
    store.put("key", store.record("key"), expires_at)
    assert store.cache.get("key") in (None, VALUE)
    assert set(store.cache.get_many(["key"])) <= {"key"}
    backend = store.cache.backend
    assert isinstance(backend, SQLiteBackend)
    list(backend.scan())
    store.cache.add("key", 1)
    store.cache.delete("key")
    store.cache.set("key", 1)
    assert store.cache.get("key") == 1
    backend.maintain()


def test_a_record_under_another_key(store: Store) -> None:
    """Copied, or swapped with its neighbour: each record is bound to its own key."""
    store.cache.set("other", "another value")
    mine, theirs = store.record("key"), store.record("other")
    store.put("key", theirs)
    store.put("other", mine)
    refuses(store)
    refuses(store, "other")
    assert store.record("key") is None
    assert store.record("other") is None


def test_a_record_of_another_cache(store: Store, house: CacheManager) -> None:
    """The same key, the same ring, another cache: it does not verify there."""
    for name in ("quotes", "auth", "elsewhere"):
        if name == store.cache.name:
            continue
        other = house.get_cache(name, encrypted=store.cache.policy.sealing.value == "encrypted" or None)
        other.set("key", "theirs")
        with closing(Store(other)) as their_store:
            store.put("key", their_store.record("key"))
            refuses(store)


def test_a_record_of_another_namespace(store: Store, tmp_path: Path) -> None:
    """The same key, ring and cache in another namespace: neither reads the other's records."""
    name = store.cache.name
    other = manager(tmp_path, cache_namespace="other")
    there = other.get_cache(name, **CACHES[name])
    there.set("key", "theirs")
    with closing(Store(there)) as their_store:
        assert their_store.path != store.path
        mine, theirs = store.record("key"), their_store.record("key")
        store.put("key", theirs)
        their_store.put("key", mine)
        refuses(store)
        refuses(their_store)
    other.close()


def test_a_prolonged_record(tmp_path: Path) -> None:
    """Whatever the store says, a record ends when the seal says; who claims more is a forger."""
    clock = FakeClock()
    house = manager(tmp_path, clock)
    for name, options in CACHES.items():
        cache = house.get_cache(name, **options)
        cache.set("key", VALUE, 100)
        with closing(Store(cache)) as store:
            for expires_at in (clock() + 1e6, None):
                store.put("key", store.record("key") or b"", expires_at)
                assert cache.get("key") == VALUE, "it has not expired yet"
            clock.advance(99.5)
            assert cache.get("key") == VALUE
            clock.advance(1)
            refuses(store)
            assert store.record("key") is None
    house.close()


def test_a_prolonged_state_record(tmp_path: Path) -> None:
    """It raises, and is kept."""
    clock = FakeClock()
    house = manager(tmp_path, clock)
    cache = house.get_cache(STATE)
    cache.set("key", VALUE, 100)
    with closing(Store(cache)) as store:
        record = store.record("key")
        store.prolong("key", None)
        clock.advance(101)
        with pytest.raises(UnreadableRecordError, match="beyond the expiry"):
            cache.get("key")
        assert store.record("key") == record
    house.close()


def test_a_plain_record_in_a_sealed_cache(store: Store) -> None:
    """Whoever can write to the file can write plain records: the configuration decides, so they are nothing."""
    for body in (b"\x2a", b"\x81\xa5token\xa6forged"):
        store.put("key", Unsealed().seal(store.stored("key"), body, 1, 0.0, math.inf))
        refuses(store)


def test_a_record_of_the_other_seal(house: CacheManager) -> None:
    """Signed with the right key where encryption is demanded, and the other way round: not what was asked for."""
    for name, mode in (("quotes", AEAD), ("auth", MAC)):
        cache = house.get_cache(name)
        cache.set("other", 1)
        with closing(Store(cache)) as store:
            seal = RingSeal(house.ring(), house.ring().id, name, mode)
            store.put("key", seal.seal(store.stored("key"), b"\x2a", 1, 0.0, math.inf))
            refuses(store)


VERBS: dict[str, tuple[Callable[[Cache], object], object]] = {
    "get": (lambda cache: cache.get("key"), None),
    "get_many": (lambda cache: cache.get_many(["key"]), {}),
    "exists": (lambda cache: cache.exists("key"), False),
    "in": (lambda cache: "key" in cache, False),
    "pop": (lambda cache: cache.pop("key", "gone"), "gone"),
    "touch": (lambda cache: cache.touch("key", 100), False),
    "add": (lambda cache: cache.add("key", 1), True),
    "incr": (lambda cache: cache.incr("key"), 1),
    "setdefault": (lambda cache: cache.setdefault("key", 5), 5),
    "get_or_set": (lambda cache: cache.get_or_set("key", lambda: 6), 6),
    "values": (lambda cache: list(cache.items("")), []),
}


@pytest.mark.parametrize("verb", list(VERBS))
@pytest.mark.parametrize("name", ["quotes", "user_strategies"])
def test_no_verb_serves_a_forged_record(house: CacheManager, name: str, verb: str) -> None:
    """Every verb takes it for absent."""
    cache = house.get_cache(name)
    cache.set("key", 41)
    cache.set("other", 42)
    with closing(Store(cache)) as store:
        store.put("key", store.record("other"))
        cache.delete("other")
        use, expected = VERBS[verb]
        assert use(cache) == expected
        assert cache.stats()["rejected"] >= 1
        store.put("key", b"forged")
        with pytest.raises(KeyError):
            cache.ttl("key")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "values"])
def test_no_verb_overwrites_an_unreadable_state_record(state: Store, verb: str) -> None:
    """Verbs that look before they act raise; only ``set`` and ``delete`` say clearly that the record may go."""
    good = state.record("key")
    changed = good[:-1] + bytes([good[-1] ^ 1])
    state.put("key", changed)
    with pytest.raises(UnreadableRecordError):
        VERBS[verb][0](state.cache)
    assert state.record("key") == changed
    state.cache.set("key", "new")
    assert state.cache.get("key") == "new"


def test_rows_under_impossible_keys(store: Store) -> None:
    """Whatever stands in the key column, listing goes on."""
    connection = store._connection
    for key in (
        "openalgo:quotes:!i12x",
        "openalgo:quotes:!xzz",
        "openalgo:quotes:!t9:",
        "nonsense",
        "",
        "\0",
        7,
        b"\xff",
    ):
        row = (key, None, 0.0, store.record("key"))
        connection.execute("INSERT OR REPLACE INTO cache (key, expires_at, created_at, value) VALUES (?,?,?,?)", row)
    prefix = store.cache._opened().keyspace.prefix
    for tail in ("!i12x", "!xzz", "!t9:", "!q", "%", "%zz", "~short"):
        row = (prefix + tail, None, 0.0, store.record("key"))
        connection.execute("INSERT OR REPLACE INTO cache (key, expires_at, created_at, value) VALUES (?,?,?,?)", row)
    if not store.cache.policy.blinded:
        assert list(store.cache.items()) == [("key", VALUE)]
        assert list(store.cache.keys()) == ["key"]
        assert list(store.cache.items("k")) == [("key", VALUE)]
    assert store.cache.size() >= 1
    assert store.cache.get("key") == VALUE
    backend = store.cache.backend
    assert isinstance(backend, SQLiteBackend)
    backend.maintain()


def test_no_code_runs(store: Store, tmp_path: Path) -> None:
    """A pickle in the place of a record is bytes like any other."""
    canary = tmp_path / "canary"
    store.put("key", b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.")
    refuses(store)
    assert not canary.exists()

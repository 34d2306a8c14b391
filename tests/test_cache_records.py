"""Records that somebody else has had in hands: what a cache does with what it cannot verify."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Sealing
from openalgo_cache.codec.envelope import PLAIN, pack_head
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing import Contract, Rig

SEALED: dict[str, dict[str, Any]] = {
    "signed": {"sealing": Sealing.SIGNED},
    "encrypted": {"sealing": Sealing.ENCRYPTED},
    "blinded": {"sealing": Sealing.ENCRYPTED, "blinded": True},
}
STATE: dict[str, Any] = {"sealing": Sealing.ENCRYPTED, "durability": Durability.STATE, "raises": True}


class OnSQLite(Contract):
    """A rig on files."""

    def make_backend(self, request: Any) -> SQLiteBackend:
        """Open the file."""
        return SQLiteBackend.create(request)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A rig on files."""
    rig = Rig(OnSQLite(), tmp_path)
    yield rig
    rig.close()


def stored(rig: Rig, cache: Cache, key: str = "key") -> str:
    """Return the stored form of a key."""
    return rig.prefix(cache.name) + cache.shown(key)


def record(rig: Rig, cache: Cache, key: str = "key") -> Entry:
    """Return what the store has under a key."""
    entry = cache.backend.get(stored(rig, cache, key))
    assert entry is not None
    return entry


def plant(rig: Rig, cache: Cache, entry: Entry, key: str = "key") -> None:
    """Put a record into the store, as somebody who can write to it does."""
    other = rig.backend(cache.name)
    other.set(stored(rig, cache, key), entry)
    other.close()


def damage(payload: bytes, seed: int) -> bytes:
    """Return a payload with one bit changed."""
    at = random.Random(seed).randrange(len(payload) * 8)
    damaged = bytearray(payload)
    damaged[at // 8] ^= 1 << at % 8
    return bytes(damaged)


# What cannot be verified is a miss


@pytest.mark.parametrize("sealing", SEALED)
def test_one_changed_bit_is_a_miss(rig: Rig, sealing: str) -> None:
    """Wherever it is, for every verb that reads, near or not."""
    cache = rig.cache(**SEALED[sealing])
    for seed in range(60):
        cache.set("key", {"token": "secret", "n": seed})
        cache.get("key")
        entry = record(rig, cache)
        plant(rig, cache, entry._replace(payload=damage(entry.payload, seed)))
        assert cache.get("key", MISSING) is MISSING, seed
        assert "key" not in cache
        assert cache.get_many(["key"]) == {}
    assert cache.stats()["rejected"] >= 60


@pytest.mark.parametrize("sealing", SEALED)
@pytest.mark.parametrize("cut", [0, 1, 3, 4, 20, 44, 60, -1, -16])
def test_a_cut_record_is_a_miss(rig: Rig, sealing: str, cut: int) -> None:
    """As is one with something appended."""
    cache = rig.cache(**SEALED[sealing])
    cache.set("key", "value")
    entry = record(rig, cache)
    for payload in (entry.payload[:cut], entry.payload + b"\0", b"", b"\0" * 100):
        plant(rig, cache, entry._replace(payload=payload))
        assert cache.get("key", MISSING) is MISSING


@pytest.mark.parametrize("sealing", SEALED)
def test_a_moved_record_is_a_miss(rig: Rig, sealing: str) -> None:
    """Under another key, or in another cache of the same installation."""
    cache, other = rig.cache("quotes", **SEALED[sealing]), rig.cache("tokens", **SEALED[sealing])
    cache.set("alice", "admin")
    entry = record(rig, cache, "alice")
    plant(rig, cache, entry, "bob")
    plant(rig, other, entry, "alice")
    assert cache.get("bob", MISSING) is MISSING
    assert other.get("alice", MISSING) is MISSING
    assert cache.get("alice") == "admin"


@pytest.mark.parametrize("sealing", SEALED)
def test_a_record_does_not_live_longer_than_is_sealed_in_it(rig: Rig, sealing: str) -> None:
    """Whatever expiry the store states; nor does the near tier believe the store."""
    cache = rig.cache(**SEALED[sealing])
    for claimed in (None, rig.clock() + 1e6, math.inf):
        cache.set("key", "value", ttl=60)
        plant(rig, cache, record(rig, cache)._replace(expires_at=claimed))
        assert cache.get("key") == "value"
        left = cache.ttl("key")
        assert left is not None
        assert left <= 60
        rig.clock.advance(60)
        assert cache.get("key", MISSING) is MISSING
        assert cache.get_many(["key"]) == {}
        assert cache.add("key", "new") is True
        cache.delete("key")


@pytest.mark.parametrize("sealing", SEALED)
def test_an_unsealed_record_is_no_downgrade(rig: Rig, sealing: str) -> None:
    """A cache that is sealed believes nothing that is not, and nothing that is merely signed if it is encrypted."""
    cache, plain, signed = (
        rig.cache("quotes", **SEALED[sealing]),
        rig.cache("plain", sealing=Sealing.PLAIN),
        rig.cache("signed"),
    )
    plain.set("key", "planted")
    signed.set("key", "planted")
    bare = pack_head(PLAIN, 1, 1.0, math.inf) + b"\xa7planted"
    for payload in (record(rig, plain).payload, record(rig, signed).payload, bare, b"planted", b"\x80\x04N."):
        plant(rig, cache, Entry(payload, None))
        assert cache.get("key", MISSING) is MISSING


def test_a_plain_cache_believes_plain_records_only(rig: Rig) -> None:
    """What is sealed there is not for it; what is no record at all is a miss, too."""
    plain, signed = rig.cache("plain", sealing=Sealing.PLAIN), rig.cache("signed")
    signed.set("key", "value")
    head = pack_head(PLAIN, 1, 1.0, math.inf)
    for payload in (record(rig, signed).payload, b"", b"OAC", head, head + b"\xc1", head + b"\xdd\xff\xff\xff\xff"):
        plant(rig, plain, Entry(payload, None))
        assert plain.get("key", MISSING) is MISSING
    plain.set("key", 1)
    assert plain.get("key") == 1


# What becomes of it


def test_a_forged_record_is_deleted(rig: Rig) -> None:
    """It names a key that we hold and was not sealed with it: it is of no use to anybody."""
    cache = rig.cache()
    cache.set_many({"key": 1, "other": 2})
    plant(rig, cache, Entry(damage(record(rig, cache).payload, 5_000), None))
    before = cache.backend.get(stored(rig, cache))
    assert before is not None
    assert cache.get("key") is None
    assert cache.backend.get(stored(rig, cache)) is None
    assert cache.get("other") == 2


def test_only_that_very_record_is_deleted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If somebody has replaced it in the meantime, the new one stays."""
    cache = rig.cache()
    cache.set("key", "good")
    good = record(rig, cache)
    plant(rig, cache, Entry(good.payload[:-1] + bytes([good.payload[-1] ^ 1]), None))
    exchange = cache.backend.compare_and_set

    def replaced_first(key: str, expected: bytes | None, new: Entry | None) -> bool:
        plant(rig, cache, good)
        return exchange(key, expected, new)

    monkeypatch.setattr(cache.backend, "compare_and_set", replaced_first)
    assert cache.get("key") is None
    assert cache.get("key") == "good"


def test_a_record_of_another_key_ring_is_left_alone(rig: Rig) -> None:
    """It may be another installation's, or our own under a ring that was not brought along."""
    cache = rig.cache()
    cache.set("key", "theirs")
    theirs = record(rig, cache)
    rig.ring = KeyRing.generate()
    ours = rig.cache()
    assert ours.get("key", MISSING) is MISSING
    assert ours.get_many(["key"]) == {}
    assert list(ours.keys()) == []
    assert record(rig, ours) == theirs
    assert ours.stats()["rejected"] == 3
    assert ours.add("key", "ours") is True, "but it does not block the key"
    assert ours.get("key") == "ours"


def test_rejections_are_logged_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """And counted; neither key nor value is in the log."""
    cache = rig.cache()
    for number in range(20):
        cache.set(f"telling-key {number}", "telling-value")
        entry = record(rig, cache, f"telling-key {number}")
        plant(rig, cache, entry._replace(payload=damage(entry.payload, 5_000 + number)), f"telling-key {number}")
        cache.get(f"telling-key {number}")
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "cache quotes" in warnings[0]
    assert "telling" not in caplog.text
    assert cache.stats()["rejected"] == 20


# State


@pytest.mark.parametrize(
    "verb",
    [
        lambda cache: cache.get("key"),
        lambda cache: cache.get_many(["other", "key"]),
        lambda cache: cache.exists("key"),
        lambda cache: cache.ttl("key"),
        lambda cache: cache.add("key", 1),
        lambda cache: cache.touch("key"),
        lambda cache: cache.incr("key"),
        lambda cache: cache.pop("key", None),
        lambda cache: cache.get_or_set("key", lambda: 1),
        lambda cache: cache.setdefault("key", 1),
        lambda cache: list(cache.items()),
    ],
    ids=["get", "get_many", "exists", "ttl", "add", "touch", "incr", "pop", "get_or_set", "setdefault", "items"],
)
@pytest.mark.parametrize("how", ["damaged", "another ring"])
def test_unreadable_state_raises_and_is_kept(rig: Rig, verb: Callable[[Cache], object], how: str) -> None:
    """It is the only copy: nothing that looks at it may pass over it, or replace it."""
    cache = rig.cache(**STATE)
    cache.set_many({"key": "the only copy", "other": 1})
    entry = record(rig, cache)
    if how == "damaged":
        entry = entry._replace(payload=damage(entry.payload, 5_000))
        plant(rig, cache, entry)
    else:
        rig.ring = KeyRing.generate()
        cache = rig.cache(**STATE)
    with pytest.raises(UnreadableRecordError, match="the record is kept"):
        verb(cache)
    assert record(rig, cache) == entry


def test_state_is_readable_again_with_the_right_ring(rig: Rig) -> None:
    """Nothing was lost meanwhile."""
    cache, right = rig.cache(**STATE), rig.ring
    cache.set("key", {"a": 1})
    rig.ring = KeyRing.generate()
    with pytest.raises(UnreadableRecordError):
        rig.cache(**STATE).get("key")
    rig.ring = right
    assert rig.cache(**STATE).get("key") == {"a": 1}


def test_unreadable_state_can_be_replaced_on_purpose(rig: Rig) -> None:
    """``set`` and ``delete`` do not look at what is there."""
    cache = rig.cache(**STATE)
    cache.set("key", "old")
    entry = record(rig, cache)
    broken = entry._replace(payload=damage(entry.payload, 5_000))
    plant(rig, cache, broken)
    cache.set("key", "new")
    assert cache.get("key") == "new"
    plant(rig, cache, broken)
    assert cache.delete("key") is True
    assert cache.get("key") is None


# Keys that nobody made


@pytest.mark.parametrize("text", ["!", "!zzz", "!x0", "!tabc", "!t99:a", "!i", "~x", "%", "%zz", "!t" + "1:" * 3_000])
def test_a_key_that_cannot_be_read_does_not_break_listing(rig: Rig, text: str) -> None:
    """Nobody can ask for it, and nobody is kept from listing the others."""
    cache = rig.cache()
    cache.set_many({"a": 1, "b": 2})
    store = rig.backend()
    store.set(rig.prefix("quotes") + text, record(rig, cache, "a"))
    assert sorted(cache.keys()) == ["a", "b"]
    assert dict(cache.items()) == {"a": 1, "b": 2}

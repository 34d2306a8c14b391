"""The proposal's two wrappers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.cache import Cache
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import ConfigurationError, KeyRingError
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings, override
from openalgo_cache.testing.values import VALUES, same
from openalgo_cache.wrappers import AuditCacheWrapper, EncryptedCacheWrapper
from tests.stacks import manager

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_KEY = "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECRET = "a broker token that shows"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CacheManager]:
    """A manager on SQLite, whose settings are also those of the process."""
    house = manager(tmp_path)
    with override(house.settings):
        yield house
    house.close()


@pytest.fixture
def cache(house: CacheManager) -> Cache:
    """A signed cache to wrap."""
    return house.get_cache("quotes", ttl=60)


# Encryption


def test_what_a_wrapped_cache_stores_is_encrypted(cache: Cache) -> None:
    """Values come back unchanged, and the store has none of them."""
    wrapped = EncryptedCacheWrapper(cache, KEY, "quotes")
    for value in VALUES:
        wrapped.set("key", value)
        assert same(wrapped.get("key"), value)
    wrapped.set("key", SECRET)
    (stored, entry) = next(iter(cache.backend.scan()))  # type: ignore[attr-defined]  # SQLite can
    assert stored == "openalgo:quotes:key"
    assert SECRET.encode() not in entry.payload
    assert cache.get("key") is None, "the signed cache does not believe what it did not sign"


def test_a_wrapper_takes_a_ring_a_key_or_its_bytes(cache: Cache) -> None:
    """All three lead to the same records if they are the same key."""
    EncryptedCacheWrapper(cache, KEY, "quotes").set("key", SECRET)
    for cipher in (KEY, KEY.encode(), KeyRing.of_one(KEY)):
        assert EncryptedCacheWrapper(cache, cipher, "quotes").get("key") == SECRET
    assert EncryptedCacheWrapper(cache, OTHER_KEY, "quotes").get("key") is None
    assert EncryptedCacheWrapper(cache, KEY, "another").get("key") is None


def test_a_wrapper_takes_a_backend(house: CacheManager) -> None:
    """As the proposal's did."""
    del house
    store = MemoryBackend()
    wrapped = EncryptedCacheWrapper(store, KEY, "quotes")
    wrapped.set("key", SECRET, ttl=60)
    assert wrapped.get("key") == SECRET
    assert [SECRET.encode() in entry.payload for _, entry in store.scan()] == [False]


def test_a_wrapper_keeps_the_policy_of_what_it_wraps(cache: Cache) -> None:
    """Lifetime, bound and what a failure means."""
    wrapped = EncryptedCacheWrapper(cache, KEY, "quotes")
    wrapped.set("key", 1)
    left = wrapped.ttl("key")
    assert left is not None
    assert 0 < left <= 60
    assert wrapped.maxsize == cache.maxsize


@pytest.mark.parametrize("cipher", [None, 5, object(), b"short", "x" * 44, ""])
def test_what_is_no_cipher(cache: Cache, cipher: Any) -> None:
    """The message says what would be one; the cipher is not in it."""
    with pytest.raises((ConfigurationError, KeyRingError)) as refused:
        EncryptedCacheWrapper(cache, cipher, "quotes")
    assert "xxxx" not in str(refused.value)


def test_a_fernet_object_is_not_taken(cache: Cache) -> None:
    """It does not give its key back; the message says what to give."""
    from cryptography.fernet import Fernet

    with pytest.raises(ConfigurationError, match="Fernet object of"):
        EncryptedCacheWrapper(cache, Fernet(KEY), "quotes")  # type: ignore[arg-type]


def test_wrapping_does_not_open_the_cache(tmp_path: Path) -> None:
    """That happens when the wrapper is used."""
    house = manager(tmp_path)
    EncryptedCacheWrapper(house.get_cache("quotes"), KEY, "quotes")
    assert list(tmp_path.iterdir()) == []


# Auditing


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return what was logged."""
    return [json.loads(one.getMessage()) for one in caplog.records if one.name == "openalgo_cache.audit"]


def test_every_access_is_a_line(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """With the operation, the key, whether it was there, and who asked; without the value."""
    caplog.set_level(logging.INFO, "openalgo_cache.audit")
    audited = AuditCacheWrapper(cache, "my quotes")
    audited.set("key", SECRET)
    assert audited.get("key") == SECRET
    assert audited.get("absent", 5) == 5
    assert audited.exists("key")
    audited.set_many({"a": 1, "b": None})
    assert audited.get_many(iter(["a", "b", "c"])) == {"a": 1, "b": None}
    assert audited.delete("key") is True
    assert audited.delete("key") is False
    assert audited.size() == 2
    assert audited.clear() == 2
    said = lines(caplog)
    assert [(line["operation"], line["key"], line["hit"]) for line in said] == [
        ("SET", "key", None),
        ("GET", "key", True),
        ("GET", "absent", False),
        ("EXISTS", "key", True),
        ("SET", "a", None),
        ("SET", "b", None),
        ("GET", "a", True),
        ("GET", "b", True),
        ("GET", "c", False),
        ("DELETE", "key", True),
        ("DELETE", "key", False),
        ("CLEAR", None, None),
    ]
    assert {line["cache"] for line in said} == {"my quotes"}
    assert {line["caller"] for line in said} == {f"{__name__}.test_every_access_is_a_line"}
    assert all(set(line) == set(said[0]) for line in said)
    assert {"timestamp", "cache", "operation", "key", "caller", "hit", "instance_id"} == set(said[0])
    assert SECRET not in caplog.text


def test_a_cached_none_is_a_hit(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """In the log and for the caller."""
    caplog.set_level(logging.INFO, "openalgo_cache.audit")
    audited = AuditCacheWrapper(cache, "quotes")
    audited.set("key", None)
    assert audited.get("key", 5) is None
    assert lines(caplog)[-1]["hit"] is True


def test_blinded_keys_stay_blinded(house: CacheManager, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the hash that the store has."""
    caplog.set_level(logging.INFO, "openalgo_cache.audit")
    audited = AuditCacheWrapper(house.get_cache("auth"), "auth")
    audited.set("telling-key", SECRET)
    audited.get("telling-key")
    assert "telling" not in caplog.text
    shown = {line["key"] for line in lines(caplog)}
    assert len(shown) == 1
    assert shown.pop().startswith("~")


def test_nothing_is_composed_that_nobody_reads(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the logger off, an access costs no more than a look at it."""
    cache.get("key")  # opens it
    logging.getLogger("openalgo_cache.audit").setLevel(logging.WARNING)
    try:
        monkeypatch.setattr(json, "dumps", lambda *_: pytest.fail("a line was composed"))
        AuditCacheWrapper(cache, "quotes").get("key")
    finally:
        logging.getLogger("openalgo_cache.audit").setLevel(logging.NOTSET)


def test_the_instance_is_named(cache: Cache, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """INSTANCE_ID, where it is set."""
    caplog.set_level(logging.INFO, "openalgo_cache.audit")
    with override(Settings(base_folder=tmp_path, instance_id="node-1")):
        AuditCacheWrapper(cache, "quotes").get("key")
    assert lines(caplog)[-1]["instance_id"] == "node-1"


def test_both_wrappers_together(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Audited outside, encrypted inside."""
    caplog.set_level(logging.INFO, "openalgo_cache.audit")
    audited = AuditCacheWrapper(EncryptedCacheWrapper(cache, KEY, "quotes"), "quotes")
    audited.set("key", SECRET)
    assert audited.get("key") == SECRET
    assert [line["operation"] for line in lines(caplog)] == ["SET", "GET"]

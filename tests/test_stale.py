"""Expired values that stand in for what cannot be loaded: which caches may, and what is said about it."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import BackendUnavailableError, ConfigurationError, InvalidLifetimeError
from openalgo_cache.flight import RETRY_SECONDS
from openalgo_cache.testing import ChaosBackend, FakeClock
from openalgo_cache.testing.rig import Rig
from tests.rigs import OnSQLite
from tests.stacks import manager

DAY = 86_400.0
MAY = {"settings", "api_keys_invalid"}
MUST_NOT = {
    "auth",
    "feed_token",
    "broker",
    "api_keys_verified",
    "strategy_webhook",
    "user_strategies",
    "running_strategies",
    "strategy_configs",
    "strategy_state",
}


def fail() -> Any:
    """Be a loader whose database is away, with a secret in what it says."""
    raise ConnectionError("cannot connect as planted-secret")


@pytest.mark.parametrize("name", sorted(MUST_NOT))
def test_what_must_not_be_used_past_its_expiry_is_not(tmp_path: Path, name: str) -> None:
    """No token, no key, no state: the option is refused."""
    with pytest.raises(ConfigurationError, match=f"{name!r}.*leave stale_for out"):
        manager(tmp_path).get_cache(name, stale_for=DAY)


@pytest.mark.parametrize("options", [{"encrypted": True}, {"blinded": True}], ids=repr)
def test_nor_is_what_a_caller_makes_secret(tmp_path: Path, options: dict[str, Any]) -> None:
    """Whatever else is said of it."""
    with pytest.raises(ConfigurationError, match="is encrypted"):
        manager(tmp_path).get_cache("quotes", stale_for=DAY, **options)
    house = manager(tmp_path, cache_encrypted_names=frozenset({"quotes"}))
    with pytest.raises(ConfigurationError, match="is encrypted"):
        house.get_cache("quotes", stale_for=DAY)


@pytest.mark.parametrize("name", sorted(MAY | {"quotes"}))
@pytest.mark.parametrize("stale_for", [DAY, timedelta(days=1)], ids=repr)
def test_others_may(tmp_path: Path, name: str, stale_for: Any) -> None:
    """Settings above all, which the application cannot do without."""
    clock = FakeClock()
    cache = manager(tmp_path, clock).get_cache(name, stale_for=stale_for)
    assert cache.policy.stale_for == DAY
    assert cache.policy.describe()["stale for"] == "86400 s"
    cache.set("theme", "dark", ttl=60)
    clock.advance(DAY)
    assert cache.get_or_set("theme", fail) == "dark"
    clock.advance(61)
    with pytest.raises(ConnectionError):
        cache.get_or_set("theme", fail)


@pytest.mark.parametrize("stale_for", [0, -1, float("nan"), float("inf"), True, "a day"], ids=repr)
def test_impossible_times_are_refused(tmp_path: Path, stale_for: Any) -> None:
    """Like those of lifetimes."""
    with pytest.raises(InvalidLifetimeError):
        manager(tmp_path).get_cache("quotes", stale_for=stale_for)
    assert manager(tmp_path).get_cache("quotes", stale_for=None).policy.stale_for is None


def test_an_outage_of_a_loader_is_logged_once_a_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without what the loader said; and again after it worked in between."""
    clock = FakeClock()
    cache = manager(tmp_path, clock).get_cache("quotes", ttl=60, stale_for=DAY)

    def outage() -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "openalgo_cache"):
            for _ in range(5):
                for key in ("one", "two"):
                    assert cache.get_or_set(key, fail) == key
                clock.advance(RETRY_SECONDS)
        return [record.message for record in caplog.records]

    cache.set_many({"one": "one", "two": "two"})
    clock.advance(60)
    assert outage() == [
        "cache quotes: one cannot be loaded (ConnectionError): it stays as it was",
        "cache quotes: two cannot be loaded (ConnectionError): it stays as it was",
    ]
    assert cache.stats()["stale"] == 10
    assert cache.get_or_set("two", lambda: "two") == "two"
    clock.advance(60)
    assert [message.split()[2] for message in outage()] == ["two"]


@pytest.fixture
def chaos(tmp_path: Path) -> tuple[Rig, ChaosBackend, Cache]:
    """A cache that serves expired values, on a store that can be made to fail."""
    rig = Rig(OnSQLite(), tmp_path)
    store = rig.backend()
    assert isinstance(store, ChaosBackend)
    return rig, store, rig.cache(backend=store, lifetime=60, stale_for=DAY)


@pytest.mark.parametrize("when", ["before", "during"])
def test_if_the_store_fails_too_nothing_stands_in(chaos: tuple[Rig, ChaosBackend, Cache], when: str) -> None:
    """Nobody knows whether the value was revoked: the loader's error is raised."""
    rig, store, cache = chaos
    cache.set("key", "value")
    rig.clock.advance(60)
    if when == "before":
        store.fail()

    def load() -> str:
        store.fail()
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cache.get_or_set("key", load)
    assert cache.stats()["stale"] == 0


def test_a_key_that_was_configured_otherwise_before(tmp_path: Path) -> None:
    """What an earlier configuration sealed for longer is not served so under one that does not say it."""
    clock = FakeClock()
    manager(tmp_path, clock).get_cache("quotes", stale_for=DAY).set("key", "value", ttl=60)
    clock.advance(60)
    cache = manager(tmp_path, clock).get_cache("quotes")
    assert cache.get("key") is None
    with pytest.raises(ConnectionError):
        cache.get_or_set("key", fail)
    assert cache.stats()["rejected"] == 0


def test_keeping_expired_values_is_no_forgery(tmp_path: Path) -> None:
    """The store may keep a record until its sealed end, and no longer."""
    clock = FakeClock()
    cache = manager(tmp_path, clock).get_cache("quotes", stale_for=DAY)
    cache.set("key", "value", ttl=60)
    stored = cache._opened().keyspace.stored("key")
    entry = cache.backend.get(stored)
    assert entry is not None
    assert entry.expires_at == clock() + 60 + DAY
    clock.advance(61)
    assert cache.get("key") is None
    assert cache.stats()["rejected"] == 0
    cache.backend.set(stored, entry._replace(expires_at=None))
    assert cache.get("key") is None
    assert cache.stats()["rejected"] == 1
    assert cache.backend.get(stored) is None


def test_a_raising_cache_raises_what_its_store_says(chaos: tuple[Rig, ChaosBackend, Cache]) -> None:
    """Expired values stand in for loaders, not for stores."""
    rig, store, _ = chaos
    cache = rig.cache(backend=store, lifetime=60, stale_for=DAY, raises=True)
    cache.set("key", "value")
    rig.clock.advance(60)
    store.fail()
    with pytest.raises(BackendUnavailableError):
        cache.get_or_set("key", fail)

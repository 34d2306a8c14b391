"""What a cache says of itself: from what it knows, or after one look; whatever happens, it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from openalgo_cache.catalogue import Sealing
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.testing import ChaosBackend, FakeClock, Rig
from tests.rigs import chaos
from tests.stacks import manager


def test_a_cache_that_was_never_used(tmp_path: Path) -> None:
    """Asking does not open it; a probe does."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    assert cache.health() == {
        "status": "healthy",
        "reason": None,
        "backend": None,
        "since": None,
        "failed_operations": 0,
        "last_error": None,
        "pending_deletes": 0,
        "near": "off",
    }
    assert house.health(probe=True)["status"] == "healthy"
    assert list(tmp_path.iterdir()) == []
    seen = cache.health(probe=True)
    assert (seen["status"], seen["backend"], seen["near"]) == ("healthy", "sqlite", "serving")
    house.close()


@pytest.mark.parametrize("raises", [False, True])
def test_an_outage(rig: Rig, raises: bool) -> None:
    """Since when, how many, what; a probe finds its end, and so does the next operation that succeeds."""
    cache = rig.cache(raises=raises)
    cache.set("key", "a secret value")
    store = chaos(cache)
    store.fail()
    began = rig.clock()
    for _ in range(3):
        if raises:
            with pytest.raises(BackendUnavailableError):
                cache.get("absent")
        else:
            assert cache.get("absent") is None
        rig.clock.advance(1)
    seen = cache.health()
    assert (seen["status"], seen["reason"]) == ("unavailable", "its store fails")
    assert (seen["since"], seen["failed_operations"]) == (began, 3)
    assert seen["last_error"] == "BackendUnavailableError"
    assert cache.health(probe=True)["failed_operations"] == 4
    store.heal()
    assert cache.health()["status"] == "unavailable", "nobody has looked yet"
    seen = cache.health(probe=True)
    assert (seen["status"], seen["since"], seen["reason"]) == ("healthy", None, None)
    store.fail("get", times=1)
    assert cache.health(probe=True)["status"] == "unavailable"
    assert cache.get("key") == "a secret value"
    assert cache.get("absent") is None
    assert cache.health()["status"] == "healthy"


def test_a_probe_costs_one_read(rig: Rig) -> None:
    """And without one the store is not asked at all; nor does it count as a read of the cache."""
    cache = rig.cache()
    before = chaos(cache).calls.copy()
    cache.health()
    assert chaos(cache).calls == before
    cache.health(probe=True)
    assert chaos(cache).calls - before == {"get": 1}
    assert cache.stats()["misses"] == 0


def test_pending_deletes_degrade(rig: Rig) -> None:
    """Until they were carried out."""
    cache = rig.cache("secrets", sealing=Sealing.ENCRYPTED)
    cache.set("key", 1)
    chaos(cache).fail(*ChaosBackend.WRITES)
    with pytest.raises(BackendUnavailableError):
        cache.delete("key")
    seen = cache.health(probe=True)
    assert (seen["status"], seen["pending_deletes"]) == ("degraded", 1)
    assert seen["reason"] == "1 lost delete is still to be carried out"
    chaos(cache).heal()
    assert cache.get("key") is None
    assert cache.health()["status"] == "healthy"


def test_a_journal_that_cannot_be_written_degrades(rig: Rig) -> None:
    """The next delete that fails would be forgotten at a restart."""
    cache = rig.cache("secrets", sealing=Sealing.ENCRYPTED)
    path = rig.settings.cache_file("secrets", ".OnSQLite.deletes")
    path.mkdir(parents=True)
    seen = cache.health(probe=True)
    assert seen["status"] == "degraded"
    assert seen["reason"] is not None


def test_a_manager_tells_the_worst(tmp_path: Path) -> None:
    """With the name of the cache."""
    house = manager(tmp_path, FakeClock())
    fine, lost = house.get_cache("quotes"), house.get_cache("news")
    fine.set("key", 1)
    lost.set("key", 1)
    lost.close()
    path = house.settings.cache_file("news", ".db")
    path.unlink()
    path.mkdir()
    lost.get("absent")
    seen = house.health(probe=True)
    assert seen["status"] == "unavailable"
    assert seen["reason"] is not None
    assert seen["reason"].startswith("cache news: ")
    assert {name: one["status"] for name, one in seen["caches"].items()} == {"quotes": "healthy", "news": "unavailable"}
    path.rmdir()
    house.close()


def test_a_cache_that_cannot_be_opened_answers_too(tmp_path: Path) -> None:
    """A key ring that is damaged, for example."""
    house = manager(tmp_path)
    (tmp_path / "db").mkdir(mode=0o700)
    (tmp_path / "db" / ".cache_key").touch(0o600)
    seen = house.get_cache("auth").health(probe=True)
    assert (seen["status"], seen["last_error"], seen["backend"]) == ("unavailable", "BackendUnavailableError", "none")
    assert seen["reason"] is not None
    assert "is empty" in seen["reason"]

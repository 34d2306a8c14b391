"""The manager: one stable handle a name, nothing done before it is needed, contradictions shown."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.catalogue import Sealing
from openalgo_cache.errors import BackendUnavailableError, ConfigurationError, KeyRingError
from openalgo_cache.manager import CacheManager, SecureCacheManager
from openalgo_cache.testing import FakeClock
from tests.stacks import manager

KEY = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def files(folder: Path) -> list[str]:
    """Return every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# One handle a name


def test_a_name_has_one_handle(tmp_path: Path) -> None:
    """The same object each time, whichever thread asks."""
    house = manager(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        caches = list(pool.map(lambda _: house.get_cache("quotes", ttl=60), range(50)))
    assert {id(cache) for cache in caches} == {id(house.get_cache("quotes"))}
    assert house.get_cache("quotes") is not house.get_cache("auth")
    house.close()


def test_a_handle_is_there_with_its_options_or_not_at_all(tmp_path: Path) -> None:
    """Who asks while another thread is making the handle never finds half of it."""
    house = manager(tmp_path)
    seen = []

    class Watching(dict[str, Any]):
        def __setitem__(self, name: str, cache: Any) -> None:
            super().__setitem__(name, cache)
            seen.append(house.get_cache(name))  # what another thread would do at this very moment

    house._caches = Watching()
    assert seen == [house.get_cache("quotes", ttl=60)]


def test_the_same_name_with_other_options_is_an_error_that_shows_both(tmp_path: Path) -> None:
    """One of the two places would not get what it asks for."""
    house = manager(tmp_path)
    house.get_cache("quotes", ttl=60, maxsize=5)
    house.get_cache("quotes")
    house.get_cache("quotes", ttl=60)
    house.get_cache("quotes", maxsize=5, ttl=60)
    for options in ({"ttl": 61}, {"maxsize": 6}, {"encrypted": True}, {"ttl": 60, "local": True}):
        with pytest.raises(ConfigurationError, match=r"maxsize=5, ttl=60") as refused:
            house.get_cache("quotes", **options)
        assert next(iter(options)) in str(refused.value)
    house.get_cache("plain")
    with pytest.raises(ConfigurationError, match="no options"):
        house.get_cache("plain", ttl=60)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("quotes", {"time_to_live": 60}, "time_to_live.*ttl"),
        ("quotes", {"backend": 5}, "backend is a name"),
        ("quotes", {"maxsize": 0}, "maxsize"),
        ("auth", {"encrypted": False}, "encrypted"),
        ("Quotes", {}, "cache name"),
        ("../auth", {}, "cache name"),
        ("symbols", {"ttl": 60}, "takes no options"),
        ("strategy_configs", {"local": True}, "only copy"),
    ],
)
def test_impossible_requests(name: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Refused at once, and the name is free for a possible one afterwards."""
    house = manager(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        house.get_cache(name, **options)
    assert files(tmp_path) == []


def test_a_backend_that_nobody_registered(tmp_path: Path) -> None:
    """An error when the cache is used, which lists those that there are."""
    cache = manager(tmp_path).get_cache("quotes", backend="nothing")
    with pytest.raises(ConfigurationError, match=r"memory.*sqlite"):
        cache.get("key")


def test_encrypted_none_is_left_out(tmp_path: Path) -> None:
    """The proposal's default for that argument."""
    house = manager(tmp_path)
    assert house.get_cache("auth", encrypted=None) is house.get_cache("auth")
    assert house.get_cache("auth").policy.sealing is Sealing.ENCRYPTED


# Nothing before it is needed


def test_asking_for_a_cache_touches_nothing(tmp_path: Path) -> None:
    """No file, no folder, no key ring, no connection: modules ask when they are imported."""
    house = manager(tmp_path, backend=None)
    for name in ("auth", "quotes", "strategy_configs"):
        house.get_cache(name)
    assert list(tmp_path.iterdir()) == []


def test_using_a_cache_makes_its_file_and_the_key_ring(tmp_path: Path) -> None:
    """In the folder of the settings."""
    house = manager(tmp_path)
    house.get_cache("quotes").set("key", 1)
    assert {"db/cache_quotes.db", "db/.cache_key"} <= set(files(tmp_path))
    house.close()


def test_memory_makes_no_file(tmp_path: Path) -> None:
    """Its key ring does not outlive the process either."""
    house = manager(tmp_path, backend="memory")
    for name in ("auth", "quotes"):
        house.get_cache(name).set("key", 1)
        assert house.get_cache(name).get("key") == 1
    assert files(tmp_path) == []


def test_local_caches_make_no_file(tmp_path: Path) -> None:
    """Whatever the backend."""
    house = manager(tmp_path)
    for cache in (house.get_cache("api_keys_invalid"), house.get_cache("quotes", local=True)):
        cache.set("key", 1)
        assert cache.get("key") == 1
        assert cache.stats()["backend"] == "memory"
    assert files(tmp_path) == []


# State


def test_state_is_refused_where_it_would_be_forgotten(tmp_path: Path) -> None:
    """Unless that is asked for by name."""
    house = manager(tmp_path, backend="memory")
    with pytest.raises(ConfigurationError, match="backend='memory'"):
        house.get_cache("strategy_configs").set("key", 1)
    meant = house.get_cache("running_strategies", backend="memory")
    meant.set("key", 1)
    assert meant.get("key") == 1


def test_state_is_never_bounded_and_has_no_near_tier(tmp_path: Path) -> None:
    """Every read is what the store holds."""
    house = manager(tmp_path)
    cache = house.get_cache("strategy_configs", maxsize=2)
    cache.set_many({f"key {number}": number for number in range(50)})
    for _ in range(3):
        assert cache.get("key 7") == 7
    stats = cache.stats()
    assert (stats["size"], stats["near_hits"], stats["evictions"]) == (50, 0, 0)
    house.close()


def test_clearing_all_spares_state(tmp_path: Path) -> None:
    """Unless it is included."""
    house = manager(tmp_path)
    names = ("quotes", "auth", "strategy_configs")
    for name in names:
        house.get_cache(name).set("key", 1)
    house.clear_all()
    assert [house.get_cache(name).get("key") for name in names] == [None, None, 1]
    house.clear_all(include_state=True)
    assert house.get_cache("strategy_configs").get("key") is None
    house.close()


# Together


def test_statistics_of_all(tmp_path: Path) -> None:
    """Of every cache that was asked for, by name."""
    house = manager(tmp_path)
    house.get_cache("quotes").set("key", 1)
    house.get_cache("auth")
    stats = house.get_stats()
    assert list(stats) == ["auth", "quotes"]
    assert (stats["quotes"]["size"], stats["quotes"]["sets"], stats["quotes"]["backend"]) == (1, 1, "sqlite")
    assert (stats["auth"]["encrypted"], stats["quotes"]["encrypted"]) == (True, False)
    house.close()


def test_caches_open_again_after_a_close(tmp_path: Path) -> None:
    """The handles stay good."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    cache.set("key", 1)
    for _ in range(3):
        house.close()
        assert cache.get("key") == 1
    house.close()


def test_closing_while_threads_read_and_write(tmp_path: Path) -> None:
    """Nobody gets an error, and nothing that was written is lost."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes", on_error="raise")
    stop, wrong = threading.Event(), []

    def work(nth: int) -> None:
        turn = 0
        try:
            while not stop.is_set():
                turn += 1
                cache.set(f"key {nth}", turn)
                if (found := cache.get(f"key {nth}")) != turn:
                    wrong.append((turn, found))
        except BaseException as error:
            wrong.append((turn, error))
            raise

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, nth) for nth in range(4)]
        for _ in range(15):
            house.close()
        stop.set()
        for one in running:
            one.result(20)
    assert wrong == []
    house.close()


def test_two_managers_of_one_folder_share_everything(tmp_path: Path) -> None:
    """As two processes do; those of different folders share nothing."""
    one, other, stranger = manager(tmp_path), manager(tmp_path), manager(tmp_path / "elsewhere")
    one.get_cache("auth").set("key", 1)
    assert other.get_cache("auth").get("key") == 1
    assert stranger.get_cache("auth").get("key") is None
    assert one.ring().id == other.ring().id != stranger.ring().id
    for house in (one, other, stranger):
        house.close()


def test_namespaces_are_kept_apart(tmp_path: Path) -> None:
    """In one folder, by files and by seals."""
    houses = [manager(tmp_path, cache_namespace=name) for name in ("a", "b", "a.b", None)]
    for nth, house in enumerate(houses):
        house.get_cache("quotes").set("key", nth)
    assert [house.get_cache("quotes").get("key") for house in houses] == [0, 1, 2, 3]
    for house in houses:
        house.close()


def test_a_record_of_another_namespace_is_not_believed(tmp_path: Path) -> None:
    """Though it has the same key ring, cache and key: it is bound to the place where it was written."""
    houses = [manager(tmp_path, cache_namespace=name) for name in ("a", "b")]
    one, other = (house.get_cache("quotes") for house in houses)
    one.set("key", "theirs")
    other.get("key")
    entry = one.backend.get("openalgo@a:quotes:key")
    assert entry is not None
    other.backend.set("openalgo@b:quotes:key", entry)
    assert other.get("key") is None
    assert other.stats()["rejected"] == 1
    for house in houses:
        house.close()


# Keys


def test_the_key_may_come_from_the_environment(tmp_path: Path) -> None:
    """Then no ring is made, and every manager with the same key reads the same records."""
    houses = [manager(tmp_path, cache_encryption_key=KEY, cache_namespace="prod") for _ in range(2)]
    houses[0].get_cache("auth").set("key", 1)
    assert houses[1].get_cache("auth").get("key") == 1
    assert "db/.cache_key" not in files(tmp_path)
    assert houses[0].ring_path() is None
    for house in houses:
        house.close()


def test_several_instances_make_no_ring_of_their_own(tmp_path: Path) -> None:
    """Each would have another one."""
    house = manager(tmp_path, multi_instance_mode=True, instance_id="a")
    with pytest.raises(KeyRingError, match="MULTI_INSTANCE_MODE"):
        house.get_cache("auth").get("key")
    assert files(tmp_path) == []


def test_a_ring_that_cannot_be_read_is_an_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is never replaced: what was sealed with it may be wanted. It is said once, and ends when the ring is back."""
    house = manager(tmp_path)
    house.get_cache("auth").set("key", 1)
    house.close()
    ring = tmp_path / "db" / ".cache_key"
    content = ring.read_bytes()
    ring.write_bytes(b"")
    again = manager(tmp_path)
    with pytest.raises(KeyRingError, match="empty"):
        again.ring()
    for name in ("auth", "quotes"):
        assert again.get_cache(name).get("key") is None
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 1
    with pytest.raises(BackendUnavailableError, match="empty"):
        again.get_cache("auth").delete("key")
    with pytest.raises(KeyRingError, match="empty"):
        again.get_cache("strict", on_error="raise").get("key")
    assert ring.read_bytes() == b""
    ring.write_bytes(content)
    assert again.get_cache("auth").get("key") is None, "this one has found the ring"
    assert again.get_cache("auth").get("key") == 1
    assert again.health()["caches"]["auth"]["status"] == "healthy"
    again.close()


def test_encryption_can_be_turned_off_for_new_records(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Loudly. What was encrypted before can be read; on again, nothing that is merely signed is believed."""
    for enabled, key in ((True, "first"), (False, "second"), (True, "third")):
        caplog.clear()
        house = manager(tmp_path, cache_encryption_enabled=enabled)
        cache = house.get_cache("user_strategies")
        cache.set(key, "a value that shows")
        assert cache.get(key) == "a value that shows"
        entry = cache.backend.get(f"openalgo:user_strategies:{key}")
        assert entry is not None
        assert (b"a value that shows" in entry.payload) is not enabled
        warned = [record for record in caplog.records if "CACHE_ENCRYPTION_ENABLED" in record.getMessage()]
        assert len(warned) == (0 if enabled else 1)
        found = [cache.get(name) is not None for name in ("first", "second", "third")]
        assert (
            found
            == {
                "first": [True, False, False],
                "second": [True, True, False],
                "third": [True, False, True],
            }[key]
        )
        house.close()


# What is logged


def test_opening_a_cache_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With what it is like."""
    caplog.set_level(logging.INFO, "openalgo_cache")
    house = manager(tmp_path)
    cache = house.get_cache("quotes", ttl=60)
    cache.get("key")
    cache.get("key")
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("cache quotes")]
    assert lines == ["cache quotes: sqlite, signed, 60 s"]
    house.close()


def test_hits_and_misses_are_logged_where_that_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """CACHE_METRICS_ENABLED: at level DEBUG, without key and value."""
    caplog.set_level(logging.DEBUG, "openalgo_cache")
    for enabled in (False, True):
        caplog.clear()
        house = manager(tmp_path / str(enabled), cache_metrics_enabled=enabled, cache_near_enabled=False)
        cache = house.get_cache("quotes")
        cache.set("telling-key", "telling-value")
        cache.get("telling-key")
        cache.get("telling-other")
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
        assert [line for line in lines if "hit" in line or "miss" in line] == (
            ["cache quotes: hit", "cache quotes: miss"] if enabled else []
        )
        assert "telling" not in caplog.text
        house.close()


# The proposal's names


def test_new_cache_is_not_kept(tmp_path: Path) -> None:
    """A handle of the caller's own."""
    house = manager(tmp_path, backend="memory")
    one, other = house.new_cache("quotes", ttl=60), house.new_cache("quotes", ttl=70)
    assert one is not other
    assert house.get_stats() == {}


def test_the_proposals_name_for_the_manager() -> None:
    """Kept."""
    assert SecureCacheManager is CacheManager


def test_a_manager_without_settings_takes_those_in_effect(tmp_path: Path) -> None:
    """When it is first used, not when it is made."""
    code = """
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings, install
house = CacheManager()
install(Settings(cache_backend="memory"))
cache = house.get_cache("quotes")
cache.set("key", 1)
print(cache.get("key"), cache.stats()["backend"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1", "memory"], done.stderr


def test_the_default_manager(tmp_path: Path) -> None:
    """The functions of the front door share one; its files lie where the program runs."""
    code = """
from openalgo_cache import get_cache, get_cache_backend, get_cache_stats
cache = get_cache("quotes", ttl=60)
cache.set("key", 1)
assert get_cache("quotes") is cache
own = get_cache_backend("MEMORY", maxsize=5)
own.set("key", 2)
assert own.get("key") == 2 and own.maxsize == 5
assert list(get_cache_stats()) == ["quotes"]
print(get_cache_stats()["quotes"]["backend"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "CACHE_BACKEND": "sqlite"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["sqlite"], done.stderr
    assert "db/cache_quotes.db" in files(tmp_path)


@pytest.mark.parametrize(
    "name, durability", [("quotes", "cache"), ("api_keys_invalid", "local"), ("strategy_configs", "state")]
)
def test_a_handle_shows_what_it_is(name: str, durability: str, tmp_path: Path) -> None:
    """And nothing of what it holds."""
    cache = manager(tmp_path, FakeClock(), "memory").get_cache(name, backend="memory")
    cache.set("telling-key", "telling-value")
    assert name in repr(cache)
    assert durability in repr(cache)
    assert "telling" not in repr(cache)

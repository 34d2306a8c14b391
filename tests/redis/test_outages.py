"""A server that is frozen, killed or full costs milliseconds, and nobody needs to be told that it is back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.manager import CacheManager
from tests.redis.stores import PREFIX, Readers, backend, manager
from tests.servers.process import HOST, ServerProcess, free_port, wait_until

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("outages")]

KEY = PREFIX + "key"
NEVER = {"cache_near_enabled": False}
WAITS = 0.25
"""Seconds that an operation may take where a test looks how long readers wait."""


class Watcher:
    """Writes down what a breaker tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_outage(self) -> None:
        """Write it down."""
        self.told.append("outage")

    def on_recovery(self) -> None:
        """Write it down."""
        self.told.append("recovery")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the library."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def impatient(server: ServerProcess, folder: Path) -> CacheManager:
    """Return a manager whose operations have as little time as they have by default."""
    return manager(folder, server.settings(), **NEVER, **{f"{server.program.brand}_operation_timeout": WAITS})


def freeze(server: ServerProcess, tmp_path: Path, *, times: int, seconds: float) -> None:
    """Freeze a server under load, and see how long readers wait, and when they have their values again."""
    made = impatient(server, tmp_path)
    cache = made.get_cache("quotes")
    cache.set("key", "value")
    with Readers(lambda: cache.get("key") == "value") as readers, Readers(_look_at_the_clock, 1) as idle:
        wait_until(lambda: len(readers.reads) > 100, "the readers")
        for _ in range(times):
            frozen_at = time.monotonic()
            server.pause()
            time.sleep(seconds)
            resumed_at = time.monotonic()
            server.resume()
            wait_until(lambda: any(read.found for read in readers.reads[-4:]), "the values to be back")
            back_at = time.monotonic()
            assert back_at - resumed_at <= 3
            during = readers.between(frozen_at, resumed_at)
            noise = _of_the_machine(idle, frozen_at, resumed_at)
            assert max(read.took for read in during) < 2 * WAITS + max(noise)  # once, and none twice
            behind = sorted(read.took for read in during if read.at > frozen_at + 0.35)  # the breaker is open by then
            assert len(behind) > 100
            assert behind[len(behind) * 99 // 100] < WAITS / 2 + noise[len(noise) * 99 // 100]  # they do not wait
            assert not any(read.found for read in during if read.at > frozen_at + 0.35)
    assert readers.errors == []
    made.close()


def _look_at_the_clock() -> bool:
    return time.monotonic() > 0


def _of_the_machine(idle: Readers, start: float, end: float) -> list[float]:
    """Return how long a thread that wants nothing had to wait for its turn, sorted: readers wait as long besides.

    It sleeps a millisecond each time, so whatever is more than that from one look to the next is the machine's.
    """
    looks = [read.at for read in idle.between(start - 1, end + 1)]
    return sorted(max(0.0, after - before - 0.001) for before, after in pairwise(looks))


def test_a_frozen_server(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """The first readers wait a quarter of a second, the others not at all; it is back in 3 s."""
    freeze(start_server("redis"), tmp_path, times=2, seconds=1.2)


@pytest.mark.soak
@pytest.mark.parametrize("brand", ["redis", "valkey"])
def test_a_server_that_is_frozen_again_and_again(
    start_server: Callable[..., ServerProcess], tmp_path: Path, brand: str
) -> None:
    """Twenty times for five seconds."""
    freeze(start_server(brand), tmp_path, times=20, seconds=5)


def kill(server: ServerProcess, tmp_path: Path, *, times: int) -> None:
    """Kill and restart a server under load."""
    made = impatient(server, tmp_path)
    cache = made.get_cache("quotes")

    def look() -> bool:
        found = cache.get("key")
        if found is None:
            cache.set("key", "value")
        return found is not None

    with Readers(look) as readers, Readers(_look_at_the_clock, 1) as idle:
        for _ in range(times):
            wait_until(lambda: any(read.found for read in readers.reads[-4:]), "the values")
            server.kill()
            wait_until(lambda: not any(read.found for read in readers.reads[-8:]), "the outage")
            server.start()
            started_at = time.monotonic()
            wait_until(lambda: any(read.found for read in readers.reads[-4:]), "the values to be back")
            assert time.monotonic() - started_at <= 3
    assert readers.errors == []
    noise = _of_the_machine(idle, 0, time.monotonic())
    assert max(read.took for read in readers.reads) < 2 * WAITS + max(noise)
    made.close()


def test_a_killed_server(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """No caller gets an error, and the cache is back in 3 s."""
    kill(start_server("redis"), tmp_path, times=2)


@pytest.mark.soak
@pytest.mark.parametrize("brand", ["redis", "valkey"])
def test_a_server_that_is_killed_again_and_again(
    start_server: Callable[..., ServerProcess], tmp_path: Path, brand: str
) -> None:
    """Twenty times."""
    kill(start_server(brand), tmp_path, times=20)


def test_an_outage_is_logged_once(
    start_server: Callable[..., ServerProcess], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at its beginning and one at its end, however many caches there are; listeners hear of both."""
    server = start_server("redis")
    made = manager(tmp_path, server.settings(), **NEVER)
    caches = [made.get_cache(f"quotes_{number}") for number in range(5)]
    for cache in caches:
        cache.set("key", "value")
    watcher = Watcher()
    store: Any = caches[0]._opened().backend
    store.listen(watcher)
    server.kill()
    for _ in range(3):
        for cache in caches:
            assert cache.get("key") is None
    assert all(cache.stats()["errors"] >= 3 for cache in caches)
    server.start()

    def writes() -> object:
        caches[0].set("key", "new")
        return caches[0].get("key")

    wait_until(writes, "the server to be back")
    assert all(cache.get("key") is None for cache in caches[1:])
    wait_until(lambda: watcher.told == ["outage", "recovery"], "the listener to hear")
    first, last = messages(caplog)
    assert first.startswith(f"Redis at {server.address} does not answer")
    assert last.startswith(f"Redis at {server.address} answers again, after ")
    assert "failed operations" in last
    made.close()


def test_a_server_that_is_away_at_the_start(tmp_path: Path) -> None:
    """A cache goes on without it; state and deletes from encrypted caches raise, at once: nobody waits for anything."""
    made = manager(tmp_path, {"redis_host": HOST, "redis_port": free_port(), "redis_operation_timeout": 60.0})
    quotes, auth, running = (made.get_cache(name) for name in ("quotes", "auth", "running_strategies"))
    assert quotes.get("key") is None
    started = time.monotonic()
    quotes.set("key", "value")
    assert quotes.delete("key") is False
    assert auth.get("key") is None
    for verb in (lambda: auth.delete("key"), lambda: running.get("key"), lambda: running.set("key", 1)):
        with pytest.raises(BackendUnavailableError, match="REDIS_HOST"):
            verb()
    assert time.monotonic() - started < 30
    made.close()


def test_a_restart_between_two_operations_is_not_noticed(start_server: Callable[..., ServerProcess]) -> None:
    """The idle connections are dead then; whatever comes next, it is tried once more on a new one."""
    server = start_server("redis", {"appendonly": "yes", "appendfsync": "always"})
    store = backend(server.settings())
    verbs: list[Callable[[], Any]] = [
        lambda: store.get(KEY),
        lambda: store.set(KEY, Entry(b"new", None)),
        lambda: store.get_many([KEY]),
        store.size,
        lambda: store.compare_and_set(KEY, b"new", Entry(b"newer", None)) or pytest.fail("it was as expected"),
        lambda: store.compare_and_set(KEY + "2", None, Entry(b"", None)) or pytest.fail("nothing was there"),
        lambda: store.delete(KEY) or pytest.fail("it was there"),
    ]
    store.set(KEY, Entry(b"old", None))
    for verb in verbs:
        server.restart()
        verb()
    store.close()


def test_many_threads_share_few_connections(start_server: Callable[..., ServerProcess]) -> None:
    """No more than REDIS_POOL_SIZE are opened; the others wait for their turn, but not longer than an operation."""
    server = start_server("redis")
    store = backend(server.settings(), redis_pool_size=3)
    store.set(KEY, Entry(b"payload", None))

    def work() -> None:
        for _ in range(50):
            assert store.get(KEY) is not None

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = server.ask("INFO", "clients")
    assert stats["connected_clients"] <= 3 + 1  # and our own look
    store.close()
    wait_until(lambda: server.ask("INFO", "clients")["connected_clients"] == 1, "the connections to be closed")


def test_a_pool_that_is_too_small_is_no_outage(start_server: Callable[..., ServerProcess]) -> None:
    """Who finds no free connection in time hears which variable to raise; the server is not taken for dead."""
    server = start_server("redis")
    store = backend(server.settings(), redis_pool_size=1, redis_operation_timeout=1.0)
    store.get(KEY)
    node = store._client._topology.node(KEY)
    connection, _ = node._pools.own().take(time.monotonic() + 1)
    with pytest.raises(BackendUnavailableError, match="REDIS_POOL_SIZE"):
        store.get(KEY)
    node._pools.own().give(connection)
    assert store.get(KEY) is None
    store.close()


def test_caches_share_one_client(redis_server: ServerProcess) -> None:
    """Of the same server and login; the last one to close closes it."""
    one, other = backend(redis_server.settings()), backend(redis_server.settings())
    different = backend(redis_server.settings() | {"redis_db": 1})
    assert one._client is other._client
    assert one._client is not different._client
    one.close()
    one.close()
    other.set(KEY, Entry(b"payload", None))
    assert other.get(KEY) == Entry(b"payload", None)
    assert other.delete(KEY)
    other.close()
    different.close()


@pytest.mark.parametrize("brand", ["redis", "valkey"])
def test_a_full_server(start_server: Callable[..., ServerProcess], tmp_path: Path, brand: str) -> None:
    """New entries are refused, and a cache goes on without them; what is there can be read and deleted."""
    server = start_server(brand, {"maxmemory-policy": "noeviction"})
    made = manager(tmp_path, server.settings(), **NEVER)
    cache, running = made.get_cache("quotes"), made.get_cache("running_strategies")
    cache.set("key", "value")
    running.set("key", "value")
    server.ask("CONFIG", "SET", "maxmemory", 1)
    cache.set("other", "value")
    assert cache.get("other") is None
    assert cache.get("key") == "value"
    with pytest.raises(BackendUnavailableError, match="maxmemory"):
        running.set("key", "new")
    assert running.get("key") == "value"
    assert cache.delete("key") is True
    assert running.delete("key") is True
    server.ask("CONFIG", "SET", "maxmemory", 0)
    cache.set("other", "value")
    assert cache.get("other") == "value"
    made.close()

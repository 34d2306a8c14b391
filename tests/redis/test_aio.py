"""The verbs for asyncio callers on real servers: they wait on the loop, over connections of that loop."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import bridge, locks
from openalgo_cache.backends.resp import onloop
from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.backends.resp.node import Node
from openalgo_cache.cache import Cache
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from openalgo_cache.trace import cache_trace
from tests.awaiting import AwaitedCacheContract
from tests.redis.test_conformance import OnServer
from tests.servers.process import Login, ServerProcess
from tests.stacks import manager
from tests.workers import PATIENCE, wait_until

pytestmark = pytest.mark.server

Open = Callable[..., Cache]


class TestRedis(OnServer, AwaitedCacheContract):
    """Every verb, as the contract of all caches has it."""

    fixture = "redis_server"


@pytest.fixture
def open_cache(tmp_path: Path) -> Iterator[Open]:
    """Make caches: ``open_cache(server, redis_pool_size=3)``; they forget nothing by themselves, and time is plenty."""
    houses: list[CacheManager] = []

    def open_cache(server: Any, **settings: Any) -> Cache:
        found = server.settings()
        brand = "valkey" if "valkey_port" in found else "redis"
        patience = {f"{brand}_timeout": PATIENCE}
        options = {"cache_near_enabled": False, "cache_namespace": tmp_path.name.replace("_", "-").lower()}
        house = manager(tmp_path, backend=brand, **patience | options | found | settings)
        houses.append(house)
        return house.get_cache("quotes", ttl=1_000)

    yield open_cache
    for house in houses:
        house.close()


@pytest.fixture
def cache(redis_server: ServerProcess, open_cache: Open) -> Iterator[Cache]:
    """An empty cache without a near tier."""
    cache = open_cache(redis_server)
    yield cache
    cache.clear()


def node(cache: Cache) -> Node:
    """Return the one node that a cache is kept on."""
    backend = cache.backend
    assert isinstance(backend, RespBackend)
    (only,) = backend._client._topology.known()
    return only


def clients(server: ServerProcess) -> int:
    """Return how many connections a server has, besides the one that asks."""
    return int(server.ask("INFO", "clients")["connected_clients"]) - 1


@pytest.mark.parametrize(
    "fixture", ["valkey_server", "redis_secured", "redis_cluster", "valkey_cluster", "redis_sentinels"]
)
def test_all_kinds_of_servers(request: pytest.FixtureRequest, fixture: str, open_cache: Open) -> None:
    """TLS, few rights, clusters, Sentinels: whatever plain callers can use."""
    cache = open_cache(request.getfixturevalue(fixture))

    async def use() -> None:
        aio = cache.aio
        many = {f"key {number}": number for number in range(100)}
        await aio.set_many(many)
        assert await aio.get_many(many) == many
        assert dict([pair async for pair in aio.items()]) == many
        assert [await aio.incr("count") for _ in range(3)] == [1, 2, 3]
        assert await aio.get_or_set("cold", lambda: "loaded") == "loaded"
        async with aio.lock("rebuild", timeout=PATIENCE) as fence:
            assert fence > 0
        assert await aio.clear() == 102

    asyncio.run(use())


@pytest.mark.parametrize("fixture", ["redis_server", "redis_secured"])
def test_uvloop(request: pytest.FixtureRequest, fixture: str, open_cache: Open) -> None:
    """Its transports are its own."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not for this system")
    cache = open_cache(request.getfixturevalue(fixture))

    async def use() -> None:
        assert sorted(await asyncio.gather(*(cache.aio.incr("count") for _ in range(100)))) == list(range(1, 101))
        task = asyncio.create_task(cache.aio.get("count"))
        await asyncio.sleep(0)
        task.cancel()
        assert await cache.aio.get("count") == 100
        assert await cache.aio.clear() == 1

    uvloop.run(use())
    assert not node(cache)._pools._of_loops


def test_a_unix_socket(redis_server: ServerProcess, open_cache: Open) -> None:
    """Where there are such sockets."""
    url = Settings.from_environment({"REDIS_URL": f"unix://{redis_server.socket}"}).redis_url
    cache = open_cache(redis_server, redis_url=url)
    assert asyncio.run(cache.aio.incr("count")) == 1
    cache.clear()


def test_near_hits_do_not_wait(redis_server: ServerProcess, open_cache: Open) -> None:
    """Once the near tier hears of changes, what it holds is returned without a look at the loop."""
    cache = open_cache(redis_server, cache_near_enabled=True)

    async def use() -> None:
        await cache.aio.set("NIFTY", {"ltp": 1})
        deadline = time.monotonic() + PATIENCE
        while await cache.aio.get("NIFTY") and not len(cache._near):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        with pytest.raises(StopIteration) as end:
            cache.aio.get("NIFTY").send(None)
        assert end.value.value == {"ltp": 1}

    asyncio.run(use())
    cache.clear()


def test_reads_are_traced(cache: Cache) -> None:
    """A greenlet has the context variables of its task."""

    async def use() -> list[str]:
        with cache_trace() as trace:
            await cache.aio.get("NIFTY")
            await cache.aio.set("NIFTY", 1)
            await cache.aio.get("NIFTY")
        return [step.answer for step in trace]

    assert asyncio.run(use()) == ["miss", "store"]


# Many at a time


def test_a_thousand_reads_share_the_connections_of_a_loop(
    start_server: Callable[..., ServerProcess], open_cache: Open
) -> None:
    """None fails, and none opens more."""
    server = start_server("redis")  # nobody else's connections come and go there
    cache = open_cache(server)
    cache.set("NIFTY", 1)
    before = clients(server)
    most = 0

    async def read() -> list[Any]:
        nonlocal most
        answers = await asyncio.gather(*(cache.aio.get("NIFTY") for _ in range(1_000)))
        most = await asyncio.to_thread(clients, server)
        return answers

    assert asyncio.run(read()) == [1] * 1_000
    assert most <= before + 10
    assert cache.stats()["errors"] == 0


def test_the_time_of_an_operation_begins_when_its_turn_has_come(
    redis_server: ServerProcess, open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them together take longer than one may."""
    cache = open_cache(redis_server, redis_pool_size=1, redis_operation_timeout=1.0)
    cache.set("NIFTY", 1)
    recv = onloop.LoopSocket.recv

    def slowly(opened: onloop.LoopSocket, most: int) -> bytes:
        bridge.pause(0.1)
        return recv(opened, most)

    monkeypatch.setattr(onloop.LoopSocket, "recv", slowly)

    async def read() -> list[Any]:
        return await asyncio.gather(*(cache.aio.get("NIFTY") for _ in range(15)))

    assert asyncio.run(read()) == [1] * 15
    cache.clear()


def test_one_connection_serves_everybody(redis_server: ServerProcess, open_cache: Open) -> None:
    """Those who wait for it are not counted as late, and a cancelled one is not handed it."""
    cache = open_cache(redis_server, redis_pool_size=1)

    async def use() -> None:
        tasks = [asyncio.create_task(cache.aio.incr("count")) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks[10:40]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await cache.aio.get("count") == 20
        assert [await cache.aio.incr("count") for _ in range(2)] == [21, 22]

    asyncio.run(use())
    cache.clear()


def test_a_loop_takes_its_connections_with_it(start_server: Callable[..., ServerProcess], open_cache: Open) -> None:
    """Loops in turn, and in threads, leave none behind."""
    server = start_server("redis")
    cache = open_cache(server)
    cache.set("NIFTY", 1)
    before = clients(server)

    async def read() -> None:
        assert await asyncio.gather(*(cache.aio.get("NIFTY") for _ in range(5))) == [1] * 5

    for _ in range(3):
        asyncio.run(read())
    threads = [threading.Thread(target=lambda: asyncio.run(read())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: clients(server) <= before, "the connections were closed")
    assert not node(cache)._pools._of_loops


def test_closing_a_cache_closes_the_connections_of_loops(redis_server: ServerProcess, open_cache: Open) -> None:
    """Those that lie idle, while the loop goes on; it opens new ones when it is used again."""
    cache = open_cache(redis_server, redis_pool_size=3)

    async def use() -> None:
        await cache.aio.set("NIFTY", 1)
        pools = node(cache)._pools
        ((pool, _),) = pools._of_loops.values()
        assert pool._idle
        cache.close()
        await asyncio.sleep(0)
        assert not pool._idle
        assert await cache.aio.get("NIFTY") == 1

    asyncio.run(use())
    cache.clear()


def test_one_loader_for_plain_and_asyncio_callers(cache: Cache) -> None:
    """On two loops, and in threads."""
    runs, found = [], []
    asking = threading.Barrier(4)

    def load() -> str:
        runs.append(1)
        time.sleep(0.02)
        return "loaded"

    async def ask() -> None:
        asking.wait()
        found.extend(await asyncio.gather(*(cache.aio.get_or_set("NIFTY", load) for _ in range(20))))

    def ask_plainly() -> None:
        asking.wait()
        found.append(cache.get_or_set("NIFTY", load))

    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(2)]
    threads += [threading.Thread(target=ask_plainly) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["loaded"] * 42
    assert len(runs) == 1


def test_no_lock_is_held_while_a_greenlet_waits(
    redis_server: ServerProcess, open_cache: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next greenlet of the thread would wait for it forever."""
    held: list[tuple[object, int]] = []
    waits = []

    class Watched:
        """A lock that says that it is held. Where it is not used by ``with`` it is a signal, or only tried."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self.acquire, self.release = self._lock.acquire, self._lock.release
            self._at_fork_reinit = self._lock._at_fork_reinit  # type: ignore[attr-defined]

        def __enter__(self) -> None:
            self.acquire()
            held.append((self, threading.get_ident()))

        def __exit__(self, *error: object) -> None:
            held.remove((self, threading.get_ident()))
            self.release()

    wait = bridge.wait

    def watched(awaitable: Awaitable[Any]) -> Any:
        assert not [owner for _, owner in held if owner == threading.get_ident()]
        waits.append(1)
        return wait(awaitable)

    monkeypatch.setattr(locks, "_allocate_lock", Watched)
    for module in (bridge, onloop):
        monkeypatch.setattr(module, "wait", watched)
    cache = open_cache(redis_server, redis_pool_size=2, cache_near_enabled=True)

    async def use() -> None:
        aio = cache.aio
        await asyncio.gather(*(aio.set(f"key {number}", number, tags=("all",)) for number in range(20)))
        await asyncio.gather(*(aio.get(f"key {number}") for number in range(20)), *(aio.incr("n") for _ in range(20)))
        await asyncio.gather(*(aio.get_or_set("cold", lambda: 1) for _ in range(5)))
        await aio.get_many([f"key {number}" for number in range(20)])
        async with aio.lock("rebuild"):
            await aio.clear(tag="all")
        await aio.pop("n")
        await aio.touch("cold", 5)
        await aio.size()
        assert [key async for key, _ in aio.items()] == ["cold"]
        await aio.clear()

    asyncio.run(use())
    assert len(waits) > 100
    cache.close()


def test_without_greenlet_verbs_run_in_threads(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do the same; the extras ``redis`` and ``valkey`` bring it."""
    monkeypatch.setattr(bridge, "find_greenlet", lambda: None)

    async def use() -> None:
        assert await asyncio.gather(*(cache.aio.incr("count") for _ in range(20)))

    asyncio.run(use())
    assert cache.get("count") == 20
    assert not node(cache)._pools._of_loops


# Cancellation


def test_a_reply_that_nobody_waits_for_is_nobodys(start_server: Callable[..., ServerProcess], open_cache: Open) -> None:
    """A connection in the middle of a reply is closed, so the next reader gets his own."""
    server = start_server("redis")
    cache = open_cache(server, redis_pool_size=1)
    cache.set_many({"mine": "mine", "other": "other"})

    async def use() -> None:
        assert await cache.aio.get("other") == "other"
        server.pause()
        task = asyncio.create_task(cache.aio.get("other"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.resume()
        assert await cache.aio.get("mine") == "mine"
        ((pool, _),) = node(cache)._pools._of_loops.values()
        assert pool._made == len(pool._idle) == 1

    asyncio.run(use())


@pytest.mark.parametrize("after", range(16))
def test_a_verb_can_be_cancelled_at_any_time(cache: Cache, after: int) -> None:
    """After any number of turns of the loop nothing is left of it: no lease, no lock, no mark, no lost connection."""

    async def load() -> str:
        await asyncio.sleep(0)
        return "loaded"

    async def locked() -> None:
        async with cache.aio.lock("rebuild", ttl=1_000):
            await asyncio.sleep(0)

    async def use() -> None:
        for verb in (cache.aio.get_or_set("NIFTY", load), locked(), cache.aio.incr("count")):
            task = asyncio.create_task(verb)
            for _ in range(after):
                await asyncio.sleep(0 if after % 2 else 0.000_2)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        async with cache.aio.lock("rebuild", timeout=0):
            pass
        assert await cache.aio.get_or_set("NIFTY", lambda: "again") in {"loaded", "again"}
        ((pool, _),) = node(cache)._pools._of_loops.values()
        assert pool._made == len(pool._idle)

    asyncio.run(use())
    assert not cache._flights.under_way


def test_what_a_loop_cancels_when_it_ends_leaves_no_lease(cache: Cache) -> None:
    """``asyncio.run`` cancels what is under way when its main task ends."""

    async def use() -> None:
        loading = asyncio.Event()

        async def load() -> None:
            loading.set()
            await asyncio.sleep(PATIENCE)

        task = asyncio.create_task(cache.aio.get_or_set("NIFTY", load))
        await loading.wait()
        del task

    asyncio.run(use())
    assert cache.size() == 0
    assert cache.get_or_set("NIFTY", lambda: "mine") == "mine"


# Servers that go


def test_the_loop_turns_while_a_server_is_frozen(start_server: Callable[..., ServerProcess], open_cache: Open) -> None:
    """Reads are misses within the time of an operation, all at once, and values are there again afterwards."""
    server = start_server("redis")
    cache = open_cache(server, redis_operation_timeout=1.0)
    cache.set("NIFTY", 1)
    gaps: list[float] = []

    async def beat() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    async def use() -> None:
        assert await cache.aio.get("NIFTY") == 1
        heart = asyncio.create_task(beat())
        await asyncio.sleep(0.01)
        server.pause()
        began = time.monotonic()
        assert await asyncio.gather(*(cache.aio.get("NIFTY") for _ in range(200))) == [None] * 200
        took = time.monotonic() - began
        assert await cache.aio.get("NIFTY", "away") == "away"
        with pytest.raises(BackendUnavailableError):
            async with cache.aio.lock("rebuild"):
                pass
        server.resume()
        deadline = time.monotonic() + PATIENCE
        while await cache.aio.get("NIFTY") is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        heart.cancel()
        assert 0.8 < took < 2.0
        assert max(gaps) < 0.7  # some ms, unless the machine has better things to do

    asyncio.run(use())
    print(f"longest gap {max(gaps) * 1e3:.1f} ms")  # noqa: T201  # pytest -s shows the figure


def test_large_values_wait_for_a_server_that_is_slow_to_take_them(
    start_server: Callable[..., ServerProcess], open_cache: Open
) -> None:
    """More than the system keeps for it, and whole; one who gives up takes the connection with him."""
    server = start_server("redis")
    cache = open_cache(server, redis_pool_size=1)
    many = {f"key {number}": os.urandom(900_000) for number in range(12)}

    async def use() -> None:
        assert await cache.aio.get("NIFTY") is None
        server.pause()
        task = asyncio.create_task(cache.aio.set_many(many))
        await asyncio.sleep(0.05)
        task.cancel()
        server.resume()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.pause()
        task = asyncio.create_task(cache.aio.set_many(many))
        await asyncio.sleep(0.05)
        server.resume()
        await task
        assert await cache.aio.get_many(many) == many

    asyncio.run(use())


def test_a_restarted_server_is_talked_to_again(start_server: Callable[..., ServerProcess], open_cache: Open) -> None:
    """Without an error: connections that it closed are replaced."""
    server = start_server("redis")
    cache = open_cache(server)

    async def use() -> None:
        await asyncio.gather(*(cache.aio.set(f"key {number}", 1) for number in range(5)))
        await asyncio.to_thread(server.restart)
        # Who looks once a second which keys others hold may have found it away, and have said so to all.
        await asyncio.to_thread(wait_until, lambda: not node(cache).breaker.is_open, "it is known to be back")
        assert await asyncio.gather(*(cache.aio.get(f"key {number}") for number in range(5))) == [None] * 5
        await cache.aio.set("NIFTY", 2)
        assert await cache.aio.add("NIFTY", 3) is False

    asyncio.run(use())
    assert cache.stats()["errors"] == 0


def test_refusals_name_the_variable(
    start_server: Callable[..., ServerProcess], redis_secured: ServerProcess, open_cache: Open
) -> None:
    """The same words as for plain callers."""
    wrong = open_cache(start_server("redis", login=Login(username=None, password="right")), redis_password="wrong")
    distrusted = open_cache(redis_secured, redis_tls_ca=None)
    for cache, words in ((wrong, "REDIS_PASSWORD"), (distrusted, "REDIS_TLS_CA")):
        with pytest.raises(BackendMisconfiguredError, match=words) as plainly:
            cache.get("NIFTY")
        with pytest.raises(BackendMisconfiguredError, match=words) as awaited:
            asyncio.run(cache.aio.get("NIFTY"))
        assert str(awaited.value) == str(plainly.value)
        assert "wrong" not in str(awaited.value)


def test_a_server_that_is_not_there(open_cache: Open, redis_server: ServerProcess, free_port: int) -> None:
    """Is a miss."""
    cache = open_cache(redis_server, redis_port=free_port)
    assert asyncio.run(cache.aio.get("NIFTY")) is None
    with pytest.raises(BackendUnavailableError, match="refused"):
        asyncio.run(open_cache(redis_server, redis_port=free_port).aio.lock("rebuild").__aenter__())


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    from tests.servers.process import free_port

    return free_port()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_leaves_its_parents_connections_alone(cache: Cache) -> None:
    """It opens its own, on a loop of its own."""

    def child() -> None:
        async def use() -> None:
            assert await cache.aio.incr("count") == 2

        asyncio.events._set_running_loop(None)
        asyncio.run(use())

    async def use() -> None:
        assert await cache.aio.incr("count") == 1
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        await asyncio.to_thread(process.join, PATIENCE)
        assert process.exitcode == 0
        assert await cache.aio.incr("count") == 3

    asyncio.run(use())

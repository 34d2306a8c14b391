"""Caches on real servers never serve from near what they may not, whatever happens to the server and the way to it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster

from openalgo_cache.cache import Cache
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.manager import CacheManager
from openalgo_cache.sentinels import MISSING
from tests.redis.near_workers import Ledger, house, is_near, write_and_read
from tests.servers.fixtures import LOGIN, users
from tests.servers.groups import Cluster
from tests.servers.process import HOST, ServerProcess, wait_until
from tests.servers.proxy import Proxy
from tests.workers import SPAWN, join, start

pytestmark = pytest.mark.server

LAG = 0.05
"""Seconds after which a write that was acknowledged elsewhere is seen."""
PATIENCE = 1.0
"""The same on a machine that is busy with something else."""
BYPASS = 2.0
OPTIONS: dict[str, dict[str, Any]] = {
    "signed": {},
    "encrypted": {"encrypted": True, "blinded": True},
}


class Pair:
    """A cache with a near tier, and one without that writes past it."""

    def __init__(self, folder: Path, variables: dict[str, Any], direct: dict[str, Any] | None = None) -> None:
        quick = {f"{next(iter(variables)).partition('_')[0]}_operation_timeout": 0.25}
        self._managers: list[CacheManager] = [
            house(folder, variables | quick),
            house(folder, direct or variables, cache_near_enabled=False),
        ]
        self.cache: Cache = self._managers[0].get_cache("pair")
        self.other: Cache = self._managers[1].get_cache("pair", on_error="raise")
        self.version = 0

    def close(self) -> None:
        """Let go of the server."""
        for one in self._managers:
            one.close()

    def write(self) -> float:
        """Write the next version past the near tier, as soon as the server takes it; return when that was."""
        self.version += 1

        def written() -> bool:
            try:
                self.other.set("key", self.version)
            except BackendUnavailableError:
                return False
            return True

        wait_until(written, "a write")
        return time.monotonic()

    def read_near(self) -> None:
        """Read until what was written last is answered from near."""
        wait_until(lambda: self.cache.get("key") == self.version and is_near(self.cache, "key"), "the entry to be near")

    def never_old(self, since: float, seconds: float) -> None:
        """Read for a while: never less than the version that was acknowledged at ``since``, a moment after that."""
        while time.monotonic() < since + seconds:
            began = time.monotonic()
            found = self.cache.get("key")
            assert found in {None, self.version} or began - since < PATIENCE, f"{found} after {self.version}"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    """Make pairs; they are closed afterwards."""
    made: list[Pair] = []

    def make(*variables: dict[str, Any]) -> Pair:
        one = Pair(tmp_path, *variables)
        made.append(one)
        one.write()
        one.read_near()
        return one

    yield make
    for one in made:
        one.close()


def race(folder: Path, variables: dict[str, Any], options: dict[str, Any], seconds: float, lag: float) -> None:
    """Let two processes write and read the same keys."""
    ledger, begin, stop, results = Ledger(), SPAWN.Barrier(3), SPAWN.Event(), SPAWN.Queue()
    house(folder, variables).get_cache("race", **options).clear()
    processes = [
        start(write_and_read, folder, variables, options, number, ledger, lag, begin, stop, results)
        for number in range(2)
    ]
    begin.wait(60)
    time.sleep(seconds)
    stop.set()
    begin.wait(60)
    for _ in processes:
        reads, writes, near_hits, stale, diverged = results.get(timeout=60)
        print(f"{reads} reads, {near_hits} of them near, {writes} writes")  # noqa: T201  # shown if it fails
        assert stale == []
        assert diverged == []
        assert writes > 100
        assert near_hits > reads / 20
    for process in processes:
        join(process)


def test_two_processes_write_and_read_the_same_keys(redis_server: ServerProcess, tmp_path: Path) -> None:
    """What a process wrote it sees at once; what the other wrote it sees soon; and in the end both see the store."""
    race(tmp_path, redis_server.settings(), OPTIONS["signed"], 2.0, PATIENCE)


@pytest.mark.soak
@pytest.mark.parametrize("fixture", ["redis_server", "valkey_server", "redis_cluster"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_two_processes_race_for_long(
    fixture: str, options: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Within 50 ms, on a machine that does nothing else."""
    race(tmp_path, request.getfixturevalue(fixture).settings(), options, 30.0, LAG)


@pytest.mark.parametrize("how", ["kill", "stop", "freeze", "freeze for long"])
@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_nothing_old_is_served_when_the_server_is_back(
    how: str, rounds: int, start_server: Callable[..., ServerProcess], pair: Callable[..., Pair]
) -> None:
    """Whether it died, was shut down, or held its breath."""
    server = start_server("redis")
    one = pair(server.settings())
    for _ in range(rounds):
        if how.startswith("freeze"):
            server.pause()
            time.sleep(BYPASS if how.endswith("long") else 0.3)
            if how.endswith("long"):
                assert one.cache.get("key") is None
            server.resume()
        else:
            server.kill() if how == "kill" else server.stop()
            wait_until(lambda: one.cache.get("key") is None, "the tier to be bypassed", BYPASS)
            assert one.cache.health()["near"] == "bypassed"
            server.start()
        written = one.write()
        one.never_old(written, 1.5)
        one.read_near()
        assert one.cache.health()["near"] == "serving"


def test_nothing_old_is_served_behind_a_cut_line(redis_server: ServerProcess, pair: Callable[..., Pair]) -> None:
    """The tier is bypassed within two seconds, and what is written meanwhile is seen when the line is whole again."""
    with Proxy(redis_server.port) as line:
        one = pair({"redis_host": HOST, "redis_port": line.port}, redis_server.settings())
        line.cut()
        cut = time.monotonic()
        one.write()
        while (found := one.cache.get("key")) is not None:
            assert found == one.version - 1
            assert time.monotonic() - cut < BYPASS
        time.sleep(0.5)
        assert one.cache.get("key") is None
        line.heal()
        one.never_old(time.monotonic() - PATIENCE, PATIENCE + 1.0)
        one.read_near()


def test_edits_past_the_library_are_seen(redis_server: ServerProcess, pair: Callable[..., Pair]) -> None:
    """By redis-cli, say."""
    one = pair(redis_server.settings())
    redis_server.ask("SET", "openalgo:pair:key", "garbage")
    wait_until(lambda: one.cache.get("key") is None, "the garbage to be found", PATIENCE)
    one.write()
    one.read_near()
    redis_server.ask("DEL", "openalgo:pair:key")
    wait_until(lambda: one.cache.get("key") is None, "the deletion to be seen", PATIENCE)


def test_a_write_while_the_stream_is_away_is_seen(
    start_server: Callable[..., ServerProcess], pair: Callable[..., Pair]
) -> None:
    """Its message is lost."""
    server = start_server("valkey")
    one = pair(server.settings())
    for _ in range(5):
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        one.never_old(one.write(), 0.2)
        one.read_near()


def test_writers_announce_where_the_server_may_not_tell(
    start_server: Callable[..., ServerProcess], pair: Callable[..., Pair]
) -> None:
    """With the rights that docs/redis.md lists for that, and every verb that changes something."""
    instead = " &openalgo:!changes &openalgo@*:!changes +pexpire +publish +subscribe"
    (line,) = users()
    server = start_server("redis", login=LOGIN, users=[line.replace(" +client|tracking", "") + instead])
    one = pair(server.settings())
    changes: dict[str, Callable[[], object]] = {
        "set": lambda: one.other.set("key", "new"),
        "set_many": lambda: one.other.set_many({"key": "new"}),
        "incr": lambda: one.other.incr("key"),
        "pop": lambda: one.other.pop("key"),
        "delete": lambda: one.other.delete("key"),
        "clear": one.other.clear,
    }
    for verb, change in changes.items():
        one.write()
        one.read_near()
        change()
        left = one.other.get("key")
        wait_until(lambda: one.cache.get("key") == left, verb, PATIENCE)  # noqa: B023  # called at once


def test_a_tag_ends_what_lies_near_elsewhere(redis_server: ServerProcess, pair: Callable[..., Pair]) -> None:
    """Its own key is all that is named."""
    one = pair(redis_server.settings())
    for number in range(3):
        one.other.set("tagged", number, tags=("tag",))
        wait_until(lambda: one.cache.get("tagged") == number and is_near(one.cache, "tagged"), "it")  # noqa: B023
        one.other.clear(tag="tag")
        wait_until(lambda: one.cache.get("tagged") is None, "it to end", PATIENCE)


def test_threads_see_their_own_writes_and_no_version_twice(redis_server: ServerProcess, tmp_path: Path) -> None:
    """Many threads, one near tier: for each of them versions only rise."""
    manager = house(tmp_path, redis_server.settings())
    cache = manager.get_cache("threads")
    end = time.monotonic() + 1.5
    lock = threading.Lock()
    newest = 0

    def write() -> int:
        nonlocal newest
        while time.monotonic() < end:
            with lock:
                newest += 1
                cache.set("key", newest)
                assert cache.get("key") == newest
        return 0

    def read() -> int:
        last = hits = 0
        while time.monotonic() < end:
            found = cache.get("key", 0)
            assert found >= last
            last = found
            hits += 1
        return hits

    cache.set("key", 0)
    with ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(write), *(pool.submit(read) for _ in range(7))]:
            one.result(30)
    assert cache.stats()["near_hits"] > 0
    manager.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_parent_and_child_see_each_other(redis_server: ServerProcess, pair: Callable[..., Pair]) -> None:
    """As gunicorn's workers do that were forked after the application was loaded, and used."""
    one = pair(redis_server.settings())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert len(one.cache._opened().near) == 0
            one.read_near()
            one.never_old(one.write(), 0.3)
            one.read_near()
            one.cache.set("of the child", 1)
            wait_until(lambda: one.cache.get("of the parent"), "the parent's answer")
            status = 0
        finally:
            os._exit(status)
    wait_until(lambda: one.cache.get("of the child"), "the child's word")
    wait_until(lambda: one.cache.get("key") == 2, "the child's write", PATIENCE)
    one.cache.set("of the parent", 1)
    assert os.waitpid(pid, 0)[1] == 0
    one.version = 2
    one.never_old(one.write(), 0.3)
    one.cache.delete_many(["of the child", "of the parent"])


@pytest.mark.parametrize("library", ["eventlet", "gevent"])
def test_greenlets_and_threads_share_a_tier(library: str, redis_server: ServerProcess, tmp_path: Path) -> None:
    """Under monkey-patching the stream goes on, whoever waits for what; and in a forked worker, too."""
    script = Path(__file__).with_name("greenlets.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["src", "."]), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(script), library, str(redis_server.port), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["near", "changed", "thread", "fork"]


def test_a_cluster_that_loses_a_primary_serves_nothing_old(
    start_cluster: Callable[..., Cluster], pair: Callable[..., Pair]
) -> None:
    """Nor does one that moves a slot, with its keys, to another primary."""
    cluster = start_cluster("redis", node_timeout=600)
    one = pair(cluster.settings())
    with RedisCluster(host=HOST, port=cluster.primaries[0].port) as client:
        slot = client.keyslot("openalgo:pair:key")
        source_port = client.get_node_from_key("openalgo:pair:key").port
    source = next(server for server in cluster.servers if server.port == source_port)
    target = next(server for server in cluster.primaries if server is not source)
    move(slot, source, target, cluster)
    one.never_old(one.write(), 0.5)
    one.read_near()
    target.kill()
    one.never_old(one.write(), 0.5)
    one.read_near()


def move(slot: int, source: ServerProcess, target: ServerProcess, cluster: Cluster) -> None:
    """Move a slot, key by key, as the manual says."""
    identities = {server: server.ask("CLUSTER", "MYID").decode() for server in (source, target)}
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", identities[source])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", identities[target])
    for key in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.ask("MIGRATE", HOST, target.port, key.decode(), 0, 5000)
    for server in [target, *cluster.primaries]:
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", identities[target])


def test_what_is_not_there_is_not_near(redis_server: ServerProcess, pair: Callable[..., Pair]) -> None:
    """Not even when it was a moment ago."""
    one = pair(redis_server.settings())
    one.cache.delete("key")
    assert [one.cache.get("key", MISSING) for _ in range(3)] == [MISSING] * 3


def test_a_tag_that_is_cleared_elsewhere_ends_what_is_near(
    redis_server: ServerProcess, pair: Callable[..., Pair]
) -> None:
    """An entry depends on the records of its tags, which the server tells of as of its own."""
    two = pair(redis_server.settings())

    def holds_near(version: int) -> bool:
        return two.cache.get("tagged") == version and is_near(two.cache, "tagged")

    for version in range(3):
        two.other.set("tagged", version, tags=("user:1", "desk"))
        wait_until(partial(holds_near, version), "it to be near")
        two.other.clear(tag="desk" if version % 2 else "user:1")
        wait_until(lambda: two.cache.get("tagged") is None, "the tag to end it")

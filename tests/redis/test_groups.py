"""Servers that stand in for each other: a primary dies, the others go on, and what a replica has is not lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.backends.redis import RedisBackend
from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.backends.valkey import ValkeyBackend
from openalgo_cache.errors import BackendUnavailableError
from tests.redis.stores import PREFIX, backend
from tests.servers.groups import Cluster, SentinelGroup
from tests.servers.process import ServerProcess, wait_until
from tests.servers.programs import require

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("groups")]

KEYS = [f"{PREFIX}{number}" for number in range(60)]


class Writer:
    """Writes rising numbers under many keys, in a thread, and remembers which were acknowledged."""

    def __init__(self, store: RespBackend) -> None:
        self._store = store
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.acknowledged: dict[str, int] = {}
        self.tried: dict[str, int] = {}
        self.refused = 0
        self.written_at: dict[str, float] = {}
        self.errors: list[Exception] = []
        self._thread.start()

    def stop(self) -> None:
        """Stop."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            for key in KEYS:
                self.tried[key] = number
                try:
                    self._store.set(key, Entry(b"%d" % number, None))
                except BackendUnavailableError:
                    self.refused += 1
                    time.sleep(0.0005)
                    continue
                except Exception as error:  # noqa: BLE001  # the test looks at it
                    self.errors.append(error)
                    return
                self.acknowledged[key] = number
                self.written_at[key] = time.monotonic()


def quickly(tested: type[RespBackend]) -> dict[str, Any]:
    """Return the setting with which an operation gives up as soon as it does by default."""
    return {f"{tested.name}_operation_timeout": 0.25}


def nothing_is_lost(store: RespBackend, writer: Writer) -> None:
    """Look whether each key has what was acknowledged last, or what was tried after it."""
    for key, number in writer.acknowledged.items():
        entry = store.get(key)
        assert entry is not None, key
        assert number <= int(entry.payload) <= writer.tried[key], key


def fail_over(cluster: Cluster, tested: type[RespBackend]) -> None:
    """Kill a primary under load, and see that the rest goes on and its part comes back."""
    variables = cluster.settings()
    store = backend(variables | quickly(tested), tested, durable=True)
    reader = backend(variables, tested)
    for key in KEYS:
        wait_until(lambda: _takes(store, key), "every primary to have a replica that follows")  # noqa: B023  # at once
    victim = next(server for server in cluster.primaries if server is not cluster.servers[0])
    address = f"127.0.0.1:{victim.port}"
    lost = {key for key in KEYS if reader._client._topology.node(key).name == address}
    assert 0 < len(lost) < len(KEYS)
    writer = Writer(store)
    wait_until(lambda: len(writer.acknowledged) == len(KEYS), "the first writes")
    victim.kill()
    killed_at = time.monotonic()
    wait_until(lambda: writer.refused > 0, "the failure")
    for key in KEYS:
        if key not in lost:
            assert reader.get(key) is not None  # reads of all others go on
    wait_until(lambda: all(writer.written_at[key] > killed_at for key in KEYS), "writes to resume", 30)
    victim.start()
    wait_until(lambda: victim.ask("ROLE")[0] == b"slave", "the old primary to follow")
    writer.stop()
    assert writer.errors == []
    nothing_is_lost(reader, writer)
    assert reader.clear() == len(KEYS)
    store.close()
    reader.close()


@pytest.mark.timeout(90)
def test_a_cluster_loses_a_primary(start_cluster: Callable[..., Cluster]) -> None:
    """Reads go on, writes resume when its replica has taken over, and no acknowledged one is lost."""
    fail_over(start_cluster("redis", node_timeout=1000), RedisBackend)


@pytest.mark.soak
@pytest.mark.parametrize("brand, tested", [("redis", RedisBackend), ("valkey", ValkeyBackend)])
def test_a_cluster_loses_primaries_again_and_again(
    start_cluster: Callable[..., Cluster], brand: str, tested: type[RespBackend]
) -> None:
    """Five times."""
    cluster = start_cluster(brand, node_timeout=1000)
    for _ in range(5):
        fail_over(cluster, tested)
        wait_until(cluster._is_whole, "the cluster to be whole", 30)


@pytest.fixture
def sentinels(server_folder: Callable[[], Path]) -> Iterator[SentinelGroup]:
    """A group of the test's own."""
    group = SentinelGroup(require("redis"), server_folder())
    try:
        yield group.start()
    finally:
        group.stop()


@pytest.mark.timeout(90)
def test_sentinels_name_another_primary(sentinels: SentinelGroup, caplog: pytest.LogCaptureFixture) -> None:
    """After a failure it is found by itself; nothing was accepted before that no replica had, so nothing is lost."""
    patient = backend(sentinels.settings(), durable=True, redis_operation_timeout=1.0)
    sentinels.servers[1].pause()
    with pytest.raises(BackendUnavailableError, match="no replica"):
        patient.set(KEYS[0], Entry(b"1", None))
    with pytest.raises(BackendUnavailableError, match="no replica"):
        patient.compare_and_set(KEYS[0], b"1", Entry(b"2", None))
    sentinels.servers[1].resume()
    wait_until(lambda: _takes(patient), "the replica to follow again")
    patient.close()
    store, reader = backend(sentinels.settings() | quickly(RedisBackend), durable=True), backend(sentinels.settings())
    writer = Writer(store)
    wait_until(lambda: len(writer.acknowledged) == len(KEYS), "the first writes")
    sentinels.servers[0].kill()
    killed_at = time.monotonic()
    wait_until(lambda: all(writer.written_at[key] > killed_at for key in KEYS), "writes to resume", 40)
    writer.stop()
    assert writer.errors == []
    nothing_is_lost(reader, writer)
    reader.close()
    assert sentinels.primary is sentinels.servers[1]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("answers again" in line for line in warnings) == 1
    assert sum("has no replica" in line for line in warnings) == 1
    store.close()


def test_a_primary_without_replicas(start_server: Callable[..., ServerProcess]) -> None:
    """A primary that has none takes it, and does not wait for them."""
    cluster_like = {"cluster-enabled": "yes", "cluster-require-full-coverage": "no"}
    server = start_server("redis", cluster_like)
    server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    wait_until(lambda: server.ask("CLUSTER INFO")["cluster_state"] == "ok", "the cluster of one")
    store = backend(server.settings() | {"redis_cluster": True, "redis_operation_timeout": 1.0}, durable=True)
    store.set(KEYS[0], Entry(b"alone", None))
    started = time.monotonic()
    for _ in range(20):
        store.set(KEYS[0], Entry(b"alone", None))
    assert time.monotonic() - started < 6  # it does not wait, 0.5 s each time, for replicas that are not there
    store.close()


@pytest.mark.soak
@pytest.mark.timeout(90)
def test_a_demoted_primary_is_left(sentinels: SentinelGroup) -> None:
    """It answers, and refuses to write: the Sentinels are asked again."""
    store = backend(sentinels.settings())
    store.set(KEYS[0], Entry(b"1", None))
    sentinels.sentinels[0].ask("SENTINEL", "FAILOVER", sentinels.service)
    wait_until(lambda: sentinels.servers[0].ask("ROLE")[0] == b"slave", "the first server to follow", 40)
    wait_until(lambda: sentinels.servers[1].ask("ROLE")[0] == b"master", "the second one to lead")
    wait_until(lambda: _takes(store), "writes to arrive")
    assert sentinels.servers[1].ask("GET", KEYS[0]) is not None
    store.close()


def _takes(store: RespBackend, key: str = KEYS[0]) -> bool:
    try:
        store.set(key, Entry(b"0", None))
    except BackendUnavailableError:
        return False
    return True

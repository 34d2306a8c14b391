"""What goes over the line: few commands, none that a server should refuse, nothing that depends on its clock."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.testing import FakeClock
from tests.redis.stores import PREFIX, backend
from tests.servers.fixtures import users
from tests.servers.groups import Cluster
from tests.servers.process import ServerProcess

pytestmark = pytest.mark.server

KEY = PREFIX + "key"


def commands_of(server: ServerProcess) -> set[str]:
    """Return which commands a server has run since its statistics were reset."""
    stats = server.ask("INFO", "commandstats")
    return {name.removeprefix("cmdstat_").replace("|", "-") for name in stats} - {
        "config-resetstat",
        "hello",
        "info",
    }  # our own


def test_every_verb_in_few_commands(start_server: Callable[..., ServerProcess]) -> None:
    """No script, no KEYS, no FLUSHDB; and all of them are in the list of rights that docs/redis.md gives."""
    server = start_server("redis")
    server.ask("CONFIG", "RESETSTAT")
    for durable in (False, True):
        store: Any = backend(server.settings(), durable=durable)
        store.set_many({f"{KEY}{number}": Entry(b"payload", None) for number in range(20)})
        store.set(KEY, Entry(b"payload", None))
        assert store.get(KEY)
        assert store.exists(KEY)
        assert store.get_many([KEY, KEY + "1"])
        assert store.compare_and_set(KEY, b"payload", Entry(b"new", None))
        assert not store.compare_and_set(KEY, b"payload", None)
        assert not store.compare_and_set(KEY, None, Entry(b"new", None))
        assert store.compare_and_set(KEY + "new", None, Entry(b"new", None))
        assert store.delete(KEY)
        assert store.delete_many([KEY + "1", KEY + "2"]) == 2
        assert store.size() == len(list(store.scan())) == 19
        assert store.clear() == 19
        store.close()
    used = commands_of(server)
    assert used == {"ping", "get", "set", "getrange", "mget", "unlink", "watch", "unwatch", "multi", "exec", "scan"}
    (line,) = users()
    allowed = {word[1:].replace("|", "-") for word in line.split() if word.startswith("+")}
    assert used <= allowed
    assert not allowed & {"keys", "flushdb", "flushall", "eval", "evalsha", "config", "debug"}


def test_one_operation_is_one_round_trip(start_server: Callable[..., ServerProcess]) -> None:
    """A read, a write and an addition are one command each."""
    server = start_server("redis")
    store, look = backend(server.settings()), server.client()
    store.set(KEY, Entry(b"", None))  # the first write also asks how changes are told
    for verb, commands in (
        (lambda: store.get(KEY), 1),
        (lambda: store.set(KEY, Entry(b"", None)), 1),
        (lambda: store.compare_and_set(KEY + "1", None, Entry(b"", None)), 1),
        (lambda: store.get_many([KEY, KEY + "1", KEY + "2"]), 1),
        (lambda: store.exists(KEY), 1),
        (lambda: store.delete(KEY), 2),
        (lambda: store.compare_and_set(KEY + "1", b"", None), 5),
    ):
        before = look.info("stats")["total_commands_processed"]
        verb()
        assert look.info("stats")["total_commands_processed"] - before - 1 == commands
    look.close()
    store.close()


def test_clocks_may_differ(redis_server: ServerProcess) -> None:
    """Ours is years away from the server's: an entry lives as long as it should by ours, and is freed after as long."""
    for now in (0.0, 4_000_000_000.0):
        clock = FakeClock(now)
        store = backend(redis_server.settings(), clock=clock)
        store.set(KEY, Entry(b"payload", now + 60.0005))
        assert 59_000 < redis_server.ask("PTTL", KEY) <= 60_001
        assert store.get(KEY) == Entry(b"payload", now + 60.0005)
        clock.advance(60.001)
        assert store.get(KEY) is None
        assert store.delete(KEY) is False
        store.set(KEY, Entry(b"payload", 1e18))
        assert store.get(KEY) == Entry(b"payload", 1e18)
        store.set(KEY, Entry(b"payload", None))
        assert redis_server.ask("PTTL", KEY) == -1
        assert store.clear() == 1
        store.close()


@pytest.mark.parametrize(
    "planted", [b"", b"short", struct.pack(">d", float("nan")) + b"x", struct.pack(">d", 0) + b"x"]
)
def test_what_somebody_planted_is_no_entry(redis_server: ServerProcess, planted: bytes) -> None:
    """It is absent to every verb, and can be replaced and removed."""
    store = backend(redis_server.settings())
    with redis_server.client() as client:
        client.set(KEY, planted)
    assert store.get(KEY) is None
    assert not store.exists(KEY)
    assert store.size() == 0
    assert store.compare_and_set(KEY, None, Entry(b"ours", None))
    assert store.get(KEY) == Entry(b"ours", None)
    assert store.delete(KEY)
    store.close()


def test_keys_that_somebody_planted_are_passed_over(redis_server: ServerProcess) -> None:
    """What is no text could not be asked for; nothing that looks through all keys stumbles over it."""
    store = backend(redis_server.settings())
    store.set(KEY, Entry(b"ours", None))
    with redis_server.client() as client:
        client.set(KEY.encode() + b"\xff\xfe", b"planted")
        assert [key for key, _ in store.scan()] == [KEY]
        assert store.size() == 1
        assert store.clear() == 1
        client.delete(KEY.encode() + b"\xff\xfe")
    store.close()


def test_a_change_in_between_is_noticed(redis_server: ServerProcess) -> None:
    """Even one that leaves the payload as it was: then the step is tried again."""
    store: Any = backend(redis_server.settings())
    store.set(KEY, Entry(b"seen", None))
    looks = []
    exchange = store._client.exchange

    def meddle(key: str, decide: Callable[[bytes | None], Any], **options: Any) -> Any:
        def decide_slowly(value: bytes | None) -> Any:
            looks.append(value)
            if len(looks) == 1:
                other = backend(redis_server.settings())
                other.set(KEY, Entry(b"seen", None))
                other.close()
            return decide(value)

        return exchange(key, decide_slowly, **options)

    store._client.exchange = meddle
    try:
        assert store.compare_and_set(KEY, b"seen", Entry(b"new", None))
    finally:
        del store._client.exchange
    assert len(looks) == 2
    assert store.get(KEY) == Entry(b"new", None)
    store.clear()
    store.close()


def test_large_bulks(redis_cluster: Cluster) -> None:
    """Thousands of keys go out in portions, on a cluster to each node its own; scanning finds each once."""
    store: Any = backend(redis_cluster.settings())
    entries = {f"{KEY}{number}": Entry(b"%d" % number, None) for number in range(5_000)}
    store.set_many(entries)
    assert store.get_many(entries) == entries
    found = list(store.scan())
    assert len(found) == 5_000
    assert dict(found) == entries
    assert all(server.ask("DBSIZE") > 1_000 for server in redis_cluster.primaries)
    assert store.clear() == 5_000
    store.close()


def test_a_scan_holds_no_connection(redis_server: ServerProcess) -> None:
    """One that is left half way keeps nobody waiting."""
    store: Any = backend(redis_server.settings(), redis_pool_size=1)
    store.set_many({f"{KEY}{number}": Entry(b"", None) for number in range(3_000)})
    scans = [store.scan() for _ in range(5)]
    for scan in scans:
        next(scan)
    assert store.clear() == 3_000
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_connections_of_its_own(redis_server: ServerProcess) -> None:
    """Parent and child use the same backend at the same time, and neither gets the other's answers."""
    store = backend(redis_server.settings())
    entries = {f"{KEY}{number}": Entry(b"%d" % number, None) for number in range(50)}
    store.set_many(entries)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if all(store.get(key) == entry for _ in range(20) for key, entry in entries.items()) else 2
            finally:
                os._exit(code)
        children.append(child)
    assert all(store.get(key) == entry for _ in range(20) for key, entry in entries.items())
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert store.clear() == 50
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_during_an_outage_looks_for_itself(start_server: Callable[..., ServerProcess]) -> None:
    """The thread that looks after the server stayed with the parent."""
    server = start_server("redis")
    store = backend(server.settings())
    store.set(KEY, Entry(b"", None))
    server.kill()
    with pytest.raises(BackendUnavailableError):
        store.get(KEY)
    server.start()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if store.get(KEY) is None else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.close()


def test_a_unix_socket(redis_server: ServerProcess) -> None:
    """In place of host and port."""
    if redis_server.socket is None or sys.platform == "win32":
        pytest.skip("this system has no Unix sockets, or only short names for them")
    from openalgo_cache.settings import ServerUrl

    url = ServerUrl("", "unix", None, None, None, None, None, None, redis_server.socket)
    store = backend({"redis_url": url})
    store.set(KEY, Entry(b"payload", None))
    assert store.get(KEY) == Entry(b"payload", None)
    assert store.clear() == 1
    store.close()


def test_threads_that_add_the_same_key(redis_server: ServerProcess) -> None:
    """One of them does."""
    store = backend(redis_server.settings())
    added: list[int] = []

    def add(number: int) -> None:
        if store.compare_and_set(KEY, None, Entry(b"%d" % number, None)):
            added.append(number)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(added) == 1
    assert store.get(KEY) == Entry(b"%d" % added[0], None)
    store.clear()
    store.close()


def test_what_comes_back_to_a_closed_pool_is_closed(start_server: Callable[..., ServerProcess]) -> None:
    """An operation that is under way while its client is closed leaves no connection behind."""
    server = start_server("redis")
    store = backend(server.settings())
    store.set(KEY, Entry(b"payload", None))
    pool: Any = store._client._topology.node(KEY)._pools.own()
    connection, new = pool.take(time.monotonic() + 5)
    assert not new
    store.close()
    assert connection._sock is not None
    pool.give(connection)
    assert connection._sock is None

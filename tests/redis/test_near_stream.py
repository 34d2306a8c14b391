"""What real servers tell of changes, and what a listener hears when they, or the way to them, fail."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from openalgo_cache.backends.invalidation.streams import Subscriptions, _streams, doubt
from openalgo_cache.settings import Settings
from openalgo_cache.settings.server import Server, resolve_server
from openalgo_cache.testing.invalidation import Ear
from tests.servers.groups import Cluster, SentinelGroup
from tests.servers.process import HOST, Login, ServerProcess, wait_until
from tests.servers.programs import require
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.server

NAMESPACE = "openalgo@stream:"
CACHE = NAMESPACE + "quotes:"
SECRET = b"of the tests" * 3
SOON = 3.0
"""Seconds within which a stream is back after its server is."""
BYPASS = 2.0
"""Seconds of silence after which nothing near is served."""


def server_of(variables: dict[str, Any]) -> Server:
    """Return a server by its variables."""
    brand = next(iter(variables)).partition("_")[0]
    return resolve_server(Settings(**variables), "valkey" if brand == "valkey" else "redis")


class Listening:
    """An ear at a server."""

    def __init__(self, server: Server) -> None:
        self.ear = Ear()
        self.subscriptions = Subscriptions(server, CACHE, lambda: SECRET)
        self.subscriptions.add(self.ear)

    def hears(self, change: Callable[[str], object], name: str = "key", within: float = SOON) -> None:
        """Make a change of a key, and wait until it is heard."""
        key = CACHE + name
        self.ear.forget()
        change(key)
        wait_until(lambda: self.ear.heard(key), f"{name} to be heard", within)

    def stands(self, within: float = SOON) -> None:
        """Wait until the stream stands."""
        wait_until(lambda: self.ear.open, "the stream to stand", within)

    def is_suspended(self, within: float = BYPASS) -> None:
        """Wait until nothing is trusted."""
        wait_until(lambda: not self.ear.open, "the stream to be given up", within)


@pytest.fixture
def listen() -> Iterator[Callable[[dict[str, Any]], Listening]]:
    """Listen to a server by its variables, and wait until the stream stands."""
    opened: list[Listening] = []

    def start(variables: dict[str, Any]) -> Listening:
        listening = Listening(server_of(variables))
        opened.append(listening)
        listening.stands(5.0)
        return listening

    yield start
    for listening in opened:
        listening.subscriptions.close()


Listen = Callable[[dict[str, Any]], Listening]


@pytest.fixture(params=["redis_server", "valkey_server"])
def server(request: pytest.FixtureRequest) -> ServerProcess:
    """A Redis, and a Valkey."""
    found: ServerProcess = request.getfixturevalue(request.param)
    return found


def test_every_kind_of_change_is_heard(server: ServerProcess, listen: Listen) -> None:
    """Writing, deleting, expiring, whoever does it, in whichever database."""
    listening = listen(server.settings())
    with server.client() as client, server.client(db=3) as elsewhere:
        changes: dict[str, Callable[[str], object]] = {
            "set": lambda key: client.set(key, 1),
            "append": lambda key: client.append(key, "1"),
            "pexpire": lambda key: client.pexpire(key, 10_000),
            "delete": client.delete,
            "set again": lambda key: client.set(key, 1),
            "unlink": client.unlink,
            "rename": lambda key: (client.set(CACHE + "other", 1), client.rename(CACHE + "other", key)),
            "getdel": client.getdel,
            "transaction": lambda key: client.transaction(lambda pipe: pipe.set(key, 1)),
            "another database": lambda key: elsewhere.set(key, 1),
        }
        for name, change in changes.items():
            listening.hears(change)
            assert listening.ear.open, name
        listening.hears(elsewhere.delete)
        listening.ear.forget()
        client.set(CACHE + "key", 1, px=50)
        # To look for it makes the server notice, however many keys of others it has to look through by itself.
        wait_until(lambda: not client.exists(CACHE + "key"), "the expiry")
        wait_until(lambda: listening.ear.calls.count("drop") >= 2, "the writing and the expiry to be heard", SOON)


def test_an_eviction_is_heard(start_server: Callable[..., ServerProcess], listen: Listen) -> None:
    """What the server throws out to make room, too."""
    server = start_server("redis", {"maxmemory-policy": "volatile-lru"})
    listening = listen(server.settings())
    with server.client() as client:
        client.set("other", b"x" * 100_000)
        listening.hears(lambda key: client.set(key, 1, px=100_000))
        listening.ear.forget()
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 50_000)
        wait_until(lambda: not client.exists(CACHE + "key"), "the eviction")
    wait_until(lambda: listening.ear.heard(CACHE + "key"), "the eviction to be heard", SOON)


def test_a_flush_is_heard(start_server: Callable[..., ServerProcess], listen: Listen) -> None:
    """As one message: everything changed."""
    server = start_server("redis")
    listening = listen(server.settings())
    server.ask("SET", CACHE + "key", 1)
    wait_until(lambda: CACHE + "key" in listening.ear.keys, "the key", SOON)
    listening.ear.forget()
    server.ask("FLUSHDB")
    wait_until(lambda: listening.ear.heard(CACHE + "key"), "the flush to be heard", SOON)
    assert CACHE + "key" not in listening.ear.keys


def test_a_thousand_changes_at_once_are_heard(server: ServerProcess, listen: Listen) -> None:
    """Every key of them."""
    listening = listen(server.settings())
    keys = {f"{CACHE}{number}" for number in range(1000)}
    listening.ear.forget()
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.set(key, 1)
        pipe.execute()
        wait_until(lambda: listening.ear.heard(*keys), "all keys to be heard", SOON)
        client.unlink(*keys)


@pytest.mark.parametrize("brand", ["redis", "valkey"])
def test_caches_share_one_connection(brand: str, start_server: Callable[..., ServerProcess]) -> None:
    """However many there are; and it ends with the last of them."""
    server = start_server(brand)  # nobody else's connections come and go there
    server_ = server_of(server.settings())

    def tracking() -> int:
        with server.client() as client:
            return sum("B" in one["flags"] for one in client.client_list())

    subscriptions = [Subscriptions(server_, f"openalgo@shared:cache{number}:", lambda: SECRET) for number in range(5)]
    ears = [Ear() for _ in subscriptions]
    for one, ear in zip(subscriptions, ears, strict=True):
        one.add(ear)
    wait_until(lambda: all(ear.open for ear in ears), "the streams", SOON)
    assert tracking() == 1
    for ear in ears:
        ear.forget()
    server.ask("SET", "openalgo@shared:cache3:key", 1)
    wait_until(lambda: ears[3].heard("openalgo@shared:cache3:key"), "the key", SOON)
    assert not any(ear.keys for ear in ears if ear is not ears[3])
    server.ask("DEL", "openalgo@shared:cache3:key")
    for one in subscriptions:
        one.close()
    wait_until(lambda: tracking() == 0, "the connection to end", SOON)
    assert not any(ear.open for ear in ears)


def test_a_listener_that_is_garbage_is_forgotten(server: ServerProcess) -> None:
    """With the last one the connection ends, even if nobody said so."""
    key = server_of(server.settings()), "openalgo@garbage:"
    subscriptions = Subscriptions(key[0], "openalgo@garbage:cache:", lambda: SECRET)
    ear: Ear | None = Ear()
    assert ear is not None
    subscriptions.add(ear)
    wait_until(lambda: _streams[key]._serving, "the stream", SOON)
    ear = None
    wait_until(lambda: not _streams[key]._running, "the stream to end", SOON)


@pytest.mark.parametrize("kind", ["secured", "unix", "cluster", "sentinels", "valkey_cluster"])
def test_it_goes_where_the_client_goes(kind: str, request: pytest.FixtureRequest, listen: Listen) -> None:
    """TLS and access control, a Unix socket, every primary of a cluster, and the primary that Sentinels name."""
    if kind == "unix":
        server: ServerProcess = request.getfixturevalue("redis_server")
        listening = listen({"redis_url": parse_url(f"unix://{server.socket}")})
        listening.hears(lambda key: server.ask("SET", key, 1))
    elif kind == "secured":
        secured: ServerProcess = request.getfixturevalue("redis_secured")
        listening = listen(secured.settings())
        listening.hears(lambda key: secured.ask("SET", key, 1))
        listening.hears(lambda key: secured.ask("DEL", key))
    elif kind == "sentinels":
        group: SentinelGroup = request.getfixturevalue("redis_sentinels")
        listening = listen(group.settings())
        listening.hears(lambda key: group.primary.ask("SET", key, 1))
    else:
        cluster: Cluster = request.getfixturevalue("valkey_cluster" if kind == "valkey_cluster" else "redis_cluster")
        listening = listen(cluster.settings())
        with RedisCluster(host=HOST, port=cluster.primaries[0].port) as client:
            for number in range(30):
                listening.hears(lambda key: client.set(key, 1), str(number))


def parse_url(text: str) -> Any:
    """Return a URL as the settings have it."""
    return Settings.from_environment({"REDIS_URL": text}).redis_url


@pytest.mark.parametrize("how", ["kill", "restart", "client kill"])
def test_it_comes_back(how: str, start_server: Callable[..., ServerProcess], listen: Listen) -> None:
    """What was heard before may have been missed after: listeners are suspended, and resumed when it stands again."""
    server = start_server("valkey")
    listening = listen(server.settings())
    for _ in range(2):
        listening.ear.calls.clear()
        if how == "client kill":
            server.ask("CLIENT", "KILL", "TYPE", "normal")
        else:
            server.kill() if how == "kill" else server.stop()
            listening.is_suspended(0.5)
            server.start()
        wait_until(lambda: listening.ear.calls[-1:] == ["resume"], "the stream to stand again", SOON)
        assert listening.ear.calls[0] == "suspend"
        listening.hears(lambda key: server.ask("SET", key, 1))


def test_a_frozen_server_is_given_up_in_time(start_server: Callable[..., ServerProcess], listen: Listen) -> None:
    """Two seconds after its last word, and used again when it speaks."""
    server = start_server("redis")
    listening = listen(server.settings())
    server.pause()
    listening.is_suspended()
    server.resume()
    listening.stands()
    listening.hears(lambda key: server.ask("SET", key, 1))


def test_a_cut_line_is_noticed_in_time(redis_server: ServerProcess, listen: Listen) -> None:
    """Nobody closes a connection then; and what waited in the line is not needed any more when it heals."""
    with Proxy(redis_server.port) as line:
        listening = listen({"redis_host": HOST, "redis_port": line.port})
        line.cut()
        redis_server.ask("SET", CACHE + "key", 1)
        listening.is_suspended()
        assert CACHE + "key" not in listening.ear.keys
        line.heal()
        listening.stands()
        listening.hears(lambda key: redis_server.ask("SET", key, 2))


def test_a_quiet_server_is_not_given_up(redis_server: ServerProcess, listen: Listen) -> None:
    """It answers us."""
    listening = listen(redis_server.settings())
    for _ in range(5):  # a machine that stands still is no finding
        listening.ear.forget()
        time.sleep(BYPASS)
        if not listening.ear.calls:
            return
    pytest.fail("it is given up every time")


def test_a_server_that_comes_late_is_found(start_server: Callable[..., ServerProcess]) -> None:
    """Nothing waits for it, and nothing has to be said again."""
    server = start_server("redis")
    server.stop()
    listening = Listening(server_of(server.settings()))
    time.sleep(0.3)
    assert not listening.ear.calls
    server.start()
    listening.stands()
    listening.subscriptions.close()


def test_a_child_begins_anew(redis_server: ServerProcess, listen: Listen) -> None:
    """It trusts nothing of its parent's, closes the parent's connection on its side only, and listens on its own."""
    listening = listen(redis_server.settings())
    listening.ear.calls.clear()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert listening.ear.calls == ["suspend"]
            listening.subscriptions.add(listening.ear)
            listening.stands()
            listening.hears(lambda key: redis_server.ask("SET", key, 1), "child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    took = time.monotonic() - began
    assert "suspend" not in listening.ear.calls or took > 1.0, "the child has closed its parent's connection"
    listening.stands()
    listening.hears(lambda key: redis_server.ask("SET", key, 1))


@pytest.mark.parametrize("how", ["kill", pytest.param("demote", marks=pytest.mark.soak)])
def test_a_failover_by_sentinels_is_followed(how: str, server_folder: Callable[[], Path]) -> None:
    """To the new primary, with nothing trusted in between."""
    group = SentinelGroup(require("redis"), server_folder()).start()
    listening = Listening(server_of(group.settings()))
    try:
        listening.stands()
        listening.ear.calls.clear()
        old = group.primary
        if how == "kill":
            old.kill()
            listening.is_suspended()
        else:
            group.sentinels[0].ask("SENTINEL", "FAILOVER", group.service)
        wait_until(lambda: group.primary is not old and group.primary.ask("ROLE")[0] == b"master", "the failover")
        wait_until(lambda: "suspend" in listening.ear.calls and listening.ear.open, "the stream", SOON)
        listening.hears(lambda key: group.primary.ask("SET", key, 1))
    finally:
        listening.subscriptions.close()
        group.stop()


@pytest.mark.soak  # tests/redis/test_near_cache.py has the same for a cache
@pytest.mark.parametrize("how", ["kill", "demote"])
def test_a_failover_in_a_cluster_is_followed(how: str, start_cluster: Callable[..., Cluster]) -> None:
    """A primary dies, or steps down in good order, and its replica takes over."""
    cluster = start_cluster("redis", node_timeout=600)
    listening = Listening(server_of(cluster.settings()))
    listening.stands()
    listening.ear.calls.clear()
    old = cluster.primaries[1]
    if how == "kill":
        old.kill()
        listening.is_suspended()
    else:
        identity = old.ask("CLUSTER", "MYID").decode()
        replicas = [one for one in cluster.servers if one.ask("CLUSTER NODES")[one.address]["master_id"] == identity]
        replicas[0].ask("CLUSTER", "FAILOVER")
    alive = [server for server in cluster.servers if server is not old]
    wait_until(lambda: sum(server.ask("ROLE")[0] == b"master" for server in alive) == 3, "the failover")
    wait_until(lambda: "suspend" in listening.ear.calls and listening.ear.open, "the stream", SOON + 2)
    with RedisCluster(host=HOST, port=alive[0].port) as client:
        for name in map(str, range(40)):
            listening.hears(lambda key: client.set(key, 1), name)
    listening.subscriptions.close()


def test_a_doubt_is_cleared_by_looking_again(redis_cluster: Cluster, listen: Listen) -> None:
    """Whoever was sent to another node says so: nothing is trusted before it is known who the primaries are."""
    listening = listen(redis_cluster.settings())
    listening.ear.calls.clear()
    doubt(server_of(redis_cluster.settings()))
    assert listening.ear.calls[:1] == ["suspend"]
    listening.stands(1.0)


RIGHTS = "~openalgo@stream:* &openalgo@stream:!changes +get +set +pexpire +publish +subscribe +ping"
"""What is left to a user who may not track keys."""


@pytest.fixture(params=["RESP3", pytest.param("RESP2", marks=pytest.mark.soak)])
def untracked(request: pytest.FixtureRequest, start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """A server whose user may not track keys, and one that does not even let him choose the protocol."""
    users = (f"user openalgo on >open-sesame {RIGHTS}{' +hello' if request.param == 'RESP3' else ''}",)
    return start_server("redis", users=users)


def settings_of(untracked: ServerProcess) -> dict[str, Any]:
    """Return the variables of a user with few rights."""
    return {
        "redis_host": HOST,
        "redis_port": untracked.port,
        "redis_username": "openalgo",
        "redis_password": "open-sesame",
    }


def test_where_the_server_may_not_tell_writers_do(untracked: ServerProcess) -> None:
    """Those of this installation: a message of anybody else is counted and ignored."""
    listening = Listening(server_of(settings_of(untracked)))
    began = time.monotonic()
    listening.stands(5.0)
    assert time.monotonic() - began > 2.0, "it trusted somebody who may not have known that he has to announce"
    stream = _streams[listening.subscriptions._key]
    with untracked.client() as client:

        def write(key: str) -> None:
            client.set(key, 1)
            listening.subscriptions.changed([key], lambda _, *words: client.execute_command(*words))

        for name in ("one", "two"):
            listening.hears(write, name)
        listening.ear.calls.clear()
        client.publish(NAMESPACE + "!changes", b"x" * 60)
        wait_until(lambda: stream.ignored == 1, "the forgery to be counted", SOON)
        assert not {"drop", "drop_all"} & set(listening.ear.calls)
        time.sleep(1.2)  # the mark is renewed
        listening.stands(5.0)
        client.delete(NAMESPACE + "!listeners")
        listening.is_suspended(1.0)
        listening.stands(5.0)
        listening.hears(write)
    listening.subscriptions.close()


def test_a_refusal_is_said_once(start_server: Callable[..., ServerProcess], caplog: pytest.LogCaptureFixture) -> None:
    """By whoever reads, and not by the thread that listens; the password is not in it."""
    server = start_server("redis", users=("user openalgo on >open-sesame ~* +get +hello",))
    listening = Listening(server_of(settings_of(server)))
    said: list[str] = []

    def look() -> bool:
        listening.subscriptions.add(listening.ear)
        said[:] = [line for line in caplog.messages if server.address in line]
        return bool(said)

    wait_until(look, "the refusal to be said", 6.0)
    for _ in range(100):
        look()
    assert len(said) == 1
    assert "NOPERM" in said[0]
    assert "sesame" not in said[0]
    assert not listening.ear.open
    listening.subscriptions.close()


def test_a_wrong_password_is_not_tried_again_and_again(start_server: Callable[..., ServerProcess]) -> None:
    """The server's log and its administrator are spared."""
    server = start_server("redis", login=Login(username=None, password="right"))
    listening = Listening(server_of({"redis_host": HOST, "redis_port": server.port, "redis_password": "wrong"}))
    time.sleep(1.5)
    with redis.Redis(port=server.port, password="right") as client:
        assert sum(int(entry["count"]) for entry in client.acl_log() if entry["reason"] == "auth") == 1
    listening.subscriptions.close()

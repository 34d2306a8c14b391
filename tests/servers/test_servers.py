"""The servers of the tests are what they are said to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.groups import Cluster, SentinelGroup
from tests.servers.process import HOST, Login, ServerProcess, wait_until

ONCE = Retry(NoBackoff(), 0)

pytestmark = pytest.mark.server


@pytest.mark.parametrize("brand", ["redis", "valkey"])
def test_a_server_of_ones_own(start_server: Callable[..., ServerProcess], brand: str) -> None:
    """It can be frozen, killed, and started again at the same place; and it forgets, unless told to remember."""
    server = start_server(brand, {"appendonly": "yes", "appendfsync": "always"})
    assert server.ask("SET", "key", "value")
    server.pause()
    with pytest.raises(redis.TimeoutError), server.client(socket_timeout=0.1) as client:
        client.ping()
    server.resume()
    port = server.port
    server.kill()
    with pytest.raises(redis.ConnectionError):
        server.ask("PING")
    assert server.start().port == port
    assert server.ask("GET", "key") == b"value"
    assert server.settings().items() >= {f"{brand}_host": HOST, f"{brand}_port": port}.items()


def test_a_server_with_a_password(start_server: Callable[..., ServerProcess]) -> None:
    """It wants it."""
    server = start_server("redis", login=Login(username=None, password="secret"))
    assert server.ask("PING")
    with redis.Redis(host=HOST, port=server.port, retry=ONCE) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    assert "secret" not in repr(server.login)


def test_a_secured_server(redis_secured: ServerProcess) -> None:
    """It wants TLS, our certificate, user and password."""
    tls = redis_secured.tls
    assert tls is not None
    assert tls.client is not None
    terms: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(tls.authority)}
    ours: dict[str, Any] = {"ssl_certfile": str(tls.client.certificate), "ssl_keyfile": str(tls.client.key)}
    login: dict[str, Any] = {"username": "openalgo", "password": redis_secured.settings()["redis_password"]}
    refused: list[tuple[dict[str, Any], type[Exception]]] = [
        ({}, redis.ConnectionError),
        (terms | login, redis.ConnectionError),
        (terms | ours, redis.AuthenticationError),
    ]
    for options, error in refused:
        with redis.Redis("localhost", redis_secured.port, retry=ONCE, **options) as client, pytest.raises(error):
            client.ping()
    with redis.Redis("localhost", redis_secured.port, **terms, **ours, **login) as client:
        assert client.ping()
        with pytest.raises(redis.ResponseError):
            client.get("a key of others")


def test_a_redis_cluster(redis_cluster: Cluster) -> None:
    """Three primaries serve all slots, each with a replica."""
    check_cluster(redis_cluster)


def test_a_valkey_cluster(valkey_cluster: Cluster) -> None:
    """Likewise."""
    check_cluster(valkey_cluster)


def test_sentinels(redis_sentinels: SentinelGroup) -> None:
    """They know the primary."""
    assert redis_sentinels.primary is redis_sentinels.servers[0]


def check_cluster(cluster: Cluster) -> None:
    """Write through its entrance, and count."""
    with redis.RedisCluster(host=HOST, port=cluster.servers[0].port) as client:
        for number in range(30):
            client.set(f"test-servers-{number}", number, px=10_000)
        assert len(client.get_primaries()) == 3
        assert len(client.get_replicas()) == 3
    wait_until(lambda: len(cluster.primaries) == 3, "three primaries")

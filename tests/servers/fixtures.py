"""Fixtures of real servers. Those of the session are shared: use keys of your own there, and leave them running."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from tests.servers.certificates import Authority
from tests.servers.groups import Cluster, SentinelGroup
from tests.servers.postgres import PostgresProcess, require_postgres
from tests.servers.process import HOST, Login, ServerProcess, Tls
from tests.servers.programs import Brand, require

S = TypeVar("S", ServerProcess, Cluster, SentinelGroup, PostgresProcess)

LOGIN: Final = Login(username="openalgo", password="pässword-of-the-tests")
"""The user with the rights that docs/redis.md gives."""


def users() -> tuple[str, ...]:
    """Return the access control list that docs/redis.md gives, with the password of the tests."""
    page = (Path(__file__).parents[2] / "docs" / "redis.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("user ")]
    assert lines
    return tuple(line.replace("PASSWORD", LOGIN.password) for line in lines)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Callable[[], Path]]:
    """Make folders with short paths, as Unix sockets need them."""
    with ExitStack() as stack:

        def make() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oac-", ignore_cleanup_errors=True)))

        yield make


@pytest.fixture(scope="session")
def redis_server(server_folder: Callable[[], Path]) -> Iterator[ServerProcess]:
    """A Redis that asks for nothing."""
    yield from _running(ServerProcess(require("redis"), server_folder()))


@pytest.fixture(scope="session")
def valkey_server(server_folder: Callable[[], Path]) -> Iterator[ServerProcess]:
    """A Valkey that asks for nothing."""
    yield from _running(ServerProcess(require("valkey"), server_folder()))


@pytest.fixture(scope="session")
def authority(server_folder: Callable[[], Path]) -> Authority:
    """Who vouches for the servers and clients of the tests."""
    return Authority(server_folder())


@pytest.fixture(scope="session")
def redis_secured(server_folder: Callable[[], Path], authority: Authority) -> Iterator[ServerProcess]:
    """A Redis with TLS, which wants a client's certificate, a user and a password, and gives few rights."""
    tls = Tls(
        authority=authority.certificate,
        server=authority.issue("server", "localhost", HOST),
        client=authority.issue("client"),
    )
    yield from _running(ServerProcess(require("redis"), server_folder(), login=LOGIN, users=users(), tls=tls))


@pytest.fixture(scope="session")
def redis_cluster(server_folder: Callable[[], Path]) -> Iterator[Cluster]:
    """A cluster of six Redis."""
    yield from _running(Cluster(require("redis"), server_folder()))


@pytest.fixture(scope="session")
def valkey_cluster(server_folder: Callable[[], Path]) -> Iterator[Cluster]:
    """A cluster of six Valkeys."""
    yield from _running(Cluster(require("valkey"), server_folder()))


@pytest.fixture(scope="session")
def redis_sentinels(server_folder: Callable[[], Path]) -> Iterator[SentinelGroup]:
    """A Redis with a replica and three Sentinels."""
    yield from _running(SentinelGroup(require("redis"), server_folder()))


@pytest.fixture(scope="session")
def postgres(server_folder: Callable[[], Path]) -> Iterator[PostgresProcess]:
    """A PostgreSQL: ask it for a database of your own."""
    yield from _running(PostgresProcess(require_postgres(), server_folder()))


@pytest.fixture
def start_server(server_folder: Callable[[], Path]) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers of the test's own, to be frozen, filled and killed: ``start_server("redis", {...}, login=...)``."""
    started: list[ServerProcess] = []

    def start(brand: Brand, options: dict[str, str | list[str]] | None = None, **more: Any) -> ServerProcess:
        server = ServerProcess(require(brand), server_folder(), options, **more)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def start_cluster(server_folder: Callable[[], Path]) -> Iterator[Callable[..., Cluster]]:
    """Start a cluster of the test's own: ``start_cluster("redis", node_timeout=500)``."""
    started: list[Cluster] = []

    def start(brand: Brand, **options: Any) -> Cluster:
        cluster = Cluster(require(brand), server_folder(), **options)
        started.append(cluster)
        return cluster.start()

    yield start
    for cluster in started:
        cluster.stop()


def _running(server: S) -> Iterator[S]:
    try:
        yield server.start()
    finally:
        server.stop()

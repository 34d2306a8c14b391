"""The public contracts on real servers: each brand, alone and in groups, under TLS and with few rights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.backends.redis import RedisBackend
from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.backends.valkey import ValkeyBackend
from openalgo_cache.settings import Settings
from openalgo_cache.testing import (
    BackendContract,
    CacheContract,
    Contract,
    InvalidationContract,
    Rig,
    ScanContract,
    SharedContract,
)

pytestmark = pytest.mark.server


class OnServer(Contract):
    """Takes the server from the fixture that the class names.

    Attributes:
        fixture: Its name.
        tested: The class to test.
    """

    fixture: ClassVar[str]
    tested: ClassVar[type[RespBackend]] = RedisBackend
    _variables: dict[str, Any]

    @pytest.fixture(autouse=True)
    def _find_server(self, request: pytest.FixtureRequest) -> None:
        self._variables = request.getfixturevalue(self.fixture).settings()

    def make_settings(self, folder: Path) -> Settings:
        """Add where the server is."""
        return replace(super().make_settings(folder), **self._variables)

    def make_backend(self, request: Request) -> CacheBackend:
        """Make a backend on the server of the session."""
        return self.tested.create(request)


class Everything(OnServer, BackendContract, CacheContract, ScanContract, InvalidationContract, SharedContract):
    """All contracts that these backends are held to, with each way of sealing."""


class Bytes(OnServer, BackendContract, ScanContract, InvalidationContract):
    """Those about bytes alone: whatever seals them, a server gets nothing else."""


class TestRedis(Everything):
    """One Redis."""

    fixture = "redis_server"


class TestValkeyBytes(Bytes):
    """One Valkey."""

    fixture = "valkey_server"
    tested = ValkeyBackend


class TestRedisSecuredBytes(Bytes):
    """TLS, a client's certificate, and a user with the rights that docs/redis.md lists."""

    fixture = "redis_secured"


class TestRedisClusterBytes(Bytes):
    """Three primaries with a replica each."""

    fixture = "redis_cluster"


class TestRedisSentinelBytes(Bytes):
    """A primary that Sentinels name."""

    fixture = "redis_sentinels"


@pytest.mark.soak
class TestValkey(Everything):
    """One Valkey."""

    fixture = "valkey_server"
    tested = ValkeyBackend


@pytest.mark.soak
class TestRedisSecured(Everything):
    """TLS and few rights."""

    fixture = "redis_secured"


@pytest.mark.soak
class TestRedisCluster(Everything):
    """Three primaries with a replica each."""

    fixture = "redis_cluster"


@pytest.mark.soak
class TestValkeyCluster(Everything):
    """Likewise."""

    fixture = "valkey_cluster"
    tested = ValkeyBackend


@pytest.mark.soak
class TestRedisSentinel(Everything):
    """A primary that Sentinels name."""

    fixture = "redis_sentinels"


@pytest.mark.soak
class TestRedisWithoutNearTier(Everything):
    """Every read goes to the server."""

    fixture = "redis_server"

    def make_settings(self, folder: Path) -> Settings:
        """Turn the near tier off."""
        return replace(super().make_settings(folder), cache_near_enabled=False)

    def test_a_cache_serves_from_near_until_another_writes(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """It never does; the other contracts show that it serves."""
        cache = rig.cache(**sealing)
        cache.set("key", 1)
        assert [cache.get("key") for _ in range(3)] == [1] * 3
        assert cache.stats()["near_hits"] == 0

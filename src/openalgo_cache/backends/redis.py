"""The Redis backend: redis-py below what Redis and Valkey have in common."""

from __future__ import annotations

from typing import ClassVar, Final

from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.backends.resp.driver import Driver
from openalgo_cache.settings.server import ServerName

try:
    import redis
    from redis.maint_notifications import MaintNotificationsConfig
except ImportError:
    raise ImportError('RedisBackend needs redis-py: pip install "openalgo-cache[redis]"') from None

DRIVER: Final = Driver(
    redis, {"driver_info": None, "maint_notifications_config": MaintNotificationsConfig(enabled=False)}
)


class RedisBackend(RespBackend):
    """Keeps a cache on a Redis server, behind Sentinels, or in a Redis cluster; see RespBackend."""

    driver: ClassVar[Driver] = DRIVER
    name: ClassVar[ServerName] = "redis"

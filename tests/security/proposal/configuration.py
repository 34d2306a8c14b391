"""Which store, and whether it is there: "Cache Factory", "Auto-Configuration Logic", "Configuration Validation".

The environment is a dictionary that its owner passes around, as the proposal passes ``os.environ``.
"""

from __future__ import annotations

import logging

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger("proposal")

Environment = dict[str, str]


def is_redis_available(environment: Environment) -> bool:
    try:
        host = environment.get("REDIS_HOST", "localhost")
        port = int(environment.get("REDIS_PORT", "6379"))
        password = environment.get("REDIS_PASSWORD")
        once = Retry(NoBackoff(), 0)  # redis-py's own ten attempts would only take the tests' time
        with redis.Redis(host=host, port=port, password=password, socket_connect_timeout=2, retry=once) as client:
            client.ping()
        return True
    except Exception as error:
        logger.debug("Redis not available: %s", error)
        return False


def auto_detect_backend(environment: Environment) -> str:
    if environment.get("CACHE_BACKEND"):
        return environment["CACHE_BACKEND"].lower()
    return "redis" if is_redis_available(environment) else "sqlite"


def configure_cache_environment(environment: Environment) -> None:
    if environment.get("CACHE_BACKEND"):
        return
    if environment.get("MULTI_INSTANCE_MODE", "false").lower() == "true":
        if not is_redis_available(environment):
            raise RuntimeError("Multi-instance mode requires Redis")
        environment["CACHE_BACKEND"] = "redis"
        return
    environment["CACHE_BACKEND"] = "redis" if is_redis_available(environment) else "sqlite"


def validate_cache_configuration(environment: Environment) -> None:
    backend = environment.get("CACHE_BACKEND", "sqlite")
    if environment.get("MULTI_INSTANCE_MODE", "false").lower() == "true":
        if backend not in {"redis", "valkey"}:
            raise ValueError("MULTI_INSTANCE_MODE requires Redis or Valkey backend")
        if not environment.get("INSTANCE_ID"):
            raise ValueError("INSTANCE_ID required for multi-instance mode")
    if backend in {"redis", "valkey"} and not is_redis_available(environment):
        logger.warning("%s backend selected but not available, falling back to SQLite", backend)
        environment["CACHE_BACKEND"] = "sqlite"

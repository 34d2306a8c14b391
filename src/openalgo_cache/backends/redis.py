"""The name of the Redis backend, which this version does not contain.

It can be imported, so that type checks and feature tests of applications work; making one says what to use instead.
"""

from __future__ import annotations

from typing import NoReturn

from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.errors import ConfigurationError

try:
    import redis as _redis  # noqa: F401  # asked for here, so that the missing extra is named at import
except ImportError:
    raise ImportError('RedisBackend needs redis-py: pip install "openalgo-cache[redis]"') from None


class RedisBackend(CacheBackend):
    """Not in this version: raises ConfigurationError when it is made."""

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        """Raise ConfigurationError."""
        raise ConfigurationError("this version has no Redis backend: use CACHE_BACKEND=sqlite")

    @classmethod
    def create(cls, request: Request) -> RedisBackend:
        """Raise ConfigurationError."""
        return cls(request)

"""The name of the Valkey backend, which this version does not contain.

It can be imported, so that type checks and feature tests of applications work; making one says what to use instead.
"""

from __future__ import annotations

from typing import NoReturn

from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.errors import ConfigurationError

try:
    import valkey as _valkey  # noqa: F401  # asked for here, so that the missing extra is named at import
except ImportError:
    raise ImportError('ValkeyBackend needs valkey-py: pip install "openalgo-cache[valkey]"') from None


class ValkeyBackend(CacheBackend):
    """Not in this version: raises ConfigurationError when it is made."""

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        """Raise ConfigurationError."""
        raise ConfigurationError("this version has no Valkey backend: use CACHE_BACKEND=sqlite")

    @classmethod
    def create(cls, request: Request) -> ValkeyBackend:
        """Raise ConfigurationError."""
        return cls(request)

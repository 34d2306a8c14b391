"""The Valkey backend: valkey-py below what Redis and Valkey have in common."""

from __future__ import annotations

from typing import ClassVar, Final

from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.backends.resp.driver import Driver
from openalgo_cache.settings.server import ServerName

try:
    import valkey
except ImportError:
    raise ImportError('ValkeyBackend needs valkey-py: pip install "openalgo-cache[valkey]"') from None

DRIVER: Final = Driver(valkey, {"lib_name": None, "lib_version": None})


class ValkeyBackend(RespBackend):
    """Keeps a cache on a Valkey server, behind Sentinels, or in a Valkey cluster; see RespBackend."""

    driver: ClassVar[Driver] = DRIVER
    name: ClassVar[ServerName] = "valkey"

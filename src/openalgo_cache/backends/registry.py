"""Which backends there are: the built-in ones, and those that installed packages register.

A package registers its backend by the entry-point group ``openalgo_cache.backends``; the name it chooses is what
CACHE_BACKEND and ``get_cache(backend=...)`` take.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Final

from openalgo_cache.backends.base import CacheBackend
from openalgo_cache.errors import ConfigurationError

ENTRY_POINT_GROUP: Final = "openalgo_cache.backends"

_BUILT_IN: Final = {
    "memory": "openalgo_cache.backends.memory:MemoryBackend",
    "redis": "openalgo_cache.backends.redis:RedisBackend",
    "sqlite": "openalgo_cache.backends.sqlite:SQLiteBackend",
    "valkey": "openalgo_cache.backends.valkey:ValkeyBackend",
}


_NEEDS: Final = {"redis": "redis", "valkey": "valkey"}
"""Built-in backends that need an extra, and the package that it brings."""


def available() -> frozenset[str]:
    """Return the names of the backends that can be used."""
    known = frozenset(_BUILT_IN) | frozenset(_registered())
    return known - {name for name, package in _NEEDS.items() if find_spec(package) is None}


def load(name: str) -> type[CacheBackend]:
    """Return the backend class of a name.

    Raises:
        ConfigurationError: There is no such backend, or what is registered under the name is none.
    """
    place = _BUILT_IN.get(name) or _registered().get(name)
    if place is None:
        raise ConfigurationError(f"there is no backend {name!r} here: use one of {', '.join(sorted(available()))}")
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, CacheBackend)):
        raise ConfigurationError(f"what is registered as the backend {name!r} ({place}) is no CacheBackend")
    return found


def _registered() -> dict[str, str]:
    from importlib.metadata import entry_points  # noqa: PLC0415  # slow to import, and mostly not needed

    return {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}

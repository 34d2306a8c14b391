"""The manager of this process, and the functions of the front door that stand on it."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, overload

from openalgo_cache.locks import make_lock
from openalgo_cache.manager import CacheManager
from openalgo_cache.options import Options

if TYPE_CHECKING:
    from openalgo_cache.cache import Cache
    from openalgo_cache.symbols import SymbolView

_managers: Final[list[CacheManager]] = []
_lock: Final = make_lock()


def default_manager() -> CacheManager:
    """Return the manager that the functions of this module use."""
    with _lock:
        if not _managers:
            _managers.append(CacheManager())
            atexit.register(_managers[0].close)
        return _managers[0]


@overload  # the literal comes first, so the overlap is decided
def get_cache(name: Literal["symbols"]) -> SymbolView: ...  # type: ignore[overload-overlap]
@overload
def get_cache(name: str, **options: Unpack[Options]) -> Cache: ...
def get_cache(name: str, **options: Unpack[Options]) -> Cache | SymbolView:
    """Return the cache of a name from the default manager (see ``CacheManager.get_cache``)."""
    return default_manager().get_cache(name, **options)


def get_cache_stats() -> dict[str, dict[str, Any]]:
    """Return the statistics of every cache that was asked for (see ``Cache.stats`` and ``SymbolMaster.stats``)."""
    return default_manager().get_stats()


def get_cache_backend(backend_type: str | None = None, *, name: str = "default", **options: Unpack[Options]) -> Cache:
    """Return a cache on a backend of the caller's choice, with the proposal's signature.

    Args:
        backend_type: ``memory``, ``sqlite``, or what an installed package registers; left out, the configured one.
        name: The cache's name. Unlike :func:`get_cache` this makes a new handle at each call.
        **options: As for :func:`get_cache`.
    """
    manager = default_manager()
    if backend_type is not None:
        options["backend"] = backend_type.lower()
    return manager.new_cache(name, **options)

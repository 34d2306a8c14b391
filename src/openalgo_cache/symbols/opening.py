"""The symbol master of an installation: how it is opened, as the settings say."""

from __future__ import annotations

from collections.abc import Callable

from openalgo_cache.catalogue import SYMBOLS, policy_of
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.stack import Ground, build_stack
from openalgo_cache.symbols.master import SymbolMaster
from openalgo_cache.symbols.shelf import Shelf


class _RingWhenNeeded:
    """The key ring for a master, which is made before anything may be created or read."""

    def __init__(self, ring: Callable[[], LiveRing]) -> None:
        self._ring = ring

    def subkey(self, purpose: str, context: bytes) -> bytes:
        """See KeyRing."""
        return self._ring().now.subkey(purpose, context)


def open_master(ground: Ground, shelf: Callable[[], Shelf | None], *, background: bool) -> SymbolMaster:
    """Return the master beside the cache files; nothing is opened before the first question.

    Args:
        ground: What the caches of the installation stand on.
        shelf: Returns where instances share their master, or None if this one is alone; asked when first needed.
        background: Whether a thread reads it ahead and keeps it new.
    """
    settings = ground.settings
    return SymbolMaster(
        settings.sqlite_cache_path,
        _RingWhenNeeded(ground.ring),
        ground.clock,
        open_shelf=shelf,
        preload=settings.symbol_cache_preload,
        refresh_interval=settings.symbol_cache_refresh_interval,
        background=background,
        show_counts=settings.cache_stats_enabled,
    )


def open_shelf(ground: Ground, backend: str) -> Shelf:
    """Return where the instances that share a backend put a master for each other.

    Args:
        ground: What the caches of the installation stand on.
        backend: The backend's name.
    """
    settings = ground.settings
    stack = build_stack(SYMBOLS, policy_of(SYMBOLS, settings), backend, ground)
    return Shelf(stack.backend, stack.keyspace, stack.codec, ground.clock, settings.instance)

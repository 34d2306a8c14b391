"""Managers for tests: each is one installation, or one more process of it, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openalgo_cache.clock import Clock, system_clock
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings


def manager(folder: Path, clock: Clock = system_clock, backend: str | None = "sqlite", **settings: Any) -> CacheManager:
    """Return a manager; those of the same folder share files and key ring, as the processes of a host do.

    Args:
        folder: Where the files lie.
        clock: Where the time comes from.
        backend: CACHE_BACKEND.
        **settings: Other settings, by attribute.
    """
    return CacheManager(Settings(base_folder=folder, cache_backend=backend, **settings), clock)

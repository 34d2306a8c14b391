"""The caches under measurement, in a folder of their own: settings come from here alone, never from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openalgo_cache import Cache, CacheManager, Settings
from openalgo_cache.catalogue import Policy, Sealing
from openalgo_cache.clock import system_clock
from openalgo_cache.stack import build_stack


@contextmanager
def manager(backend: str, *, near: bool = True, **server: Any) -> Iterator[CacheManager]:
    """Make a manager on an empty folder, and remove both in the end.

    Args:
        backend: CACHE_BACKEND.
        near: What CACHE_NEAR_ENABLED says.
        **server: Where the server is, for a backend that needs one.
    """
    with TemporaryDirectory(prefix="openalgo-cache-bench-") as folder:
        made = CacheManager(replace(settings(Path(folder), backend, near=near), **server))
        try:
            yield made
        finally:
            made.close()


def settings(folder: Path, backend: str = "sqlite", *, near: bool = True) -> Settings:
    """Return default settings whose files lie in ``folder``."""
    return Settings(cache_backend=backend, sqlite_cache_path=folder / "cache", cache_near_enabled=near)


def plain_cache(made: CacheManager, name: str) -> Cache:
    """Return a cache of plain records on SQLite; no option of ``get_cache`` gives one outside this process's memory."""
    made.ring()  # none is made any more once there is a file, and the sealed caches need one
    policy = Policy(lifetime=3600, sealing=Sealing.PLAIN)
    return Cache(name, policy, lambda: build_stack(name, policy, "sqlite", made.ground()), system_clock)

"""One cold key that many threads of several processes ask for at once, on whatever store the settings name."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import LONGEST_LOAD
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from tests import workers
from tests.workers import PATIENCE, SPAWN


def loads_of(settings: dict[str, Any], folder: Path, processes: int, threads: int) -> tuple[int, set[str]]:
    """Let every thread ask for one key that nobody has; return how often it was loaded, and all the answers.

    Args:
        settings: The settings that the processes share, by attribute.
        folder: An empty folder.
        processes: How many.
        threads: In each.
    """
    ready, go, results, counted = SPAWN.Semaphore(0), SPAWN.Event(), SPAWN.Queue(), folder / "loads"
    counted.touch()
    started = [workers.start(_ask, settings, threads, ready, go, str(counted), results) for _ in range(processes)]
    for _ in started:
        assert ready.acquire(timeout=PATIENCE)
    go.set()
    answers: set[str] = set()
    for _ in started:
        answers |= results.get(timeout=PATIENCE)
    for process in started:
        workers.join(process)
    return len(counted.read_bytes()), answers


def load_and_be_killed(settings: dict[str, Any], load_within: float = LONGEST_LOAD) -> None:
    """Let a process take the lease of ``key``, and kill it while it loads."""
    loading = SPAWN.Event()
    process = workers.start(_load_for_ever, settings, load_within, loading)
    assert loading.wait(PATIENCE)
    workers.kill(process)


def _cache(settings: dict[str, Any], load_within: float = LONGEST_LOAD) -> Cache:
    return CacheManager(Settings(**settings)).get_cache("quotes", ttl=1_000, load_within=load_within)


def _ask(settings: dict[str, Any], threads: int, ready: Any, go: Any, counted: str, results: Any) -> None:
    cache = _cache(settings)

    def load() -> str:
        with Path(counted).open("ab") as file:
            file.write(b".")
        time.sleep(0.2)  # long enough that the others come while it runs
        return f"loaded by {os.getpid()}"

    def ask(_: int) -> str:
        go.wait(PATIENCE)
        return cache.get_or_set("key", load)

    cache.get("another key")  # so that the store is open
    with ThreadPoolExecutor(threads) as pool:
        asking = pool.map(ask, range(threads))
        ready.release()
        results.put(set(asking))


def _load_for_ever(settings: dict[str, Any], load_within: float, loading: Any) -> None:
    def load() -> str:
        loading.set()
        time.sleep(PATIENCE)
        return "never"

    _cache(settings, load_within).get_or_set("key", load)

"""Backends and managers on the servers of tests, and readers that never stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from openalgo_cache import CacheManager, Settings
from openalgo_cache.backends.base import Request
from openalgo_cache.backends.redis import RedisBackend
from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.clock import Clock, system_clock
from openalgo_cache.keys import Keyspace

PREFIX = Keyspace("openalgo", "quotes").prefix


def backend(
    variables: dict[str, Any],
    tested: type[RespBackend] = RedisBackend,
    *,
    durable: bool = False,
    clock: Clock = system_clock,
    **more: Any,
) -> RespBackend:
    """Return a backend of the cache ``quotes``.

    Args:
        variables: Where the server is, as the servers say it.
        tested: The class.
        durable: As in Request.
        clock: Likewise.
        **more: Other settings.
    """
    settings = Settings(**{**variables, **more})
    request = Request(
        cache="quotes",
        namespace=None,
        prefix=PREFIX,
        maxsize=None,
        durable=durable,
        is_intact=lambda stored, record: True,
        subkey=lambda purpose: purpose.encode().ljust(32),
        settings=settings,
        clock=clock,
    )
    return tested.create(request)


def manager(folder: Path, variables: dict[str, Any], **more: Any) -> CacheManager:
    """Return a manager whose caches are on a server; those of one folder share a key ring."""
    brand = next(iter(variables)).partition("_")[0]
    return CacheManager(Settings(base_folder=folder, cache_backend=brand, **{**variables, **more}))


class Read(NamedTuple):
    """One look of a reader: when it began, how long it took, and whether it found what it looked for."""

    at: float
    took: float
    found: bool


class Readers:
    """Threads that read all the time, about a thousand times a second each, so that none keeps another waiting.

    Args:
        read: Reads once, and returns whether it found something.
        threads: How many threads.
    """

    def __init__(self, read: Callable[[], bool], threads: int = 4) -> None:
        self._read = read
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        self.reads: list[Read] = []
        self.errors: list[BaseException] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def between(self, start: float, end: float) -> list[Read]:
        """Return the reads that began within these moments of the monotonic clock."""
        return [read for read in self.reads if start <= read.at < end]

    def _work(self) -> None:
        while not self._over.is_set():
            at = time.monotonic()
            try:
                found = self._read()
            except BaseException as error:  # noqa: BLE001  # whatever it is: the test looks at it
                self.errors.append(error)
                return
            self.reads.append(Read(at, time.monotonic() - at, found))
            time.sleep(0.001)

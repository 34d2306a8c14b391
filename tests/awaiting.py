"""A cache whose verbs are those of its ``aio``, called from plain tests: each thread has an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.aio import AsyncCache
from openalgo_cache.cache import Cache
from openalgo_cache.testing import CacheContract, sealings
from openalgo_cache.testing.rig import Rig


class Loops:
    """Runs coroutines, on one event loop a thread."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._made: list[asyncio.AbstractEventLoop] = []

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine to its end."""
        loop = getattr(self._own, "loop", None)
        if loop is None:
            loop = self._own.loop = asyncio.new_event_loop()
            self._made.append(loop)
        return loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Close all, from whatever thread: theirs have ended."""
        for loop in self._made:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


class Awaiting(Cache):
    """A cache that awaits every verb.

    Args:
        plain: The cache whose ``aio`` is used.
        loops: Where.
    """

    __slots__ = ("plain", "run")

    def __init__(self, plain: Cache, loops: Loops) -> None:
        super().__init__(plain.name, plain.policy, plain._build, plain._now)
        self.plain = plain
        self.run = loops.run

    def _opened(self) -> Any:
        return self.plain._opened()

    @property
    def aio(self) -> AsyncCache:
        """Those of the plain cache."""
        return self.plain.aio

    def keys(self, prefix: str = "") -> Iterator[Any]:
        """See Cache."""
        return iter(self.run(_listed(self.plain.aio.keys(prefix))))

    def items(self, prefix: str = "") -> Iterator[Any]:
        """See Cache."""
        return iter(self.run(_listed(self.plain.aio.items(prefix))))


def _awaited(name: str) -> Callable[..., Any]:
    def verb(self: Awaiting, *args: Any, **kwargs: Any) -> Any:
        return self.run(getattr(self.plain.aio, name)(*args, **kwargs))

    return verb


for _name in ("get", "get_many", "exists", "ttl", "size", "stats", "set", "set_many", "add", "touch", "incr"):
    setattr(Awaiting, _name, _awaited(_name))
for _name in ("pop", "delete", "delete_many", "clear", "get_or_set"):
    setattr(Awaiting, _name, _awaited(_name))


async def _listed(items: Any) -> list[Any]:
    return [item async for item in items]


class _Rig(Rig):
    """A rig whose caches await."""

    loops: Loops

    def cache(self, name: str = "quotes", **options: Any) -> Cache:
        """Return a cache that awaits its verbs."""
        return Awaiting(super().cache(name, **options), self.loops)


class AwaitedCacheContract(CacheContract):
    """What every cache promises, of the verbs for asyncio."""

    @pytest.fixture
    def sealing(self) -> dict[str, Any]:
        """How they seal makes no difference here."""
        return sealings.BY_NAME["encrypted"]

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        """A rig whose caches await."""
        with ExitStack() as stack:
            rig = _Rig(self, tmp_path)
            stack.callback(rig.close)
            rig.loops = Loops()
            stack.callback(rig.loops.close)
            yield rig

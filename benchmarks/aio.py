"""Reads of asyncio callers that go to the store, beside what they would do without this library.

On a server that is redis-py's own asyncio client, with as many connections; on SQLite the plain verb in a thread of the
loop's executor. Where no redis-server is installed, only the latter is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks import caches, values
from benchmarks.contest import Contender, contest, note
from benchmarks.lines import Line
from openalgo_cache import CacheManager
from tests.servers.process import ServerProcess
from tests.servers.programs import find

_READS: Final = 100

Read = Callable[[str], Awaitable[Any]]


def run(*, quick: bool = False) -> list[Line]:
    """Measure on Redis and on SQLite."""
    rounds = 2 if quick else 200
    with ExitStack() as stack:
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        stack.callback(lambda: loop.run_until_complete(loop.shutdown_default_executor()))
        stack.callback(lambda: loop.run_until_complete(loop.shutdown_asyncgens()))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="openalgo-cache-bench-")))
        return [*_on_redis(loop, folder, rounds), *_on_sqlite(loop, folder, rounds)]


def _on_redis(loop: asyncio.AbstractEventLoop, folder: Path, rounds: int) -> list[Line]:
    if (program := find("redis")) is None:
        return []
    server = ServerProcess(program, folder).start()
    settings = replace(caches.settings(folder, "redis", near=False), **server.settings())
    manager = CacheManager(settings)
    theirs = Redis(connection_pool=BlockingConnectionPool(port=server.port, max_connections=settings.redis_pool_size))
    try:
        keys = _filled(manager)
        for key in keys:
            loop.run_until_complete(theirs.set(key, values.TEXT))
        return _compared(loop, keys, manager.get_cache("quotes").aio.get, theirs.get, "Redis", "redis.asyncio", rounds)
    finally:
        loop.run_until_complete(theirs.aclose())
        manager.close()
        server.stop()


def _on_sqlite(loop: asyncio.AbstractEventLoop, folder: Path, rounds: int) -> list[Line]:
    manager = CacheManager(caches.settings(folder, near=False))
    try:
        keys, cache = _filled(manager), manager.get_cache("quotes")

        def theirs(key: str) -> Awaitable[Any]:
            return asyncio.to_thread(cache.get, key)

        return _compared(loop, keys, cache.aio.get, theirs, "SQLite", "asyncio.to_thread", rounds)
    finally:
        manager.close()


def _filled(manager: CacheManager) -> list[str]:
    keys = values.keys(_READS, "aio")
    manager.get_cache("quotes").set_many(dict.fromkeys(keys, values.TEXT))
    return keys


def _compared(  # noqa: PLR0913  # two sides, and what they are called
    loop: asyncio.AbstractEventLoop, keys: list[str], ours: Read, theirs: Read, store: str, peer: str, rounds: int
) -> list[Line]:
    async def one_by_one(read: Read) -> None:
        for key in keys:
            await read(key)

    async def at_once(read: Read) -> None:
        await asyncio.gather(*map(read, keys))

    def contender(ask: Callable[[Read], Any], read: Read) -> Contender:
        return lambda: loop.run_until_complete(ask(read))

    lines = []
    for how, ask in (("one by one", one_by_one), (f"{_READS} at once", at_once)):
        contenders = {"ours": contender(ask, ours), "theirs": contender(ask, theirs)}
        timings = contest(contenders, operations=_READS, rounds=rounds)
        lines.append(
            Line(
                what=f"get, {how}, from {store}",
                value=timings["ours"].best / timings["theirs"].best,
                unit=f"x {peer}",
                target=1.25,  # what plain callers are promised beside their client
                best="low",
                note=note(timings["ours"], timings["theirs"]),
            )
        )
    return lines

"""Caches on Redis and Valkey, beside the client library alone: it reads the same bytes and decodes them alike.

The servers are started here, on this machine. Without the program of one, its lines are left out, with a note.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import ormsgpack
import redis

from benchmarks import caches, values
from benchmarks.contest import Timing, contest, note
from benchmarks.lines import Line
from openalgo_cache import Cache, CacheManager
from openalgo_cache.catalogue import Policy, Sealing
from openalgo_cache.clock import system_clock
from openalgo_cache.keys import Key
from openalgo_cache.stack import build_stack
from tests.servers.process import HOST, ServerProcess
from tests.servers.programs import Brand, find

_ENTRIES: Final = 1000
_READS: Final = 50
_BULK: Final = 100
_BODY: Final = slice(8 + 24, None)
"""Where the value lies behind the expiry, in a plain record (see the record format in ``codec/envelope.py``)."""
_SOON: Final = 5.0
"""Seconds within which the near tier has to stand."""


def run(*, quick: bool = False) -> list[Line]:
    """Measure on each server that there is."""
    lines: list[Line] = []
    brands: tuple[Brand, Brand] = ("redis", "valkey")
    for brand in brands:
        program = find(brand)
        if program is None:
            print(f"servers: there is no {brand}-server here, so nothing is measured on it", file=sys.stderr)
            continue
        with TemporaryDirectory(prefix="oac-bench-") as folder:
            server = ServerProcess(program, Path(folder)).start()
            try:
                lines += _on(server, quick=quick)
            finally:
                server.stop()
    return lines


def _on(server: ServerProcess, *, quick: bool) -> Iterator[Line]:
    brand = server.program.brand
    client: Any = redis.Redis(host=HOST, port=server.port)
    with _manager(server, brand, near=False) as manager, closing(client) as bare:
        ours = _plain(manager, brand)
        stored = {key: f"openalgo:plain:{key}" for key in values.keys(_ENTRIES)}
        items: dict[Key, Any] = dict.fromkeys(stored, values.FLAT)
        ours.set_many(items)
        asked = values.asked(list(stored), _READS)
        many = list(stored)[:_BULK]
        decode = ormsgpack.unpackb
        if decode(bare.get(stored[asked[0]])[_BODY]) != values.FLAT:
            raise RuntimeError("the client alone does not read what the cache reads")

        def bare_reads() -> None:
            for key in asked:
                _ = decode(bare.get(stored[key])[_BODY])

        def bare_bulk() -> None:
            found = bare.mget([stored[key] for key in many])
            _ = {key: decode(value[_BODY]) for key, value in zip(many, found, strict=True)}

        rounds = 3 if quick else 300
        reads = contest({"ours": _reads(ours, asked), "bare": bare_reads}, operations=_READS, rounds=rounds)
        yield _ratio(f"get, plain flat dict, {brand}", reads, "x redis-py", 1.25)
        bulk = contest({"ours": lambda: ours.get_many(many), "bare": bare_bulk}, operations=_BULK, rounds=rounds)
        yield _ratio(f"get_many of {_BULK}, plain flat dicts, {brand}", bulk, "x redis-py", 1.5)
        with _manager(server, "valkey" if brand == "redis" else "redis", near=False) as other:
            theirs = _plain(other, "valkey" if brand == "redis" else "redis")
            pair = {"redis": ours, "valkey": theirs} if brand == "redis" else {"redis": theirs, "valkey": ours}
            clients = contest(
                {name: _reads(cache, asked) for name, cache in pair.items()}, operations=_READS, rounds=rounds
            )
            yield _clients(f"get on {brand}, valkey-py below", clients)
            clients = contest(
                {name: lambda cache=cache: cache.get_many(many) for name, cache in pair.items()},  # type: ignore[misc]  # bound now
                operations=_BULK,
                rounds=rounds,
            )
            yield _clients(f"get_many of {_BULK} on {brand}, valkey-py below", clients)
            theirs.close()
        ours.close()
    yield _near_hit(server, rounds)


def _near_hit(server: ServerProcess, rounds: int) -> Line:
    """Measure a signed text near, with the whole default policy, beside redis-py's GET of it."""
    brand = server.program.brand
    with _manager(server, brand, near=True) as manager, closing(redis.Redis(host=HOST, port=server.port)) as bare:
        cache = manager.get_cache("quotes")
        keys = values.keys(_READS)
        items: dict[Key, Any] = dict.fromkeys(keys, values.TEXT)
        cache.set_many(items)
        asked, stored = values.asked(keys, _READS), [f"openalgo:quotes:{key}" for key in keys]
        end = time.monotonic() + _SOON
        while cache.stats()["near_size"] < len(keys):
            if time.monotonic() > end:
                raise RuntimeError("the near tier does not keep what is read")
            _ = [cache.get(key) for key in keys]

        def bare_reads() -> None:
            for key in stored:
                _ = bare.get(key)

        timings = contest({"ours": _reads(cache, asked), "bare": bare_reads}, operations=_READS, rounds=rounds)
    return Line(
        what=f"signed str, near hit on {brand}",
        value=timings["bare"].best / timings["ours"].best,
        unit="x as fast as redis-py",
        target=100,
        best="high",
        note=note(timings["bare"], timings["ours"]),
    )


def _reads(cache: Cache, asked: list[str]) -> Callable[[], None]:
    def read() -> None:
        for key in asked:
            _ = cache.get(key)

    return read


def _ratio(what: str, timings: dict[str, Timing], unit: str, target: float) -> Line:
    ours, bare = timings["ours"], timings["bare"]
    return Line(what=what, value=ours.best / bare.best, unit=unit, target=target, best="low", note=note(ours, bare))


def _clients(what: str, timings: dict[str, Timing]) -> Line:
    ours, theirs = timings["valkey"], timings["redis"]
    return Line(what=what, value=ours.best / theirs.best, unit="x redis-py below", note=note(ours, theirs))


@contextmanager
def _manager(server: ServerProcess, backend: str, *, near: bool) -> Iterator[CacheManager]:
    with TemporaryDirectory(prefix="oac-bench-") as folder:
        settings = caches.settings(Path(folder), backend, near=near)
        # A round that the machine disturbs is a slow round, not an outage.
        made = CacheManager(replace(settings, **server.settings("redis"), cache_near_max_staleness=3600))
        try:
            yield made
        finally:
            made.close()


def _plain(made: CacheManager, backend: str) -> Cache:
    policy = Policy(lifetime=3600, sealing=Sealing.PLAIN)
    return Cache("plain", policy, lambda: build_stack("plain", policy, backend, made.ground()), system_clock)

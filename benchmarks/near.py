"""Reads that the near tier answers, beside the TTLCache that they replace, and the trip to a server that they spare.

The former is used as applications use it, ``if key in cache: return cache[key]``. Ours have the whole default policy:
lifetimes, seals, counters, coherence.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

from cachetools import TTLCache
from redis import Redis

from benchmarks import caches, values
from benchmarks.contest import Contender, contest, note
from benchmarks.lines import Line
from openalgo_cache import Cache, CacheManager
from tests.servers.process import ServerProcess
from tests.servers.programs import Brand, Program, find

_KEYS: Final = 256
_READS: Final = 128
BRANDS: Final[tuple[Brand, ...]] = ("redis", "valkey")

_SIGNED: Final = "quotes"  # not in the catalogue, so it is what every cache is by default
_ENCRYPTED: Final = "auth"  # encrypted, with blinded keys

_TARGETS: Final = (
    ("signed str", _SIGNED, values.TEXT, 0.5),
    ("signed flat dict", _SIGNED, values.FLAT, 0.7),
    ("signed nested JSON", _SIGNED, values.NESTED, 4.0),
    ("encrypted str", _ENCRYPTED, values.TEXT, 2.5),
    ("encrypted flat dict", _ENCRYPTED, values.FLAT, 3.5),
)


def run(*, quick: bool = False) -> list[Line]:
    """Measure on memory, on SQLite, and on Redis and Valkey where they are installed."""
    rounds = 3 if quick else 1600
    lines = [line for backend in ("memory", "sqlite") for line in _on(backend, rounds)]
    for brand in BRANDS:
        if (program := find(brand)) is not None:
            lines += _on_server(program, rounds // 4 or 1)
    return lines


def _on(backend: str, rounds: int) -> list[Line]:
    with caches.manager(backend) as manager:
        contenders = {what: _ours(manager.get_cache(name), what, value) for what, name, value, _ in _TARGETS}
        contenders["TTLCache"] = _theirs()
        timings = contest(contenders, operations=_READS, rounds=rounds)
        _check(manager)
    theirs = timings["TTLCache"]
    return [
        Line(
            what=f"{what}, near hit on {backend}",
            value=timings[what].best / theirs.best,
            unit="x TTLCache",
            target=target,
            best="low",
            note=note(timings[what], theirs),
        )
        for what, _, _, target in _TARGETS
    ]


def _on_server(program: Program, rounds: int) -> list[Line]:
    brand = program.brand
    with TemporaryDirectory(prefix="oac-bench-") as folder:
        server = ServerProcess(program, Path(folder)).start()
        try:
            with caches.manager(brand, **server.settings()) as manager, server.client() as client:
                cache = manager.get_cache(_SIGNED)
                ours = _ours(cache, "signed str", values.TEXT)
                _wait_until_near(cache, ours)
                before = cache.stats()
                contenders = {"ours": ours, "TTLCache": _theirs(), "GET": _get(client)}
                timings = contest(contenders, operations=_READS, rounds=rounds)
                _check(manager, (_SIGNED,), before)
        finally:
            server.stop()
    title = brand.title()
    return [
        Line(
            what=f"signed str, near hit on {title}",
            value=timings["ours"].best / timings["TTLCache"].best,
            unit="x TTLCache",
            target=0.6,
            best="low",
            note=note(timings["ours"], timings["TTLCache"]),
        ),
        Line(
            what=f"signed str, near hit on {title}: how often it fits into redis-py's GET",
            value=timings["GET"].best / timings["ours"].best,
            unit="x",
            target=100.0,
            best="high",
            note=note(timings["GET"], timings["ours"]),
        ),
    ]


def _wait_until_near(cache: Cache, read: Contender) -> None:
    deadline = monotonic() + 10
    while cache.stats()["near_size"] < _KEYS // 4:
        if monotonic() > deadline:
            raise RuntimeError("nothing is kept near")
        read()


def _get(client: Redis) -> Contender:
    client.set("bench", values.TEXT)

    def read() -> None:
        for _ in range(_READS):
            _ = client.get("bench")

    return read


def _ours(cache: Cache, what: str, value: Any) -> Contender:
    stored = values.keys(_KEYS, what)
    cache.set_many(dict.fromkeys(stored, value))
    asked = values.asked(stored, _READS)

    def read() -> None:
        for key in asked:
            _ = cache.get(key)

    return read


def _theirs() -> Contender:
    stored = values.keys(_KEYS, "ttl cache")
    cache: TTLCache[str, Any] = TTLCache(1024, 3600)
    cache.update(dict.fromkeys(stored, values.FLAT))
    asked = values.asked(stored, _READS)

    def read() -> None:
        for key in asked:
            if key in cache:
                _ = cache[key]

    return read


def _check(
    manager: CacheManager, names: tuple[str, ...] = (_SIGNED, _ENCRYPTED), before: dict[str, Any] | None = None
) -> None:
    """Fail if these were no near hits: what the store answers is another figure."""
    for name in names:
        stats = manager.get_cache(name).stats()
        hits, near_hits = (stats[count] - (before or {}).get(count, 0) for count in ("hits", "near_hits"))
        if stats["misses"] or near_hits < 0.6 * hits:
            raise RuntimeError(f"reads of {name} were not answered by the near tier: {stats}")

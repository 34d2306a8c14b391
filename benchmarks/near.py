"""Reads that the near tier answers, beside the TTLCache that they replace.

That one is used as applications use it, ``if key in cache: return cache[key]``. Ours have the whole default policy on:
lifetimes, seals, counters, coherence.
"""

from __future__ import annotations

from typing import Any, Final

from cachetools import TTLCache

from benchmarks import caches, values
from benchmarks.contest import Contender, contest, note
from benchmarks.lines import Line
from openalgo_cache import Cache, CacheManager

_KEYS: Final = 256
_READS: Final = 128

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
    """Measure on memory and on SQLite."""
    return [line for backend in ("memory", "sqlite") for line in _on(backend, rounds=3 if quick else 1600)]


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


def _check(manager: CacheManager) -> None:
    """Fail if these were no near hits: what the store answers is another figure."""
    for name in (_SIGNED, _ENCRYPTED):
        stats = manager.get_cache(name).stats()
        if stats["misses"] or stats["near_hits"] < 0.6 * stats["hits"]:
            raise RuntimeError(f"reads of {name} were not answered by the near tier: {stats}")

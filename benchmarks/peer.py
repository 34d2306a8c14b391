"""Beside diskcache, the usual choice for a cache on disk; with its default settings, as ours are with theirs.

Reads and writes of one process, and eight processes that write one file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, Final

import diskcache

from benchmarks import caches, values, writers
from benchmarks.contest import contest, note
from benchmarks.lines import Line
from openalgo_cache import Cache
from openalgo_cache.keys import Key

_ENTRIES: Final = 1000
_READS: Final = 50
_WRITES: Final = 4000
"""Enough for diskcache to bring its log to the database some times a round, as it does in a writer's time. Ours does so
in the background, once a second, unless 8,000 pages come first."""
_BULK: Final = 500


def run(*, quick: bool = False) -> list[Line]:
    """Measure one process, then several; reads without the near tier, writes with it."""
    with _pair(near=False) as (ours, theirs):
        lines = [_reads(ours, theirs, 3 if quick else 800)]
    with _pair(near=True) as (ours, theirs):
        lines.append(_writes(ours, theirs, *((50, 1) if quick else (_WRITES, 10))))
        lines += _bulk_writes(ours, theirs, *((1, 1) if quick else (4, 10)))
    return [*lines, _processes(quick=quick)]


@contextmanager
def _pair(*, near: bool) -> Iterator[tuple[Cache, Any]]:
    with caches.manager("sqlite", near=near) as manager, TemporaryDirectory(prefix="diskcache-bench-") as folder:
        ours, theirs = manager.get_cache("quotes"), diskcache.Cache(folder)
        for key in values.keys(_ENTRIES):
            for cache in (ours, theirs):
                cache.set(key, values.FLAT)
                cache.get(key)
        try:
            yield ours, theirs
        finally:
            theirs.close()


def _reads(ours: Cache, theirs: Any, rounds: int) -> Line:
    asked = values.asked(values.keys(_ENTRIES), _READS)

    def read(cache: Any) -> None:
        for key in asked:
            _ = cache.get(key)

    timings = contest({"ours": lambda: read(ours), "theirs": lambda: read(theirs)}, operations=_READS, rounds=rounds)
    return Line(
        what="get, signed flat dict, without near tier",
        value=timings["theirs"].best / timings["ours"].best,
        unit="x as fast as diskcache",
        target=1.5,
        best="high",
        note=note(timings["theirs"], timings["ours"]),
    )


def _writes(ours: Cache, theirs: Any, count: int, rounds: int) -> Line:
    written = values.asked(values.keys(_ENTRIES), count)

    def write(cache: Any) -> None:
        for key in written:
            cache.set(key, values.FLAT)

    timings = contest({"ours": lambda: write(ours), "theirs": lambda: write(theirs)}, operations=count, rounds=rounds)
    return Line(
        what="set, signed flat dict",
        value=timings["theirs"].best / timings["ours"].best,
        unit="x as fast as diskcache",
        target=3.0,
        best="high",
        note=note(timings["theirs"], timings["ours"]),
    )


def _bulk_writes(ours: Cache, theirs: Any, times: int, rounds: int) -> Iterator[Line]:
    """Write many at once, some times. Diskcache has no verb for it: plainly, one loops; at best, in a transaction."""
    items: dict[Key, Any] = dict.fromkeys(values.keys(_ENTRIES)[:_BULK], values.FLAT)

    def set_many() -> None:
        for _ in range(times):
            ours.set_many(items)

    def loop() -> None:
        for _ in range(times):
            for key, value in items.items():
                theirs.set(key, value)

    def transaction() -> None:
        for _ in range(times):
            with theirs.transact():
                for key, value in items.items():
                    theirs.set(key, value)

    timings = contest(
        {"ours": set_many, "loop": loop, "transaction": transaction}, operations=times * _BULK, rounds=rounds
    )
    for way, target in (("a plain loop", 8.0), ("a loop in transact()", None)):
        other = timings["loop" if target else "transaction"]
        line = Line(
            what=f"set_many of {_BULK}, beside {way}",
            value=other.best / timings["ours"].best,
            unit="x as fast as diskcache",
            note=note(other, timings["ours"]),
        )
        if target:
            line["target"], line["best"] = target, "high"
        yield line


def _processes(*, quick: bool) -> Line:
    processes = 2 if quick else 8
    with writers.crew(processes, threads=1) as crew:
        for _ in range(1 if quick else 6):
            for kind in ("ours", "diskcache"):
                crew.write(kind, 0.1 if quick else 1.0)
        ours, theirs = crew.result("ours"), crew.result("diskcache")
    return Line(
        what=f"set by {processes} processes on one file",
        value=ours.rate / theirs.rate,
        unit="x as fast as diskcache",
        target=3.0,
        best="high",
        note=f"{ours.rate:,.0f} : {theirs.rate:,.0f} writes/s; longest wait {ours.longest * 1000:,.0f} : "
        f"{theirs.longest * 1000:,.0f} ms",
    )

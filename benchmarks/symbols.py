"""The symbol master at its real size: import, look-ups, searches, memory."""

from __future__ import annotations

import csv
import gc
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sized
from pathlib import Path
from typing import Final

from benchmarks.lines import Line
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import MAC
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.keys import Keyspace
from openalgo_cache.symbols import MASTER_ROWS, SymbolMaster, generate_master
from openalgo_cache.symbols.shelf import Shelf

_RING: Final = "A" * 43 + "="
_ROLLUP: Final = Path("/proc/self/smaps_rollup")

# The keys are read before the first measurement, so that only what the look-ups take is counted.
_MEMORY: Final = """
import gc, sys
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.symbols import SymbolMaster

def private():
    gc.collect()
    with open("/proc/self/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))

with open(sys.argv[2], encoding="utf-8") as file:
    pairs = [tuple(line.rstrip("\\n").split("\\t")) for line in file]
master = SymbolMaster(sys.argv[1], KeyRing.of_one(sys.argv[3]))
before = private()
assert all(master.by_symbol(*pair) is not None for pair in pairs)
print((private() - before) * 1024)
"""

Pairs = list[tuple[str, str]]


def run(*, quick: bool = False) -> Iterator[Line]:
    """Measure the lines of docs/performance.md about the symbol master; ``quick`` takes a small one."""
    rows, rounds = (2_000, 2) if quick else (MASTER_ROWS, 9)
    gc.disable()
    try:
        yield from _measure(rows, rounds)
    finally:
        gc.enable()


def _measure(rows: int, rounds: int) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="symbols-", ignore_cleanup_errors=True) as folder:
        path, base = Path(folder, "master.csv"), Path(folder, "cache")
        generate_master(path, rows)
        with path.open(encoding="utf-8", newline="") as file:
            pairs: Pairs = [(row["symbol"], row["exchange"]) for row in csv.DictReader(file)]
        draw = random.Random(1)
        draw.shuffle(pairs)
        master = SymbolMaster(base, KeyRing.of_one(_RING))
        yield from _import(master, path)
        yield from _lookups(master, pairs, rounds)
        yield from _searches(master, rounds)
        yield from _sharing(base, Path(folder, "other", "cache"))
        if _ROLLUP.exists():
            yield _memory(base, Path(folder, "keys"), pairs[:10_000])
        master.close()


def _import(master: SymbolMaster, path: Path) -> Iterator[Line]:
    report = master.import_master(path)
    yield _line(f"import of {report.rows:,} rows", report.seconds, "s", 5)
    yield _line("file", master.stats()["file_bytes"] / 1e6, "MB", 50)


def _lookups(master: SymbolMaster, pairs: Pairs, rounds: int) -> Iterator[Line]:
    def reopen() -> None:
        master.close()
        master.by_symbol(*pairs[0])

    yield _best("open to the first look-up", [_clocked(reopen) for _ in range(rounds)], "ms", 20)
    # Every round asks for other instruments, none of which is held; the second time they are.
    count = len(pairs) // (2 * rounds)
    single, bulk = pairs[: count * rounds], pairs[count * rounds :]
    first, second, unknown, many, many_again = [], [], [], [], []
    for start in range(0, count * rounds, count):
        part = single[start : start + count][:4_000]
        first.append(_each(master.by_symbol, part))
        second.append(_each(master.by_symbol, part))
        unknown.append(_each(master.by_symbol, [(f"{symbol}?", exchange) for symbol, exchange in part]))
        thousand = bulk[start : start + count][:1_000]
        many.append(_clocked(master.many_by_symbol, thousand) * 1_000 / len(thousand))
        many_again.append(_clocked(master.many_by_symbol, thousand) * 1_000 / len(thousand))
    yield _best("look-up, the first time", first, "us", 12)
    yield _best("look-up, held in memory", second, "us", 2)
    yield _best("look-up of an unknown symbol", unknown, "us")
    yield _best("1,000 look-ups in bulk, the first time", many, "ms", 6)
    yield _best("1,000 look-ups in bulk, held in memory", many_again, "ms", 6)


def _searches(master: SymbolMaster, rounds: int) -> Iterator[Line]:
    searches: tuple[tuple[str, Callable[[], Sized], float | None], ...] = (
        ("search NIFTY 24000", lambda: master.search("NIFTY 24000"), 3),
        ("search RELIANCE", lambda: master.search("RELIANCE"), 3),
        ("search NIFTY", lambda: master.search("NIFTY"), 10),
        ("search NIFTY, limit=10000", lambda: master.search("NIFTY", limit=10_000), None),
        ("search N", lambda: master.search("N"), None),
        ("search QX, which nothing has", lambda: master.search("QX"), None),
        ("one expiry of NIFTY's", lambda: master.fno_search(underlying="NIFTY", expiry="28-MAR-24"), None),
        ("option chain of the same", lambda: master.option_chain("NIFTY", "28-MAR-24", "NFO"), None),
        ("expiries of NIFTY's", lambda: master.expiries("NFO", "NIFTY"), None),
    )
    for what, ask, target in searches:
        found = len(ask())
        yield _best(what, [_clocked(ask) for _ in range(rounds)], "ms", target, f"{found:,} found; ")


def _sharing(base: Path, other: Path) -> Iterator[Line]:
    """Publish a master and fetch it, by way of a store in memory: what a server adds is the transport of 2 MB."""
    ring = KeyRing.of_one(_RING)
    store, codec = MemoryBackend(None), Codec(RingSeal(ring, ring.id, "symbols", MAC))
    shelf = Shelf(store, Keyspace("openalgo", "symbols"), codec, time.time, "benchmark")
    sender, receiver = (
        SymbolMaster(folder, ring, open_shelf=lambda: shelf, background=False) for folder in (base, other)
    )
    yield _line("published to other instances", _clocked(sender.synchronise), "s", 3)
    yield _line("fetched and served by another one", _clocked(receiver.count), "s", 3)
    published = sum(len(entry.payload) for _, entry in store.scan())
    yield _line("on the server", published / 1e6, "MB", 10)
    receiver.close()


def _memory(base: Path, keys: Path, pairs: Pairs) -> Line:
    keys.write_text("".join(f"{symbol}\t{exchange}\n" for symbol, exchange in pairs), encoding="utf-8")
    command = [sys.executable, "-c", _MEMORY, str(base), str(keys), _RING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return _line(f"private memory for {len(pairs):,} random look-ups", int(done.stdout) / 1e6, "MB", 12)


def _clocked(function: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begun


def _each(function: Callable[..., object], many: Pairs) -> float:
    """Return the seconds that a call takes, one after the other for many arguments."""
    begun = time.perf_counter()
    for one in many:
        function(*one)
    return (time.perf_counter() - begun) / len(many)


def _best(what: str, seconds: list[float], unit: str, target: float | None = None, note: str = "") -> Line:
    """Return a line with the best of several rounds, and the median beside it."""
    scale = {"ms": 1e3, "us": 1e6}[unit]
    median = f"{note}median of {len(seconds)} rounds {statistics.median(seconds) * scale:.2f} {unit}"
    return _line(what, min(seconds) * scale, unit, target) | {"note": median}


def _line(what: str, value: float, unit: str, target: float | None) -> Line:
    line: Line = {"what": what, "value": value, "unit": unit}
    return line if target is None else line | {"target": target, "best": "low"}

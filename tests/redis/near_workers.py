"""What other processes do in the tests of the near tier: they share keys, and memory to tell what is acknowledged."""

from __future__ import annotations

import ctypes
import random
import time
from multiprocessing.sharedctypes import RawArray
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, Final

from openalgo_cache.cache import Cache
from tests.stacks import manager

KEYS: Final = 2000
OWNED: Final = KEYS // 2
"""The first half of the keys: each is written by one process only, so that its versions have an order."""


class Ledger:
    """What was acknowledged, in memory that processes share: the latest version of each key, and when that was."""

    def __init__(self) -> None:
        self.versions: Any = RawArray(ctypes.c_longlong, KEYS)
        self.times: Any = RawArray(ctypes.c_double, KEYS)


def house(folder: Path, variables: dict[str, Any], **more: Any) -> Any:
    """Return a manager whose caches are on a server."""
    backend = next(iter(variables)).partition("_")[0]
    return manager(folder, backend=backend, **{**variables, **more})


def is_near(cache: Cache, key: str) -> bool:
    """Return whether a read was answered from near."""
    before = cache.stats()["near_hits"]
    cache.get(key)
    return bool(cache.stats()["near_hits"] > before)


def write_and_read(
    folder: Path,
    variables: dict[str, Any],
    options: dict[str, Any],
    number: int,
    ledger: Ledger,
    lag: float,
    begin: Barrier,
    stop: Event,
    results: Any,
) -> None:
    """Write and read all keys at random until told to stop; then compare what is near with what is in the store."""
    cache = house(folder, variables).get_cache("race", **options)
    chance = random.Random(number)
    names = [f"key {place}" for place in range(KEYS)]
    for _ in range(5000):  # until the stream stands
        cache.set(names[number], 0)
        if cache.get(names[number]) == 0 and is_near(cache, names[number]):
            break
        time.sleep(0.001)
    stale: list[str] = []
    reads = writes = version = 0
    begin.wait()
    while not stop.is_set():
        for _ in range(100):
            place = chance.randrange(KEYS)
            if chance.random() < 0.2 and (place >= OWNED or place % 2 == number):
                version += 1
                cache.set(names[place], version * 2 + number)
                if place < OWNED:
                    ledger.times[place] = time.monotonic()
                    ledger.versions[place] = version * 2 + number
                writes += 1
                continue
            least, since = ledger.versions[place], ledger.times[place]
            began = time.monotonic()
            found = cache.get(names[place], 0)
            reads += 1
            if place < OWNED and found < least and (place % 2 == number or began - since >= lag):
                stale.append(f"{names[place]}: {found} {began - since:.3f} s after {least} was acknowledged")
    begin.wait()
    time.sleep(1.0)  # until the last message has arrived
    without = house(folder, variables, cache_near_enabled=False).get_cache("race", **options)
    stored = without.get_many(names)
    diverged = [name for name in names if cache.get(name, 0) != stored.get(name, 0)]
    results.put((reads, writes, cache.stats()["near_hits"], stale[:10], diverged[:10]))

"""One of many processes that use one cache file at once; its parent reads what became of it from a line of JSON.

Arguments: folder, what to do, the worker's number, operations (of each thread), threads, seconds to go on at least.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from openalgo_cache import CacheManager, Settings
from openalgo_cache.cache import Cache

CACHE: Final = "quotes"
COUNTERS: Final = 4
MAXSIZE: Final = 512
SHARED_KEYS: Final = 64


def rounds(operations: int, seconds: float) -> Iterator[int]:
    """Count up to ``operations``, and further until ``seconds`` have passed."""
    began = time.monotonic()
    return itertools.takewhile(lambda turn: turn < operations or time.monotonic() < began + seconds, itertools.count())


def value(key: str, writer: int, turn: int) -> dict[str, object]:
    """Return what is written under a key: whoever reads it can tell whether it belongs there."""
    return {"key": key, "writer": writer, "turn": turn, "padding": f"{key} " * (turn % 50)}


def is_right(key: str, found: Any) -> bool:
    """Return whether a value was written under its key, by anybody."""
    return found is None or found == value(key, found["writer"], found["turn"])


def mix(cache: Cache, number: int, operations: int, seconds: float) -> dict[str, Any]:
    """Read, write, delete and count, some keys shared by all workers and more of them than the cache may hold.

    Every sixteen operations each counter is counted up, so that none is ever among the entries to be evicted.
    """
    chance = random.Random(number)
    sums: dict[str, list[int]] = {f"counter{nth}": [] for nth in range(COUNTERS)}
    wrong: list[str] = []
    done = 0
    for done in rounds(operations, seconds):
        verb = done % 16
        shared = f"shared {chance.randrange(SHARED_KEYS)}"
        if verb < COUNTERS:
            sums[f"counter{verb}"].append(cache.incr(f"counter{verb}"))
        elif verb < 8:
            cache.set(shared, value(shared, number, done))
        elif verb == 8:
            cache.delete(shared)
        elif verb == 9:
            own = {f"own {number} {chance.randrange(10_000)}": None for _ in range(3)}
            cache.set_many({key: value(key, number, done) for key in own})
            wrong += [key for key, found in cache.get_many(own).items() if not is_right(key, found)]
        elif verb == 10:
            wrong += [shared] if not is_right(shared, cache.pop(shared, None)) else []
        else:
            wrong += [shared] if not is_right(shared, cache.get(shared)) else []
    return {"sums": sums, "wrong": wrong, "operations": done + 1}


def press(cache: Cache, number: int, operations: int, threads: int, seconds: float) -> dict[str, Any]:
    """Write from many threads at once, as fast as they can; say how long the unluckiest ``set`` took."""
    longest = [0.0] * threads
    written = [0] * threads
    failures: list[str] = []
    together = threading.Barrier(threads)

    def write(thread: int) -> None:
        try:
            together.wait()
            for turn in rounds(operations, seconds):
                key = f"{number} {thread} {turn % 4}"
                began = time.perf_counter()
                cache.set(key, value(key, number, turn))
                longest[thread] = max(longest[thread], time.perf_counter() - began)
                written[thread] = turn + 1
        except BaseException as error:
            failures.append(repr(error))
            raise

    running = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return {"longest": max(longest), "written": written, "wrong": failures}


def main(folder: str, task: str, number: str, operations: str, threads: str, seconds: str) -> None:
    """Get ready, wait for the word, work, and report."""
    manager = CacheManager(Settings(base_folder=Path(folder), cache_backend="sqlite"))
    cache = manager.get_cache(CACHE, maxsize=MAXSIZE, ttl=None)
    print("ready", flush=True)  # noqa: T201  # the parent reads it
    sys.stdin.readline()
    if task == "mix":
        result = mix(cache, int(number), int(operations), float(seconds))
    else:
        result = press(cache, int(number), int(operations), int(threads), float(seconds))
    result["stats"] = cache.stats()
    print(json.dumps(result), flush=True)  # noqa: T201  # likewise
    manager.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""An application under load: processes that read and write all the time, and notice whatever is amiss."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final, NamedTuple

from openalgo_cache import Cache, CacheManager, Settings

SECRET: Final = "s3cret-t0ken-of-a-user"
"""Part of every value: found in plain text nowhere."""
_COUNTERS: Final = 8
_BATCH: Final = 20


class Seen(NamedTuple):
    """What a process has to tell at the end.

    Attributes:
        reads: How many values it asked for.
        writes: How many it wrote.
        wrong: Reads that failed or found something else than was written; the first ones, in words.
        versions: The last version of each of its keys.
        added: What it added to each counter.
    """

    reads: int
    writes: int
    wrong: list[str]
    versions: list[int]
    added: list[int]


def installation(folder: str, variables: dict[str, Any]) -> CacheManager:
    """Return a manager of the installation under test."""
    return CacheManager(Settings(base_folder=Path(folder), **variables))


def tokens(caches: CacheManager) -> Cache:
    """Return the cache that holds nearly all."""
    return caches.get_cache("tokens", encrypted=True, blinded=True, maxsize=None, ttl=None, on_error="raise")


def value(owner: int, number: int, version: int) -> dict[str, Any]:
    """Return what is stored under a key."""
    return {"owner": owner, "number": number, "version": version, "token": f"{SECRET}-{owner}-{number}-{version}"}


def key(owner: int, number: int) -> str:
    """Return the key of a process's number."""
    return f"user-{owner}-{number}"


def fill(caches: CacheManager, owners: int, count: int) -> None:
    """Store the first version of everything."""
    for owner in range(owners):
        for start in range(0, count, 1_000):
            numbers = range(start, min(start + 1_000, count))
            tokens(caches).set_many({key(owner, number): value(owner, number, 0) for number in numbers})
    for number in range(_COUNTERS):
        caches.get_cache("running_strategies").set(f"counter-{number}", 0)


def work(
    folder: str, variables: dict[str, Any], owner: int, count: int, stop: Event, busy: Event, told: Queue[Seen]
) -> None:
    """Read everybody's keys, write one's own, and add to counters that all share, until ``stop`` is set."""
    chance = random.Random(owner)
    versions, added = [0] * count, [0] * _COUNTERS
    newest: dict[str, int] = {}
    wrong: list[str] = []
    reads = writes = 0

    def check(found: Any, whose: int, number: int) -> None:
        nonlocal reads
        reads += 1
        name = key(whose, number)
        least = versions[number] if whose == owner else newest.get(name, 0)
        version = found["version"] if isinstance(found, dict) else -1
        if version < least or (whose == owner and version != least) or found != value(whose, number, version):
            wrong.append(f"{name}: version {version} in place of {least}")
        newest[name] = version

    with closing(installation(folder, variables)) as caches:
        cache, state = tokens(caches), caches.get_cache("running_strategies")
        while not stop.is_set():
            try:
                for _ in range(_BATCH):
                    whose, number = chance.randrange(2), chance.randrange(count)
                    check(cache.get(key(whose, number)), whose, number)
                numbers = chance.sample(range(count), _BATCH)
                found = cache.get_many(key(owner, number) for number in numbers)
                for number in numbers:
                    check(found.get(key(owner, number)), owner, number)
                for number in numbers[:4]:
                    cache.set(key(owner, number), value(owner, number, versions[number] + 1))
                    versions[number] += 1
                for number in numbers[4:6]:
                    if not cache.touch(key(owner, number), None):
                        wrong.append(f"{key(owner, number)} was not there to be touched")
                counter = chance.randrange(_COUNTERS)
                state.incr(f"counter-{counter}")
                added[counter] += 1
                writes += 7
            except Exception as error:  # noqa: BLE001  # whatever it is: the test looks at it
                wrong.append(f"{type(error).__name__}: {error}")
            busy.set()
            if len(wrong) > 20:
                break
    told.put(Seen(reads, writes, wrong, versions, added))


def counters(caches: CacheManager) -> list[int]:
    """Return the counters."""
    return [caches.get_cache("running_strategies").get(f"counter-{number}") for number in range(_COUNTERS)]


def last_versions(caches: CacheManager, owner: int, count: int) -> list[int]:
    """Return the versions that are stored of a process's keys."""
    found = tokens(caches).get_many(key(owner, number) for number in range(count))
    return [found[key(owner, number)]["version"] for number in range(count)]


def find_plain_text(folder: Path, everything: Callable[[], Any] = bytes) -> list[str]:
    """Return where the secret can be read: in files of a folder, or in what ``everything`` returns."""
    places = [str(path) for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    return places + (["the server"] if SECRET.encode() in everything() else [])

"""Killed writers: what ``set`` and ``delete`` acknowledged is there for whoever reads next, and nothing else is."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from openalgo_cache.cache import Cache
from tests.stacks import manager

PATIENCE: Final = 60.0
"""Seconds for what takes a moment on an idle machine."""

KEYS: Final = 8
CACHES: Final = {"durable": "running_strategies", "plain": "quotes"}

# Version after version, from a given one on; each is acknowledged when the cache has returned.
WRITER = """
import os, sys
from pathlib import Path
from openalgo_cache import CacheManager, Settings
folder, cache, writer, version = sys.argv[1:5]
cache = CacheManager(Settings(base_folder=Path(folder), cache_backend="sqlite")).get_cache(cache)
version = int(version)
os.write(1, b"ready\\n")
while True:
    key = f"{writer} {version % 8}"
    if version % 5 == 0:
        cache.delete(key)
    else:
        cache.set(key, {"version": version, "padding": f"{key}-{version} " * (version % 100)}, ttl=None)
    os.write(1, b"%d\\n" % version)
    version += 1
"""


class Writer:
    """A process that writes until it is killed, and what it has promised so far.

    Args:
        folder: Where the cache lies.
        cache: Its name.
        name: The writer's own; only it writes the keys that begin so.
        first: The version to begin with.
    """

    def __init__(self, folder: Path, cache: str, name: str, first: int) -> None:
        self.name = name
        self.last = first - 1
        self._ready = False
        self._heard = threading.Condition()
        self._popen = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), cache, name, str(first)], stdout=subprocess.PIPE
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._heard:
                if self._ready:
                    self.last = int(line)
                self._ready = True
                self._heard.notify_all()

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for acknowledgements until something holds."""
        with self._heard:
            assert self._heard.wait_for(holds, PATIENCE), f"writer {self.name} got stuck after {self.last}"

    def wait_for(self, count: int) -> None:
        """Wait for ``count`` more acknowledgements; for none, only until it begins."""
        goal = self.last + count
        self.wait_until(lambda: self._ready and self.last >= goal)

    def kill(self) -> None:
        """Kill it as ``kill -9`` does, and hear what it still has acknowledged."""
        self._popen.kill()
        self._popen.wait()
        self._listener.join(PATIENCE)
        assert self._popen.stdout is not None
        self._popen.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Promises:
    """What one writer's keys have to hold, after every version that it acknowledged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.next = 1
        self._held: dict[str, int | None] = {f"{name} {number}": None for number in range(KEYS)}

    def keep(self, cache: Cache, last: int) -> None:
        """Check the keys of a writer that was killed after it had acknowledged ``last``, and go on from there.

        The version after that one may be written or not; there is no other way for a key to differ.
        """
        for version in range(self.next, last + 1):
            self._held[self._key(version)] = self._outcome(version)
        for key, expected in self._held.items():
            found = cache.get(key)
            held: int | None = None if found is None else found["version"]
            allowed = {expected} | ({self._outcome(last + 1)} if key == self._key(last + 1) else set())
            assert held in allowed, f"{key} holds {held} after {expected} was acknowledged, the last being {last}"
            if held is not None:
                assert found == {"version": held, "padding": f"{key}-{held} " * (held % 100)}
            self._held[key] = held
        self.next = last + 2

    def _key(self, version: int) -> str:
        return f"{self.name} {version % KEYS}"

    @staticmethod
    def _outcome(version: int) -> int | None:
        return None if version % 5 == 0 else version


def strike(writer: Writer, chance: random.Random, most: int) -> None:
    """Wait for some of a writer's acknowledgements, few or up to ``most``, and then for a random instant."""
    writer.wait_for(int(math.exp(chance.uniform(0, math.log(most)))) - 1)
    for _ in range(chance.randrange(5_000)):
        pass


def check_health(cache: Cache) -> None:
    """Nothing that was read was unreadable, and the store never failed."""
    stats = cache.stats()
    assert (stats["rejected"], stats["errors"]) == (0, 0)


def lone_writer(folder: Path, cache: str, kills: int, most: int) -> None:
    """Kill the only process that has the file open, again and again; after each kill a reader opens it anew."""
    chance = random.Random(f"{cache} {kills}")
    promises = Promises("a")
    for _ in range(kills):
        with Writer(folder, cache, "a", promises.next) as writer:
            strike(writer, chance, most)
        house = manager(folder)
        reader = house.get_cache(cache)
        promises.keep(reader, writer.last)
        check_health(reader)
        house.close()


def two_writers(folder: Path, cache: str, kills: int, most: int) -> None:
    """Kill either of two writers, or both, while a third process has the file open and reads from near."""
    chance = random.Random(f"{cache} {kills} of two")
    house = manager(folder)
    reader = house.get_cache(cache)
    promises = {name: Promises(name) for name in "ab"}
    with ExitStack() as stack:

        def start(name: str) -> Writer:
            return stack.enter_context(Writer(folder, cache, name, promises[name].next))

        writers = {name: start(name) for name in "ab"}
        done = 0
        while done < kills:
            victims = chance.choice(["a", "b", "ab"])
            strike(writers[victims[0]], chance, most)
            for name in victims:
                writers[name].kill()
                done += 1
            for name in victims:
                promises[name].keep(reader, writers[name].last)
            for name in victims:
                writers[name] = start(name)
        for name, writer in writers.items():
            writer.kill()
            promises[name].keep(reader, writer.last)
    check_health(reader)
    house.close()
    again = manager(folder)
    for name, writer in writers.items():
        promises[name].next = writer.last + 1
        promises[name].keep(again.get_cache(cache), writer.last)
    again.close()


@pytest.fixture(params=list(CACHES))
def cache(request: pytest.FixtureRequest) -> str:
    """A cache that syncs before it acknowledges, and one that leaves that to the kernel, which survives."""
    return CACHES[request.param]


def test_no_acknowledged_write_of_a_killed_process_is_lost(cache: str, tmp_path: Path) -> None:
    """Three kills of each kind of cache: whoever opens the file next finds it as promised."""
    lone_writer(tmp_path, cache, kills=3, most=200)


def test_two_writers_of_one_file_are_killed(cache: str, tmp_path: Path) -> None:
    """Three kills of each kind of cache: the other writer goes on, and a reader sees all that was promised."""
    two_writers(tmp_path, cache, kills=3, most=200)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_of_a_lone_writer(cache: str, tmp_path: Path) -> None:
    """With enough writes between some of them that a kill can fall into a checkpoint."""
    lone_writer(tmp_path, cache, kills=50, most=5_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_of_two_writers(cache: str, tmp_path: Path) -> None:
    """Likewise, while the other one goes on."""
    two_writers(tmp_path, cache, kills=50, most=5_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_thousand_kills(cache: str, tmp_path: Path) -> None:
    """Half of a thousand for each kind of cache, of two writers."""
    two_writers(tmp_path, cache, kills=500, most=1_000)

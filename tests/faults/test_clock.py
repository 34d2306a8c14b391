"""The clock jumps by years, back and forth: nothing past its expiry is served, and nobody goes back to an old value."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.testing import FakeClock
from tests.faults.processes import Process
from tests.stacks import manager

YEAR: Final = 365.25 * 86_400
JUMPS: Final = (0.0, 0.001, 1.0, 59.0, 3_600.0, 86_400.0, 10 * YEAR)
LIFETIMES: Final = (0.5, 60.0, 3_600.0, 20 * YEAR, None)
CACHES: Final[dict[str, dict[str, Any]]] = {
    "signed": {},
    "encrypted": {"encrypted": True},
    "memory": {"backend": "memory"},
}


class Known(NamedTuple):
    """What was written last under a key, and the latest time that was seen since."""

    version: int
    expires_at: float | None
    latest: float

    def may_be_gone(self) -> bool:
        """Return whether it had expired at some time, and so could have been deleted."""
        return self.expires_at is not None and self.latest >= self.expires_at


class World:
    """A cache under a clock that jumps, and what was written to it.

    Args:
        caches: Handles of one file.
        clock: What all of them look at.
        chance: Decides what happens.
    """

    def __init__(self, caches: list[Cache], clock: FakeClock, chance: random.Random) -> None:
        self._caches = caches
        self._clock = clock
        self._chance = chance
        self._known: dict[str, Known] = {}

    def step(self, turn: int) -> None:
        """Do one thing, by any handle, with any key."""
        cache, key = self._chance.choice(self._caches), f"key {self._chance.randrange(6)}"
        verbs = [
            self.jump,
            self.jump,
            self.set,
            self.set,
            self.pop,
            self.touch,
            self.look_at_all,
            self.load,
            self.maintain,
        ]
        self._chance.choice(verbs)(cache, key, turn)
        for one in (key, *self._known):
            self.check(one, cache.get(one))

    def check(self, key: str, found: Any) -> None:
        """Compare what was found with what was written."""
        expected = self._known.get(key)
        if found is None:
            assert expected is None or expected.may_be_gone(), f"{key} is gone"
            return
        assert expected is not None
        assert found == [expected.version], "an older value came back"
        assert expected.expires_at is None or self._clock.now < expected.expires_at, f"{key} is past its expiry"

    def write(self, key: str, version: int, ttl: float | None) -> None:
        """Note what was written."""
        self._known[key] = Known(version, None if ttl is None else self._clock.now + ttl, self._clock.now)

    def jump(self, _cache: Cache, _key: str, _turn: int) -> None:
        """Turn the clock."""
        self._clock.advance(self._chance.choice(JUMPS) * self._chance.choice([1, -1]))
        now = self._clock.now
        self._known = {key: known._replace(latest=max(known.latest, now)) for key, known in self._known.items()}

    def set(self, cache: Cache, key: str, turn: int) -> None:
        """Write a new version."""
        ttl = self._chance.choice(LIFETIMES)
        cache.set(key, [turn], ttl=ttl)
        self.write(key, turn, ttl)

    def pop(self, cache: Cache, key: str, _turn: int) -> None:
        """Take it away. What has expired stays where it is, and may come back when the clock goes back."""
        found = cache.pop(key, None)
        self.check(key, found)
        if found is not None:
            del self._known[key]

    def touch(self, cache: Cache, key: str, _turn: int) -> None:
        """Give it a new lifetime."""
        if cache.touch(key, 60):
            self.write(key, self._known[key].version, 60)

    def look_at_all(self, cache: Cache, _key: str, _turn: int) -> None:
        """List what is there."""
        for key, found in cache.items():
            self.check(str(key), found)

    def load(self, cache: Cache, key: str, turn: int) -> None:
        """Load it if it is not there."""
        found = cache.get_or_set(key, lambda: [turn], ttl=60)
        if found == [turn]:
            self.check(key, None)
            self.write(key, turn, 60)
        self.check(key, found)

    def maintain(self, cache: Cache, _key: str, _turn: int) -> None:
        """Do what happens in the background from time to time."""
        if isinstance(cache.backend, SQLiteBackend):
            cache.backend.maintain()


def jump_about(folder: Path, name: str, near: bool, seed: int, turns: int) -> None:
    """Use two handles of one cache, as two processes have them, under a clock that jumps."""
    clock = FakeClock()
    with ExitStack() as stack:
        houses = [stack.enter_context(closing(manager(folder, clock, cache_near_enabled=near))) for _ in range(2)]
        caches = [house.get_cache(name, maxsize=1000, ttl=None, **CACHES[name]) for house in houses]
        if name == "memory":
            del caches[1:]  # of one process alone
        world = World(caches, clock, random.Random(seed))
        for turn in range(turns):
            world.step(turn)
        assert [(cache.stats()["errors"], cache.stats()["rejected"]) for cache in caches] == [(0, 0)] * len(caches)


@pytest.mark.parametrize("near", [True, False], ids=["near", "not near"])
@pytest.mark.parametrize("name", CACHES)
def test_a_clock_that_jumps(tmp_path: Path, name: str, near: bool) -> None:
    """By seconds, hours, days and ten years, between any two operations of two handles on one file."""
    for seed in range(3):
        jump_about(tmp_path / str(seed), name, near, seed, 400)


@pytest.mark.soak
@pytest.mark.parametrize("near", [True, False], ids=["near", "not near"])
@pytest.mark.parametrize("name", CACHES)
def test_a_clock_that_jumps_for_minutes(tmp_path: Path, name: str, near: bool) -> None:
    """The same, two hundred times as much."""
    for seed in range(200):
        jump_about(tmp_path / str(seed), name, near, 1000 + seed, 1200)


# The system's own clock

USER: Final = """
import json, sys, time
from pathlib import Path
from openalgo_cache import CacheManager, Settings
house = CacheManager(Settings(base_folder=Path(sys.argv[1]), cache_backend="sqlite"))
cache = house.get_cache("quotes", ttl=None)
state = house.get_cache("running_strategies")
print("ready", flush=True)
for line in sys.stdin:
    verb, key, *rest = json.loads(line)
    if verb == "time":
        answer = time.time()
    elif verb == "maintain":
        cache.backend.maintain()
        state.backend.maintain()
        answer = None
    elif verb == "load":
        answer = cache.get_or_set(key, lambda: rest[0])
    elif verb == "state":
        answer = state.get(key)
    elif verb == "save":
        answer = state.set(key, rest[0])
    elif verb == "set":
        answer = cache.set(key, rest[0], ttl=rest[1])
    else:
        answer = [cache.get(key), cache.get(key), cache.stats()["errors"]]
    print(json.dumps(answer), flush=True)
house.close()
"""


def preloaded() -> str:
    """Return the library that fakes the clock of a process."""
    program = shutil.which("faketime")
    if program is None:
        if "CI" in os.environ and sys.platform == "linux":
            pytest.fail("faketime is not installed (Debian: apt install faketime)")
        pytest.skip("faketime is not installed (Debian: apt install faketime)")
    environment = subprocess.run([program, "-f", "+0d", "env"], capture_output=True, text=True, check=True).stdout
    return next(line.partition("=")[2] for line in environment.splitlines() if line.startswith("LD_PRELOAD="))


def test_the_systems_clock_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten years on and back while a process has its caches open, with the clock that everybody uses."""
    stamp = tmp_path / "clock"
    monkeypatch.setenv("LD_PRELOAD", preloaded())
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(stamp))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")

    def turn(offset: str) -> None:
        stamp.with_suffix(".new").write_text(f"{offset}\n")
        stamp.with_suffix(".new").replace(stamp)

    turn("+0d")
    with Process(USER, tmp_path) as process:
        monkeypatch.undo()  # for that process only
        assert process.hear() == "ready"

        def ask(*words: Any) -> Any:
            return json.loads(process.ask(json.dumps(words)))

        def look(key: str) -> Any:
            first, second, errors = ask("get", key)
            assert first == second
            assert errors == 0
            return first

        began = ask("time", None)
        ask("set", "minute", 1, 60)
        ask("set", "decades", 2, 20 * YEAR)
        ask("set", "ever", 3, None)
        ask("save", "strategy", 4)
        assert [look(key) for key in ("minute", "decades", "ever")] == [1, 2, 3]
        turn("+10y")
        assert ask("time", None) - began > 9 * YEAR
        assert [look(key) for key in ("minute", "decades", "ever")] == [None, 2, 3]
        assert ask("load", "minute", 5) == 5
        ask("set", "later", 6, 60)
        ask("maintain", None)
        turn("-10y")
        assert ask("time", None) - began < -9 * YEAR
        assert [look(key) for key in ("minute", "decades", "ever", "later")] == [5, 2, 3, 6]
        ask("set", "ever", 7, 60)
        ask("maintain", None)
        assert look("ever") == 7
        turn("+0d")
        assert abs(ask("time", None) - began) < YEAR
        assert [look(key) for key in ("minute", "decades", "ever", "later")] == [5, 2, None, 6]
        assert ask("load", "ever", 8) == 8
        assert ask("state", "strategy") == 4

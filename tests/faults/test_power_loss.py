"""The power goes: whole files, nothing lost of what was on the disk when it was acknowledged, and else only a tail."""

from __future__ import annotations

import math
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from openalgo_cache.backends.sqlite import SQLiteBackend, schema
from openalgo_cache.cache import Cache
from openalgo_cache.errors import BackendUnavailableError
from tests.databases import connect
from tests.faults.disks import PoweredDisk
from tests.stacks import manager

KEYS: Final = [f"key {number}" for number in range(8)]
Held = dict[str, int]
"""The version that each key holds."""

DURABLE: Final = "running_strategies"
PLAIN: Final = "quotes"


@pytest.fixture(autouse=True)
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log be brought to the database every few writes, not every few thousand."""
    monkeypatch.setattr(schema, "_CHECKPOINT_PAGES", 40)
    monkeypatch.setattr(schema, "LOG_BYTES", 60 * schema.PAGE_SIZE)


def value(key: str, version: int) -> dict[str, Any]:
    """Return what is written: whoever reads it can tell whether it is whole."""
    return {"version": version, "padding": f"{key}-{version} " * (version * 37 % 400)}


def commits(cache: Cache, chance: random.Random) -> Iterator[Held]:
    """Make one commit after the other; yield what is held after each, before it is made."""
    held: Held = {}
    for version in range(1, 10_000):
        keys = chance.sample(KEYS, chance.choice([1, 1, 1, 5]))
        if version % 7 == 0:
            held = {key: one for key, one in held.items() if key not in keys}
            yield held
            cache.delete_many(keys)
        else:
            held = held | dict.fromkeys(keys, version)
            yield held
            cache.set_many({key: value(key, version) for key in keys}, ttl=None)
        if chance.random() < 0.03:
            with suppress(apsw.IOError):  # apsw's own doing: SQLite says nothing when it closes a file in vain
                cache.close()
        if chance.random() < 0.03:
            assert isinstance(cache.backend, SQLiteBackend)
            cache.backend._upkeep.vacuum()


def cut(folder: Path, name: str, seed: int, wal: bool) -> int:
    """Write until the power goes, look at what is there when it is back, and return how many commits were lost."""
    chance = random.Random(f"{name} {seed} {wal}")
    before, after = folder / "before", folder / "after"
    history: list[Held] = [{}]
    # The first file is a folder's entry that was made without SQLite: there already, and empty.
    (before / "db").mkdir(parents=True, mode=0o700)
    changes = int(math.exp(chance.uniform(math.log(5), math.log(1500))))
    house = manager(before, sqlite_wal_mode=wal)
    with PoweredDisk(before / "db", changes) as disk:
        cache = house.get_cache(name, on_error="raise")
        with suppress(BackendUnavailableError):
            for held in commits(cache, chance):
                history.append(held)  # noqa: PERF402  # it must have what came before the error
        assert disk.is_off
        with suppress(apsw.Error):
            house.close()
    (after / "db").mkdir(parents=True, mode=0o700)
    shutil.copy(before / "db" / ".cache_key", after / "db")
    disk.write_image(after / "db")
    # What was read when, in the file beside it, is not worth a wait for the disk: it may be lost as a whole.
    if (path := after / "db" / f"cache_{name}.db").exists():
        with closing(connect(path)) as connection:
            assert connection.pragma("integrity_check") == "ok"
    with closing(manager(after, sqlite_wal_mode=wal)) as house:
        cache = house.get_cache(name, on_error="raise")
        found = cache.get_many(KEYS)
        assert all(one == value(str(key), one["version"]) for key, one in found.items())
        held = {str(key): one["version"] for key, one in found.items()}
        # Acknowledged is all but the last of the history. What was not may be there all the same.
        lost = next((back for back, one in enumerate(reversed(history)) if one == held), None)
        assert lost is not None, f"seed {seed}: what is there was never there at one time"
        cache.set("key", 1)
        assert cache.get("key") == 1
        assert cache.stats()["rejected"] == 0
    # A state that was cut off while it was made is empty, and that is always told.
    assert not list((after / "db").glob(f"cache_{name}.damaged-*")) or (
        name == DURABLE and history[-2:-1] in ([], [{}])
    )
    return max(lost - 1, 0)


def cut_again_and_again(folder: Path, name: str, times: int, wal: bool) -> None:
    """Cut the power many times, and say how much was lost."""
    losses = [cut(folder / str(seed), name, seed, wal) for seed in range(times)]
    print(f"{name}: lost {sum(losses)} commits in {times} cuts, {max(losses)} at most", file=sys.stderr)  # noqa: T201  # shown with -s, or on failure
    if name == DURABLE:
        assert losses == [0] * times
    elif times > 100:
        assert max(losses) > 0, "the cuts don't cut"


@pytest.mark.parametrize("wal", [True, False], ids=["with a log", "without"])
def test_nothing_acknowledged_of_a_state_is_lost(tmp_path: Path, wal: bool) -> None:
    """It was on the disk before it was acknowledged."""
    cut_again_and_again(tmp_path, DURABLE, 25, wal)


@pytest.mark.parametrize("wal", [True, False], ids=["with a log", "without"])
def test_a_cache_loses_its_newest_commits_at_most(tmp_path: Path, wal: bool) -> None:
    """It is as it was at some moment before: whole, with nothing missing in between."""
    cut_again_and_again(tmp_path, PLAIN, 25, wal)


@pytest.mark.soak
@pytest.mark.parametrize("wal", [True, False], ids=["with a log", "without"])
@pytest.mark.parametrize("name", [DURABLE, PLAIN])
def test_the_power_goes_a_thousand_times(tmp_path: Path, name: str, wal: bool) -> None:
    """A thousand times for each kind of cache."""
    cut_again_and_again(tmp_path, name, 1000, wal)

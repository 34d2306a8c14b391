"""The disk is full: caches miss and do nothing, state and security say so, nothing is damaged, and it passes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.manager import CacheManager
from tests.faults import harm
from tests.faults.disks import FullableDisk, SmallDisk
from tests.stacks import manager
from tests.test_cache_failures import DELETES, READS, WRITES

SIGNED, ENCRYPTED, STATE = "quotes", "user_strategies", "running_strategies"
CACHES: Final = (SIGNED, ENCRYPTED, STATE)


@pytest.fixture(params=["as SQLite sees it", "a small file system"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FullableDisk | SmallDisk]:
    """A disk that can be filled: everywhere by what SQLite is told, and a real one where we may mount it."""
    if request.param == "as SQLite sees it":
        (tmp_path / "db").mkdir(mode=0o700)
        with FullableDisk(tmp_path / "db") as disk:
            yield disk
        return
    try:
        small = SmallDisk(tmp_path / "db")
    except OSError as error:
        pytest.skip(str(error))
    with small:
        yield small


@pytest.fixture
def house(disk: FullableDisk | SmallDisk) -> Iterator[CacheManager]:
    """The first process on that disk."""
    with closing(manager(disk.folder.parent)) as house:
        yield house


def fill(house: CacheManager) -> None:
    """Write what the verbs read."""
    for name in CACHES:
        house.get_cache(name).set_many({"key": 1, 1: 1}, ttl=None)


def maintain(cache: Cache) -> None:
    """Do what happens in the background from time to time."""
    assert isinstance(cache.backend, SQLiteBackend)
    cache.backend.maintain()


def check_that_verbs_do_without(house: CacheManager) -> None:
    """Use every verb of every kind of cache: no write succeeds, and what must raise does."""
    for name in CACHES:
        cache = house.get_cache(name)
        for call, fallback in READS.values():
            try:  # some reads need space, too: for the index of a log
                found = call(cache)
                assert name != STATE or found != fallback
            except BackendUnavailableError:
                assert name == STATE
        for verb, (call, fallback) in (WRITES | DELETES).items():
            if name == STATE or (name == ENCRYPTED and verb in DELETES):
                with pytest.raises(BackendUnavailableError):
                    call(cache)
            else:
                result = call(cache)
                assert result in {fallback, 1}, (name, verb)
                assert verb not in DELETES or result == fallback


def check_that_all_is_there(house: CacheManager, *, but_deleted: tuple[str, ...] = ()) -> None:
    """Nothing was lost or damaged, and everything works; what should have been deleted is."""
    for name in CACHES:
        cache = house.get_cache(name)
        assert cache.get_many(["key", 1, "new"]) == ({} if name in but_deleted else {"key": 1, 1: 1})
        cache.set("new", 2)
        assert cache.delete("new") is True
        maintain(cache)
        backend = cache.backend
        assert isinstance(backend, SQLiteBackend)
        assert backend._store.damages == 0
        assert backend._store.read(lambda cursor: cursor.execute("PRAGMA integrity_check").get) == "ok"


def test_a_disk_that_was_full_before_the_start(disk: FullableDisk | SmallDisk, house: CacheManager) -> None:
    """Yesterday's files, and no space for a log: an outage, and over when there is space."""
    fill(house)
    house.close()
    disk.fill()
    with closing(manager(disk.folder.parent)) as today:
        check_that_verbs_do_without(today)
        disk.free()
        check_that_all_is_there(today, but_deleted=(ENCRYPTED, STATE))


def test_a_disk_that_was_full_before_the_first_write(disk: FullableDisk | SmallDisk, house: CacheManager) -> None:
    """No file can be made: an outage again, and no file is taken for a damaged one afterwards."""
    house.ring()
    disk.fill()
    for name in CACHES:
        cache = house.get_cache(name)
        for key in ("key", "other"):
            if name == STATE:
                with pytest.raises(BackendUnavailableError):
                    cache.set(key, 1)
                with pytest.raises(BackendUnavailableError):
                    cache.get(key)
            else:
                cache.set(key, 1)
                assert cache.get(key) is None
    with pytest.raises(BackendUnavailableError):
        house.get_cache(ENCRYPTED).clear()
    disk.free()
    fill(house)
    check_that_all_is_there(house)
    assert not list(disk.folder.glob("*.damaged-*"))


def test_a_disk_that_fills_up_again_and_again(disk: FullableDisk | SmallDisk, house: CacheManager) -> None:
    """Whatever was acknowledged is there, what was refused is not; only a secret's delete is done later on."""
    chance = random.Random(20_260_301)
    keys = [f"key {number}" for number in range(12)]
    allowed: dict[str, dict[str, list[Any]]] = {name: {key: [None] for key in keys} for name in CACHES}
    for name in CACHES:
        house.get_cache(name).exists("the files are made")
    refused = 0
    for turn in range(600):
        if turn % 25 == 0:
            (disk.free if turn % 50 else disk.fill)()
        name, key = chance.choice(CACHES), chance.choice(keys)
        cache = house.get_cache(name)
        failures = cache._counters.errors
        value = [turn, f"{turn} " * chance.choice([1, 10, 2_000])]
        deletes = chance.random() < 0.2
        try:
            cache.pop(key, None) if deletes else cache.update({key: value})
        except BackendUnavailableError:
            assert name == STATE or (deletes and name == ENCRYPTED)
        if cache._counters.errors == failures:
            allowed[name][key] = [None if deletes else value]
        else:
            refused += 1
            if deletes and name != SIGNED:
                allowed[name][key] = [None]
        found = cache.get(key) if name != STATE else read_state(cache, key, allowed[name][key][0])
        assert found in (*allowed[name][key], *([None] if cache._counters.errors > failures else []))
        # SQLite says nothing when its last words find no place; apsw repeats what a disk of Python's said.
        if turn % 50 == 49 or (turn % 50 == 20 and isinstance(disk, SmallDisk)):
            cache.close()
    assert refused > 20
    disk.free()
    for name in CACHES:
        cache = house.get_cache(name)
        assert {key: [cache.get(key)] for key in keys} == allowed[name]
        maintain(cache)
        backend = cache.backend
        assert isinstance(backend, SQLiteBackend)
        assert backend._store.damages == 0
    house.close()
    for path in disk.folder.glob("*.db"):
        with closing(apsw.Connection(str(path))) as connection:
            assert connection.pragma("integrity_check") == "ok"


def read_state(cache: Cache, key: str, otherwise: Any) -> Any:
    """Return what is under a key of a state, or something else if it cannot be read now."""
    try:
        return cache.get(key)
    except BackendUnavailableError:
        return otherwise


def test_a_damaged_state_on_a_full_disk(disk: FullableDisk | SmallDisk, house: CacheManager) -> None:
    """It waits, as it is, for space: then it is mended, and comes back from its backup."""
    state = house.get_cache(STATE)
    state.set_many({f"key {number}": number for number in range(50)})
    maintain(state)
    state.close()
    harm.overwrite(disk.folder / f"cache_{STATE}.db", 4096, b"\xff" * 8192)
    damaged = (disk.folder / f"cache_{STATE}.db").read_bytes()
    disk.fill()
    for _ in range(2):
        with pytest.raises(BackendUnavailableError):
            state.set("key 1", 2)
    if isinstance(disk, SmallDisk):  # the copy that is set aside is written past SQLite
        assert (disk.folder / f"cache_{STATE}.db").read_bytes() == damaged
        assert not list(disk.folder.glob("*.damaged-*"))
    disk.free()
    assert dict(state.items()) == {f"key {number}": number for number in range(50)}
    assert len(list(disk.folder.glob("*.damaged-1.db"))) == 1


def test_upkeep_on_a_full_disk(disk: FullableDisk | SmallDisk, house: CacheManager) -> None:
    """It is put off, and leaves nothing half done: no half of a backup, and the old ones stay."""
    fill(house)
    state = house.get_cache(STATE)
    yesterday = disk.folder / f"cache_{STATE}.backup-20200101.db"
    yesterday.write_bytes(b"yesterday's")
    disk.fill()
    for name in CACHES:
        try:
            maintain(house.get_cache(name))
        except BackendUnavailableError as error:  # it may succeed where no backup is due
            assert "full" in str(error) or "No space" in str(error)  # noqa: PT017  # likewise
    assert sorted(path.name for path in disk.folder.glob("*backup*")) == [yesterday.name]
    disk.free()
    maintain(state)
    assert len(list(disk.folder.glob("*backup*"))) == 2
    check_that_all_is_there(house)

"""Damaged files: never a wrong value, no error to users of a cache, set aside, and usable again in every process."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from openalgo_cache import CacheManager
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.errors import UnreadableRecordError
from tests.databases import connect
from tests.faults import harm
from tests.faults.harm import Harm, check, database_of, fill, settings_in, value
from tests.faults.processes import Process

KEYS = 120
each_harm = pytest.mark.parametrize("how", harm.ALL, ids=harm.names_of(harm.ALL))
each_gross_harm = pytest.mark.parametrize("how", harm.GROSS, ids=harm.names_of(harm.GROSS))


@pytest.fixture(scope="module", params=[2, KEYS], ids=["little in the log", "much in the log"])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to copy."""
    return make_template(tmp_path_factory.mktemp("template"), request.param)


def make_template(folder: Path, rewritten: int) -> Path:
    """Return a folder with the files of a cache and of a state, as a killed process leaves them."""
    manager = CacheManager(settings_in(folder))
    for name in ("quotes", "running_strategies"):
        fill(manager.get_cache(name), KEYS, rewritten)
    backup(manager.get_cache("running_strategies"))
    shutil.copytree(folder / "db", folder / "copy" / "db", ignore=shutil.ignore_patterns("*-shm"))
    manager.close()
    return folder / "copy"


def backup(cache: Cache) -> None:
    """Make the day's backup."""
    backend = cache.backend
    assert isinstance(backend, SQLiteBackend)
    backend.maintain()


def rebuilt(cache: Cache) -> int:
    """Return how many times this process wrote a cache's file anew."""
    backend = cache.backend
    assert isinstance(backend, SQLiteBackend)
    return backend._store.damages


def use(cache: Cache, chance: random.Random) -> None:
    """Use every verb; whatever is read has to be a value that was written under its key."""
    for number in chance.sample(range(KEYS), 40):
        check(f"key{number}", cache.get(f"key{number}"))
    for key, found in cache.items("key"):
        check(str(key), found)
    for key, found in cache.get_many([f"key{number}" for number in range(0, KEYS, 9)]).items():
        check(str(key), found)
    assert cache.size() >= 0
    cache.delete("key5")
    check("key5", cache.get("key5"))  # a page in the place of another can have it a second time
    cache.add("key6", value("key6", 1))
    cache.touch("key7", 100)
    check("key8", cache.pop("key8", None))
    assert cache.get_or_set("loaded", lambda: 7) == 7
    cache.stats()


def is_usable(cache: Cache) -> bool:
    """Return whether what is written can be read."""
    cache.set("again", 1)
    return cache.incr("again") == 2 and cache.get("again") == 2


@each_harm
@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
def test_a_damaged_cache(template: Path, tmp_path: Path, how: Harm, seed: int, opened: bool) -> None:
    """Found at start, or while the file is open: misses at worst, then it is as good as new."""
    chance = random.Random(f"{how.__name__} {seed}")
    shutil.copytree(template / "db", tmp_path / "db")
    manager = CacheManager(settings_in(tmp_path))
    cache = manager.get_cache("quotes")
    if opened:
        check("key0", cache.get("key0"))
        cache.set("key0", value("key0", 1))
    how(tmp_path / "db" / "cache_quotes.db", chance)
    use(cache, chance)
    assert is_usable(cache) or how in harm.SUBTLE
    backend = cache.backend
    assert isinstance(backend, SQLiteBackend)
    backend.maintain()
    if rebuilt(cache):
        with closing(connect(database_of(cache))) as connection:
            assert connection.pragma("auto_vacuum") == 2
    copies = list((tmp_path / "db").glob("cache_quotes.damaged-?.db"))
    assert len(copies) == rebuilt(cache) <= 2
    for file in (tmp_path / "db").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 or os.name == "nt"
    manager.close()
    again = CacheManager(settings_in(tmp_path)).get_cache("quotes")
    assert again.get("again") == 2 or opened or how in harm.SUBTLE
    again.close()


USER = """
import random, sys
from pathlib import Path
from openalgo_cache import CacheManager
from tests.faults.harm import settings_in
from tests.faults.test_damage import is_usable, rebuilt, use
for line in sys.stdin:
    verb, _, argument = line.strip().partition(" ")
    if verb == "open":
        manager = CacheManager(settings_in(Path(argument)))
        cache = manager.get_cache("quotes")
        print(cache.get("key0") is not None, flush=True)
    elif verb == "use":
        use(cache, random.Random(argument))
        print(is_usable(cache), rebuilt(cache), flush=True)
    elif verb == "set":
        cache.set(argument, argument)
        print("set", flush=True)
    elif verb == "get":
        print(cache.get(argument), flush=True)
    else:
        manager.close()
        print("closed", flush=True)
"""
kept: list[Process] = []


@pytest.fixture(scope="module", autouse=True)
def nobody_is_left() -> Iterator[None]:
    """End the process that :func:`other_process` keeps."""
    yield
    while kept:
        with kept.pop():
            pass


@contextmanager
def other_process() -> Iterator[Process]:
    """Lend a process that is told by lines which folder's cache to use, and how; one serves all tests that succeed."""
    process = kept.pop() if kept else Process(USER)
    try:
        yield process
    except BaseException:
        with process:
            raise
    kept.append(process)


@each_harm
@pytest.mark.parametrize("seed", [0])
def test_a_cache_that_is_damaged_while_two_processes_have_it_open(
    template: Path, tmp_path: Path, how: Harm, seed: int
) -> None:
    """Both go on, both find it usable, and from then on each reads what the other one writes."""
    chance = random.Random(f"{how.__name__} {seed}")
    shutil.copytree(template / "db", tmp_path / "db")
    manager = CacheManager(settings_in(tmp_path))
    cache = manager.get_cache("quotes")
    with other_process() as other:
        assert other.ask(f"open {tmp_path}") == "True"
        check("key0", cache.get("key0"))
        how(tmp_path / "db" / "cache_quotes.db", chance)
        first, second = chance.sample(["here", "there"], 2)
        for place in (first, second, first):
            if place == "here":
                use(cache, chance)
                usable = is_usable(cache)
            else:
                usable = other.ask(f"use {seed}").startswith("True ")
            assert usable or how in harm.SUBTLE
        cache.set("from here", "from here")
        assert other.ask("get from here") == "from here" or how in harm.SUBTLE
        assert other.ask("set from there") == "set"
        assert cache.get("from there") == "from there" or how in harm.SUBTLE
        assert other.ask("close") == "closed"
    manager.close()
    again = CacheManager(settings_in(tmp_path)).get_cache("quotes")
    # What was damaged unnoticed may show now; then it is a miss like any other.
    assert {again.get("from here"), again.get("from there")} <= {"from here", "from there", None}
    use(again, chance)
    assert is_usable(again) or how in harm.SUBTLE
    again.close()


def state_of(folder: Path) -> Cache:
    """Return the state cache of a folder."""
    return CacheManager(settings_in(folder)).get_cache("running_strategies")


def read(cache: Cache, key: str) -> object:
    """Return a state record's value, None if it is not there, or the error's class if it is unreadable."""
    try:
        return cache.get(key)
    except UnreadableRecordError:
        return UnreadableRecordError


@each_harm
@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
def test_a_damaged_state(template: Path, tmp_path: Path, how: Harm, seed: int, opened: bool) -> None:
    """What is intact is there, the rest comes back from the backup, and nothing wrong is ever returned."""
    chance = random.Random(f"{how.__name__} {seed}")
    shutil.copytree(template / "db", tmp_path / "db")
    cache = state_of(tmp_path)
    if opened:
        assert cache.get("key0") == value("key0", 2)
    how(tmp_path / "db" / "cache_running_strategies.db", chance)
    keys = [f"key{number}" for number in range(KEYS)]
    for key in keys:
        if (one := read(cache, key)) is not UnreadableRecordError:
            check(key, one)
    if rebuilt(cache):
        assert all(cache.get(key) is not None for key in keys)
    before = rebuilt(cache)
    cache.set("again", 1)
    # A file that loses its ground unnoticed takes with it what is written to it then.
    assert read(cache, "again") == 1 or (opened and rebuilt(cache) > before) or how not in harm.GROSS
    cache.close()
    again = state_of(tmp_path)
    assert read(again, "again") == 1 or opened or how not in harm.GROSS
    again.close()


def test_state_comes_back_with_what_is_newer_than_its_backup(tmp_path: Path) -> None:
    """The backup's records, and every intact one that was written, or deleted, since."""
    cache = state_of(tmp_path)
    cache.set_many({f"key{number}": value(f"key{number}", 0) for number in range(KEYS)})
    backup(cache)
    cache.set_many({f"key{number}": value(f"key{number}", 1) for number in range(0, KEYS, 2)})
    cache.set("new", value("new", 2))
    cache.close()
    path = database_of(cache)
    cache.close()
    # Half of the table's pages are lost: the file is too short for the rest.
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)
    again = state_of(tmp_path)
    found = {f"key{number}": again.get(f"key{number}") for number in range(KEYS)}
    assert rebuilt(again) == 1
    assert None not in found.values()
    newer = [key for key, one in found.items() if one == value(key, 1)]
    assert 0 < len(newer) < KEYS // 2
    assert all(
        one in {0: [value(key, 0)], 1: [value(key, 0), value(key, 1)]}[int(key[3:]) % 2 == 0]
        for key, one in found.items()
    )
    again.close()


def test_what_was_deleted_stays_deleted_where_the_table_is_whole(tmp_path: Path) -> None:
    """A strategy that was stopped does not run again because of damage elsewhere in the file."""
    cache = state_of(tmp_path)
    cache.set_many({f"key{number}": value(f"key{number}", 0) for number in range(KEYS)})
    backup(cache)
    cache.delete_many([f"key{number}" for number in range(0, KEYS, 2)])
    cache.close()
    path = database_of(cache)
    cache.close()
    harm.overwrite(path, 68, b"\0\0\0\0")  # the header's application id
    again = state_of(tmp_path)
    assert sorted(again.keys()) == sorted(f"key{number}" for number in range(1, KEYS, 2))
    assert rebuilt(again) == 1
    again.close()


def test_a_record_that_is_damaged_comes_from_the_backup_one_by_one(tmp_path: Path) -> None:
    """Each record in the newest form that is intact, even if SQLite sees nothing wrong with it."""
    cache = state_of(tmp_path)
    cache.set_many({f"key{number}": value(f"key{number}", 0) for number in range(4)})
    backup(cache)
    cache.set("key1", value("key1", 1))
    path = database_of(cache)
    cache.close()
    with closing(connect(path)) as connection:
        connection.execute(
            "UPDATE cache SET value = CAST('no record' AS BLOB) WHERE key LIKE '%key1' OR key LIKE '%key2'"
        )
    harm.overwrite(path, 68, b"\0\0\0\0")
    again = state_of(tmp_path)
    assert {key: again.get(key) for key in ("key0", "key1", "key2", "key3")} == {
        f"key{number}": value(f"key{number}", 0) for number in range(4)
    }
    again.close()


def test_a_record_whose_key_is_damaged_comes_back(tmp_path: Path) -> None:
    """Nobody has deleted it: what is in its place does not verify there."""
    cache = state_of(tmp_path)
    cache.set_many({f"key{number}": value(f"key{number}", 0) for number in range(4)})
    backup(cache)
    path = database_of(cache)
    cache.close()
    with closing(connect(path)) as connection:
        connection.execute("UPDATE cache SET key = replace(key, 'key1', 'kex1')")
    harm.overwrite(path, 68, b"\0\0\0\0")
    again = state_of(tmp_path)
    assert [again.get(f"key{number}") for number in range(4)] == [value(f"key{number}", 0) for number in range(4)]
    again.close()


def test_state_of_another_key_ring_survives_damage(tmp_path: Path) -> None:
    """Nothing verifies without the right ring, and nothing is thrown away for it."""
    cache = state_of(tmp_path)
    cache.set_many({f"key{number}": value(f"key{number}", 0) for number in range(4)})
    backup(cache)
    cache.set("new", value("new", 1))
    path = database_of(cache)
    cache.close()
    ring = (tmp_path / "db" / ".cache_key").rename(tmp_path / "ring")
    RingFile(tmp_path / "db" / ".cache_key").load_or_create()
    harm.overwrite(path, 68, b"\0\0\0\0")
    stranger = state_of(tmp_path)
    assert [read(stranger, key) for key in ("key0", "new")] == [UnreadableRecordError] * 2
    stranger.close()
    ring.replace(tmp_path / "db" / ".cache_key")
    again = state_of(tmp_path)
    assert (again.get("key0"), again.get("new")) == (value("key0", 0), value("new", 1))
    again.close()


def test_no_backup_is_made_of_a_damaged_file(tmp_path: Path) -> None:
    """A backup is only as good as what it was made of: the file is mended first."""
    cache = state_of(tmp_path)
    fill(cache, KEYS, 2)
    backup(cache)
    (old,) = (tmp_path / "db").glob("*.backup-*.db")
    old.rename(old.with_name(old.name.replace("backup-2", "backup-1")))  # of long ago
    path = database_of(cache)
    cache.close()
    os.truncate(path, path.stat().st_size // 4096 * 2048)
    again = state_of(tmp_path)
    backup(again)
    assert rebuilt(again) == 1
    assert sorted(again.keys()) == sorted(f"key{number}" for number in range(KEYS))
    again.close()
    (new,) = set((tmp_path / "db").glob("*.backup-2*.db"))
    with closing(connect(new)) as connection:
        assert connection.pragma("integrity_check") == "ok"
        assert connection.execute("SELECT count(*) FROM cache").get == KEYS


@pytest.mark.parametrize("how", [harm.clear_a_page, harm.clear_the_header, harm.put_a_text_in_its_place])
def test_only_so_many_damaged_copies_are_kept(template: Path, tmp_path: Path, how: Harm) -> None:
    """Whoever damages a file again and again does not fill the disk."""
    chance = random.Random(how.__name__)
    shutil.copytree(template / "db", tmp_path / "db")
    cache = CacheManager(settings_in(tmp_path)).get_cache("quotes")
    for _ in range(8):
        cache.set_many({f"key{number}": value(f"key{number}", 0) for number in range(30)})
        cache.close()
        harm.clear_the_header(database_of(cache), chance)
        how(database_of(cache), chance)
        assert is_usable(cache)
    assert len(list((tmp_path / "db").glob("*.damaged-?.db"))) == 5
    cache.close()

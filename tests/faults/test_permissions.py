"""Files are ours alone from their first byte, and a folder that cannot be written is an outage like any other."""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import stat
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from openalgo_cache import CacheManager, files
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability
from openalgo_cache.errors import BackendUnavailableError, KeyRingError
from openalgo_cache.selection.record import record_first
from tests.faults import harm
from tests.faults.forks import NOBODY, Child, become_nobody, forks
from tests.stacks import manager
from tests.symbols.samples import ROWS
from tests.test_cache_failures import DELETES, VERBS

pytestmark = [
    forks,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.xdist_group("permissions"),  # the umask is the whole process's
]

IN_ATTRIB, IN_MOVED_TO, IN_CREATE, IN_Q_OVERFLOW = 0x4, 0x80, 0x100, 0x4000
EXPECTED: Final = (
    r"\.cache_key",
    r"\.cache_backend",
    r"cache_quotes\.db(-wal|-shm|\.lock)?",
    r"cache_quotes\.recency\.db(-wal|-shm|\.lock)?",
    r"cache_quotes\.damaged-1\.db(-wal)?",
    r"cache_running_strategies\.db(-wal|-shm|\.lock)?",
    r"cache_running_strategies\.backup-\d{8}\.db",
    r"cache_unlogged\.db(-journal|\.lock)?",
    r"cache_running_strategies\.sqlite\.deletes",
    r"cache_symbols-[0-9a-f]{32}\.db",
    r"cache_symbols\.(current|lock)",
)


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that an unprivileged user can come to and owns; pytest's own are closed to others."""
    if os.geteuid() != 0:
        yield tmp_path / "public"
        return
    folder = Path(tempfile.mkdtemp(prefix="openalgo-cache-"))
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


class Watch:
    """What happens to the files of a folder, as the kernel tells it (inotify).

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._descriptor >= 0
        mask = IN_ATTRIB | IN_MOVED_TO | IN_CREATE
        assert libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) >= 0

    def events(self) -> Iterator[tuple[int, str]]:
        """Yield what happened, and the names of the files to which it did."""
        while True:
            try:
                told = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                os.close(self._descriptor)
                return
            at = 0
            while at < len(told):
                _, mask, _, length = struct.unpack_from("iIII", told, at)
                at += 16
                assert not mask & IN_Q_OVERFLOW
                yield mask, told[at : at + length].rstrip(b"\0").decode()
                at += length


class Noting(apsw.VFS):
    """SQLite's way to files, while this one is the default; notes the modes of those that it opens."""

    def __init__(self) -> None:
        super().__init__("noting", "", makedefault=True)
        self.modes: dict[str, int] = {}

    def xOpen(  # noqa: N802  # SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Look at the file before anything is written to it."""
        file = apsw.VFSFile("unix", name, flags)
        if name is not None:
            path = Path(name if isinstance(name, str) else name.filename())
            self.modes[path.name] = stat.S_IMODE(path.stat().st_mode)
        return file


def use_everything(folder: Path) -> dict[str, int]:
    """Have every file made that a cache makes; return their modes."""
    noting = Noting()
    modes = noting.modes

    def note_modes() -> None:
        for path in (folder / "db").iterdir():
            modes[path.name] = stat.S_IMODE(path.stat().st_mode)

    record_first(folder / "db", "sqlite")

    with closing(manager(folder)) as house:
        for name in ("quotes", "running_strategies"):
            cache = house.get_cache(name)
            cache.set("key", 1)
            assert cache.get("key") == 1
            maintain(cache)
        note_modes()
        cache = house.get_cache("quotes")
        cache.close()
        harm.clear_the_header(folder / "db" / "cache_quotes.db", random.Random(1))
        cache.set("key", 2)
        assert cache.get("key") == 2
        house.symbols().import_master(ROWS)
        note_modes()
    with closing(manager(folder, sqlite_wal_mode=False)) as house:
        cache = house.get_cache("unlogged")
        cache.set("key", 1)
        backend = cache.backend
        assert isinstance(backend, SQLiteBackend)

        def work(cursor: apsw.Cursor) -> None:
            cursor.execute("UPDATE cache SET created_at = 0")
            note_modes()

        backend._store.write(work)
    note_modes()
    noting.unregister()
    return modes


def maintain(cache: Cache) -> None:
    """Do what happens in the background from time to time."""
    assert isinstance(cache.backend, SQLiteBackend)
    cache.backend.maintain()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
@pytest.mark.parametrize("umask", [0, 0o022, 0o077], ids=oct)
def test_every_file_is_private_from_its_first_byte(tmp_path: Path, public: Path, umask: int) -> None:
    """Each has its mode when it is created: none has it changed afterwards, and all end up with the right one."""

    def work(folder: Path) -> tuple[list[str], dict[str, int], list[str]]:
        before = os.umask(umask)
        try:
            files.ensure_folder(folder / "db")
            watch = Watch(folder / "db")
            modes = use_everything(folder)
            events = list(watch.events())
        finally:
            os.umask(before)
        made = sorted({name for mask, name in events if mask & (IN_CREATE | IN_MOVED_TO)})
        return made, modes, sorted({name for mask, name in events if mask & IN_ATTRIB and name})

    def work_as_nobody() -> tuple[list[str], dict[str, int], list[str]]:
        become_nobody()
        return work(public / "folder")

    work(tmp_path / "folder")  # whatever is imported only now: nobody could not read it
    made, modes, changed = Child(work_as_nobody).result()
    assert changed == []
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o600} == {}
    # What files.py writes has a temporary name first; the index of a backup that is being made is gone before a look.
    assert [name for name in made if name not in modes and not name.endswith((".tmp", ".tmp-shm"))] == []
    for pattern in EXPECTED:
        assert any(re.fullmatch(pattern, name) for name in made), pattern
    assert stat.S_IMODE((public / "folder").stat().st_mode) == 0o700
    assert stat.S_IMODE((public / "folder" / "db").stat().st_mode) == 0o700


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    """It is the user's; doctor has something to say about it."""
    (tmp_path / "db").mkdir()
    (tmp_path / "db").chmod(0o777)
    with closing(manager(tmp_path)) as house:
        house.get_cache("quotes").set("key", 1)
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o777


# A folder that cannot be written

OF_EACH_KIND: Final = {"quotes": False, "user_strategies": True, "running_strategies": True}
"""Caches, and whether a deletion that fails must raise."""


def fill(house: CacheManager) -> None:
    """Write what the verbs read."""
    for name in OF_EACH_KIND:
        house.get_cache(name).set_many({"key": 1, 1: 1}, ttl=None)


def check_that_verbs_do_without(house: CacheManager) -> None:
    """Use every verb of every kind of cache: what must raise does, all others miss or do nothing."""
    for name, deletes_raise in OF_EACH_KIND.items():
        for verb, (call, fallback) in VERBS.items():
            cache = house.get_cache(name)
            if name == "running_strategies" or (deletes_raise and verb in DELETES):
                with pytest.raises(BackendUnavailableError):
                    call(cache)
            else:
                assert call(cache) == fallback, (name, verb)


def check_that_all_is_there(house: CacheManager, *, but_deleted: bool = False) -> None:
    """Nothing was lost, and everything works; what should have been deleted, and raised, is."""
    for name, deletes_raise in OF_EACH_KIND.items():
        cache = house.get_cache(name)
        assert cache.get_many(["key", 1, "new"]) == ({} if but_deleted and deletes_raise else {"key": 1, 1: 1})
        cache.set("new", 2)
        assert cache.delete("new") is True


def as_nobody(work: Callable[[], Any]) -> Any:
    """Run ``work`` as an unprivileged user."""

    def run() -> Any:
        become_nobody()
        return work()

    return Child(run).result()


def warm_up(folder: Path) -> None:
    """Import whatever is imported only when it is used: nobody could not read it."""
    with closing(manager(folder)) as house:
        fill(house)
        check_that_all_is_there(house)


def test_a_read_only_folder(tmp_path: Path, public: Path) -> None:
    """Yesterday's files, in a folder in which nothing can be made: an outage, and over when the folder is mended."""
    warm_up(tmp_path)

    def prepare() -> None:
        with closing(manager(public)) as house:
            fill(house)

    def use() -> None:
        with closing(manager(public)) as house:
            check_that_verbs_do_without(house)
            (public / "db").chmod(0o700)
            check_that_all_is_there(house, but_deleted=True)

    as_nobody(prepare)
    (public / "db").chmod(0o500)
    as_nobody(use)


def test_read_only_files(tmp_path: Path, public: Path) -> None:
    """An outage as well, and over as soon as they may be written: no connection is kept that could only read."""
    warm_up(tmp_path)

    def prepare() -> None:
        with closing(manager(public)) as house:
            fill(house)

    def use() -> None:
        for path in (public / "db").glob("*.db"):
            path.chmod(0o400)
        with closing(manager(public)) as house:
            check_that_verbs_do_without(house)
            for path in (public / "db").glob("*.db"):
                path.chmod(0o600)
            check_that_all_is_there(house, but_deleted=True)

    as_nobody(prepare)
    as_nobody(use)


def test_a_folder_that_becomes_read_only_while_it_is_used(tmp_path: Path, public: Path) -> None:
    """Its files are there already, and go on being used, though not even SQLite can delete its log."""
    warm_up(tmp_path)

    def use() -> None:
        with closing(manager(public)) as house:
            fill(house)
            (public / "db").chmod(0o500)
            check_that_all_is_there(house)
            for name in OF_EACH_KIND:
                house.get_cache(name).close()
            check_that_all_is_there(house)
            with pytest.raises(BackendUnavailableError):  # a backup is a new file
                maintain(house.get_cache("running_strategies"))
            (public / "db").chmod(0o700)
            maintain(house.get_cache("running_strategies"))
            check_that_all_is_there(house)

    as_nobody(use)


def test_a_read_only_folder_at_the_first_start(tmp_path: Path, public: Path) -> None:
    """Without a key ring nothing sealed can be kept: caches miss, state raises, and nothing is left half done."""
    warm_up(tmp_path)

    def use() -> None:
        (public / "db").mkdir(mode=0o700, parents=True)
        (public / "db").chmod(0o500)
        with closing(manager(public)) as house:
            for name in OF_EACH_KIND:
                cache = house.get_cache(name)
                if cache.policy.durability is Durability.STATE:
                    with pytest.raises(KeyRingError, match="cannot be created: Permission denied"):
                        cache.get("key")
                else:
                    cache.set("key", "value")
                    assert cache.get("key") is None
                    assert "cannot be created: Permission denied" in str(cache.health(probe=True)["reason"])
            assert list((public / "db").iterdir()) == []
            (public / "db").chmod(0o700)
            for name in OF_EACH_KIND:
                house.get_cache(name).get("key")  # finds the ring
            fill(house)
            check_that_all_is_there(house)

    as_nobody(use)

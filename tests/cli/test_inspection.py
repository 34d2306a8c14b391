"""A look into a cache file: true figures, no trace, and no harm to whoever has it open."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import apsw
import pytest

from openalgo_cache import BackendUnavailableError, Entry, SQLiteBackend
from openalgo_cache.backends.sqlite.inspection import inspect
from tests.cli.conftest import tree

NOW = 1_800_000_000.0


def backend(path: Path, *, wal: bool = True, maxsize: int | None = 100) -> SQLiteBackend:
    """Open a cache file as a cache does."""
    return SQLiteBackend(path, maxsize, wal=wal, clock=lambda: NOW)


@pytest.mark.parametrize("wal", [True, False])
@pytest.mark.parametrize("is_open", [True, False])
def test_figures(tmp_path: Path, wal: bool, is_open: bool) -> None:
    """Entries, expired ones and sizes are right, with and without a log, whether or not somebody has the file open."""
    path = tmp_path / "cache_x.db"
    store = backend(path, wal=wal)
    store.set_many({f"k{n}": Entry(bytes(100), NOW - 1 if n < 3 else NOW + 60) for n in range(10)})
    if not is_open:
        store.close()
    before = tree(tmp_path)
    seen = inspect(path, NOW, check=True)
    assert seen is not None
    assert (seen.entries, seen.expired, seen.payload_bytes) == (10, 3, 1000)
    assert (seen.oldest_at, seen.newest_at) == (NOW, NOW)
    assert seen.problems == ()
    assert seen.file_bytes == path.stat().st_size
    assert (seen.journal_bytes > 0) is (wal and is_open)
    assert tree(tmp_path).keys() == before.keys()
    store.close()


def test_reads_are_counted(tmp_path: Path) -> None:
    """What was read, and when, comes from the recency file, once it is there."""
    path = tmp_path / "cache_x.db"
    store = backend(path)
    store.set("k", Entry(b"x", None))
    for _ in range(3):
        store.get("k")
    seen = inspect(path, NOW)
    assert seen is not None
    assert seen.keys_read is None
    store.close()
    seen = inspect(path, NOW)
    assert seen is not None
    assert (seen.keys_read, seen.reads, seen.last_read_at) == (1, 3, NOW)


def test_there_is_nothing(tmp_path: Path) -> None:
    """No file, an empty one and one without tables hold nothing, and stay as they are."""
    path = tmp_path / "cache_x.db"
    assert inspect(path, NOW) is None
    path.touch()
    assert inspect(path, NOW) is None
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 7)
    connection.close()
    before = tree(tmp_path)
    assert inspect(path, NOW) is None
    assert tree(tmp_path) == before


def test_unused_space(tmp_path: Path) -> None:
    """What was deleted is space that waits to be used again."""
    path = tmp_path / "cache_x.db"
    store = backend(path, maxsize=None)
    store.set_many({f"k{n}": Entry(bytes(4000), None) for n in range(100)})
    store.clear()
    store.close()
    seen = inspect(path, NOW)
    assert seen is not None
    assert seen.entries == 0
    assert seen.oldest_at is None
    assert 300_000 < seen.unused_bytes < seen.file_bytes


@pytest.mark.parametrize("damage", [b"garbage" * 1000, b"SQLite format 3\x00" + bytes(5000)])
def test_damaged_files(tmp_path: Path, damage: bytes) -> None:
    """A file that is no database is a finding and no exception, and is not rebuilt."""
    path = tmp_path / "cache_x.db"
    path.write_bytes(damage)
    seen = inspect(path, NOW, check=True)
    assert seen is not None
    assert len(seen.problems) >= 1
    assert path.read_bytes() == damage
    assert [one.name for one in tmp_path.iterdir()] == ["cache_x.db"]


def test_damage_inside_is_found_by_the_check(tmp_path: Path) -> None:
    """The figures may still be right where the walk through the file finds a fault."""
    path = tmp_path / "cache_x.db"
    store = backend(path, maxsize=None)
    store.set_many({f"k{n:04}": Entry(os.urandom(300), None) for n in range(500)})
    store.close()
    content = bytearray(path.read_bytes())
    for page in range(5, len(content) // 4096):
        content[page * 4096 : page * 4096 + 12] = os.urandom(12)
    path.write_bytes(content)
    seen = inspect(path, NOW, check=True)
    assert seen is not None
    assert seen.problems


def test_it_cannot_be_opened(tmp_path: Path) -> None:
    """A folder in the file's place is an error of ours, with the path."""
    path = tmp_path / "cache_x.db"
    path.mkdir()
    with pytest.raises(BackendUnavailableError, match="cache_x"):
        inspect(path, NOW)


def test_names_that_a_uri_would_mistake(tmp_path: Path) -> None:
    """A question mark, a hash, a percent sign or a space in the path is no option."""
    folder = tmp_path / "a?mode=rw#b%20c d"
    folder.mkdir()
    path = folder / "cache_x.db"
    store = backend(path)
    store.set("k", Entry(b"x", None))
    store.close()
    seen = inspect(path, NOW)
    assert seen is not None
    assert seen.entries == 1


def test_beside_a_writer_in_the_same_process(tmp_path: Path) -> None:
    """Looks and writes in turn: no look fails or sees half a transaction, and no write is lost or locked out."""
    path = tmp_path / "cache_x.db"
    store = backend(path, maxsize=None)
    store.set_many({f"k{n}": Entry(b"0", None) for n in range(10)})
    stop = threading.Event()
    errors: list[Exception] = []

    def write() -> None:
        try:
            number = 0
            while not stop.is_set():
                number += 1
                store.set_many({f"k{n}": Entry(str(number).encode(), None) for n in range(10)})
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(100):
            seen = inspect(path, NOW, check=True)
            assert seen is not None
            assert (seen.entries, seen.problems) == (10, ())
            assert seen.payload_bytes % 10 == 0
    finally:
        stop.set()
        thread.join()
    assert errors == []
    assert len(store.get_many([f"k{n}" for n in range(10)])) == 10
    assert backend(path).get("k0") == store.get("k0")
    store.close()

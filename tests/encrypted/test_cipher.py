"""Encrypted files: nothing of what is in them can be read, nothing in them changed, and none is taken for another."""

from __future__ import annotations

import logging
import random
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import pytest

from openalgo_cache import CacheManager
from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.backends.sqlite.cipher import Cipher, Kind
from openalgo_cache.backends.sqlite.walindex import WalIndex
from openalgo_cache.codec.ringfile import FILE_NAME
from openalgo_cache.errors import BackendMisconfiguredError
from openalgo_cache.settings import Settings
from openalgo_cache.testing import BackendContract, BoundContract, ChangeTokenContract, ScanContract, SharedContract
from tests.databases import cipher_beside, connect
from tests.stacks import manager

READABLE: Final = "quotes"
STATE: Final = "running_strategies"
TRACES: Final = (b"planted", b"NSE:SBIN", b"openalgo:", b"CREATE TABLE", b"SQLite format 3")


class TestEncrypted(BackendContract, ScanContract, BoundContract, ChangeTokenContract, SharedContract):
    """An encrypted file does all that a plain one does, its change token included."""

    def make_backend(self, request: Request) -> CacheBackend:
        """Open the file of this test, encrypted, as all are here."""
        assert request.settings.sqlite_file_encryption
        return SQLiteBackend.create(request)


def filled(folder: Path, *names: str) -> CacheManager:
    """Return a manager whose caches have something in their database, their log, their recency and their backup."""
    house = manager(folder)
    for name in names or (READABLE, STATE):
        cache = house.get_cache(name)
        cache.set_many({f"NSE:SBIN{number}": f"planted {number} " * 20 for number in range(100)})
        cache.get("NSE:SBIN1")
        assert isinstance(cache.backend, SQLiteBackend)
        cache.backend.maintain()
        cache.set("NSE:SBIN in the log", "planted")
        with cache.lock("NSE:SBIN", ttl=5):
            pass
    return house


def databases(folder: Path) -> list[Path]:
    """Return all files of SQLite's that have content: the WAL index has none."""
    found = [path for path in (folder / "db").iterdir() if ".db" in path.name and path.stat().st_size]
    return [path for path in found if not path.name.endswith("-shm")]


def test_no_value_no_key_and_no_name_is_in_the_files(tmp_path: Path) -> None:
    """Neither in the database, nor in its log, its recency, its locks, its backup, nor in a file without a log."""
    house = filled(tmp_path)
    unlogged = manager(tmp_path, sqlite_wal_mode=False).get_cache("unlogged")
    unlogged.set("NSE:SBIN", "planted")
    files = databases(tmp_path)
    assert {path.name.split(".", 1)[1] for path in files} >= {"db", "db-wal", "recency.db", "locks.db-wal"}
    assert any("backup" in path.name for path in files)
    for path in files:
        assert [trace for trace in (*TRACES, READABLE.encode()) if trace in path.read_bytes()] == [], path
    unlogged.close()
    house.close()
    with closing(connect(tmp_path / "db" / f"cache_{READABLE}.db")) as connection:
        assert connection.pragma("integrity_check") == "ok"
        rows = list(map(str, connection.execute("SELECT key, value FROM cache")))
    assert sum("NSE:SBIN" in row and "planted" in row for row in rows) > 100, "what is looked for is there, decrypted"


def test_the_near_tier_sees_what_others_commit(tmp_path: Path) -> None:
    """The WAL index stays readable: it is looked at without a system call, as that of a plain file."""
    with closing(manager(tmp_path)) as one, closing(manager(tmp_path)) as other:
        cache, elsewhere = one.get_cache(READABLE), other.get_cache(READABLE)
        elsewhere.set("key", 1)
        assert [cache.get("key") for _ in range(3)] == [1, 1, 1]
        assert isinstance(cache.backend, SQLiteBackend)
        assert isinstance(cache.backend._store._index, WalIndex)
        elsewhere.set("key", 2)
        assert cache.get("key") == 2


def is_sound(cipher: Cipher, path: Path) -> bool:
    """Return whether SQLite sees nothing wrong with any page."""
    try:
        with closing(cipher.open(str(path), apsw.SQLITE_OPEN_READONLY)) as connection:
            return bool(connection.pragma("integrity_check") == "ok")
    except (apsw.NotADBError, apsw.CorruptError):
        return False


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    """In whatever page; the file is written anew, and state comes back."""
    chance = random.Random(7)
    filled(tmp_path).close()
    path = tmp_path / "db" / f"cache_{STATE}.db"
    sound = path.read_bytes()
    cipher = cipher_beside(path)
    assert is_sound(cipher, path)
    for _ in range(200):
        at = chance.randrange(len(sound))
        harmed = bytearray(sound)
        harmed[at] ^= 1 << chance.randrange(8)
        path.write_bytes(harmed)
        assert not is_sound(cipher, path), at
    with closing(manager(tmp_path)) as house:
        cache = house.get_cache(STATE)
        assert all(cache.get(f"NSE:SBIN{number}") == f"planted {number} " * 20 for number in range(100))


def test_a_plain_file_is_refused_not_rebuilt(tmp_path: Path) -> None:
    """The error says what to do, and the file stays as it is."""
    filled(tmp_path, "other").close()
    path = tmp_path / "db" / f"cache_{READABLE}.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE cache (key, value)")
    before = path.read_bytes()
    with (
        closing(manager(tmp_path)) as house,
        pytest.raises(BackendMisconfiguredError, match=r"is not encrypted.*encrypt-files"),
    ):
        house.get_cache(READABLE).set("key", 1)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.damaged-*"))


@pytest.mark.parametrize("name", [READABLE, STATE])
def test_a_file_under_another_key_is_refused_not_rebuilt(tmp_path: Path, name: str) -> None:
    """Nothing is lost: with the right key ring all is there again."""
    filled(tmp_path, name).close()
    ring = (tmp_path / "db" / FILE_NAME).rename(tmp_path / "ring")
    filled(tmp_path / "elsewhere", "other").close()
    (tmp_path / "elsewhere" / "db" / FILE_NAME).rename(tmp_path / "db" / FILE_NAME)
    with (
        closing(manager(tmp_path)) as stranger,
        pytest.raises(BackendMisconfiguredError, match="encrypted with another key"),
    ):
        stranger.get_cache(name).get("NSE:SBIN1")
    ring.replace(tmp_path / "db" / FILE_NAME)
    with closing(manager(tmp_path)) as house:
        assert house.get_cache(name).get("NSE:SBIN1") == "planted 1 " * 20
    assert not list((tmp_path / "db").glob("*.damaged-*"))


def test_another_caches_file_is_refused(tmp_path: Path) -> None:
    """Each cache has a key of its own."""
    filled(tmp_path, READABLE).close()
    path = tmp_path / "db" / f"cache_{READABLE}.db"
    path.rename(path.with_name("cache_other.db"))
    with closing(manager(tmp_path)) as house, pytest.raises(BackendMisconfiguredError, match="was another cache's"):
        house.get_cache("other").get("NSE:SBIN1")


def test_state_does_not_come_back_from_a_plain_backup_unseen(tmp_path: Path) -> None:
    """It could not be read: the file is not written anew without it."""
    filled(tmp_path, STATE).close()
    (backup,) = (tmp_path / "db").glob("*.backup-*.db")
    backup.unlink()
    with closing(apsw.Connection(str(backup))) as connection:
        connection.execute("CREATE TABLE cache (key, value)")
    path = tmp_path / "db" / f"cache_{STATE}.db"
    path.write_bytes(bytes(5000))
    with (
        closing(manager(tmp_path)) as house,
        pytest.raises(BackendMisconfiguredError, match=r"backup.*is not encrypted"),
    ):
        house.get_cache(STATE).get("NSE:SBIN1")
    assert path.read_bytes() == bytes(5000)


def test_the_key_is_in_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor in a repr; whatever happens to the file."""
    caplog.set_level(logging.DEBUG)
    filled(tmp_path, READABLE).close()
    path = tmp_path / "db" / f"cache_{READABLE}.db"
    cipher = cipher_beside(path)
    assert cipher._key is not None
    path.write_bytes(path.read_bytes()[:24] + bytes(4000))
    with closing(manager(tmp_path)) as house:
        house.get_cache(READABLE).get("key")
    assert "is damaged" in caplog.text
    assert cipher._key.hex() not in caplog.text + repr(cipher) + repr(cipher.__reduce_ex__)


def test_kinds_of_files(tmp_path: Path) -> None:
    """A damaged head is still known as ours, and noise is nobody's."""
    path = tmp_path / "file.db"
    ours, theirs, plain = Cipher(b"1" * 32), Cipher(b"2" * 32), Cipher()

    def kinds() -> tuple[Kind, Kind, Kind]:
        return ours.kind_of(path), theirs.kind_of(path), plain.kind_of(path)

    path.touch()
    assert kinds() == (Kind.EMPTY,) * 3
    with closing(ours.open(str(path), apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.pragma("page_size", 2048)
        connection.execute("CREATE TABLE a (b)")
    assert kinds() == (Kind.OURS, Kind.FOREIGN, Kind.FOREIGN)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 0x81]) + content[1:])
    assert kinds() == (Kind.OURS, Kind.FOREIGN, Kind.FOREIGN)
    path.write_bytes(random.Random(1).randbytes(100))
    assert kinds() == (Kind.UNKNOWN,) * 3
    path.write_bytes(b"ab")
    assert kinds() == (Kind.UNKNOWN,) * 3
    path.unlink()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE a (b)")
    assert kinds() == (Kind.PLAIN,) * 3


def test_a_way_to_files_that_does_not_encrypt_is_refused(tmp_path: Path) -> None:
    """A VFS of somebody else's could otherwise get everything in plain text."""
    path = tmp_path / "file.db"
    path.touch()
    before = apsw.vfs_names()[0]
    apsw.set_default_vfs("unix")
    try:
        with pytest.raises(BackendMisconfiguredError, match="cannot encrypt files"):
            Cipher(b"1" * 32).open(str(path), apsw.SQLITE_OPEN_READWRITE)
    finally:
        apsw.set_default_vfs(before)
    assert path.read_bytes() == b""


def test_the_settings_of_these_tests_ask_for_encryption() -> None:
    """Or nothing here would show anything."""
    assert Settings().sqlite_file_encryption

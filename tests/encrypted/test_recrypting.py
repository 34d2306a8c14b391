"""Encrypting files that are there already, and decrypting them: whole, once, and not under anybody's hands."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from openalgo_cache import CacheManager
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.shapes.encryption import Encrypted
from openalgo_cache.errors import BackendMisconfiguredError
from openalgo_cache.settings import Settings
from tests.cli.conftest import Run, folder, run
from tests.cli.shapes_held import deviations
from tests.encrypted.test_cipher import READABLE, STATE, databases, filled

__all__ = ["folder", "run"]

ENCRYPT: Final = ("encrypt-files",)
DECRYPT: Final = ("encrypt-files", "--decrypt")


def plain(folder: Path) -> CacheManager:
    """Return a manager of an application that does not ask for encryption."""
    settings = Settings(base_folder=folder, cache_backend="sqlite")
    object.__setattr__(settings, "sqlite_file_encryption", False)  # which is on in this run
    return CacheManager(settings)


def encrypted(folder: Path) -> CacheManager:
    """Return one of an application that does, as all do here."""
    return CacheManager(Settings(base_folder=folder, cache_backend="sqlite"))


def contents(house: CacheManager) -> dict[str, dict[object, object]]:
    """Return everything in the caches."""
    with closing(house):
        return {name: dict(house.get_cache(name).items()) for name in (READABLE, STATE)}


def is_plain(path: Path) -> bool:
    """Return whether a file says that it is SQLite's."""
    return path.read_bytes().startswith(b"SQLite format 3")


def test_there_and_back_again(tmp_path: Path, run: Run) -> None:
    """Nothing is lost, and who has not noticed is told."""
    filled(tmp_path).close()
    before = contents(encrypted(tmp_path))
    assert len(before[READABLE]) == 101
    ran = run(*DECRYPT, "--json")
    assert ran.code == Code.OK
    assert ran.json["encrypted"] is False
    assert deviations(ran.json, Encrypted) == []
    assert all(one["rows"] is not None for one in ran.json["files"])
    assert {Path(one["file"]) for one in ran.json["files"]} == set(databases(tmp_path))
    assert all(map(is_plain, databases(tmp_path)))
    assert contents(plain(tmp_path)) == before
    with closing(encrypted(tmp_path)) as house, pytest.raises(BackendMisconfiguredError, match="is not encrypted"):
        house.get_cache(READABLE).get("key")
    ran = run(*ENCRYPT)
    assert ran.code == Code.OK
    assert not any(map(is_plain, databases(tmp_path)))
    with closing(plain(tmp_path)) as house, pytest.raises(BackendMisconfiguredError, match="is encrypted: set"):
        house.get_cache(READABLE).get("key")
    assert contents(encrypted(tmp_path)) == before
    assert all(one["rows"] is None for one in run(*ENCRYPT, "--json").json["files"])
    assert {path.stat().st_mode & 0o777 for path in databases(tmp_path)} == {0o600}


@pytest.mark.parametrize("state", ["reads", "writes"])
def test_a_file_in_use_is_refused(tmp_path: Path, run: Run, state: str) -> None:
    """It stays as it is, and so does whoever uses it."""
    filled(tmp_path).close()
    with closing(encrypted(tmp_path)) as house:
        cache = house.get_cache(READABLE)
        assert cache.get("NSE:SBIN1") is not None
        if state == "writes":
            cache.set("NSE:SBIN1", "planted")
        ran = run(*DECRYPT)
        assert (ran.code, "is in use: stop the application first" in ran.err) == (Code.UNAVAILABLE, True)
        assert cache.get("NSE:SBIN2") is not None
        cache.set("later", 1)
    assert run(*DECRYPT).code == Code.OK
    assert contents(plain(tmp_path))[READABLE]["later"] == 1


def test_a_damaged_file_and_one_of_another_key_are_refused(tmp_path: Path, run: Run) -> None:
    """And left as they are."""
    filled(tmp_path, READABLE).close()
    path = tmp_path / "db" / f"cache_{READABLE}.db"
    sound = path.read_bytes()
    path.write_bytes(sound[:5000] + bytes([sound[5000] ^ 1]) + sound[5001:])
    assert "is damaged" in run(*DECRYPT).err
    path.write_bytes(sound)
    ring = (tmp_path / "db" / ".cache_key").rename(tmp_path / "ring")
    assert run(*DECRYPT).code == Code.CONFIGURATION
    filled(tmp_path / "stranger", "other").close()
    (tmp_path / "stranger" / "db" / ".cache_key").rename(tmp_path / "db" / ".cache_key")
    for direction in (ENCRYPT, DECRYPT):
        ran = run(*direction)
        assert (ran.code, "another key" in ran.err) == (Code.CONFIGURATION, True)
    assert path.read_bytes() == sound
    ring.replace(tmp_path / "db" / ".cache_key")
    assert run(*DECRYPT).code == Code.OK


def test_a_kill_at_any_moment_leaves_files_that_can_be_used(tmp_path: Path, run: Run) -> None:
    """Each is the old one or the new one, and doing it again does the rest."""
    filled(tmp_path).close()
    before = contents(encrypted(tmp_path))
    chance, killed = random.Random(3), 0
    for turn in range(8):
        direction = (DECRYPT, ENCRYPT)[turn % 2]
        if not (child := os.fork()):
            run(*direction)
            os._exit(0)
        time.sleep(chance.uniform(0.01, 0.08))
        os.kill(child, signal.SIGKILL)
        killed += os.waitpid(child, 0)[1] != 0
        kinds = {path.name: is_plain(path) for path in databases(tmp_path) if not path.name.startswith(".")}
        assert len(kinds) >= 5
        assert run(*direction).code == Code.OK
        assert contents(plain(tmp_path) if direction is DECRYPT else encrypted(tmp_path)) == before
        assert not list((tmp_path / "db").glob(".*.tmp*"))
    assert killed >= 2, "the kills came too late"

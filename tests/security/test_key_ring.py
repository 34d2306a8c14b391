"""Weak points 4 and 5: the key on a full disk, in two processes that start at once, and in the hands of others."""

from __future__ import annotations

import base64
import logging
import os
import stat
import sys
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import KeyRingError
from tests.faults.disks import SmallDisk
from tests.faults.processes import Process
from tests.security.attack import Attack
from tests.security.conftest import SUBJECTS
from tests.security.subjects import OnFile, OnServer, Subject
from tests.servers.process import ServerProcess

TOKEN = "broker-token-of-ann"
KEY_FILE = ".cache_key"
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes of files")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")

START_AT_ONCE = """
import sys
from pathlib import Path
from tests.security.subjects import OnFile

name, folder, own, other = sys.argv[1:]
waited = []

def wait_where_the_key_is_written(event, arguments):
    if event != "open" or ".cache_key" not in str(arguments[0]) or waited:
        return
    if arguments[1] == "wb" or arguments[2] & 1:  # opened for writing
        waited.append(True)
        print("there is no key yet", flush=True)
        sys.stdin.readline()

sys.addaudithook(wait_where_the_key_is_written)
auth = OnFile(name, Path(folder)).cache("auth")
auth.set(own, own)
print("stored", flush=True)
sys.stdin.readline()
print(auth.get(other), flush=True)
"""


def store_a_token(subject: Subject) -> None:
    """Store one, if that is allowed; the log has why it is not."""
    try:
        subject.cache("auth").set("ann", TOKEN)
    except KeyRingError as error:
        logging.getLogger("tests").error("%s", error)  # noqa: TRY400  # a line is enough


@pytest.mark.attack("04", "a first start on a full disk")
@pytest.mark.parametrize("who", SUBJECTS)
def test_04_full_disk_at_the_first_start(tmp_path: Path, attack: Attack, who: str) -> None:
    """The key cannot be written, so there is none; not an empty one, with which the next start would seal nothing."""
    (tmp_path / who).mkdir()
    try:
        small = SmallDisk(tmp_path / who / "db")
    except OSError as error:
        pytest.skip(str(error))
    with small:
        small.fill()
        with suppress(OSError), closing(OnFile(who, tmp_path)) as first:
            store_a_token(first)
        small.free()
        with closing(OnFile(who, tmp_path)) as second:
            store_a_token(second)
            attack.tried(succeeded=TOKEN.encode() in second.contents())
            assert second.cache("auth").get("ann") == TOKEN, "and everything works now"


@pytest.mark.attack("04", "an empty key file")
def test_04_empty_key_file(subject: Subject, attack: Attack, caplog: pytest.LogCaptureFixture) -> None:
    """Without a usable key nothing is stored, and the log does not say that it was encrypted."""
    assert isinstance(subject, OnFile)
    key = subject.db / KEY_FILE
    key.unlink(missing_ok=True)
    key.touch(mode=0o600)
    caplog.set_level(logging.INFO)
    subject.restart()
    if subject.is_proposal:
        store_a_token(subject)
    else:
        subject.cache("auth").set("ann", TOKEN)
        assert subject.cache("auth").get("ann") is None
        assert "is empty" in caplog.text
        assert "encrypted" not in caplog.text
    claims = "encrypted=True" in caplog.text
    attack.tried(succeeded=TOKEN.encode() in subject.contents() and claims)
    assert key.read_bytes() == b"", "and no key was replaced by itself"


@posix
@pytest.mark.attack("05", "a look at the key before its mode is set")
@pytest.mark.parametrize("who", SUBJECTS)
def test_05_key_is_private_from_its_first_byte(tmp_path: Path, usual_umask: None, attack: Attack, who: str) -> None:
    """Looked at after every single call that is made meanwhile, it is never open to others."""
    folder, open_files, looks = tmp_path / who / "db", [], 0

    def look(_frame: object, _event: str, _argument: object) -> None:
        nonlocal looks
        sys.setprofile(None)
        for path in folder.glob(f"{KEY_FILE}*") if folder.exists() else ():
            with suppress(FileNotFoundError):
                looks += 1
                if stat.S_IMODE(path.stat().st_mode) & 0o077:
                    open_files.append(path.name)
        sys.setprofile(look)

    sys.setprofile(look)
    try:
        with closing(OnFile(who, tmp_path)) as subject:
            store_a_token(subject)
    finally:
        sys.setprofile(None)
    assert looks > 10
    attack.tried(succeeded=bool(open_files), what=set(open_files))


@pytest.mark.attack("05", "two processes that make the key at once")
@pytest.mark.parametrize("who", SUBJECTS)
def test_05_two_processes_make_one_key(tmp_path: Path, attack: Attack, who: str) -> None:
    """Both found none and are about to make it: in the end there is one, and each reads what the other stored."""
    with Process(START_AT_ONCE, who, tmp_path, "a", "b") as a, Process(START_AT_ONCE, who, tmp_path, "b", "a") as b:
        for process in (a, b):
            assert process.hear() == "there is no key yet"
        for process in (a, b):
            assert process.ask() == "stored"
        attack.tried(succeeded=(a.ask(), b.ask()) != ("b", "a"))


@posix
@pytest.mark.attack("05", "a key file that others may read, or own")
@pytest.mark.parametrize("mode, owner", [(0o644, 0), (0o660, 0), pytest.param(0o600, 12345, marks=as_root)])
def test_05_key_file_of_others(subject: Subject, attack: Attack, mode: int, owner: int) -> None:
    """A key that somebody else could read, or can write, is not used."""
    assert isinstance(subject, OnFile)
    store_a_token(subject)
    key = subject.db / KEY_FILE
    key.chmod(mode)
    if owner:
        os.chown(key, owner, -1)
    subject.restart()
    try:
        used = subject.cache("auth").get("ann") == TOKEN
    except KeyRingError:
        used = False
    attack.tried(succeeded=used, what=f"{mode:o}, {owner}")


@pytest.mark.server
@pytest.mark.attack("05", "an instance that makes a key of its own")
@pytest.mark.parametrize("who", SUBJECTS)
def test_05_instances_share_their_key(tmp_path: Path, redis_server: ServerProcess, attack: Attack, who: str) -> None:
    """With several instances no key is made: one that has none says so, and does not go on beside the others."""
    several = OnServer(who, tmp_path, redis_server, multi_instance_mode=True, instance_id="instance-2")
    with closing(several) as second:
        store_a_token(second)
        attack.tried(succeeded=(second.db / KEY_FILE).exists())


@pytest.mark.server
@pytest.mark.attack("05", "an instance with another key, unnoticed")
@pytest.mark.parametrize("who", SUBJECTS)
def test_05_instances_compare_their_keys(
    tmp_path: Path, redis_server: ServerProcess, caplog: pytest.LogCaptureFixture, attack: Attack, who: str
) -> None:
    """What one of them writes the other could not read; the second to start is told, or says so."""
    redis_server.ask("FLUSHALL")
    with ExitStack() as stack:
        for number in range(2):
            key = tmp_path / f"key {number}"
            key.touch(mode=0o600)
            key.write_bytes(base64.urlsafe_b64encode(bytes([number + 1]) * 32))
            more: dict[str, Any] = {
                "multi_instance_mode": True,
                "instance_id": f"instance-{number}",
                "cache_key_file": key,
            }
            one = stack.enter_context(closing(OnServer(who, tmp_path / str(number), redis_server, **more)))
            store_a_token(one)
    attack.tried(succeeded="in use with another key ring" not in caplog.text)

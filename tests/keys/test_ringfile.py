"""The key ring's file: read for ever, changed by several at once, and never without a key that was promised."""

from __future__ import annotations

import base64
import json
import os
import random
import stat
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from openalgo_cache import files
from openalgo_cache.codec import keyring
from openalgo_cache.codec.envelope import AEAD
from openalgo_cache.codec.keyring import ACTIVE, DECRYPT_ONLY, Key, KeyRing
from openalgo_cache.codec.ringfile import FILE_NAME, RingFile
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import KeyRingError
from tests.faults.processes import Process

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes, no fork and no SIGKILL")

GOLDEN = json.loads((Path(__file__).parent / "golden_rings.json").read_text(encoding="ascii"))
FIRST = Key(0x01020304, ACTIVE, 1_700_000_000.0, bytes(range(32, 64)))


def saved(folder: Path, content: bytes | str | None = None) -> RingFile:
    """Return the file of a ring in a folder: a new one, or of this content."""
    content = KeyRing.generate().to_json() if content is None else content
    files.write_private_new(folder / FILE_NAME, content.encode() if isinstance(content, str) else content)
    return RingFile(folder / FILE_NAME)


def add_key(ring: KeyRing) -> KeyRing:
    """Return a ring with one more key."""
    return ring.with_key(Key.generate())


# The model


def test_a_key_goes_through_its_life() -> None:
    """Added it opens, activated it seals while the one before opens on, taken out it is gone; the old ring stays."""
    ring = KeyRing("00" * 16, bytes(32), [FIRST])
    added = ring.with_key(Key(7, DECRYPT_ONLY, 5.0, bytes(range(32)), 5.0))
    assert [(key.id, key.state) for key in added.keys] == [(FIRST.id, ACTIVE), (7, DECRYPT_ONLY)]
    assert added.active is FIRST
    activated = added.with_active(7)
    assert [(key.id, key.state) for key in activated.keys] == [(FIRST.id, DECRYPT_ONLY), (7, ACTIVE)]
    assert all(key.since > 5.0 for key in activated.keys)
    assert [key.created_at for key in activated.keys] == [FIRST.created_at, 5.0]
    assert [key.id for key in activated.without(FIRST.id).keys] == [7]
    assert activated.with_active(7).keys == activated.keys, "nothing changed, so no time did"
    assert len(ring.keys) == 1
    assert {one.fingerprint() for one in (added, activated, activated.without(FIRST.id))} == {ring.fingerprint()}


def test_changes_that_make_no_sense_are_refused() -> None:
    """Each names the key, as people see it."""
    ring = KeyRing("00" * 16, bytes(32), [FIRST])
    for change in (ring.with_active, ring.without):
        with pytest.raises(KeyRingError, match="no key 00000007"):
            change(7)
    with pytest.raises(KeyRingError, match="01020304 is the active one"):
        ring.without(FIRST.id)
    with pytest.raises(KeyRingError, match="same id"):
        ring.with_key(Key(FIRST.id, DECRYPT_ONLY, 0.0, bytes(32)))
    with pytest.raises(KeyRingError, match="one active key"):
        ring.with_key(Key.generate(ACTIVE))


# The format


def test_rings_are_read_as_they_were_written() -> None:
    """The first files, today's and a single key: frozen, and each writes itself in today's form."""
    first, now, single = (KeyRing.parse(GOLDEN[name].encode()) for name in ("first", "now", "single"))
    assert first.keys == (Key(FIRST.id, ACTIVE, FIRST.created_at, FIRST.secret, FIRST.created_at),)
    assert [(key.id, key.state, key.since) for key in now.keys] == [
        (0x01020304, DECRYPT_ONLY, 1_750_000_000.5),
        (0x0A0B0C0D, ACTIVE, 1_750_000_000.5),
    ]
    assert now.to_json().decode() == GOLDEN["now"]
    assert first.fingerprint() == now.fingerprint() == "787ba6ff27132462"
    for ring in (first, now, single):
        again = KeyRing.parse(ring.to_json())
        assert (again.id, again.fingerprint(), again.keys) == (ring.id, ring.fingerprint(), ring.keys)


def test_todays_files_are_read_by_the_first_release() -> None:
    """It takes these names out of the content, checks the sum over all of it, and passes over others."""
    ring = json.loads(GOLDEN["now"])
    assert ring["format"] == 1
    assert ring["check"] == keyring._checksum(ring)
    assert {"ring_id", "root", "keys"} <= ring.keys()
    for key in ring["keys"]:
        assert {"id", "state", "created_at", "secret"} <= key.keys()


def test_a_single_key_becomes_a_ring_that_opens_what_it_sealed(tmp_path: Path) -> None:
    """The same ids, the same secret that never rotates; the second key is beside it."""
    file = saved(tmp_path, GOLDEN["single"])
    before = file.load()
    record = RingSeal(before, before.id, "auth", AEAD).seal("k", b"\x2a", 1, 0.0, 1.0)
    after = file.update(add_key)
    assert json.loads(file.path.read_bytes())["format"] == 1
    assert (after.id, after.fingerprint(), after.active.id) == (before.id, before.fingerprint(), before.active.id)
    assert after.subkey("blind", b"auth") == before.subkey("blind", b"auth")
    reloaded = file.load()
    assert [key.id for key in reloaded.keys] == [key.id for key in after.keys]
    assert RingSeal(reloaded, reloaded.id, "auth", AEAD).open("k", record)[0] == b"\x2a"
    assert base64.urlsafe_b64decode(GOLDEN["single"]) == reloaded.keys[0].secret


# Changes


@posix_only
def test_a_changed_file_is_as_private_as_the_first(tmp_path: Path) -> None:
    """0600, whatever the umask, and nothing is left beside it but the lock."""
    file = saved(tmp_path)
    before = os.umask(0)
    try:
        ring = file.update(add_key)
    finally:
        os.umask(before)
    assert len(ring.keys) == 2
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        FILE_NAME: 0o600,
        FILE_NAME + ".lock": 0o600,
    }


def test_a_change_that_is_refused_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Not a byte is written."""
    file = saved(tmp_path)
    before = (file.path.read_bytes(), file.path.stat().st_mtime_ns, file.path.stat().st_ino)
    with pytest.raises(KeyRingError, match="no key 00000007"):
        file.update(lambda ring: ring.with_active(7))
    assert (file.path.read_bytes(), file.path.stat().st_mtime_ns, file.path.stat().st_ino) == before


@posix_only
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Secret managers mount files by links; the content changes where it is."""
    file = saved(tmp_path)
    link = tmp_path / "elsewhere" / "ring"
    link.parent.mkdir()
    link.symlink_to(file.path)
    RingFile(link).update(add_key)
    assert link.is_symlink()
    assert len(file.load().keys) == len(RingFile(link).load().keys) == 2


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_reach_is_not_changed(tmp_path: Path, mode: int) -> None:
    """Nobody knows who wrote what is in it."""
    file = saved(tmp_path)
    content = file.path.read_bytes()
    file.path.chmod(mode)
    with pytest.raises(KeyRingError, match="chmod 600"):
        file.update(add_key)
    assert file.path.read_bytes() == content


@posix_only
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs a file of another user")
def test_a_file_of_somebody_else_is_not_changed(tmp_path: Path) -> None:
    """Not even by root: the application could not read it any more."""
    file = saved(tmp_path)
    os.chown(file.path, 12345, 12345)
    with pytest.raises(KeyRingError, match=r"cannot be changed here.*belongs to user id 12345"):
        file.update(add_key)
    assert file.path.stat().st_uid == 12345


@posix_only
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs a file of root's")
def test_a_secret_managers_file_is_read_and_not_changed(tmp_path: Path) -> None:
    """Root's, readable for the application's group: a file of ours in its place would be readable for root alone."""
    file = RingFile(saved(tmp_path).path, allow_root_owner=True)
    file.path.chmod(0o440)
    assert file.load().keys
    with pytest.raises(KeyRingError, match="cannot be changed here"):
        file.update(add_key)


def test_what_cannot_be_written_is_a_key_ring_error(tmp_path: Path) -> None:
    """A missing file or folder: our error, with the path."""
    for path in (tmp_path / FILE_NAME, tmp_path / "nowhere" / FILE_NAME):
        with pytest.raises(KeyRingError, match=f"{path.name} cannot be changed here"):
            RingFile(path).update(add_key)
    assert not (tmp_path / FILE_NAME).exists()


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    """A temporary file holds the keys as well. A young one may be somebody's work."""
    file = saved(tmp_path)
    old, young = (tmp_path / f".{FILE_NAME}.1.{name}.tmp" for name in ("old", "young"))
    for path in (old, young):
        path.touch()
    os.utime(old, (1, 1))
    file.update(add_key)
    assert (old.exists(), young.exists()) == (False, True)


# Several at once

ADDER = """
import sys
from pathlib import Path
from openalgo_cache.codec.keyring import Key
from openalgo_cache.codec.ringfile import RingFile
file = RingFile(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[2])):
    key = Key.generate()
    file.load_or_create()
    file.update(lambda ring: ring.with_key(key))
    print(key.id, flush=True)
    if turn % 2:
        file.update(lambda ring: ring.with_active(key.id))
"""


@posix_only
def test_ten_processes_change_one_ring_at_once(tmp_path: Path) -> None:
    """They start on an empty folder, add and activate: one ring, and every key of everybody is in it."""
    path = tmp_path / "db" / FILE_NAME
    with ExitStack() as stack:
        processes = [stack.enter_context(Process(ADDER, path, 4)) for _ in range(10)]
        assert {process.hear() for process in processes} == {"ready"}
        for process in processes:
            process.tell()
        added = [int(line) for process in processes for line in process.rest()]
    ring = RingFile(path).load()
    assert len(added) == 40
    assert {key.id for key in ring.keys} >= set(added)
    assert len(ring.keys) == 41
    assert ring.active.id in added


def test_threads_change_one_ring_at_once(tmp_path: Path) -> None:
    """Each with an object of its own, or all with one."""
    file = saved(tmp_path)
    threads = [
        threading.Thread(target=lambda: [RingFile(file.path).update(add_key), file.update(add_key)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.load().keys) == 17


# Killed in the middle

DIES_AT_A_STEP = """
import os, signal, sys
from pathlib import Path
from openalgo_cache.codec.keyring import Key
from openalgo_cache.codec.ringfile import RingFile

file = RingFile(Path(sys.argv[1]))
STEPS = ("open", "write", "fsync", "close", "replace", "unlink")

def dies(at, key):
    left = at
    def mortal(step):
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments, **options)
        return call
    for name in STEPS:
        setattr(os, name, mortal(getattr(os, name)))
    file.update(lambda ring: ring.with_key(key))
    os._exit(0)

at, alive = 0, False
while not alive:
    at += 1
    key = Key.generate()
    pid = os.fork()
    if not pid:
        dies(at, key)
    alive = os.waitpid(pid, 0)[1] == 0
    print(at, key.id, int(alive), *sorted(key.id for key in file.load().keys), flush=True)
"""


@posix_only
def test_a_process_that_dies_at_any_step_of_a_change_loses_nothing(tmp_path: Path) -> None:
    """Killed before each call to the system in turn: the file is the old ring or the new one, and can be changed."""
    file = saved(tmp_path)
    there = {key.id for key in file.load().keys}
    with Process(DIES_AT_A_STEP, file.path) as process:
        lines = [[int(word) for word in line.split()] for line in process.rest()]
    assert len(lines) > 8, "a change has that many steps at least"
    for at, key_id, alive, *found in lines:
        assert there <= set(found) <= there | {key_id}, at
        assert not alive or key_id in found
        there = set(found)
    assert lines[-1][2]


def kill_adders(path: Path, times: int) -> None:
    """Kill a process that adds keys without pause, again and again at any moment; each key it has told of is there."""
    chance = random.Random(7)
    told: set[int] = set()
    for _ in range(times):
        with Process(ADDER, path, 10_000) as process:
            process.hear()
            process.tell()
            for _ in range(chance.randrange(1, 6)):
                told.add(int(process.hear()))
            threading.Event().wait(chance.random() * 0.01)
            process.kill()
            told.update(int(line) for line in process.rest() if line)
        assert {key.id for key in RingFile(path).load().keys} >= told


@posix_only
def test_killed_adders_lose_no_key(tmp_path: Path) -> None:
    """A few, at random."""
    kill_adders(tmp_path / "db" / FILE_NAME, 3)


@posix_only
@pytest.mark.soak
def test_many_killed_adders_lose_no_key(tmp_path: Path) -> None:
    """Fifty."""
    kill_adders(tmp_path / "db" / FILE_NAME, 50)

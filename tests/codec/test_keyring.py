"""The key ring: made once, private from its first byte, refused when it is not as it should be, and never shown."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import secrets
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import CacheManager, files
from openalgo_cache.backends.base import Entry
from openalgo_cache.cache import Cache
from openalgo_cache.codec.envelope import AEAD
from openalgo_cache.codec.keyring import ACTIVE, DECRYPT_ONLY, Key, KeyRing
from openalgo_cache.codec.ringfile import FILE_NAME, RingFile
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import CacheError, KeyRingError
from openalgo_cache.settings import Settings
from tests.patching import patch_here

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")

PROCESSES = 10
FERNET_KEY = base64.urlsafe_b64encode(bytes(range(100, 132))).decode()


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Set the most permissive umask, so that a mode that only the umask tightened shows."""
    before = os.umask(0)
    yield
    os.umask(before)


def saved(path: Path, ring: KeyRing | None = None) -> Path:
    """Write a ring to a private file."""
    files.write_private_new(path, (ring or KeyRing.generate()).to_json())
    return path


# Made once

STARTER = """
import os, sys
from pathlib import Path
from openalgo_cache import CacheManager
from openalgo_cache.settings import Settings
os.umask(0)
print("ready", flush=True)
sys.stdin.readline()
manager = CacheManager(Settings(cache_backend="sqlite", sqlite_cache_path=Path(sys.argv[1]) / "db" / "cache"))
cache = manager.get_cache("auth")
cache.set("user_" + sys.argv[2], sys.argv[2])
print(manager.ring().id, manager.ring().fingerprint(), manager.ring().active.id, flush=True)
sys.stdin.readline()
print(*(cache.get(f"user_{number}") for number in range(int(sys.argv[3]))), flush=True)
"""


def start(stack: contextlib.ExitStack, code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that is told to go on by a line of input."""
    return stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    )


def hear(process: subprocess.Popen[str]) -> str:
    """Wait for one line of a process; the test's own time limit ends a wait in vain."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Let a process go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@posix_only
def test_ten_processes_at_first_start_make_one_ring_and_agree(tmp_path: Path) -> None:
    """All ten get the same ring, read each other's tokens, and nothing was ever open to others, whatever the umask."""
    seen: set[tuple[str, int]] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for folder in (tmp_path, tmp_path / "db"):
                with contextlib.suppress(FileNotFoundError):
                    for entry in os.scandir(folder):
                        with contextlib.suppress(FileNotFoundError):
                            seen.add((entry.name, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)))

    watcher = threading.Thread(target=watch)
    with contextlib.ExitStack() as stack:
        processes = [start(stack, STARTER, tmp_path, number, PROCESSES) for number in range(PROCESSES)]
        assert [hear(process) for process in processes] == ["ready"] * PROCESSES
        watcher.start()
        for process in processes:
            tell(process)
        rings = {hear(process) for process in processes}
        done.set()
        watcher.join()
        assert len(rings) == 1
        for process in processes:
            tell(process)
        everybody = " ".join(str(number) for number in range(PROCESSES))
        assert {hear(process) for process in processes} == {everybody}
    ring = RingFile(tmp_path / "db" / FILE_NAME).load()
    assert rings == {f"{ring.id} {ring.fingerprint()} {ring.active.id}"}
    assert {mode for name, mode in seen if name == "db"} == {0o700}
    assert {mode for name, mode in seen if name != "db"} == {0o600}
    assert not list((tmp_path / "db").glob(".*.tmp"))


@posix_only
@pytest.mark.usefixtures("open_umask")
def test_every_file_is_asked_for_with_its_final_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chmod afterwards: whatever is created is created exclusively, as 0600."""
    created: list[tuple[str, int]] = []
    original = os.open

    def spy(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        if flags & os.O_CREAT:
            assert flags & os.O_EXCL
            created.append((os.fspath(path), mode))
        return original(path, flags, mode, **options)

    patch_here(monkeypatch, os, "open", spy)
    patch_here(monkeypatch, os, "chmod", lambda *_: pytest.fail("no chmod"))
    RingFile(tmp_path / "db" / FILE_NAME).load_or_create()
    assert [mode for _, mode in created] == [0o600]
    assert stat.S_IMODE((tmp_path / "db" / FILE_NAME).stat().st_mode) == 0o600


def test_a_ring_is_never_made_anew(tmp_path: Path) -> None:
    """What is there is read again, and its file is not touched."""
    path = tmp_path / FILE_NAME
    ring = RingFile(path).load_or_create()
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    again = RingFile(path).load_or_create()
    assert (again.id, again.fingerprint()) == (ring.id, ring.fingerprint())
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_every_ring_is_another(tmp_path: Path) -> None:
    """Ids, secrets and fingerprints are random."""
    rings = [RingFile(tmp_path / str(number)).load_or_create() for number in range(20)]
    assert len({ring.id for ring in rings}) == 20
    assert len({ring.fingerprint() for ring in rings}) == 20
    assert len({ring.active.secret for ring in rings}) == 20


def test_several_instances_never_make_one(tmp_path: Path) -> None:
    """With MULTI_INSTANCE_MODE=true every instance needs the same ring, so a missing one is an error with the fix."""
    manager = CacheManager(
        Settings(multi_instance_mode=True, instance_id="one", sqlite_cache_path=tmp_path / "db" / "cache")
    )
    with pytest.raises(KeyRingError, match="CACHE_KEY_FILE"):
        manager.ring()
    assert not (tmp_path / "db").exists()


# Refused


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_ring_that_others_can_reach_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    """The message names the file and the command."""
    path = saved(tmp_path / FILE_NAME)
    path.chmod(mode)
    with pytest.raises(KeyRingError, match=f"chmod 600 {path}"):
        RingFile(path).load_or_create()


@posix_only
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs a file of another user")
def test_a_ring_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Its owner could read and change it. A secret manager's file of root's is fine where that is expected."""
    path = saved(tmp_path / FILE_NAME)
    os.chown(path, 12345, 12345)
    with pytest.raises(KeyRingError, match="belongs to user id 12345"):
        RingFile(path).load_or_create()
    with pytest.raises(KeyRingError, match="belongs to user id 12345"):
        RingFile(path, allow_root_owner=True).load()


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"\0" * 44, b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", b"[" * 10_000]
)
def test_an_empty_or_senseless_ring_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    """A full disk or an editor's slip must not lead to a new key, nor to no encryption at all."""
    path = tmp_path / FILE_NAME
    files.write_private_new(path, content)
    with pytest.raises(KeyRingError, match=r"restore it|44 characters"):
        RingFile(path).load_or_create()
    assert path.read_bytes() == content


def test_a_wrong_bit_in_any_byte_of_a_ring_is_noticed(tmp_path: Path) -> None:
    """A ring with a flipped bit is refused, or is the same ring: never one whose secrets are others.

    With a wrong secret every honest record would look forged, and be deleted.
    """
    ring = KeyRing.generate()
    content = ring.to_json()
    path = saved(tmp_path / FILE_NAME)
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with contextlib.suppress(KeyRingError):
            other = RingFile(path).load()
            assert (other.id, other.fingerprint(), other.active) == (ring.id, ring.fingerprint(), ring.active)


def test_a_ring_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    """At whatever byte."""
    content = KeyRing.generate().to_json().rstrip()
    path = saved(tmp_path / FILE_NAME)
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(KeyRingError):
            RingFile(path).load_or_create()


def test_a_ring_of_a_newer_release_is_refused_as_such(tmp_path: Path) -> None:
    """Not as damaged: the user should update, not restore."""
    ring = json.loads(KeyRing.generate().to_json()) | {"format": 2}
    path = tmp_path / FILE_NAME
    files.write_private_new(path, json.dumps(ring).encode())
    with pytest.raises(KeyRingError, match="newer version"):
        RingFile(path).load_or_create()


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [Key(1, DECRYPT_ONLY, 0.0, bytes(32))],
        [Key(1, ACTIVE, 0.0, bytes(32)), Key(2, ACTIVE, 0.0, bytes(32))],
        [Key(0, ACTIVE, 0.0, bytes(32))],
        [Key(2**32, ACTIVE, 0.0, bytes(32))],
        [Key(1, ACTIVE, 0.0, bytes(31))],
    ],
)
def test_parts_that_make_no_ring_are_refused(keys: list[Key]) -> None:
    """One active key, ids that fit the record format, secrets of the right size."""
    with pytest.raises(KeyRingError):
        KeyRing("00" * 16, bytes(32), keys)


@posix_only
def test_a_folder_that_cannot_be_used_is_a_key_ring_error(tmp_path: Path) -> None:
    """A file in the way, a link that leads nowhere: our error, with the path, and nothing is stored."""
    (tmp_path / "file").touch()
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "file" / FILE_NAME, tmp_path / FILE_NAME):
        with pytest.raises(KeyRingError, match=str(path)):
            RingFile(path).load_or_create()
    assert not (tmp_path / "nowhere").exists()


# A single key


def test_a_single_key_as_fernet_prints_it_is_a_ring_of_one(tmp_path: Path) -> None:
    """From a file, with or without a line's end, or from text: always the same ids, so that records stay readable."""
    paths = [tmp_path / "bare", tmp_path / "line"]
    files.write_private_new(paths[0], FERNET_KEY.encode())
    files.write_private_new(paths[1], FERNET_KEY.encode() + b"\r\n")
    rings = [RingFile(path).load() for path in paths] + [
        KeyRing.of_one(FERNET_KEY),
        KeyRing.of_one(FERNET_KEY.encode()),
    ]
    assert {(ring.id, ring.active.id, ring.fingerprint()) for ring in rings} == {
        ("46936e09ce7266fd0ca8d87c5e54758e", 2_783_558_562, "e02d09ac8a544f9d")
    }
    record = RingSeal(rings[0], "n", "c", AEAD).seal("k", b"\x2a", 1, 0.0, 1.0)
    assert RingSeal(rings[3], "n", "c", AEAD).open("k", record)[0] == b"\x2a"


@pytest.mark.parametrize(
    "text",
    ["", "short", FERNET_KEY[:-2], FERNET_KEY + "A", FERNET_KEY[:32], "!" * 44, "é" * 44, FERNET_KEY[:-4] + "===="],
)
def test_what_is_no_such_key_is_refused_without_being_shown(text: str) -> None:
    """The message says what is expected; what was given may be half a secret."""
    with pytest.raises(KeyRingError, match="44 characters") as caught:
        KeyRing.of_one(text)
    assert not text or text not in str(caught.value)


def test_the_key_may_come_from_the_environment(tmp_path: Path) -> None:
    """CACHE_ENCRYPTION_KEY needs no file and writes none; two hosts with it read each other's records."""
    variables = {"CACHE_BACKEND": "sqlite", "CACHE_ENCRYPTION_KEY": FERNET_KEY, "CACHE_NAMESPACE": "desk"}
    settings = Settings.from_environment(variables | {"SQLITE_CACHE_PATH": str(tmp_path / "db" / "cache")}, dotenv=None)
    first, second = CacheManager(settings), CacheManager(settings)
    first.get_cache("auth").set("u", "token")
    assert second.get_cache("auth").get("u") == "token"
    assert first.ring_path() is None
    assert first.ring().fingerprint() == KeyRing.of_one(FERNET_KEY).fingerprint()
    assert not (tmp_path / "db" / FILE_NAME).exists()
    first.close()
    second.close()


@posix_only
def test_the_ring_may_lie_elsewhere(tmp_path: Path) -> None:
    """CACHE_KEY_FILE has to exist; it is never made, and none is made beside the caches."""
    path = tmp_path / "secrets" / "ring"
    settings = Settings(cache_backend="sqlite", cache_key_file=path, sqlite_cache_path=tmp_path / "db" / "cache")
    manager = CacheManager(settings)
    with pytest.raises(KeyRingError, match=str(path)):
        manager.ring()
    manager.get_cache("auth").set("u", "token")
    assert manager.get_cache("auth").get("u") is None
    path.parent.mkdir()
    saved(path)
    manager.get_cache("auth").get("u")  # finds it
    manager.get_cache("auth").set("u", "token")
    assert manager.get_cache("auth").get("u") == "token"
    assert not (tmp_path / "db" / FILE_NAME).exists()
    manager.close()


# Never shown


def test_no_secret_in_any_repr_error_or_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Planted keys and values are looked for in everything that the library says, down to tracebacks."""
    caplog.set_level(logging.DEBUG)
    key, value = (f"planted-{secrets.token_hex(4)}" for _ in range(2))
    ring = KeyRing.generate()
    root = base64.b64decode(json.loads(ring.to_json())["root"])
    planted = {key, value, FERNET_KEY, FERNET_KEY[:20]}
    for secret in (ring.active.secret, root, base64.urlsafe_b64decode(FERNET_KEY)):
        planted |= {secret.hex(), repr(secret)[2:-1], base64.b64encode(secret).decode()}
        planted.add(base64.urlsafe_b64encode(secret).decode())
    (tmp_path / "db").mkdir(0o700)
    path = saved(tmp_path / "db" / FILE_NAME, ring)
    settings = Settings(cache_backend="sqlite", sqlite_cache_path=tmp_path / "db" / "cache", cache_metrics_enabled=True)
    keyed = Settings.from_environment({"CACHE_ENCRYPTION_KEY": FERNET_KEY, "CACHE_NAMESPACE": "n"}, dotenv=None)
    manager = CacheManager(settings)
    cache = manager.get_cache("auth")
    cache.set(key, {value: value})
    assert cache.get(key) == {value: value}
    stack = cache._opened()
    stored = stack.keyspace.stored(key)
    things = [ring, ring.active, settings, keyed, KeyRing.of_one(FERNET_KEY), cache, cache.stats(), stored, manager]
    (_, *rest), admitted = stack.codec.admit(stored, found(cache, stored))
    said = [
        show(thing)
        for thing in (*things, stack, stack.keyspace, stack.codec, stack.near, rest, admitted)
        for show in (repr, str)
    ]
    cache.backend.set(stored, Entry(damaged(found(cache, stored)), None))
    assert cache.get(key) is None
    manager.close()
    for content in (ring.to_json()[:-40], ring.to_json().replace(b"active", b"passive"), FERNET_KEY[1:].encode()):
        path.write_bytes(content)
        with pytest.raises(CacheError) as caught:
            CacheManager(settings).get_cache("auth").delete(key)
        said += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    for text in (FERNET_KEY[:-3], FERNET_KEY + "x"):
        with pytest.raises(CacheError) as caught:
            KeyRing.of_one(text)
        said += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    assert any("fails verification" in record.getMessage() for record in caplog.records)
    said += [record.getMessage() for record in caplog.records]
    assert not {text for text in planted for line in said if text in line}


def found(cache: Cache, stored: str) -> bytes:
    """Return the record under a stored key."""
    entry = cache.backend.get(stored)
    assert entry is not None
    return entry.payload


def damaged(record: bytes) -> bytes:
    """Return a record whose tag is wrong."""
    return record[:-1] + bytes([record[-1] ^ 1])

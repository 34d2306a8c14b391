"""``export_caches`` and ``import_caches``: there and back, and whatever happens to a file on the way."""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import ormsgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from openalgo_cache import (
    BlindedKeysError,
    Cache,
    CacheManager,
    ConfigurationError,
    Existing,
    KeyRingError,
    UnreadableExportError,
    UnreadableRecordError,
    export_caches,
    import_caches,
    verify_export,
)
from openalgo_cache.codec.keyring import ACTIVE, DECRYPT_ONLY, Key, KeyRing
from openalgo_cache.testing import FakeClock
from openalgo_cache.transfer import ExportedCache
from openalgo_cache.transfer.exportfile import MOST_BYTES, Begin, Reader, Writer
from tests.codec.vectors import FIRST, RING, RING_ID, ROOT, SECOND
from tests.stacks import manager
from tests.transfer import golden
from tests.transfer.test_copy import NOW, VALUES, counts, plant

NAMES = ("auth", "settings", "quotes", "running_strategies")


@pytest.fixture
def clock() -> FakeClock:
    """The time of every installation."""
    return FakeClock(NOW)


@pytest.fixture
def here(tmp_path: Path, clock: FakeClock) -> Iterator[CacheManager]:
    """An installation with something in its caches."""
    made = manager(tmp_path / "here", clock)
    (tmp_path / "here").mkdir()
    made.get_cache("auth").set("user_123", "t0ken")
    made.get_cache("settings").set("theme", "dark", ttl=100)
    for key, value in VALUES.items():
        made.get_cache("quotes").set(key, value, ttl=None)
    made.get_cache("running_strategies").set("s1", {"legs": [1, 2]})
    yield made
    made.close()


@pytest.fixture
def there(tmp_path: Path, clock: FakeClock, here: CacheManager) -> Iterator[CacheManager]:
    """Another installation with the same key ring, and a namespace of its own."""
    path = here.ring_path()
    assert path is not None
    here.ring()
    made = manager(tmp_path / "there", clock, cache_key_file=path, cache_namespace="desk-2")
    (tmp_path / "there").mkdir()
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path, here: CacheManager) -> Path:
    """An export of all that is here."""
    path = tmp_path / "all.oac"
    export_caches(path, [here.get_cache(name) for name in NAMES], manager=here)
    return path


def test_there_and_back(file: Path, there: CacheManager, clock: FakeClock) -> None:
    """Values, types, keys, lifetimes and sealings arrive in another installation; a second import has nothing to do."""
    clock.advance(40)
    found = verify_export(file, manager=there)
    assert {one.name: one.entries for one in found.caches} == dict(zip(NAMES, (1, 1, len(VALUES), 1), strict=True))
    assert found.created_at == NOW
    reports = import_caches(file, manager=there)
    assert [(report.cache, report.moved, report.seen) for report in reports] == [
        (one.name, one.entries, one.entries) for one in found.caches
    ]
    assert there.get_cache("auth").get("user_123") == "t0ken"
    assert there.get_cache("settings").ttl("theme") == pytest.approx(60, abs=0.001)
    assert there.get_cache("running_strategies").get("s1") == {"legs": [1, 2]}
    quotes = there.get_cache("quotes")
    for key, value in VALUES.items():
        assert (type(quotes.get(key)), quotes.get(key)) == (type(value), value)
    assert all(set(counts(report)) == {"unchanged"} for report in import_caches(file, manager=there))


def test_caches_that_are_not_the_catalogues(here: CacheManager, there: CacheManager, tmp_path: Path) -> None:
    """They are opened as they were: encrypted, with blinded keys."""
    here.get_cache("notes", encrypted=True, blinded=True).set("key", "value")
    export_caches(tmp_path / "x", [here.get_cache("notes")], manager=here)
    import_caches(tmp_path / "x", manager=there)
    notes = there.get_cache("notes", encrypted=True, blinded=True)
    assert notes.get("key") == "value"


@pytest.mark.parametrize("name", ["quotes", "auth"])
def test_tags(here: CacheManager, there: CacheManager, tmp_path: Path, name: str) -> None:
    """They go through a file, too; a file made from another ring's tags would not say so, and is not made."""
    here.get_cache(name).set("tagged", 1, tags=("user:ann",))
    export_caches(tmp_path / "x", [here.get_cache(name)], manager=here)
    import_caches(tmp_path / "x", manager=there)
    assert there.get_cache(name).get("tagged") == 1
    there.get_cache(name).clear(tag="user:ann")
    assert there.get_cache(name).get("tagged") is None
    memory = manager(tmp_path / "nowhere", backend="memory").get_cache("quotes")
    memory.set("tagged", 1, tags=("user:ann",))
    memory.set("plain", 1)
    assert counts(export_caches(tmp_path / "y", [memory], manager=here)[0]) == {"moved": 1, "unreadable": 1}


def test_one_cache_of_a_file(file: Path, there: CacheManager) -> None:
    """Names choose; a name that the file does not have is an error before anything is written."""
    with pytest.raises(ConfigurationError, match=r"no cache nope, nope2: it has auth, settings"):
        import_caches(file, names=["nope2", "settings", "nope"], manager=there)
    assert [report.cache for report in import_caches(file, names=["settings"], manager=there)] == ["settings"]
    assert there.get_cache("settings").size() == 1
    assert there.get_cache("auth").size() == 0


def test_what_is_newer_stays(file: Path, there: CacheManager, clock: FakeClock) -> None:
    """As for a copy."""
    clock.advance(1)
    there.get_cache("settings").set("theme", "light")
    assert counts(import_caches(file, names=["settings"], manager=there)[0]) == {"kept": 1}
    import_caches(file, names=["settings"], manager=there, existing=Existing.ANYTHING)
    assert there.get_cache("settings").get("theme") == "dark"


def test_what_has_expired_is_not_brought_back(file: Path, there: CacheManager, clock: FakeClock) -> None:
    """A file does not keep anything alive."""
    clock.advance(101)
    assert counts(import_caches(file, names=["settings"], manager=there)[0]) == {"passed": 1}
    assert there.get_cache("settings").size() == 0


def test_nothing_of_it_can_be_read(file: Path) -> None:
    """No value, no key and no cache's name stands in the file in plain text; only its owner can open it."""
    content = file.read_bytes()
    for word in (b"t0ken", b"user_123", b"dark", b"theme", b"settings", b"NIFTY", b"quotes"):
        assert word not in content
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_is_not_replaced_unless_that_is_said(file: Path, here: CacheManager) -> None:
    """And then in one step."""
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match=r"all\.oac"):
        export_caches(file, [here.get_cache("settings")], manager=here)
    assert file.read_bytes() == before
    export_caches(file, [here.get_cache("settings")], manager=here, replace=True)
    assert len(verify_export(file, manager=here).caches) == 1


def test_unreadable_records(here: CacheManager, tmp_path: Path) -> None:
    """Of a cache they are left out and counted; one of a state cache ends the export, and there is no file."""
    plant(here.get_cache("settings"), "bad", b"rubbish")
    plant(here.get_cache("running_strategies"), "bad", b"rubbish")
    reports = export_caches(tmp_path / "x", [here.get_cache("settings")], manager=here)
    assert counts(reports[0]) == {"moved": 1, "unreadable": 1}
    with pytest.raises(UnreadableRecordError):
        export_caches(tmp_path / "y", [here.get_cache("running_strategies")], manager=here)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["x"]
    reports = export_caches(tmp_path / "y", [here.get_cache("running_strategies")], manager=here, skip_unreadable=True)
    assert counts(reports[0]) == {"moved": 1, "unreadable": 1}


def test_two_caches_of_one_name(here: CacheManager, tmp_path: Path) -> None:
    """Nobody could tell them apart afterwards."""
    with pytest.raises(ConfigurationError, match="one name"):
        export_caches(tmp_path / "x", [here.get_cache("quotes"), here.get_cache("quotes")], manager=here)


def test_hashes_of_another_ring_are_not_exported(here: CacheManager, tmp_path: Path, clock: FakeClock) -> None:
    """The file would say that they are this ring's."""
    memory = manager(tmp_path / "nowhere", clock, backend="memory").get_cache("auth")
    memory.set("user", "x")
    with pytest.raises(BlindedKeysError):
        export_caches(tmp_path / "x", [memory], manager=here)


def test_another_key_ring(file: Path, tmp_path: Path) -> None:
    """The error names the variable; nothing is imported, and where there is no ring, none is made."""
    other = manager(tmp_path / "other")
    for attempt in (verify_export, import_caches):
        with pytest.raises(KeyRingError, match="CACHE_KEY_FILE"):
            attempt(file, manager=other)
    assert not (tmp_path / "other").exists()
    other.ring()
    for attempt in (verify_export, import_caches):
        with pytest.raises(KeyRingError, match=r"another key ring .*CACHE_KEY_FILE"):
            attempt(file, manager=other)
    other.close()


def ring_of(active: Key, *others: Key) -> KeyRing:
    """Return the golden ring with some of its keys."""
    return KeyRing(RING_ID, ROOT, [Key(active.id, ACTIVE, 0.0, active.secret)] + [
        Key(one.id, DECRYPT_ONLY, 0.0, one.secret) for one in others
    ])  # fmt: skip


def test_a_key_that_was_rotated() -> None:
    """An export can be read with a later ring that still has its key; without that key the error says so."""
    content = golden.FILE.read_bytes()
    assert list(Reader(io.BytesIO(content), ring_of(SECOND, FIRST)).frames()) == list(golden.PARTS)
    with pytest.raises(KeyRingError, match="lacks: point CACHE_KEY_FILE"):
        Reader(io.BytesIO(content), ring_of(SECOND))


# --- the format ------------------------------------------------------------------------------------------------------


def test_the_golden_export() -> None:
    """Today's code reads the frozen file, and writes the same bytes."""
    content = golden.FILE.read_bytes()
    reader = Reader(io.BytesIO(content), RING)
    assert (reader.namespace, reader.created_at) == (golden.NAMESPACE, golden.MADE)
    assert list(reader.frames()) == list(golden.PARTS)
    assert golden.write() == content


def test_a_reader_made_from_the_page() -> None:
    """docs/moving.md says all that it takes: nothing but HKDF, AES-GCM, MessagePack and struct is used here."""
    content = golden.FILE.read_bytes()
    magic, version, key_id, file_id, fingerprint, made, length = struct.unpack_from(">8sBI16s8sdB", content)
    assert (magic, version, key_id, made) == (b"OACEXPRT", 1, FIRST.id, golden.MADE)
    assert fingerprint.hex() == RING.fingerprint()
    head = content[: 46 + length]
    assert head[46:].decode() == golden.NAMESPACE
    extracted = hmac.digest(bytes(32), FIRST.secret, hashlib.sha256)  # RFC 5869
    key = hmac.digest(extracted, b"openalgo-cache/1 export\0" + file_id + b"\x01", hashlib.sha256)
    at = len(head)
    frames: list[tuple[int, list[object]]] = []
    while at < len(content):
        kind, size = struct.unpack_from(">BI", content, at)
        nonce, associated = len(frames).to_bytes(12, "big"), head + content[at : at + 5]
        packed = AESGCM(key).decrypt(nonce, content[at + 5 : at + 5 + size], associated)
        frames.append((kind, ormsgpack.unpackb(packed)))
        at += 5 + size
    assert [kind for kind, _ in frames] == [1, 2, 2, 1, 2, 2, 1, 3]
    assert frames[0][1] == ["settings", False, False]
    assert frames[1][1] == ["theme", 1_700_000_000.25, 1_700_000_300.5, None, None, [], b"\xa4dark"]
    assert frames[4][1][4:6] == [b"", [[bytes(range(16)), 1], [b"\xff" * 16, 2**64 - 1]]]
    assert frames[-1][1] == [["settings", 2], ["auth", 2], ["empty", 0]]


def frames_of(content: bytes) -> tuple[bytes, list[bytes]]:
    """Return the head of an export, and its frames."""
    at = 46 + content[45]
    head, frames = content[:at], []
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at + 1)
        frames.append(content[at : at + 5 + size])
        at += 5 + size
    return head, frames


def refused(content: bytes) -> None:
    """Make sure that what is wrong with a file is found."""
    with pytest.raises((UnreadableExportError, KeyRingError)):
        list(Reader(io.BytesIO(content), RING).frames())


def test_every_single_bit() -> None:
    """Whichever is turned."""
    content = golden.FILE.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            harmed = bytearray(content)
            harmed[place] ^= 1 << bit
            refused(bytes(harmed))


def test_every_length() -> None:
    """Wherever it is cut off, also between two frames, and whatever is added."""
    content = golden.FILE.read_bytes()
    for length in range(len(content)):
        refused(content[:length])
    head, frames = frames_of(content)
    for more in (b"\0", frames[-1], content, frames[1]):
        refused(content + more)
    assert head + b"".join(frames) == content


def test_every_order() -> None:
    """Swapped, repeated, left out, taken from another export of the same ring."""
    head, frames = frames_of(golden.FILE.read_bytes())
    last = len(frames)
    for one in range(last):
        refused(head + b"".join(frames[:one] + frames[one + 1 :]))
        refused(head + b"".join(frames[: one + 1] + frames[one:]))
        for other in range(one):
            swapped = frames.copy()
            swapped[one], swapped[other] = frames[other], frames[one]
            refused(head + b"".join(swapped))
    foreign_head, foreign = frames_of(golden.FILE.read_bytes()[:13] + os.urandom(16) + golden.FILE.read_bytes()[29:])
    refused(foreign_head + b"".join(foreign))


def test_an_end_that_counts_otherwise() -> None:
    """The end says how much there was; a file that holds something else is refused, though each part is genuine."""
    for told in ([["quotes", 1]], [["other", 0]], []):
        file = io.BytesIO()
        writer = Writer(file, RING, "default", NOW)
        writer.begin(Begin("quotes", encrypted=False, blinded=False))
        writer._counts = told
        writer.end()
        file.seek(0)
        with pytest.raises(UnreadableExportError, match="its end says"):
            list(Reader(file, RING).frames())


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=60))
def test_rubbish(rubbish: bytes, kept: int) -> None:
    """Only errors of ours, whatever the bytes."""
    refused(golden.FILE.read_bytes()[:kept] + rubbish)


def test_lengths_that_would_fill_the_memory() -> None:
    """Nothing is read for a frame that is larger than any can be."""
    head, frames = frames_of(golden.FILE.read_bytes())
    for size in (MOST_BYTES + 1, 2**32 - 1, 15, 0):
        refused(head + struct.pack(">BI", 1, size) + frames[0][5:])


def test_a_harmed_file_imports_nothing(file: Path, there: CacheManager) -> None:
    """Whatever stands before the harm: the whole file is verified before the first write."""
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with pytest.raises(UnreadableExportError):
        import_caches(file, manager=there)
    assert not list((there.settings.base_folder).rglob("*.db"))


def test_a_file_that_changes_between_the_two_looks(here: CacheManager, there: CacheManager, tmp_path: Path) -> None:
    """What was verified is verified again when its turn comes: nothing bad is stored."""
    values = {f"k{number}": f"{number}" * 1_000 for number in range(500)}
    here.get_cache("many", maxsize=None).set_many(values)
    file = tmp_path / "x"
    export_caches(file, [here.get_cache("many")], manager=here)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1

    def open_cache(exported: ExportedCache) -> Cache:
        file.write_bytes(content)
        return there.get_cache(exported.name)

    with pytest.raises(UnreadableExportError):
        import_caches(file, manager=there, open_cache=open_cache)
    assert 0 < there.get_cache("many").size() < 500
    assert dict(there.get_cache("many").items()).items() <= values.items()


# --- what happens to the process or the disk --------------------------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
from openalgo_cache import CacheManager, Settings, export_caches
folder, target = Path(sys.argv[1]), Path(sys.argv[2])
manager = CacheManager(Settings(base_folder=folder, cache_backend="sqlite"))
print("ready", flush=True)
export_caches(target, [manager.get_cache("many", maxsize=None)], manager=manager, replace=True)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """The folder of an installation with a megabyte of entries."""
    made = manager(tmp_path)
    made.get_cache("many", maxsize=None).set_many({f"k{number}": random.randbytes(1_000) for number in range(1_000)})
    made.close()
    return tmp_path


def run(large: Path, target: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """Export in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", before + SCRIPT, str(large), str(target)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def whole_or(there: bytes | None, target: Path, large: Path) -> bool:
    """Return whether a file is what it was before; else it has to be a whole export."""
    if (target.read_bytes() if target.exists() else None) == there:
        return True
    assert verify_export(target, manager=manager(large)).caches[0].entries == 1_000
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes to stand for a full disk")
@pytest.mark.parametrize("there", [None, b"yesterday's"])
def test_a_full_disk(large: Path, there: bytes | None) -> None:
    """The error names the file; what was there stays, and nothing half-written does."""
    folder = large / "out"
    folder.mkdir()
    target = folder / "x.oac"
    if there is not None:
        target.write_bytes(there)
    limit = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    )
    done = run(large, target, limit)
    assert done.returncode == 1
    assert "x.oac" in done.stderr.splitlines()[-1]
    assert (target.read_bytes() if target.exists() else None) == there
    assert [path.name for path in folder.iterdir()] == (["x.oac"] if there else [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full(large: Path, small_disk: Path) -> None:
    """As above; the space is given back."""
    done = run(large, small_disk / "x.oac")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert "x.oac" in done.stderr.splitlines()[-1]
    assert list(small_disk.iterdir()) == []


def size_of_temporary(folder: Path) -> int:
    """Return how much of an export is on the disk that has not got its name yet."""
    with suppress(FileNotFoundError):  # just now it has got it
        return sum(path.stat().st_size for path in folder.glob(".x.oac.*.tmp"))
    return 0


def test_a_killed_export(large: Path) -> None:
    """There is no file, or a whole one; what is left beside it is private and in nobody's way."""
    target = large / "x.oac"
    points = random.Random(7)
    for _ in range(8):
        written = points.randrange(1_000_000)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(large), str(target)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while process.poll() is None and size_of_temporary(large) < written:
            pass
        process.kill()
        process.wait()
        process.stdout.close()
        whole_or(None, target, large)
        for left in large.glob(".x.oac.*.tmp"):
            assert stat.S_IMODE(left.stat().st_mode) == 0o600
            left.unlink()
        target.unlink(missing_ok=True)
    assert run(large, target).returncode == 0
    assert not whole_or(None, target, large)

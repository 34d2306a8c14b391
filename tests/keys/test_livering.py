"""A running process and the file of its key ring: changes are noticed, and mistakes never cost a key."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from openalgo_cache import files
from openalgo_cache.audit.event import Event
from openalgo_cache.cache import Cache
from openalgo_cache.codec.envelope import AEAD, MAC, parse_head
from openalgo_cache.codec.keyring import Key, KeyRing
from openalgo_cache.codec.keywatch import WATCH
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.codec.ringfile import FILE_NAME, RingFile
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import KeyRingError, UnreadableRecordError
from openalgo_cache.manager import CacheManager
from tests.faults.forks import Child, forks
from tests.faults.processes import Process
from tests.patching import patch_here
from tests.servers.process import ServerProcess
from tests.stacks import manager

BOUND = 5.0
"""Seconds within which every process seals with the key that was activated."""


@pytest.fixture
def file(tmp_path: Path) -> RingFile:
    """The file of a new ring."""
    file = RingFile(tmp_path / "db" / FILE_NAME)
    file.load_or_create()
    return file


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.server)])
def open_house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], CacheManager]]:
    """Open a manager: one more process of one installation, on SQLite or on Redis."""
    settings = {}
    if request.param == "redis":
        server: ServerProcess = request.getfixturevalue("redis_server")
        settings = {**server.settings(), "redis_key_prefix": f"t{os.getpid()}-{time.monotonic_ns()}"}
    houses = []

    def open_() -> CacheManager:
        houses.append(manager(tmp_path, backend=request.param, **settings))
        return houses[-1]

    yield open_
    for house in houses:
        house.close()


def rotate(ring: KeyRing) -> KeyRing:
    """Return a ring with a new active key."""
    key = Key.generate()
    return ring.with_key(key).with_active(key.id)


def key_of(cache: Cache, key: str) -> int:
    """Return which key sealed what is under a key."""
    stored = cache._opened().keyspace.stored(key)
    entry = cache.backend.get(stored)
    assert entry is not None
    return parse_head(entry.payload).key_id


def wait_for(what: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + BOUND
    while not what():
        assert time.monotonic() < end, "not within the bound"
        threading.Event().wait(0.02)


def seals_with(cache: Cache) -> int:
    """Return which key seals what is written now."""
    cache.set("probe", 1)
    return key_of(cache, "probe")


def seals_now_with(cache: Cache, key_id: int) -> bool:
    """Return whether a key seals what is written now."""
    return seals_with(cache) == key_id


# Noticed


def test_a_record_of_a_new_key_is_read_at_once(
    open_house: Callable[[], CacheManager], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the thread that looks has not looked yet, by caches and by state."""
    monkeypatch.setattr(LiveRing, "watch", lambda _ring: None)
    reader, writer = open_house(), open_house()
    names = ("auth", "quotes", "running_strategies")
    for name in names:
        reader.get_cache(name).set("k", "old")
    new = RingFile(tmp_path / "db" / FILE_NAME).update(rotate).active.id
    for name in names:
        cache = writer.get_cache(name)
        cache.set("k", "new")
        assert key_of(cache, "k") == new
        assert reader.get_cache(name).get("k") == "new"
    assert reader.ring().active.id == new


def test_everybody_seals_with_the_new_key_within_the_bound(
    open_house: Callable[[], CacheManager], tmp_path: Path
) -> None:
    """Two managers of one process, which read and write all the time, and one that does nothing in between."""
    caches = [open_house().get_cache("auth") for _ in range(3)]
    for cache in caches:
        cache.set("k", "v")
    before = key_of(caches[0], "k")
    new = RingFile(tmp_path / "db" / FILE_NAME).update(rotate).active.id
    for cache in caches:
        wait_for(partial(seals_now_with, cache, new))
        assert cache.get("k") == "v"
    assert key_of(caches[0], "k") == before, "what the old key sealed stays as it is"


def test_a_key_that_was_taken_out_opens_nothing_any_more(tmp_path: Path) -> None:
    """Not even for who has just used it, and only reads: the key may have leaked."""
    house = manager(tmp_path)
    cache = house.get_cache("auth")
    cache.set("k", "v", ttl=600)
    file = RingFile(tmp_path / "db" / FILE_NAME)
    old = file.load().active.id
    file.update(lambda ring: rotate(ring).without(old))
    stack = cache._opened()
    stored = stack.keyspace.stored("k")
    entry = stack.backend.get(stored)
    assert entry is not None
    wait_for(lambda: not stack.codec.verifies(stored, entry.payload))
    house.close()


@forks
def test_a_forked_child_notices_as_well(open_house: Callable[[], CacheManager], tmp_path: Path) -> None:
    """Its parent's thread is not there; it has one of its own as soon as it uses a key."""
    cache = open_house().get_cache("auth")
    cache.set("k", "v")
    file = RingFile(tmp_path / "db" / FILE_NAME)

    def work() -> bool:
        assert cache.get("k") == "v"
        new = file.update(rotate).active.id
        wait_for(lambda: seals_with(cache) == new)
        return True

    child = Child(work)
    assert child.result() is True


OTHER = """
import sys
from pathlib import Path
from tests.stacks import manager
cache = manager(Path(sys.argv[1])).get_cache("auth")
while line := sys.stdin.readline().split():
    print(getattr(cache, line[0])(*line[1:]), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the processes are told by pipes")
def test_other_processes_notice(tmp_path: Path) -> None:
    """One adds and activates; two others, which hold the old ring, read what it writes and write what it reads."""
    with closing(manager(tmp_path)) as house, Process(OTHER, tmp_path) as one, Process(OTHER, tmp_path) as two:
        cache = house.get_cache("auth")
        cache.set("k", "old")
        assert [other.ask("get k") for other in (one, two)] == ["old", "old"]
        new = RingFile(tmp_path / "db" / FILE_NAME).update(rotate).active.id
        wait_for(lambda: seals_with(cache) == new)
        cache.set("k", "new")
        assert [other.ask("get k") for other in (one, two)] == ["new", "new"]

        def written_by_another() -> bool:
            assert one.ask("set from-one v") == "None"
            return key_of(cache, "from-one") == new

        wait_for(written_by_another)
        assert cache.get("from-one") == two.ask("get from-one") == "v"


def test_threads_that_seal_while_keys_change_write_nothing_unreadable(file: RingFile) -> None:
    """Every record opens at once and at the end, and no thread goes on with an old key."""
    live = LiveRing(file.load(), file)
    seals = {mode: RingSeal(live, "n", "c", mode) for mode in (AEAD, MAC)}
    made: list[tuple[int, bytes]] = []
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            for mode, seal in seals.items():
                record = seal.seal("k", b"\x2a", 1, 0.0, 1.0)
                assert seal.open("k", record)[0] == b"\x2a"
                made.append((mode, record))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    rings = [file.load()]
    for _ in range(8):
        rings.append(rotate(rings[-1]))
        files.replace_private(file.path, rings[-1].to_json())
        live.tick()
    done.set()
    for thread in threads:
        thread.join()
    assert len({parse_head(record).key_id for _, record in made}) > 3
    others = {mode: RingSeal(rings[-1], "n", "c", mode) for mode in seals}
    for mode, record in made:
        assert others[mode].open("k", record)[0] == b"\x2a"
    for seal in seals.values():
        assert parse_head(seal.seal("k", b"\x2a", 1, 0.0, 1.0)).key_id == live.now.active.id


# What it costs


def test_made_up_key_ids_are_a_look_each_and_no_reading(file: RingFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to the store cannot have the ring read again, however many keys he names."""
    live = LiveRing(file.load(), file)
    seal = RingSeal(live, "n", "c", MAC)
    os.utime(file.path, (1, 1))
    live.tick()
    reads: list[object] = []
    monkeypatch.setattr(RingFile, "load", reads.append)
    record = bytearray(RingSeal(KeyRing.generate(), "n", "c", MAC).seal("k", b"\x2a", 1, 0.0, 1.0))
    for number in range(1, 1000):
        record[24:28] = number.to_bytes(4, "big")
        with pytest.raises(UnreadableRecordError, match="not in the key ring"):
            seal.open("k", bytes(record))
    assert not reads


def test_records_in_between_ask_the_system_nothing(file: RingFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither sealing nor opening looks at the file, nor at a clock."""
    seal = RingSeal(LiveRing(file.load(), file), "n", "c", AEAD)
    record = seal.seal("k", b"\x2a", 1, 0.0, 1.0)
    seal.open("k", record)
    for module, name in ((os, "stat"), (time, "time"), (time, "monotonic")):
        patch_here(monkeypatch, module, name, lambda *_: pytest.fail("asked"))
    for _ in range(10):
        seal.open("k", seal.seal("k", b"\x2a", 1, 0.0, 1.0) and record)
    monkeypatch.undo()


# Never less by mistake


def remove(path: Path, _content: bytes) -> None:
    """The file is gone."""
    path.unlink()


def damage(path: Path, content: bytes) -> None:
    """Half of the file is there."""
    files.replace_private(path, content[: len(content) // 2])


def empty(path: Path, _content: bytes) -> None:
    """Nothing is in the file."""
    files.replace_private(path, b"")


def replace_by_another(path: Path, _content: bytes) -> None:
    """Another installation's ring is there."""
    files.replace_private(path, KeyRing.generate().to_json())


def open_to_others(path: Path, _content: bytes) -> None:
    """Others can read it."""
    path.chmod(0o644)


SAID: dict[Callable[[Path, bytes], None], str] = {
    remove: "cannot be read",
    damage: "damaged",
    empty: "is empty",
    replace_by_another: "another installation's",
    open_to_others: "open to other users",
}


@pytest.mark.parametrize("mishap", SAID)
def test_a_mishap_in_the_middle_costs_no_key(
    mishap: Callable[[Path, bytes], None],
    open_house: Callable[[], CacheManager],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The keys that are held stay, whatever has become of the file; it is said once, shown in health, and forgotten."""
    if mishap is open_to_others and sys.platform == "win32":
        pytest.skip("Windows has no file modes")
    path = tmp_path / "db" / FILE_NAME
    house = open_house()
    cache, state = house.get_cache("auth"), house.get_cache("running_strategies")
    for one in (cache, state):
        one.set("k", "v")
    content, held = path.read_bytes(), house.ring()
    mishap(path, content)
    house.live_ring().tick()
    assert house.health()["status"] == "degraded"
    assert SAID[mishap] in str(house.health()["reason"])
    for one in (cache, state):
        assert one.get("k") == "v"
        one.set("k2", "v2")
        assert one.get("k2") == "v2"
    for _ in range(3):
        house.live_ring().tick()
    assert sum(SAID[mishap] in record.getMessage() for record in caplog.records if record.levelname == "ERROR") == 1
    assert house.ring().keys == held.keys
    if mishap is remove:
        assert not path.exists(), "no new ring is made"
        if list((tmp_path / "db").glob("*.db")):  # on a server nothing in the folder tells
            with pytest.raises(KeyRingError, match="none is made"):
                open_house().ring()
    files.replace_private(path, content)
    house.live_ring().tick()
    assert house.health()["status"] == "healthy"
    assert [one.get("k2") for one in (cache, state)] == ["v2", "v2"]


def test_an_older_ring_that_is_put_back_is_taken_with_a_warning(
    file: RingFile, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is the truth; what is lost with it is said by its id, and no secret is."""
    caplog.set_level(logging.INFO)
    live = LiveRing(file.load(), file)
    content, old = file.path.read_bytes(), live.now.active
    live.tick()
    new = file.update(rotate).active
    live.tick()
    assert live.now.active.id == new.id
    files.replace_private(file.path, content)
    live.tick()
    assert live.now.active.id == old.id
    assert f"what {new.id:08x} sealed cannot be opened any more" in caplog.text
    assert not any(key.secret.hex() in caplog.text or repr(key.secret) in caplog.text for key in (old, new))


def test_a_ring_without_a_file_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key from the environment, or of a store in memory."""
    monkeypatch.setattr("openalgo_cache.codec.livering.WATCH.add", lambda _ring: pytest.fail("nothing to look at"))
    seal = RingSeal(KeyRing.generate(), "n", "c", AEAD)
    record = seal.seal("k", b"\x2a", 1, 0.0, 1.0)
    assert seal.open("k", record)[0] == b"\x2a"


def test_a_closed_manager_looks_no_more(tmp_path: Path) -> None:
    """Its folder may go, and nobody says a word or makes a file; used again, it looks again."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    cache.set("key", 1)
    house.audit().record(Event(None, "CLEAR", None, "a test"))  # its end is sealed when it is closed
    ring = house.live_ring()
    assert ring in WATCH._all
    house.close()
    assert ring not in WATCH._all
    assert cache.get("key") == 1
    assert ring in WATCH._all
    house.close()

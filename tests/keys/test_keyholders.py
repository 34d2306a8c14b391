"""Who holds which keys, told in a store that everybody may write to: believed only as far as it is signed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.codec.keyring import Key, KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.errors import KeyRingError
from openalgo_cache.keyholders import FRESH, KeyHolders
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from openalgo_cache.testing.clock import FakeClock
from tests.faults.forks import Child, forks
from tests.servers.process import ServerProcess

OURS, THEIRS = KeyRing.generate(), KeyRing.generate()
PREFIX = "openalgo:key.holders:"


class Store:
    """A store, a clock, and processes that share them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.backend = MemoryBackend(None, self.clock)

    def process(self, instance: str, ring: KeyRing | LiveRing = OURS) -> KeyHolders:
        """Return what a process has."""
        live = ring if isinstance(ring, LiveRing) else LiveRing(ring)
        return KeyHolders(lambda: self.backend, PREFIX, live, instance, self.clock)

    @property
    def content(self) -> bytes:
        """The common record."""
        entry = self.backend.get(f"{PREFIX}all")
        return b"" if entry is None else entry.payload

    @content.setter
    def content(self, payload: bytes) -> None:
        self.backend.set(f"{PREFIX}all", Entry(payload, None))


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return Store()


def instances(holders: KeyHolders) -> list[str]:
    """Return who holds our ring."""
    return sorted(one.instance for one in holders.roll().holders)


def test_processes_tell_what_they_hold(store: Store) -> None:
    """Ids and no secret; what is told again replaces what was told before."""
    second = Key.generate()
    live = LiveRing(OURS)
    one, two = store.process("one"), store.process("two", live)
    for holders in (one, two, two):
        holders.join(strict=True)
    live.now = OURS.with_key(second).with_active(second.id)
    two.tick()
    found = {holder.instance: holder for holder in one.roll().holders}
    assert found["one"].keys == (OURS.active.id,)
    assert (found["two"].keys, found["two"].active) == ((OURS.active.id, second.id), second.id)
    assert len(found) == len(one.roll().holders) == 2
    assert not any(secret in store.content for secret in (OURS.active.secret, OURS._root, second.secret))
    two.leave()
    assert instances(one) == ["one"]


def test_who_tells_nothing_is_gone_and_the_last_line_says_whose_store_it_is(store: Store) -> None:
    """So a stranger is told even when nobody is there; after a month nobody remembers."""
    for name in ("one", "two"):
        store.process(name).join(strict=True)
        store.clock.advance(1)
    store.clock.advance(FRESH + 1)
    store.process("three").join(strict=True)
    assert instances(store.process("x")) == ["three"]
    store.clock.advance(20 * 86_400)
    with pytest.raises(KeyRingError):
        store.process("stranger", THEIRS).join(strict=True)
    store.clock.advance(20 * 86_400)
    store.process("stranger", THEIRS).join(strict=True)


def test_a_stranger_is_refused_by_both_fingerprints(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """In multi-instance mode with the fix; elsewhere loudly, once, on both sides, and both go on."""
    one, stranger = store.process("one"), store.process("stranger", THEIRS)
    one.join(strict=True)
    before = store.content
    with pytest.raises(KeyRingError) as caught:
        stranger.join(strict=True)
    for part in (OURS.fingerprint(), THEIRS.fingerprint(), "CACHE_KEY_FILE", f"{PREFIX}all"):
        assert part in str(caught.value)
    assert store.content == before, "it has told nothing"
    for _ in range(3):
        stranger.join(strict=False)
        one._next = 0.0
        one.tick()
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 2
    assert all(OURS.fingerprint() in line and THEIRS.fingerprint() in line for line in said)
    assert instances(one) == ["one"]
    assert {theirs.fingerprint for theirs in one.roll().strangers} == {THEIRS.fingerprint()}


def test_made_up_lines_stop_nobody_who_is_not_alone(store: Store) -> None:
    """Lines of made-up rings, with or without our own fingerprint: our lines are there, so we start, and go on."""
    one = store.process("one")
    one.join(strict=True)
    ours = store.content
    for number in range(40):
        theirs = Store()
        theirs.clock = store.clock
        theirs.process(f"forger {number}", KeyRing.generate()).join(strict=True)
        store.content += theirs.content[8:]
    forged = bytearray(ours[8:])
    forged[-1] ^= 1
    store.content += bytes(forged)
    two = store.process("two")
    two.join(strict=True)
    roll = two.roll()
    assert sorted(one.instance for one in roll.holders) == ["one", "two"]
    assert roll.forged == 0, "what says our fingerprint and is not signed is thrown away"
    assert len(roll.strangers) == 40


def test_every_bit_of_a_line_counts(store: Store) -> None:
    """A changed line is no holder of ours, whatever else it may look like; nothing raises."""
    one = store.process("one")
    one.join(strict=True)
    content = store.content
    for at in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            store.content = bytes(changed)
            assert one.roll().holders == []


@pytest.mark.parametrize(
    "content", [b"", b"x", b"OACKEYS1", b"OACKEYS1" + b"\xff" * 50, b"OACKEYS1" * 10_000, b"\0" * 70_000]
)
def test_a_senseless_record_is_written_anew(store: Store, content: bytes) -> None:
    """It tells nothing, and stops nobody."""
    store.content = content
    one = store.process("one")
    one.join(strict=True)
    assert instances(one) == ["one"]


def test_a_line_belongs_to_its_namespace(store: Store) -> None:
    """It cannot be carried to another one."""
    store.process("one").join(strict=True)
    other = KeyHolders(lambda: store.backend, "openalgo@other:key.holders:", LiveRing(OURS), "two", store.clock)
    store.backend.set(other.key, Entry(store.content, None))
    assert other.roll().holders == []


def test_the_record_stays_small(store: Store) -> None:
    """However many say they hold something, and ours are not pushed out."""
    one = store.process("one")
    for number in range(260):
        store.process(f"process {number}", KeyRing.generate()).join(strict=False)
    one.join(strict=False)
    store.process("last", THEIRS).join(strict=False)
    assert len(store.content) < 1 << 16
    one._next = 0.0
    one.tick()
    assert instances(one) == ["one"]


@forks
def test_a_forked_child_is_a_process_of_its_own(store: Store) -> None:
    """Its line does not take the place of its parent's."""
    one = store.process("one")
    one.join(strict=True)

    def work() -> int:
        one.tick()
        return len({holder.process for holder in one.roll().holders})

    assert Child(work).result() == 2


# With managers, on a server


@pytest.fixture
def open_house(redis_server: ServerProcess, tmp_path: Path) -> Iterator[Callable[..., CacheManager]]:
    """Open an instance: on one server, with a folder of its own, and so a key ring of its own."""
    houses: list[CacheManager] = []

    def open_(name: str, ring: KeyRing | None = None, **settings: Any) -> CacheManager:
        folder = tmp_path / name / "db"
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
            (folder / ".cache_key").touch(mode=0o600)
            (folder / ".cache_key").write_bytes((ring or OURS).to_json())
        houses.append(
            CacheManager(
                Settings(
                    **redis_server.settings(),
                    cache_backend="redis",
                    redis_key_prefix=f"t{os.getpid()}-{tmp_path.name}",
                    instance_id=name,
                    sqlite_cache_path=folder / "cache",
                    **settings,
                )
            )
        )
        return houses[-1]

    yield open_
    for house in houses:
        house.close()


@pytest.mark.server
def test_an_instance_with_another_ring_fails_at_its_first_use(open_house: Callable[..., CacheManager]) -> None:
    """Every cache of it, with both fingerprints, until it has the ring of the others; those go on."""
    one = open_house("one", multi_instance_mode=True)
    one.get_cache("auth").set("k", "v")
    wrong = open_house("two", THEIRS, multi_instance_mode=True)
    for name in ("auth", "quotes", "running_strategies"):
        with pytest.raises(KeyRingError, match=f"{OURS.fingerprint()}.*{THEIRS.fingerprint()}"):
            wrong.get_cache(name).get("k")
    assert one.get_cache("auth").get("k") == "v"
    path = wrong.ring_path()
    assert path is not None
    path.write_bytes(OURS.to_json())
    with closing(open_house("two", multi_instance_mode=True)) as right:
        assert right.get_cache("auth").get("k") == "v"


@pytest.mark.server
def test_a_lone_instance_with_another_ring_says_so_and_goes_on(
    open_house: Callable[..., CacheManager], caplog: pytest.LogCaptureFixture
) -> None:
    """Its caches miss what is there, and nothing of the others' is deleted."""
    one = open_house("one", multi_instance_mode=True)
    one.get_cache("auth").set("k", "v")
    other = open_house("other", THEIRS)
    assert other.get_cache("auth").get("k") is None
    holders = other.census.holders("redis")
    assert holders is not None
    holders.tick()
    assert any("another key ring as well" in record.getMessage() for record in caplog.records)
    assert one.get_cache("auth").get("k") == "v"


@pytest.mark.server
def test_two_instances_rotate_in_steps(open_house: Callable[..., CacheManager], tmp_path: Path) -> None:
    """Added here and brought there, activated here and brought there: at no moment can one not read the other."""
    houses = [open_house(name, multi_instance_mode=True) for name in ("one", "two")]
    files = [RingFile(tmp_path / name / "db" / ".cache_key") for name in ("one", "two")]
    key = Key.generate()

    def check(moment: str) -> None:
        for house, other in (houses, houses[::-1]):
            house.get_cache("auth").set("k", moment)
            assert other.get_cache("auth").get("k") == moment

    check("at first")
    for change in (lambda ring: ring.with_key(key), lambda ring: ring.with_active(key.id)):
        for house, file in zip(houses, files, strict=True):
            file.update(change)
            house.live_ring().tick()
            check(f"changed at {file.path}")

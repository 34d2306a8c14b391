"""Genuine records in the wrong place or time, and forged ones: moved, prolonged, downgraded, replayed, of another key.

Each attempt writes to the store over a connection of its own, and asks through every face that reads.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.invalidation.announcements import Names
from openalgo_cache.cache import Cache
from openalgo_cache.codec import serializers
from openalgo_cache.codec.envelope import AEAD, MAC, PLAIN, Extras, pack_head
from openalgo_cache.codec.keyring import DECRYPT_ONLY, Key, KeyRing
from openalgo_cache.codec.ringfile import FILE_NAME
from openalgo_cache.codec.sealing import RingSeal, Unsealed
from openalgo_cache.errors import LockTimeoutError, UnreadableRecordError
from openalgo_cache.journal import Journal
from openalgo_cache.sentinels import MISSING
from openalgo_cache.slots import SLOT, LostDelete, Slots
from openalgo_cache.testing import FakeClock
from tests.security.attack import Attack
from tests.security.kinds import VALUE
from tests.security.stores import BACKENDS, Ground, ground_on
from tests.servers.process import ServerProcess, wait_until

CACHES: dict[str, dict[str, Any]] = {
    "quotes": {},  # signed
    "user_strategies": {},  # encrypted
    "broker": {},  # encrypted, with blinded keys
    "running_strategies": {},  # state
}
ON_SERVERS = {"redis", "valkey"}
SHARED = [name for name in BACKENDS if name != "memory"]
EVIL = "planted"


@pytest.fixture
def ground(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """The backend of the test."""
    with closing(ground_on(name, tmp_path, request.getfixturevalue)) as one:
        yield one


def on(*names: str) -> pytest.MarkDecorator:
    """Return a decorator that runs a test on each of these backends."""
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[pytest.mark.server] if name in ON_SERVERS else []) for name in names]
    )


on_near_and_far = pytest.mark.parametrize(
    "name, near",
    [
        pytest.param(name, near, marks=[pytest.mark.server] if name in ON_SERVERS else [])
        for name in BACKENDS
        for near in (False, True)
        if (name, near) != ("memory", True)  # no one else can write to it
    ],
)


@dataclass
class Victim:
    """A cache whose store is written to.

    Attributes:
        cache: The cache.
        store: Its store.
        attack: Counts.
        near: Whether copies are kept near: then what was read before may be served until the change is heard of.
    """

    cache: Cache
    store: Any
    attack: Attack
    near: bool = False

    def stored(self, key: str) -> str:
        """Return a stored key."""
        return self.cache._opened().keyspace.stored(key)

    def record(self, key: str) -> bytes:
        """Return a record in the store."""
        record = self.store.read(self.stored(key))
        assert record is not None
        return bytes(record)

    def reads(self, key: str) -> Iterator[object]:
        """Ask in every way, and yield what is served."""
        readers: list[Callable[[], object]] = [
            lambda: self.cache.get(key, MISSING),
            lambda: self.cache.get_many([key]).get(key, MISSING),
            lambda: asyncio.run(_ask(self.cache, key)),
        ]
        for read in readers:
            try:
                yield read()
            except UnreadableRecordError:
                yield MISSING

    def refuses(self, what: str, key: str = "key", record: bytes | None = None, honest: object = VALUE) -> None:
        """Plant a record, and note whether anything is served for it."""
        if record is not None:
            self.store.write(self.stored(key), record)
        if self.near:
            wait_until(lambda: next(iter(self.reads(key))) != honest, "the copy to be dropped")
        for found in self.reads(key):
            self.attack.tried(succeeded=found is not MISSING, what=f"{what}, in {self.cache.name}: {found!r}")
            if record is not None:
                self.store.write(self.stored(key), record)


async def _ask(cache: Cache, key: str) -> object:
    return await cache.aio.get(key, MISSING)


def victims(ground: Ground, attack: Attack, house: Any, *, near: bool = False) -> Iterator[Victim]:
    """Yield each kind of cache with two entries, that were read before."""
    for name in CACHES:
        if name == "running_strategies" and ground.name == "memory":
            continue
        cache = house.get_cache(name)
        for key in ("key", "other"):
            cache.set(key, VALUE, 1000)
            assert cache.get(key) == VALUE
        with ground.store(cache.backend) as store:
            yield Victim(cache, store, attack, near and name != "running_strategies")


def seal_of(victim: Victim, ring: KeyRing, mode: int | None = None, cache: str | None = None) -> RingSeal:
    """Return a seal as the victim's own, but for what is given."""
    own = victim.cache._opened().codec._seal
    assert isinstance(own, RingSeal)
    return RingSeal(ring, ring.id, cache or victim.cache.name, own._mode if mode is None else mode)


# --- moved -----------------------------------------------------------------------------------------------------------


@on_near_and_far
@pytest.mark.attack("moved", "under another key")
def test_another_key(ground: Ground, near: bool, attack: Attack) -> None:
    """Copied or swapped with a neighbour: each record belongs to its own key."""
    for victim in victims(ground, attack, ground.house(cache_near_enabled=near), near=near):
        mine, theirs = victim.record("key"), victim.record("other")
        victim.refuses("a neighbour's record", "key", theirs)
        victim.refuses("a neighbour's record", "other", mine)


@on(*BACKENDS)
@pytest.mark.attack("moved", "to another cache")
def test_another_cache(ground: Ground, attack: Attack) -> None:
    """The same key, ring and seal, another cache."""
    house = ground.house()
    for victim in victims(ground, attack, house):
        encrypted = victim.cache.policy.sealing.value == "encrypted"
        elsewhere = house.get_cache(f"elsewhere-{victim.cache.name}", encrypted=encrypted or None)
        elsewhere.set("key", EVIL)
        with ground.store(elsewhere.backend) as store:
            victim.refuses("another cache's record", "key", store.read(elsewhere._opened().keyspace.stored("key")))


@on(*BACKENDS)
@pytest.mark.attack("moved", "to another namespace")
def test_another_namespace(ground: Ground, attack: Attack) -> None:
    """Of the same installation."""
    other = ground.house(cache_namespace="other")
    for victim in victims(ground, attack, ground.house()):
        there = other.get_cache(victim.cache.name)
        there.set("key", EVIL)
        with ground.store(there.backend) as store:
            theirs = store.read(there._opened().keyspace.stored("key"))
            victim.refuses("another namespace's record", "key", theirs)


@on(*BACKENDS)
@pytest.mark.parametrize("namespace", [None, "shared"])
@pytest.mark.attack("moved", "to another installation")
def test_another_installation(ground: Ground, namespace: str | None, attack: Attack) -> None:
    """With a key ring of its own, even where both call their namespace the same."""
    other = ground.house("there", cache_namespace=namespace)
    theirs = {}
    for name in CACHES:
        if name == "running_strategies" and ground.name == "memory":
            continue
        there = other.get_cache(name)
        there.set("key", EVIL)
        with ground.store(there.backend) as store:
            theirs[name] = store.read(there._opened().keyspace.stored("key"))
    for victim in victims(ground, attack, ground.house(cache_namespace=namespace)):
        if ground.name in ON_SERVERS and not victim.cache.policy.blinded:
            victim.cache.set("key", VALUE)
        victim.refuses("another installation's record", "key", theirs[victim.cache.name])


# --- prolonged -------------------------------------------------------------------------------------------------------


@on_near_and_far
@pytest.mark.attack("time", "prolonged in the store")
def test_prolonged_in_the_store(ground: Ground, near: bool, attack: Attack) -> None:
    """Whatever the store says of it, a record ends when its seal says."""
    clock = FakeClock()
    for victim in victims(ground, attack, ground.house(clock=clock, cache_near_enabled=near), near=False):
        for expires_at in (None, clock() + 1e9):
            victim.cache.set("key", VALUE, 100)
            victim.store.write(victim.stored("key"), victim.record("key"), expires_at)
            assert all(found == VALUE for found in victim.reads("key"))
            clock.advance(101)
            victim.refuses("a record past its time")


@on(*BACKENDS)
@pytest.mark.attack("time", "prolonged in the record")
def test_prolonged_in_the_record(ground: Ground, attack: Attack) -> None:
    """The times that stand in it cannot be changed."""
    for victim in victims(ground, attack, ground.house()):
        record = victim.record("key")
        for at, what in ((8, "created"), (16, "expires")):
            for moment in (math.inf, 1e12, 0.0, -1.0, math.nan):
                changed = record[:at] + struct.pack(">d", moment) + record[at + 8 :]
                victim.refuses(f"{what} at {moment}", "key", changed)


@on(*BACKENDS)
@pytest.mark.attack("time", "stale for longer")
def test_stale_for_longer(ground: Ground, attack: Attack) -> None:
    """How long a value may stand in while its loader fails is sealed as well."""
    clock = FakeClock()
    cache = ground.house(clock=clock).get_cache("news", stale_for=50)

    def fail() -> object:
        raise OSError("the loader fails")

    for expires_at in (None, clock() + 1e9):
        cache.set("key", VALUE, 100)
        with ground.store(cache.backend) as store:
            stored = cache._opened().keyspace.stored("key")
            store.write(stored, store.read(stored), expires_at)
            clock.advance(151)
            with pytest.raises(OSError, match="the loader fails"):
                cache.get_or_set("key", fail)
            attack.tried(succeeded=cache.get("key", MISSING) is not MISSING)


# --- downgraded and forged -------------------------------------------------------------------------------------------


@on_near_and_far
@pytest.mark.attack("downgrade", "unsealed in a sealed cache")
def test_unsealed(ground: Ground, near: bool, attack: Attack) -> None:
    """Whoever can write can write plain records, or none of ours."""
    for victim in victims(ground, attack, ground.house(cache_near_enabled=near), near=near):
        stored = victim.stored("key")
        body = serializers.dumps(EVIL)
        for record in (
            Unsealed().seal(stored, body, 1, 0.0, math.inf),
            Unsealed().seal(stored, body, 1, 0.0, math.inf, Extras(stale_until=math.inf)),
            pack_head(PLAIN, 1, 0.0, math.inf, lease=True),
            body,
            json.dumps(EVIL).encode(),
            b"",
        ):
            victim.refuses("an unsealed record", "key", record)


@on(*BACKENDS)
@pytest.mark.attack("downgrade", "sealed in the other way")
def test_the_other_seal(ground: Ground, attack: Attack) -> None:
    """Signed where encryption is demanded, and the other way round, with the very key."""
    house = ground.house()
    for victim in victims(ground, attack, house):
        mode = MAC if victim.cache.policy.sealing.value == "encrypted" else AEAD
        record = seal_of(victim, house.ring(), mode).seal(
            victim.stored("key"), serializers.dumps(EVIL), 1, 0.0, math.inf
        )
        victim.refuses("sealed in the other way", "key", record)


@on(*BACKENDS)
@pytest.mark.attack("downgrade", "other versions, modes, codecs and flags")
def test_other_heads(ground: Ground, attack: Attack) -> None:
    """Every other value of the first eight bytes' fields."""
    for victim in victims(ground, attack, ground.house()):
        record = victim.record("key")
        heads = {
            **{f"version {byte}": record[:3] + bytes([byte]) + record[4:] for byte in (0, 2, 3, 255)},
            **{
                f"mode {byte}": record[:4] + bytes([byte]) + record[5:]
                for byte in (0, 1, 2, 3, 255)
                if byte != record[4]
            },
            **{f"codec {byte}": record[:5] + bytes([byte]) + record[6:] for byte in (0, 2, 0x11, 0x21, 255)},
            **{f"flag {bit}": record[:6] + struct.pack(">H", 1 << bit) + record[8:] for bit in range(16)},
            "another magic": b"OAD" + record[3:],
        }
        for what, changed in heads.items():
            victim.refuses(what, "key", changed)


@on(*BACKENDS)
@pytest.mark.attack("downgrade", "of another key")
def test_other_keys(ground: Ground, attack: Attack) -> None:
    """Sealed by a key that is not in the ring, was taken out of it, or has another one's number."""
    house = ground.house()
    ring = house.ring()
    foreign = KeyRing.generate()
    number = 5 if ring.active.id != 5 else 6
    retired = Key(number, DECRYPT_ONLY, 0.0, bytes(range(32)))
    same_number = Key(ring.active.id, "active", 0.0, bytes(range(32)))
    rings = {
        "a foreign key": KeyRing(ring.id, bytes(32), [foreign.active]),
        "a retired key": KeyRing(ring.id, bytes(32), [Key(retired.id, "active", 0.0, retired.secret)]),
        "a foreign key under our number": KeyRing(ring.id, bytes(32), [same_number]),
    }
    for victim in victims(ground, attack, house):
        body = serializers.dumps(EVIL)
        for what, other in rings.items():
            forged = seal_of(victim, other).seal(victim.stored("key"), body, 1, 0.0, math.inf)
            victim.refuses(what, "key", forged)
            victim.refuses(f"{what}, renumbered", "key", forged[:24] + ring.active.id.to_bytes(4, "big") + forged[28:])
        victim.cache.set("key", VALUE)
        record = victim.record("key")
        for other_id in (0, 1, number, 2**32 - 1):
            victim.refuses(f"key {other_id}", "key", record[:24] + other_id.to_bytes(4, "big") + record[28:])


@on(*SHARED)
@pytest.mark.attack("downgrade", "to an older key")
def test_an_older_key(ground: Ground, attack: Attack) -> None:
    """A decrypt-only key still opens what it sealed, and nothing else; once retired, nothing at all."""
    house = ground.house()
    file = house.settings.cache_folder / FILE_NAME
    ring = house.ring()
    house.get_cache("quotes").set("key", VALUE)
    newer = ring.with_key(Key.generate())
    newest = newer.keys[-1].id
    file.write_bytes(newer.with_active(newest).to_json())
    second = ground.house()
    (victim,) = (one for one in victims(ground, attack, second) if one.cache.name == "quotes")
    with ground.store(victim.cache.backend) as store:
        victim.store = store
        victim.cache.set("other", VALUE)
        renumbered = victim.record("other")
        victim.refuses("renumbered", "key", renumbered[:24] + ring.active.id.to_bytes(4, "big") + renumbered[28:])
        old = seal_of(victim, ring).seal(victim.stored("key"), serializers.dumps("old"), 1, 0.0, math.inf)
        store.write(victim.stored("key"), old)
        assert victim.cache.get("key") == "old", "what a decrypt-only key sealed is read: that is what it is for"
        file.write_bytes(newer.with_active(newest).without(ring.active.id).to_json())
        third = ground.house()
        after = Victim(third.get_cache("quotes"), store, attack)
        after.refuses("sealed by a retired key", "key", old)
        assert store.read(victim.stored("key")) == old, "it may belong to somebody"


# --- replayed --------------------------------------------------------------------------------------------------------


@on(*SHARED)
@pytest.mark.attack("replay", "after a revocation, with epoch=")
def test_replay_after_a_revocation_with_an_epoch(ground: Ground, attack: Attack) -> None:
    """The old record of a revoked token, put back under its own key: refused by whoever names the present epoch."""
    for near in (False, True):
        cache = ground.house(cache_near_enabled=near).get_cache("auth")
        with ground.store(cache.backend) as store:
            for before, present in ((1, 2), ("1", "2"), (b"a", b"b"), (1, "1"), (1, None), (None, 1)):
                cache.set("ann", "old token", 1000, epoch=before)
                stored = cache._opened().keyspace.stored("ann")
                record = store.read(stored)
                cache.delete("ann")
                store.write(stored, record)
                reads = [
                    cache.get("ann", MISSING, epoch=present),
                    cache.get_many(["ann"], epoch=present).get("ann", MISSING),
                    asyncio.run(_ask_of_epoch(cache, present)),
                ]
                for found in reads:
                    attack.tried(succeeded=found is not MISSING, what=f"{before!r} for {present!r}")
                cache.delete("ann")


async def _ask_of_epoch(cache: Cache, epoch: Any) -> object:
    return await cache.aio.get("ann", MISSING, epoch=epoch)


@on(*SHARED)
def test_replay_without_an_epoch_is_not_promised(ground: Ground) -> None:
    """A still valid record, put back under its own key, is served: whoever has to refuse it passes ``epoch=``."""
    cache = ground.house().get_cache("auth")
    with ground.store(cache.backend) as store:
        stored = cache._opened().keyspace.stored("ann")
        cache.set("ann", "first", 1000)
        first = store.read(stored)
        cache.set("ann", "second", 1000)
        store.write(stored, first)
        assert cache.get("ann") == "first", "docs/security.md says that this is not kept out"
        cache.set("ann", "tagged", 1000, tags=("desk",))
        (tag,) = map(cache._opened().tags.stored, cache._opened().tags.ids(("desk",)))
        record = store.read(tag)
        cache.clear(tag="desk")
        assert cache.get("ann", MISSING) is MISSING
        store.write(tag, record)
        assert cache.get("ann") == "tagged", "nor is the record of a tag"
        cache.delete("ann")
        store.write(stored, first)
        assert cache.get("ann") == "first"


@on(*SHARED)
@pytest.mark.attack("replay", "past its own expiry")
def test_replay_past_its_expiry(ground: Ground, attack: Attack) -> None:
    """However often it is put back."""
    clock = FakeClock()
    for victim in victims(ground, attack, ground.house(clock=clock)):
        victim.cache.set("key", VALUE, 100)
        record = victim.record("key")
        clock.advance(101)
        victim.refuses("an expired record", "key", record)


# --- what is not a caller's entry ------------------------------------------------------------------------------------


@on(*BACKENDS)
@pytest.mark.attack("forged", "tags")
def test_forged_tags(ground: Ground, attack: Attack) -> None:
    """A tag that was cleared does not come back by a record of somebody else's, or by a caller's own entry."""
    house = ground.house()
    for name in ("quotes", "user_strategies"):
        cache = house.get_cache(name)
        stack = cache._opened()
        tagged, other = (stack.tags.stored(stack.tags.ids((tag,))[0]) for tag in ("desk", "other"))
        with ground.store(cache.backend) as store:
            cache.set("key", VALUE, 1000, tags=("desk",))
            cache.set("x", VALUE, 1000, tags=("other",))
            generation = stack.codec.decode(tagged, store.read(tagged))[0]
            cache.set("number", generation)
            number = store.read(stack.keyspace.stored("number"))
            body = serializers.dumps(generation)
            victim = Victim(cache, store, attack)
            forgeries = {
                "another tag's record": store.read(other),
                "an entry with the right number": number,
                "an unsealed record": Unsealed().seal(tagged, body, 1, 0.0, math.inf),
                "of a foreign ring": seal_of(victim, KeyRing.generate()).seal(tagged, body, 1, 0.0, math.inf),
                "nothing": b"",
            }
            cache.clear(tag="desk")
            for what, forged in forgeries.items():
                store.write(tagged, forged)
                victim.refuses(f"tag: {what}")


@on(*BACKENDS)
@pytest.mark.attack("forged", "locks")
def test_forged_locks(ground: Ground, attack: Attack) -> None:
    """Nobody is kept waiting by a lock that nobody took, and fences rise all the same."""
    house = ground.house()
    cache = house.get_cache("quotes")
    with cache.lock("other", ttl=1000), cache.lock("rebuild", ttl=1000) as fence:
        records = cache._lock_records()._opened()
        stored, other = records.keyspace.stored("rebuild"), records.keyspace.stored("other")
        with ground.store(records.backend) as store:
            body = serializers.dumps((bytes(16), 2**62, 1e12))
            forgeries = {
                "another lock's record": store.read(other),
                "an unsealed record": Unsealed().seal(stored, body, 1, 0.0, math.inf),
                "of a foreign ring": RingSeal(KeyRing.generate(), "", "quotes", MAC).seal(
                    stored, body, 1, 0.0, math.inf
                ),
                "nothing": b"",
            }
    for what, forged in forgeries.items():
        with ground.store(records.backend) as store:
            store.write(stored, forged)
        try:
            with cache.lock("rebuild", ttl=10, timeout=0) as next_fence:
                attack.tried(succeeded=next_fence <= fence, what=f"{what}: a fence that does not rise")
                fence = next_fence
        except LockTimeoutError:
            attack.tried(succeeded=True, what=f"a lock that nobody holds: {what}")


@on(*BACKENDS)
@pytest.mark.attack("forged", "leases")
def test_forged_leases(ground: Ground, attack: Attack) -> None:
    """Nobody waits for a loader that does not exist."""
    for victim in victims(ground, attack, ground.house()):
        stored, stack = victim.stored("key"), victim.cache._opened()
        now = victim.cache._now()
        elsewhere = stack.codec.encode_lease(victim.stored("other"), now, now + 1e6)
        for forged in (
            elsewhere,
            pack_head(PLAIN, 1, 0.0, math.inf, lease=True),
            seal_of(victim, KeyRing.generate()).seal(stored, b"", 1, 0.0, math.inf, lease=True),
        ):
            victim.store.write(stored, forged)
            try:
                leased = victim.cache._look_up(stack, stored).leased
            except UnreadableRecordError:
                leased = False
            attack.tried(succeeded=leased, what=f"a lease that nobody took, in {victim.cache.name}")


@pytest.mark.attack("forged", "journals of lost deletes")
def test_forged_journals(tmp_path: Path, attack: Attack) -> None:
    """No planted note deletes what is the only copy; of a cache it can at most end what was there."""
    ground = ground_on("sqlite", tmp_path, lambda _: None)
    house = ground.house()
    ring = house.ring()
    state, cache = house.get_cache("running_strategies"), house.get_cache("user_strategies")
    prefixes = {one: one._opened().keyspace.prefix for one in (state, cache)}
    foreign = KeyRing.generate()
    for one, prefix in prefixes.items():
        lost = one._opened().lost
        assert lost is not None
        path = lost.journal.path
        empty = path.read_bytes()
        everything, key = LostDelete(None, 1e12), LostDelete(f"{prefix}key", 1e12)
        elsewhere = Slots(ring, prefixes[cache if one is state else state])
        notes = {
            "of a foreign ring": Slots(foreign, prefix).seal(everything, 0),
            "of a foreign ring, under our name": ring_marked(Slots(foreign, prefix).seal(everything, 0), ring),
            "of another cache": elsewhere.seal(everything, 0),
            "of another place in the file": Slots(ring, prefix).seal(everything, 1),
            "noise": b"\x5a" * SLOT,
            "a key's, of another cache": elsewhere.seal(key, 0),
        }
        for what, note in notes.items():
            one.set("key", VALUE)
            path.write_bytes(empty[:4096] + note + empty[4096 + SLOT :])
            journal = Journal(path, ring, prefix, collapses=one is cache)
            if one is state:
                attack.tried(succeeded=bool(journal.entries), what=f"a note {what}")
            fresh = ground.house().get_cache(one.name)
            found = fresh.get("key", MISSING)
            if one is state:
                attack.tried(succeeded=found != VALUE, what=f"a note {what}, in {one.name}")
            else:
                assert found in (VALUE, MISSING)
            path.write_bytes(empty)
    ground.close()


def ring_marked(slot: bytes, ring: KeyRing) -> bytes:
    """Return a slot that says that it is of this ring."""
    owner = bytes.fromhex(ring.fingerprint())
    return owner + slot[8:-8] + owner


@on("redis", "valkey")
@pytest.mark.attack("forged", "messages that feed the near tier")
def test_forged_messages(ground: Ground, request: pytest.FixtureRequest, attack: Attack) -> None:
    """Whatever is published, it may end copies, and never makes one or touches the store."""
    server: ServerProcess = request.getfixturevalue(f"{ground.name}_server")
    cache = ground.house(cache_near_enabled=True).get_cache("user_strategies")
    cache.set("key", VALUE, 1000)
    stack = cache._opened()
    stored = stack.keyspace.stored("key")
    forged = stack.codec.encode(stored, EVIL, 0.0, None)
    messages = [b"", b"\0" * 40, forged, stored.encode(), b"\xff" * 70_000, json.dumps({"key": stored}).encode()]
    with server.client() as client, ground.store(cache.backend) as store:
        before = store.read(stored)
        for message in messages:
            for channel in (Names.of("openalgo:").channel, "__redis__:invalidate", stored, "cache_invalidation"):
                client.publish(channel, message)
                attack.tried(succeeded=cache.get("key") != VALUE or store.read(stored) != before, what=channel)


@on(*SHARED)
@pytest.mark.attack("forged", "sessions")
def test_sessions_of_others(ground: Ground, attack: Attack) -> None:
    """A session's record under another number, and a session that was made up, log nobody in."""
    house = ground.house()
    sessions = house.get_cache("sessions", encrypted=True, blinded=True)
    record = {"at": 0.0, "fields": {"user": serializers.dumps("admin")}}
    for number in ("A" * 43, "B" * 43):
        sessions.set(number, record, 1000)
    with ground.store(sessions.backend) as store:
        victim = Victim(sessions, store, attack)
        theirs = victim.record("B" * 43)
        victim.refuses("another visitor's session", "C" * 43, theirs)
        victim.refuses("another visitor's session", "A" * 43, theirs)
        plain = Unsealed().seal(victim.stored("D" * 43), serializers.dumps(record), 1, 0.0, math.inf)
        victim.refuses("a session that was made up", "D" * 43, plain)

"""A cache against a plain dict with a clock: whatever is done, by whichever handle, both say the same."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from openalgo_cache.cache import Cache
from openalgo_cache.manager import CacheManager
from openalgo_cache.sentinels import DEFAULT, MISSING
from openalgo_cache.testing import FakeClock
from openalgo_cache.testing.values import same
from tests.stacks import manager

LIFETIME = 100.0
"""Of entries that are stored without one."""

KEYS: list[Any] = ["a", "b", "ab", "!a", 1, True, b"a", ("a", 1)]
TEXTS = [key for key in KEYS if type(key) is str]

keys = st.sampled_from(KEYS)
values = st.sampled_from(
    [None, False, 0, 1, 2**70, 1.5, "text", b"bytes", [], [1, [2]], {"a": 1}, {"a": {"b": [1]}}, {1: (2,)}, {1, 2}]
)
ttls = st.sampled_from([DEFAULT, DEFAULT, None, 1, 10.0, timedelta(seconds=150)])
handles = st.integers(0, 2)
epochs = st.sampled_from([None, 1, 2, "1", b"1"])
tag_sets = st.sampled_from([(), ("user",), ("user", "desk"), ("desk",)])


class CacheMachine(RuleBasedStateMachine):
    """Every verb, at every time, by several handles of one store, among them one that is closed and used again."""

    backend: ClassVar = "memory"
    settings: ClassVar[dict[str, Any]] = {}
    options: ClassVar[dict[str, Any]] = {}
    managers: ClassVar = 1
    listed: ClassVar = True
    tagged: ClassVar = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.model: dict[tuple[str, Any], tuple[Any, float | None]] = {}
        self.carried: dict[tuple[str, Any], tuple[str, ...]] = {}
        self.epochs: dict[tuple[str, Any], Any] = {}
        self.houses: list[CacheManager] = []
        self.caches: list[Cache] = []

    @initialize()
    def open(self) -> None:
        """Make the handles: each with a manager of its own where the store can be shared."""
        for _ in range(self.managers):
            house = manager(Path(self.folder.name), self.clock, self.backend, **self.settings)
            self.houses.append(house)
            self.caches.append(house.get_cache("quotes", ttl=LIFETIME, maxsize=None, **self.options))

    def teardown(self) -> None:
        """Close everything."""
        for house in self.houses:
            house.close()
        self.folder.cleanup()

    # The model.

    def place(self, key: Any) -> tuple[str, Any]:
        """Return what a plain dict can tell keys apart by: 1 and True are two."""
        return type(key).__name__, key

    def find(self, key: Any, epoch: Any = None) -> Any:
        """Return what has to be there for those who name an epoch, or MISSING."""
        value, expires_at = self.model.get(self.place(key), (MISSING, None))
        if not same(self.epochs.get(self.place(key)), epoch):
            return MISSING
        return MISSING if expires_at is not None and expires_at <= self.clock() else value

    def put(self, key: Any, value: Any, ttl: Any, tags: tuple[str, ...] = (), epoch: Any = None) -> None:
        """Store in the model."""
        self.carried[self.place(key)] = tags
        self.epochs[self.place(key)] = epoch
        if ttl is DEFAULT:
            ttl = LIFETIME
        if isinstance(ttl, timedelta):
            ttl = ttl.total_seconds()
        self.model[self.place(key)] = (value, None if ttl is None else self.clock() + ttl)

    def remove(self, key: Any) -> Any:
        """Take out of the model, and return what was there, or MISSING."""
        found = self.find(key)
        self.model.pop(self.place(key), None)
        return found

    def counted(self, said: int, expected: int) -> bool:
        """Return whether a count is right: tags, and what they ended, stay in the store for a while."""
        return said >= expected if self.tagged else said == expected

    def live(self) -> list[Any]:
        """Return the keys that have to be there."""
        return [key for _, key in self.model if self.find(key) is not MISSING]

    def cache(self, handle: int) -> Cache:
        """Return one of the handles."""
        return self.caches[handle % len(self.caches)]

    # Reading.

    @rule(handle=handles, key=keys)
    def get(self, handle: int, key: Any) -> None:
        """By every verb that looks."""
        cache, expected = self.cache(handle), self.find(key)
        assert same(cache.get(key, MISSING), expected)
        assert (key in cache) is cache.exists(key) is (expected is not MISSING)
        try:
            assert same(cache[key], expected)
        except KeyError:
            assert expected is MISSING

    @rule(handle=handles, key=keys)
    def get_and_spoil(self, handle: int, key: Any) -> None:
        """What a read returns is the reader's own."""
        found = self.cache(handle).get(key, MISSING)
        assert same(found, self.find(key))
        if isinstance(found, dict | set | list):
            found.clear()

    @rule(handle=handles, wanted=st.lists(keys, max_size=5, unique_by=repr))
    def get_many(self, handle: int, wanted: list[Any]) -> None:
        """Only those that are there; keys that are equal to Python are one in its answer."""
        found = self.cache(handle).get_many(wanted)
        assert set(found) == {key for key in wanted if self.find(key) is not MISSING}
        for key, value in found.items():
            assert any(same(value, self.find(twin)) for twin in wanted if twin == key)

    @rule(handle=handles, key=keys)
    def ttl(self, handle: int, key: Any) -> None:
        """The rest of the lifetime."""
        try:
            left = self.cache(handle).ttl(key)
        except KeyError:
            assert self.find(key) is MISSING
            return
        expires_at = self.model[self.place(key)][1]
        assert left == (None if expires_at is None else expires_at - self.clock())

    @rule(handle=handles)
    def count(self, handle: int) -> None:
        """How many there are."""
        cache = self.cache(handle)
        assert cache.size() == len(cache)
        assert self.counted(cache.size(), len(self.live()))

    @rule(handle=handles, prefix=st.sampled_from(["", "a", "ab", "!", "b"]))
    def listing(self, handle: int, prefix: str) -> None:
        """The keys, with their values."""
        if not self.listed:
            return
        wanted = [key for key in self.live() if not prefix or (type(key) is str and key.startswith(prefix))]
        found = list(self.cache(handle).items(prefix))
        assert sorted(repr(key) for key, _ in found) == sorted(map(repr, wanted))
        assert all(same(value, self.find(key)) for key, value in found)

    # Writing.

    @rule(handle=handles, key=keys, value=values, ttl=ttls, tags=tag_sets)
    def store(self, handle: int, key: Any, value: Any, ttl: Any, tags: tuple[str, ...]) -> None:
        """By two verbs that are one."""
        tags = tags if self.tagged else ()
        if ttl is DEFAULT and not tags:
            self.cache(handle)[key] = value
        else:
            self.cache(handle).set(key, value, ttl, tags=tags)
        self.put(key, value, ttl, tags)

    @rule(handle=handles, items=st.dictionaries(keys, values, max_size=4), ttl=ttls, tags=tag_sets)
    def set_many(self, handle: int, items: dict[Any, Any], ttl: Any, tags: tuple[str, ...]) -> None:
        """All of them."""
        tags = tags if self.tagged else ()
        self.cache(handle).set_many(items, ttl, tags=tags)
        for key, value in items.items():
            self.put(key, value, ttl, tags)

    @rule(handle=handles, key=keys, value=values, ttl=ttls, tags=tag_sets)
    def add(self, handle: int, key: Any, value: Any, ttl: Any, tags: tuple[str, ...]) -> None:
        """Only where nothing is."""
        tags = tags if self.tagged else ()
        free = self.find(key) is MISSING
        assert self.cache(handle).add(key, value, ttl, tags=tags) is free
        if free:
            self.put(key, value, ttl, tags)

    @rule(handle=handles, key=keys, value=values)
    def setdefault(self, handle: int, key: Any, value: Any) -> None:
        """What is there, or what there is to be."""
        expected = self.find(key)
        if expected is MISSING:
            self.put(key, value, DEFAULT)
            expected = value
        assert same(self.cache(handle).setdefault(key, value), expected)

    @rule(handle=handles, key=keys, value=values, ttl=ttls, tags=tag_sets)
    def get_or_set(self, handle: int, key: Any, value: Any, ttl: Any, tags: tuple[str, ...]) -> None:
        """Likewise, with a loader."""
        tags = tags if self.tagged else ()
        expected = self.find(key)
        if expected is MISSING:
            self.put(key, value, ttl, tags)
            expected = value
        assert same(self.cache(handle).get_or_set(key, lambda: value, ttl, tags=tags), expected)

    @rule(handle=handles, key=keys, value=values, other=handles, change=st.sampled_from(["set", "delete", "clear"]))
    def load_across_a_change(self, handle: int, key: Any, value: Any, other: int, change: str) -> None:
        """A change by any handle while the value is being loaded wins."""
        expected = self.find(key)

        def load() -> Any:
            if change == "set":
                self.store(other, key, "changed", DEFAULT, ())
            elif change == "delete":
                self.cache(other).delete(key)
            else:
                self.cache(other).clear()
                self.model.clear()
            return value

        got = self.cache(handle).get_or_set(key, load)
        assert same(got, value if expected is MISSING else expected)

    @rule(handle=handles, key=keys, ttl=ttls)
    def touch(self, handle: int, key: Any, ttl: Any) -> None:
        """A new lifetime for what is there."""
        found = self.find(key)
        assert self.cache(handle).touch(key, ttl) is (found is not MISSING)
        if found is not MISSING:
            self.put(key, found, ttl, self.carried[self.place(key)])

    @rule(handle=handles, key=keys, step=st.integers(-3, 2**65))
    def incr(self, handle: int, key: Any, step: int) -> None:
        """Counts what is an int, and keeps its lifetime."""
        found = self.find(key)
        if found is MISSING:
            assert self.cache(handle).incr(key, step) == step
            self.put(key, step, DEFAULT)
        elif type(found) is int:
            assert self.cache(handle).incr(key, step) == found + step
            self.model[self.place(key)] = (found + step, self.model[self.place(key)][1])

    @rule(handle=handles, key=keys)
    def pop(self, handle: int, key: Any) -> None:
        """The value, once."""
        assert same(self.cache(handle).pop(key, MISSING), self.remove(key))

    @rule(handle=handles, key=keys)
    def delete(self, handle: int, key: Any) -> None:
        """Whether it was there."""
        assert self.counted(self.cache(handle).delete(key), self.remove(key) is not MISSING)

    @rule(handle=handles, unwanted=st.lists(keys, max_size=4))
    def delete_many(self, handle: int, unwanted: list[Any]) -> None:
        """How many were there."""
        there = sum(self.remove(key) is not MISSING for key in unwanted)
        assert self.counted(self.cache(handle).delete_many(unwanted), there)

    @rule(handle=handles)
    def clear(self, handle: int) -> None:
        """How many were there."""
        assert self.counted(self.cache(handle).clear(), len(self.live()))
        self.model.clear()

    @rule(handle=handles, tag=st.sampled_from(["user", "desk"]))
    def clear_tag(self, handle: int, tag: str) -> None:
        """Everything that carries it, and nothing else."""
        if self.tagged:
            self.cache(handle).clear(tag=tag)
            self.model = {place: found for place, found in self.model.items() if tag not in self.carried[place]}

    # The world around.

    @rule(seconds=st.sampled_from([0.5, 1.0, 9.0, 31.0, 100.0, 151.0]))
    def time_passes(self, seconds: float) -> None:
        """Entries expire."""
        self.clock.advance(seconds)

    @invariant()
    def what_is_near_is_true(self) -> None:
        """For the keys that may be near, read at every step by every handle."""
        for cache in self.caches:
            for key in ("a", "b"):
                assert same(cache.get(key, MISSING), self.find(key))


class SQLiteMachine(CacheMachine):
    """Three handles with a manager each: each one's writes are another process's to the others."""

    backend = "sqlite"
    managers = 3

    @rule(handle=handles)
    def close_and_use_again(self, handle: int) -> None:
        """What a handle had near is gone, and what is in the store is not."""
        self.cache(handle).close()

    @rule(handle=handles)
    def maintain(self, handle: int) -> None:
        """The upkeep, which otherwise runs in the background: nobody notices."""
        self.cache(handle).backend.maintain()  # type: ignore[attr-defined]  # SQLite's own


class TaggedMachine(SQLiteMachine):
    """Entries carry tags; what a tag's end leaves behind is counted, and never seen."""

    tagged = True


class EpochMachine(TaggedMachine):
    """Entries have epochs as well: present for those who name theirs, and absent for all other verbs and callers."""

    @rule(handle=handles, key=keys, value=values, tags=tag_sets, epoch=epochs)
    def store_with_epoch(self, handle: int, key: Any, value: Any, tags: tuple[str, ...], epoch: Any) -> None:
        """Replaces what is there, whatever its epoch."""
        self.cache(handle).set(key, value, tags=tags, epoch=epoch)
        self.put(key, value, DEFAULT, tags, epoch)

    @rule(handle=handles, key=keys, value=values, epoch=epochs)
    def add_with_epoch(self, handle: int, key: Any, value: Any, epoch: Any) -> None:
        """Replaces what is of another epoch."""
        free = self.find(key, epoch) is MISSING
        assert self.cache(handle).add(key, value, epoch=epoch) is free
        if free:
            self.put(key, value, DEFAULT, epoch=epoch)

    @rule(handle=handles, key=keys, value=values, epoch=epochs)
    def load_with_epoch(self, handle: int, key: Any, value: Any, epoch: Any) -> None:
        """Likewise."""
        expected = self.find(key, epoch)
        if expected is MISSING:
            self.put(key, value, DEFAULT, epoch=epoch)
            expected = value
        assert same(self.cache(handle).get_or_set(key, lambda: value, epoch=epoch), expected)

    @rule(handle=handles, key=keys, epoch=epochs)
    def get_with_epoch(self, handle: int, key: Any, epoch: Any) -> None:
        """By the verbs that name one."""
        assert same(self.cache(handle).get(key, MISSING, epoch), self.find(key, epoch))
        assert same(self.cache(handle).get_many([key], epoch).get(key, MISSING), self.find(key, epoch))


class EncryptedMachine(TaggedMachine):
    """Encrypted, and with blinded keys."""

    options: ClassVar = {"encrypted": True, "blinded": True}
    listed = False


class WithoutWalMachine(SQLiteMachine):
    """The near tier trusts ``data_version``."""

    settings: ClassVar = {"sqlite_wal_mode": False}


class BoundedMachine(RuleBasedStateMachine):
    """A cache that is too small, used by two processes: entries may be gone, but none is ever wrong, or back again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.houses = [manager(Path(self.folder.name), self.clock) for _ in range(2)]
        self.caches = [house.get_cache("quotes", maxsize=3) for house in self.houses]
        self.model: dict[str, int] = {}
        self.version = 0

    def teardown(self) -> None:
        """Close everything."""
        for house in self.houses:
            house.close()
        self.folder.cleanup()

    @rule(handle=st.integers(0, 1), wanted=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True))
    def store(self, handle: int, wanted: list[str]) -> None:
        """What was stored last is there, whatever had to go for it."""
        items = {}
        for key in wanted:
            self.version += 1
            items[key] = self.version
        cache = self.caches[handle]
        cache.update(items)
        self.model |= items
        assert 1 <= len(cache) <= 3
        if len(wanted) <= 3:
            assert cache.get_many(wanted) == items

    @rule(handle=st.integers(0, 1), key=st.sampled_from("abcdefgh"))
    def delete(self, handle: int, key: str) -> None:
        """Gone for both, whether the store still had it or not."""
        self.caches[handle].delete(key)
        self.model.pop(key, None)

    @rule(handle=st.integers(0, 1))
    def clear(self, handle: int) -> None:
        """Likewise."""
        self.caches[handle].clear()
        self.model.clear()

    @rule(seconds=st.sampled_from([0.001, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        """So that recency says something."""
        self.clock.advance(seconds)

    @invariant()
    def nothing_is_wrong(self) -> None:
        """Neither near nor in the store; and both see the same."""
        for key in "abcdefgh":
            found = [cache.get(key) for cache in self.caches]
            assert found[0] == found[1]
            assert found[0] in {None, self.model.get(key)}


def _case(machine: type[RuleBasedStateMachine], examples: int) -> Any:
    case = machine.TestCase
    share = settings.default.max_examples / 100 if settings.default is not None else 1
    case.settings = settings(max_examples=max(1, int(examples * share)), stateful_step_count=40)
    return case


TestMemory = _case(CacheMachine, 40)
TestSQLite = _case(SQLiteMachine, 40)
TestTagged = _case(TaggedMachine, 30)
TestEpochs = _case(EpochMachine, 25)
TestEncrypted = _case(EncryptedMachine, 25)
TestWithoutWal = _case(WithoutWalMachine, 20)
TestBounded = _case(BoundedMachine, 30)

"""Locks: across processes, when their holder is killed, when the store fails, and against a plain dict."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.catalogue import Durability, Sealing
from openalgo_cache.errors import BackendUnavailableError, LockLostError, LockTimeoutError
from openalgo_cache.lock import Lock
from openalgo_cache.testing import ChaosBackend, FakeClock, Rig
from openalgo_cache.wrappers import EncryptedCacheWrapper
from tests import workers
from tests.patching import patch_here
from tests.rigs import OnSQLite
from tests.stacks import manager
from tests.workers import PATIENCE, SPAWN

# Processes


def test_of_several_processes_one_is_inside(tmp_path: Path) -> None:
    """Each adds to a file that only one may touch; no addition is lost, and the fences in it rise."""
    counted, rounds = tmp_path / "count", 25
    counted.write_text("0 0")
    processes = [workers.start(workers.count_under_a_lock, tmp_path, str(counted), rounds) for _ in range(3)]
    for process in processes:
        workers.join(process)
    assert counted.read_text().split()[0] == str(3 * rounds)


def test_a_killed_holder_loses_the_lock_when_its_time_is_over(tmp_path: Path) -> None:
    """Until then it holds: nobody knows that it is dead."""
    held = SPAWN.Event()
    process = workers.start(workers.hold_a_lock, tmp_path, held)
    assert held.wait(PATIENCE)
    workers.kill(process)
    clock = FakeClock(time.time())
    cache = manager(tmp_path, clock).get_cache("quotes")
    with pytest.raises(LockTimeoutError), cache.lock("name", timeout=0.05):
        pytest.fail("two hold it")
    clock.advance(workers.LOCK_SECONDS)
    with cache.lock("name", timeout=0):
        pass


def test_who_waits_makes_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``time.sleep`` of that moment, which eventlet and gevent replace, so that no greenlet stalls the others."""
    cache = manager(tmp_path).get_cache("quotes")
    released = threading.Event()
    other = cache.lock("name", ttl=100)
    other.__enter__()

    def sleep(_: float) -> None:
        if not released.is_set():
            released.set()
            other.__exit__(None, None, None)

    patch_here(monkeypatch, time, "sleep", sleep)
    with cache.lock("name"):
        assert released.is_set()


GREENLETS = """
import sys, time
if sys.argv[1] == "eventlet":
    import eventlet; eventlet.monkey_patch(); from eventlet import spawn, sleep
    join = lambda one: one.wait()
else:
    from gevent import monkey; monkey.patch_all(); from gevent import spawn, sleep
    join = lambda one: one.get()
from pathlib import Path
from tests.stacks import manager

cache, events = manager(Path(sys.argv[2])).get_cache("quotes"), []

def until_others_had_their_turn():
    while "ticked" not in events:
        sleep(0.001)

def hold():
    with cache.lock("name", ttl=100):
        events.append("held")
        until_others_had_their_turn()
        events.append("released")

def wait():
    with cache.lock("name"):
        events.append("had after it")

def load():
    until_others_had_their_turn()
    return events.append("loaded") or "value"

def tick():
    for _ in range(20):
        sleep(0.001)
    events.append("ticked")

for one in [spawn(hold), spawn(wait), *[spawn(cache.get_or_set, "key", load) for _ in range(3)], spawn(tick)]:
    join(one)
print(*events, sep=",")
"""


@pytest.mark.parametrize("way", ["eventlet", "gevent"])
def test_greenlets_that_wait_make_way(tmp_path: Path, way: str) -> None:
    """At a lock, and for another's load: otherwise whoever holds it would never come to give it back."""
    if find_spec(way) is None:
        pytest.skip(f"{way} is not installed")
    command = [sys.executable, "-W", "ignore", "-c", GREENLETS, way, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert ran.returncode == 0, ran.stderr
    events = ran.stdout.strip().split(",")
    assert sorted(events) == ["had after it", "held", "loaded", "released", "ticked"]
    assert events.index("released") < events.index("had after it")


# Stores


@pytest.mark.parametrize("policy", [{}, {"sealing": Sealing.PLAIN}, {"durability": Durability.LOCAL}], ids=repr)
def test_without_its_store_a_lock_raises(tmp_path: Path, policy: dict[str, Any]) -> None:
    """Always: a lock that nobody grants is no lock. What the block itself raises is not hidden."""
    rig = Rig(OnSQLite(), tmp_path)
    cache = rig.cache(**policy)
    lock = cache.lock("name")
    store = cache._lock_records()._opened().backend
    assert isinstance(store, ChaosBackend)
    store.fail()
    with pytest.raises(BackendUnavailableError), lock:
        pytest.fail("it was granted")
    store.heal()
    with pytest.raises(BackendUnavailableError), lock:
        store.fail()
    with pytest.raises(BackendUnavailableError):
        lock.extend()
    store.heal()
    rig.clock.advance(10)
    lock.__enter__()
    store.fail()
    lock.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    store.heal()
    rig.close()


def test_no_verb_of_a_cache_pays_for_locks(tmp_path: Path) -> None:
    """Their store is made when the first lock is asked for, beside the cache's own; nobody's near tier is emptied."""
    clock = FakeClock()  # what is near stays so however slow the machine is
    house, other = manager(tmp_path, clock), manager(tmp_path, clock)
    cache, watching = house.get_cache("quotes"), other.get_cache("quotes")
    cache.set("key", 1)
    assert sorted(path.name for path in (tmp_path / "db").glob("*.db") if "recency" not in path.name) == [
        "cache_quotes.db"
    ]
    assert watching.get("key") == 1
    hits = watching.stats()["near_hits"]
    with cache.lock("name"):
        assert watching.get("key") == 1
    assert watching.stats()["near_hits"] == hits + 1
    assert (tmp_path / "db" / "cache_quotes.locks.db").exists()
    house.close()
    other.close()


def test_a_blinded_cache_blinds_the_names_of_its_locks(tmp_path: Path) -> None:
    """They are made of user names, too."""
    house = manager(tmp_path)
    cache = house.get_cache("auth")
    with cache.lock("user:telling-name"):
        pass
    house.close()
    assert all(b"telling" not in path.read_bytes() for path in (tmp_path / "db").iterdir())


def test_a_wrapped_store_has_its_locks_beside_it(tmp_path: Path) -> None:
    """In a store of the same kind, under the wrapper's own name."""
    cache = EncryptedCacheWrapper(SQLiteBackend(tmp_path / "own.db"), b"k" * 43 + b"=", "wrapped")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        lock = cache.lock("name")
        with lock, pytest.raises(LockTimeoutError), cache.lock("name", timeout=0):
            pytest.fail("two hold it")
    cache.close()


def test_what_cannot_be_verified_holds_nothing(tmp_path: Path) -> None:
    """Whoever writes to the store can take a lock away, by deleting it; keeping it for ever takes a key."""
    rig = Rig(OnSQLite(), tmp_path)
    cache = rig.cache()
    former = cache.lock("name", ttl=1_000)
    former.__enter__()
    records = cache._lock_records()._opened()
    stored = records.keyspace.stored("name")
    entry = records.backend.get(stored)
    assert entry is not None
    records.backend.set(stored, entry._replace(payload=entry.payload[:-1] + bytes([entry.payload[-1] ^ 1])))
    with cache.lock("name", timeout=0), pytest.raises(LockLostError):
        former.extend()
    rig.close()


# Against a model

names = st.sampled_from(["a", "b"])


class LockMachine(RuleBasedStateMachine):
    """Two handles with a manager each take, prolong, release and forget locks while time passes, and jumps back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.houses = [manager(Path(self.folder.name), self.clock) for _ in range(2)]
        self.caches = [house.get_cache("quotes") for house in self.houses]
        self.held: dict[str, tuple[Lock, float]] = {}
        self.former: list[tuple[str, Lock]] = []
        self.fences: dict[str, int] = {"a": 0, "b": 0}

    def teardown(self) -> None:
        """Close everything."""
        for house in self.houses:
            house.close()
        self.folder.cleanup()

    def is_held(self, name: str) -> bool:
        """Return whether nobody else can have a lock."""
        return name in self.held and self.held[name][1] > self.clock()

    @rule(handle=st.integers(0, 1), name=names, ttl=st.sampled_from([1, 10.0, 100]))
    def take(self, handle: int, name: str, ttl: float) -> None:
        """Granted if and only if nobody has it, with a higher fence than ever before."""
        lock = self.caches[handle].lock(name, ttl, timeout=0)
        try:
            fence = lock.__enter__()
        except LockTimeoutError:
            assert self.is_held(name)
            return
        assert not self.is_held(name)
        assert fence > self.fences[name]
        self.fences[name] = fence
        if name in self.held:
            self.former.append((name, self.held[name][0]))
        self.held[name] = (lock, self.clock() + ttl)

    @rule(name=names, ttl=st.sampled_from([None, 5]))
    def extend(self, name: str, ttl: float | None) -> None:
        """By its holder, however late, if nobody came between."""
        if name in self.held:
            lock, _ = self.held[name]
            lock.extend(ttl)
            self.held[name] = (lock, self.clock() + (lock._ttl if ttl is None else ttl))  # type: ignore[operator]

    @rule(name=names)
    def release(self, name: str) -> None:
        """By its holder."""
        if name in self.held:
            self.held.pop(name)[0].__exit__(None, None, None)

    @rule(nth=st.integers(0, 5))
    def come_too_late(self, nth: int) -> None:
        """Whoever lost it is told, and changes nothing."""
        if nth < len(self.former):
            _, lock = self.former[nth]
            with pytest.raises(LockLostError):
                lock.extend()

    @rule(handle=st.integers(0, 1))
    def clear(self, handle: int) -> None:
        """No lock goes with the entries."""
        self.caches[handle].clear()

    @rule(seconds=st.sampled_from([0.5, 9.0, 31.0, 151.0, -20.0]))
    def time_passes(self, seconds: float) -> None:
        """Mostly forward."""
        self.clock.advance(seconds)

    @invariant()
    def whoever_holds_it_can_say_so(self) -> None:
        """Its record names it."""
        for name, (lock, until) in self.held.items():
            seen = self.caches[0]._lock_records()._opened()
            found = self.caches[0]._lock_records()._look_up(seen, seen.keyspace.stored(name)).value
            assert found is not None
            assert found.value == (lock._holder, self.fences[name], until)


TestLocks = LockMachine.TestCase
TestLocks.settings = settings(max_examples=25, stateful_step_count=30)

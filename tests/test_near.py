"""The near tier that a change token dates, alone, against a model of a store that others write to."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from openalgo_cache.coherence.dated import DatedTier
from openalgo_cache.coherence.near import NearTier, NoNearTier
from openalgo_cache.testing import FakeClock

KEYS = ("a", "b", "c")
STALENESS = 30.0
NOTHING = object()


def served(near: NearTier, key: str, now: float) -> Any:
    """Return what a read finds in the tier, as the peephole in ``Cache.get`` does, or NOTHING."""
    entry = near.entries.get(key)
    if entry is None or near.words[0] != near.token or not entry.filled_at <= now < entry.until:
        return NOTHING
    entry.uses += 1
    return entry.held if entry.load is None else entry.load(entry.held)


def tier(words: Sequence[int], capacity: int = 3) -> DatedTier:
    """Return a tier whose token is the first of ``words``."""
    return DatedTier(capacity, STALENESS, lambda: words)


class Reader(NamedTuple):
    """A read on its way: it holds a token, and perhaps already what it found in the store."""

    key: str
    token: int
    began_at: float
    found: Any


class OwnWrite(NamedTuple):
    """A write of this process on its way, and what it did to the token if it is done and alone."""

    keys: tuple[str, ...] | None
    values: tuple[int, ...]
    moved: tuple[int, int] | None


class NearTierMachine(RuleBasedStateMachine):
    """Reads, own writes and others' writes in any interleaving that locks allow.

    What the tier serves is always what the store holds at that moment, and was not there for longer than it may.
    """

    readers = Bundle("readers")
    looked = Bundle("looked")
    begun = Bundle("begun")
    ended = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1_000.0)
        self.store: dict[str, tuple[int, float]] = {}
        self.words = [0]
        self.near = DatedTier(3, STALENESS, lambda: self.words)
        self.version = 0
        self.committing = False
        self.hits = 0

    def next_version(self) -> int:
        """Return a value that was never there."""
        self.version += 1
        return self.version

    # A read: token, then store, then fill.

    @rule(target=readers, key=st.sampled_from(KEYS))
    def begin_to_read(self, key: str) -> Reader:
        """Take a token, before the store is asked."""
        return Reader(key, self.near.begin_fill(), self.clock(), NOTHING)

    @rule(target=looked, reader=consumes(readers))
    def look_into_the_store(self, reader: Reader) -> Reader:
        """Read the entry, whatever happened since."""
        return reader._replace(found=self.store.get(reader.key))

    @rule(reader=consumes(looked))
    def fill(self, reader: Reader) -> None:
        """Offer what was found to the tier, whatever happened since."""
        if reader.found is not None and reader.found[1] > reader.began_at:
            value, expires_at = reader.found
            self.near.fill(reader.key, (reader.key,), value, None, reader.began_at, expires_at, reader.token)

    @rule(key=st.sampled_from(KEYS))
    def read(self, key: str) -> None:
        """All of it, undisturbed, unless the tier has it: so that there is something to serve wrongly."""
        if served(self.near, key, self.clock()) is NOTHING:
            self.fill(self.look_into_the_store(self.begin_to_read(key)))
        else:
            self.hits += 1

    # A write of this process: announced, committed under the store's lock, told, ended.

    @rule(target=begun, keys=st.none() | st.lists(st.sampled_from(KEYS), max_size=2, unique=True).map(tuple))
    def begin_own_write(self, keys: tuple[str, ...] | None) -> OwnWrite:
        """Announce the keys; None clears everything."""
        self.near.begin_write(keys)
        return OwnWrite(keys, tuple(self.next_version() for _ in keys or ()), None)

    @precondition(lambda self: not self.committing)
    @rule(target=ended, write=consumes(begun), lifetime=st.sampled_from([1.0, 60.0, math.inf]), alone=st.booleans())
    def commit_own_write(self, write: OwnWrite, lifetime: float, *, alone: bool) -> OwnWrite:
        """Change the store; ``alone`` says whether nobody else's commit came between."""
        before = self.words[0]
        if write.keys is None:
            self.store.clear()
        for key, value in zip(write.keys or (), write.values, strict=True):
            self.store[key] = (value, self.clock() + lifetime)
        self.words[0] += 1 if alone else 2
        self.committing = alone  # the store's lock is held until the listener was told
        return write._replace(moved=(before, self.words[0]) if alone else None)

    @rule(target=ended, write=consumes(begun))
    def own_write_fails(self, write: OwnWrite) -> OwnWrite:
        """Nothing is changed, and nothing told."""
        return write

    @rule(write=consumes(ended))
    def end_own_write(self, write: OwnWrite) -> None:
        """Tell the tier what the write did to the token, and end it."""
        if write.moved is not None:
            self.near.advance(*write.moved)
            self.committing = False
        self.near.end_write(write.keys)

    @precondition(lambda self: not self.committing)
    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True).map(tuple))
    def write(self, keys: tuple[str, ...]) -> None:
        """All of it, undisturbed."""
        self.end_own_write(self.commit_own_write(self.begin_own_write(keys), math.inf, alone=True))

    # Others.

    @rule(key=st.sampled_from(KEYS), lifetime=st.sampled_from([1.0, 60.0, math.inf]), gone=st.booleans())
    def another_process_writes(self, key: str, lifetime: float, *, gone: bool) -> None:
        """Their commits move the token, and nobody tells."""
        if gone:
            self.store.pop(key, None)
        else:
            self.store[key] = (self.next_version(), self.clock() + lifetime)
        self.words[0] += 1

    @precondition(lambda self: not self.committing)
    @rule()
    def lose_the_token(self) -> None:
        """The store is closed and opened again, as for a fork: there are other words to look at."""
        self.near.lose()
        self.words = [self.words[0] + 1_000]

    @rule(seconds=st.sampled_from([0.5, 1.0, 29.0, 30.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        """Entries expire, in the store and near."""
        self.clock.advance(seconds)

    @invariant()
    def serves_what_the_store_holds(self) -> None:
        """For every key, at every moment."""
        now = self.clock()
        for key in KEYS:
            found = served(self.near, key, now)
            if found is not NOTHING:
                self.hits += 1
                value, expires_at = self.store.get(key, (None, -math.inf))
                assert found == value
                assert now < expires_at

    @invariant()
    def keeps_to_its_bound_and_counts(self) -> None:
        """However many were offered; no hit is forgotten when its entry leaves."""
        assert len(self.near) <= 3
        assert self.near.hits() == self.hits


TestNearTierMachine = NearTierMachine.TestCase
TestNearTierMachine.settings = settings(
    max_examples=2 * (settings.default or settings()).max_examples, stateful_step_count=50
)


def test_the_model_reaches_hits() -> None:
    """The machine's rules, in the usual order, lead to a served entry: the invariant is about something."""
    machine = NearTierMachine()
    machine.another_process_writes("a", math.inf, gone=False)
    machine.fill(machine.look_into_the_store(machine.begin_to_read("a")))
    machine.serves_what_the_store_holds()
    assert machine.hits == 1
    write = machine.commit_own_write(machine.begin_own_write(("b",)), math.inf, alone=True)
    machine.serves_what_the_store_holds()
    assert machine.hits == 1, "served while the token had moved and nobody had said by whom"
    machine.end_own_write(write)
    machine.serves_what_the_store_holds()
    assert machine.hits == 2, "an own write of another key need not empty the tier"


def test_an_entry_is_served_until_it_may_be_stale() -> None:
    """Its age is bounded, whatever token and expiry say."""
    near = tier([0])
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "a", 100.0) == "value"
    assert served(near, "a", 100.0 + STALENESS - 0.001) == "value"
    assert served(near, "a", 100.0 + STALENESS) is NOTHING


def test_an_entry_is_not_served_past_its_expiry() -> None:
    """Not even at that very moment."""
    near = tier([0])
    near.fill("a", ("a",), "value", None, 100.0, 101.0, near.begin_fill())
    assert served(near, "a", 100.999) == "value"
    assert served(near, "a", 101.0) is NOTHING


def test_an_entry_of_the_future_is_not_served() -> None:
    """When the clock was set back, nobody knows how old an entry is."""
    near = tier([0])
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "a", 99.0) is NOTHING


def test_what_is_held_is_loaded_at_each_read() -> None:
    """The tier keeps what may lie in memory; the value is made of it anew."""
    near = tier([0])
    near.fill("a", ("a",), [1, 2], list, 100.0, math.inf, near.begin_fill())
    first, second = served(near, "a", 100.0), served(near, "a", 100.0)
    assert first == second == [1, 2]
    assert first is not second


def test_a_fill_under_a_write_is_refused() -> None:
    """Who read the old value before a write began does not put it here while, or after, it is written."""
    words = [0]
    near = tier(words)
    token = near.begin_fill()
    near.begin_write(["a"])
    near.fill("a", ("a",), "old", None, 100.0, math.inf, token)
    assert served(near, "a", 100.0) is NOTHING
    words[0] = 1
    near.advance(0, 1)
    near.end_write(["a"])
    near.fill("a", ("a",), "old", None, 100.0, math.inf, token)
    assert served(near, "a", 100.0) is NOTHING
    near.fill("b", ("b",), "other", None, 100.0, math.inf, token)
    assert served(near, "b", 100.0) is NOTHING, "it may be as old"


def test_writes_of_one_key_may_overlap() -> None:
    """A fill is refused until the last of them ended."""
    near = tier([0])
    near.begin_write(["a"])
    near.begin_write(["a", "b"])
    near.end_write(["a"])
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "a", 100.0) is NOTHING
    near.end_write(["a", "b"])
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "a", 100.0) == "value"


def test_clearing_empties_the_tier_at_once() -> None:
    """And refuses every fill until it is done."""
    near = tier([0])
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    near.begin_write(None)
    assert served(near, "a", 100.0) is NOTHING
    near.fill("b", ("b",), "value", None, 100.0, math.inf, near.begin_fill())
    assert len(near) == 0
    near.end_write(None)
    near.fill("b", ("b",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "b", 100.0) == "value"


def test_a_lost_token_is_asked_for_again() -> None:
    """Until then nothing is served, and nothing that was read under the old one is taken."""
    old, new = [5], [5]
    places: list[Sequence[int]] = [new, old]
    near = DatedTier(3, STALENESS, places.pop)
    token = near.begin_fill()
    near.fill("a", ("a",), "value", None, 100.0, math.inf, token)
    near.lose()
    assert served(near, "a", 100.0) is NOTHING
    near.fill("a", ("a",), "value", None, 100.0, math.inf, token)
    assert served(near, "a", 100.0) is NOTHING
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "a", 100.0) == "value"
    old[0] = 6
    assert served(near, "a", 100.0) == "value"
    new[0] = 6
    assert served(near, "a", 100.0) is NOTHING


def test_a_token_that_cannot_be_found_is_an_error_once() -> None:
    """The next read asks again."""
    answers: list[Any] = [[0], OSError("no index")]

    def find() -> Sequence[int]:
        answer = answers.pop()
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[no-any-return]  # as above

    near = DatedTier(3, STALENESS, find)
    with pytest.raises(OSError, match="no index"):
        near.begin_fill()
    assert near.begin_fill() == 0


def test_losing_the_token_does_not_wait_for_a_search_for_it() -> None:
    """The store tells of a loss under its own lock, which a search takes: a search must not hold the tier's lock."""
    searching, lost = threading.Event(), threading.Event()

    def find() -> Sequence[int]:
        searching.set()
        assert lost.wait(10), "lose() waits for the search, and the search, in a store, for whoever calls lose()"
        return [0]

    near = DatedTier(3, STALENESS, find)
    reader = threading.Thread(target=near.begin_fill, daemon=True)
    reader.start()
    assert searching.wait(10)

    def lose() -> None:
        near.lose()
        lost.set()

    loser = threading.Thread(target=lose, daemon=True)
    loser.start()
    loser.join(5)
    stuck = loser.is_alive()
    lost.set()
    reader.join(10)
    loser.join(10)
    assert not stuck


def test_a_token_that_was_lost_while_it_was_searched_for_is_not_trusted() -> None:
    """What the search found is of the time before."""
    old, new = [7], [7]
    found: list[Sequence[int]] = [new, old]

    def find() -> Sequence[int]:
        if len(found) == 2:
            near.lose()
        return found.pop()

    near = DatedTier(3, STALENESS, find)
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "a", 100.0) is NOTHING
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    assert served(near, "a", 100.0) == "value"
    new[0] = 8
    assert served(near, "a", 100.0) is NOTHING


def test_no_tier_keeps_nothing() -> None:
    """Where there is none, every read goes to the store."""
    near = NoNearTier()
    near.fill("a", ("a",), "value", None, 100.0, math.inf, near.begin_fill())
    near.begin_write(["a"])
    near.end_write(["a"])
    assert served(near, "a", 100.0) is NOTHING
    assert len(near) == near.hits() == 0

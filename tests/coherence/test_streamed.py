"""The near tier that a stream of messages keeps, alone, against a model of a store, a stream and their delays."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from openalgo_cache.coherence import streamed
from openalgo_cache.coherence.streamed import StreamedTier

TAG = {"a": "t", "b": "t", "c": None}
KEYS = tuple(TAG)
SOME_KEY = st.sampled_from(("a", "a", "a", "b", "c"))  # mostly the same: it takes two to race
NOTHING = object()
STALENESS = 30.0


def served(near: StreamedTier, key: str, now: float = 0.0) -> Any:
    """Return what a read finds in the tier, as the peephole in ``Cache.get`` does, or NOTHING."""
    entry = near.entries.get(key)
    if entry is None or near.words[0] != near.token or not entry.filled_at <= now < entry.until:
        return NOTHING
    entry.uses += 1
    return entry.held


def tier(capacity: int = 3) -> StreamedTier:
    """Return a tier whose stream stands."""
    near = StreamedTier(capacity, STALENESS, lambda listener: listener.resume())
    near.begin_fill()
    return near


def keep(near: StreamedTier, key: str, value: Any, begun: int | None = None, *others: str) -> None:
    """Fill a key; its stored form is in upper case."""
    near.fill(key, (key.upper(), *others), value, None, 0.0, math.inf, near.begin_fill() if begun is None else begun)


class Reader(NamedTuple):
    """A read on its way: when it began, and what it found so far."""

    key: str
    begun: int
    version: int | None = None
    generation: int | None = None


class StreamMachine(RuleBasedStateMachine):
    """Reads, writes of this and of other processes, and messages that lag behind, merge, or are lost with the stream.

    Once every message has arrived the tier serves what the store holds, and at no time does a key's version go back.
    """

    readers = Bundle("readers")
    looked = Bundle("looked")
    found = Bundle("found")
    begun = Bundle("begun")
    committed = Bundle("committed")

    def __init__(self) -> None:
        super().__init__()
        self.store: dict[str, int] = {}
        self.generation = 0
        self.version = 0
        self.tracked = False  # whether the server sends messages
        self.told = False  # whether the tier was told that the stream stands
        self.messages: list[tuple[str, ...] | None] = []
        self.seen: dict[str, tuple[int, int]] = {}
        self.near = StreamedTier(2, STALENESS, lambda _: None)
        self.hits = 0
        self.the_server_tracks_again()
        self.the_stream_stands()
        for key in KEYS:
            self.put(key)
            self.all_messages_arrive()
            self.read(key)

    # The store and the stream.

    def send(self, message: tuple[str, ...] | None) -> None:
        """Have the server tell of a change, if anybody is subscribed."""
        if self.tracked:
            self.messages.append(message)

    def put(self, key: str) -> None:
        """Store a value that was never there."""
        self.version += 1
        self.store[key] = self.version
        self.send((key.upper(),))

    @rule(key=SOME_KEY)
    def another_process_writes(self, key: str) -> None:
        """The message follows."""
        self.put(key)

    @rule()
    def another_process_clears_the_tag(self) -> None:
        """Its new generation is a change of one key; those that carry it are not named."""
        self.generation += 1
        self.send(("T",))

    @rule(key=SOME_KEY)
    def another_process_deletes(self, key: str) -> None:
        """So does an expiry, or an eviction."""
        if self.store.pop(key, None) is not None:
            self.seen.pop(key, None)
            self.send((key.upper(),))

    @rule()
    def everything_is_flushed(self) -> None:
        """The server's FLUSHDB."""
        self.store.clear()
        self.seen.clear()
        self.send(None)

    @precondition(lambda self: self.told and self.messages)
    @rule(count=st.integers(1, 3))
    def messages_arrive(self, count: int) -> None:
        """The oldest few, in one."""
        arrived, self.messages = self.messages[:count], self.messages[count:]
        if None in arrived:
            self.near.drop_all()
        self.near.drop([key for message in arrived for key in message or ()])

    @rule()
    def all_messages_arrive(self) -> None:
        """So that it is quiet for once."""
        if self.told:
            self.messages_arrive(len(self.messages))

    @precondition(lambda self: self.told and self.tracked)
    @rule()
    def the_stream_breaks(self) -> None:
        """What was on its way is lost; the tier learns of it later."""
        self.tracked = False
        self.messages.clear()

    @precondition(lambda self: self.told and not self.tracked)
    @rule()
    def the_silence_is_noticed(self) -> None:
        """At the latest after two seconds."""
        self.near.suspend()
        self.told = False
        self.seen.clear()  # while it was unheard of, old values may have been served

    @precondition(lambda self: not self.told)
    @rule()
    def the_server_tracks_again(self) -> None:
        """The tier doesn't know yet."""
        self.tracked = True

    @precondition(lambda self: self.tracked and not self.told)
    @rule()
    def the_stream_stands(self) -> None:
        """Now it does."""
        self.near.resume()
        self.told = True

    # A read: a number, then the store, twice where there is a tag, then the fill.

    @rule(target=readers, key=SOME_KEY)
    def begin_to_read(self, key: str) -> Reader:
        """Take a number, before the store is asked."""
        return Reader(key, self.near.begin_fill())

    @rule(target=found, key=SOME_KEY)
    def begin_and_look(self, key: str) -> Reader:
        """Up to the moment before the fill."""
        reader = Reader(key, self.near.begin_fill(), self.store.get(key))
        return reader._replace(generation=self.generation if TAG[key] else 0)

    @rule(target=looked, reader=consumes(readers))
    def read_the_entry(self, reader: Reader) -> Reader:
        """Whatever happened since."""
        return reader._replace(version=self.store.get(reader.key))

    @rule(target=found, reader=consumes(looked))
    def read_the_generation(self, reader: Reader) -> Reader:
        """Whatever happened since."""
        return reader._replace(generation=self.generation if TAG[reader.key] else 0)

    @rule(reader=consumes(found))
    def fill(self, reader: Reader) -> None:
        """Offer what was found, whatever happened since."""
        if reader.version is None:
            return
        others = ("T",) if TAG[reader.key] else ()
        keep(self.near, reader.key, (reader.version, reader.generation), reader.begun, *others)
        self.see(reader.key, (reader.version, reader.generation or 0), may_be_late=True)

    @rule(key=SOME_KEY)
    def read(self, key: str) -> None:
        """All of it, undisturbed, unless the tier has it: so that there is something to serve wrongly."""
        value = served(self.near, key)
        if value is NOTHING:
            self.fill(self.begin_and_look(key))
        else:
            self.hits += 1
            self.see(key, value)

    def see(self, key: str, value: tuple[int, int], *, may_be_late: bool = False) -> None:
        """Let a reader have a value: no older than what anybody had, unless the store was asked long ago."""
        if not may_be_late:
            assert value >= self.seen.get(key, (0, 0))
        self.seen[key] = max(value, self.seen.get(key, (0, 0)))

    # A write of this process.

    @rule(target=begun, key=SOME_KEY)
    def begin_own_write(self, key: str) -> str:
        """Announce the key."""
        self.near.begin_write((key,))
        return key

    @rule(target=committed, key=consumes(begun))
    def commit_own_write(self, key: str) -> str:
        """Change the store."""
        self.put(key)
        return key

    @rule(key=consumes(committed))
    def end_own_write(self, key: str) -> None:
        """From now on everybody here has to see it."""
        self.near.end_write((key,))
        self.see(key, (self.store.get(key, 0), 0), may_be_late=True)

    @rule(key=SOME_KEY)
    def write(self, key: str) -> None:
        """All of it, undisturbed."""
        self.end_own_write(self.commit_own_write(self.begin_own_write(key)))

    @rule()
    def clear(self) -> None:
        """Every key of the cache, by this process."""
        self.near.begin_write(None)
        for key in [key for key in KEYS if key in self.store]:
            self.another_process_deletes(key)
        self.near.end_write(None)

    @invariant()
    def once_all_is_heard_the_tier_serves_what_the_store_holds(self) -> None:
        """For every key."""
        for key in KEYS:
            value = served(self.near, key)
            if value is NOTHING:
                continue
            self.hits += 1
            assert self.told, "served while nothing was heard"
            if self.tracked:
                self.see(key, value)
                if not self.messages:
                    assert value == (self.store.get(key), self.generation if TAG[key] else 0)

    @invariant()
    def keeps_to_its_bound_and_counts(self) -> None:
        """Nothing is left behind in its indexes, and no hit is forgotten."""
        near = self.near
        assert len(near) <= 2
        assert near.hits() == self.hits
        assert near._keys == {entry.stored[0]: key for key, entry in near.entries.items()}
        tagged = {key for key in near.entries if TAG[key]}
        assert near._dependents == ({"T": tagged} if tagged else {})


TestStreamMachine = StreamMachine.TestCase
TestStreamMachine.settings = settings(
    max_examples=3 * (settings.default or settings()).max_examples, stateful_step_count=50
)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_hundred_thousand_runs_of_the_model() -> None:
    """Of fifty steps each."""
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=100_000, stateful_step_count=50))


def test_the_model_reaches_hits() -> None:
    """Its rules, in the usual order, lead to a served entry: the invariants are about something."""
    machine = StreamMachine()
    machine.another_process_writes("a")
    machine.all_messages_arrive()
    machine.read("a")
    before = machine.hits
    machine.once_all_is_heard_the_tier_serves_what_the_store_holds()
    assert machine.hits > before


def test_nothing_is_kept_before_the_stream_stands() -> None:
    """And whoever reads meanwhile asks for it, each time."""
    asked: list[StreamedTier] = []
    near = StreamedTier(3, STALENESS, asked.append)
    begun = near.begin_fill()
    keep(near, "a", 1, begun)
    assert served(near, "a") is NOTHING
    near.resume()
    keep(near, "a", 1, begun)
    assert served(near, "a") is NOTHING, "it was read before"
    keep(near, "a", 1)
    assert served(near, "a") == 1
    assert asked == [near]


@pytest.mark.parametrize("message", ["drop", "drop_all", "suspend", "resume"])
def test_a_message_overtakes_a_read(message: str) -> None:
    """What was read before it came is refused, what is read after it is kept."""
    near = tier()
    begun = near.begin_fill()
    near.drop(["A"]) if message == "drop" else getattr(near, message)()
    near.resume() if message == "suspend" else None
    keep(near, "a", "old", begun)
    assert served(near, "a") is NOTHING
    keep(near, "b", "other", begun)
    assert (served(near, "b") == "other") is (message == "drop")
    keep(near, "a", "new")
    assert served(near, "a") == "new"


def test_a_message_drops_what_depends_on_its_keys() -> None:
    """Under its own key or another's."""
    near = tier(capacity=8)
    keep(near, "a", 1, None, "TAG", "OTHER")
    keep(near, "b", 2, None, "TAG")
    keep(near, "c", 3)
    near.drop(["TAG", "UNKNOWN"])
    assert [served(near, key) for key in KEYS] == [NOTHING, NOTHING, 3]
    assert near._keys == {"C": "c"}
    assert near._dependents == {}


def test_a_read_is_refused_if_what_it_depends_on_changed() -> None:
    """Its own key did not."""
    near = tier()
    begun = near.begin_fill()
    near.drop(["TAG"])
    keep(near, "a", 1, begun, "TAG")
    assert served(near, "a") is NOTHING


def test_of_reads_that_overlap_and_differ_none_is_kept() -> None:
    """One is older, and nobody knows which; if they agree there is nothing to know."""
    near = tier()
    first, second = near.begin_fill(), near.begin_fill()
    keep(near, "a", "new", first)
    keep(near, "a", "old", second)
    assert served(near, "a") is NOTHING
    first, second = near.begin_fill(), near.begin_fill()
    keep(near, "a", "same", first)
    keep(near, "a", "same", second)
    assert served(near, "a") == "same"


def test_a_read_under_an_own_write_is_refused() -> None:
    """However late it comes, and whether or not the write's message has come."""
    near = tier()
    before = near.begin_fill()
    near.begin_write(["a"])
    during = near.begin_fill()
    keep(near, "a", "old", before)
    near.end_write(["a"])
    for begun in (before, during):
        keep(near, "a", "old", begun)
        assert served(near, "a") is NOTHING
    keep(near, "a", "new")
    assert served(near, "a") == "new"


def test_a_flood_of_messages_refuses_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tier remembers only so many named keys; what it forgot it takes for named."""
    monkeypatch.setattr(streamed, "_NAMED_MOST", 10)
    near = tier()
    begun = near.begin_fill()
    for number in range(30):
        near.drop([f"OTHER {number}"])
    assert len(near._named) <= 10
    keep(near, "a", "old", begun)
    assert served(near, "a") is NOTHING
    keep(near, "a", "new")
    assert served(near, "a") == "new"


def test_an_entry_is_not_kept_longer_than_it_may_be() -> None:
    """Its age is bounded, whatever is or is not heard."""
    near = tier()
    keep(near, "a", 1)
    assert served(near, "a", STALENESS - 0.001) == 1
    assert served(near, "a", STALENESS) is NOTHING

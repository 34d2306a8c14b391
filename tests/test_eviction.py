"""The bounded dict: never too large, never wrong, and what is used stays."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from openalgo_cache.eviction import BoundedDict


class Item:
    """An entry that counts its uses."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.uses = 0
        self.seen = 0


KEYS = [f"key {number}" for number in range(20)]


class BoundedDictMachine(RuleBasedStateMachine):
    """Against a plain dict, from which goes exactly what the bounded one says has gone."""

    @initialize(capacity=st.integers(1, 8))
    def make(self, capacity: int) -> None:
        """Any capacity."""
        self.capacity = capacity
        self.bounded: BoundedDict[Item] = BoundedDict(capacity)
        self.model: dict[str, Item] = {}

    @rule(key=st.sampled_from(KEYS))
    def add(self, key: str) -> None:
        """What was added is there, and what left is told."""
        item = Item()
        gone = self.bounded.add(key, item)
        self.model[key] = item
        for left, entry in gone:
            assert self.model.pop(left) is entry
        assert self.bounded.entries[key] is item

    @rule(key=st.sampled_from(KEYS), times=st.integers(1, 5))
    def use(self, key: str, times: int) -> None:
        """As a reader does: without a lock, and without asking."""
        if (item := self.bounded.entries.get(key)) is not None:
            item.uses += times

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        """Returns what was there."""
        assert self.bounded.remove(key) is self.model.pop(key, None)

    @rule()
    def clear(self) -> None:
        """Everything goes."""
        self.bounded.clear()
        self.model.clear()

    @invariant()
    def is_as_the_model(self) -> None:
        """The same entries, within the bound, and no more left-overs than make sense."""
        if not hasattr(self, "bounded"):
            return
        assert self.bounded.entries == self.model
        assert len(self.model) <= self.capacity
        assert len(self.bounded._small) + len(self.bounded._main) <= 2 * self.capacity + 17
        assert len(self.bounded._ghosts) <= self.capacity + 1


TestBoundedDictMachine = BoundedDictMachine.TestCase


def fill(bounded: BoundedDict[Item], keys: list[str]) -> None:
    """Read keys, and add those that are absent, as a cache does."""
    for key in keys:
        item = bounded.entries.get(key)
        if item is None:
            bounded.add(key, Item())
        else:
            item.uses += 1


def test_what_is_used_survives_a_scan() -> None:
    """Ten thousand keys that are read once do not wash out a hundred that are read again and again."""
    bounded: BoundedDict[Item] = BoundedDict(200)
    hot = [f"hot {number}" for number in range(100)]
    for _ in range(3):
        fill(bounded, hot)
    for start in range(0, 10_000, 100):
        fill(bounded, [f"cold {start + number}" for number in range(100)])
        fill(bounded, hot)
    assert sum(key in bounded.entries for key in hot) >= 95


def test_what_comes_back_soon_is_kept_longer() -> None:
    """A key that had to leave, and is wanted again, goes to the main queue."""
    bounded: BoundedDict[Item] = BoundedDict(10)
    fill(bounded, [f"a {number}" for number in range(30)])
    gone = next(f"a {number}" for number in range(29, -1, -1) if f"a {number}" not in bounded.entries)
    fill(bounded, [gone])
    fill(bounded, [f"b {number}" for number in range(8)])
    assert gone in bounded.entries


@pytest.mark.parametrize("capacity", [1, 2, 10])
def test_endless_use_of_every_entry_does_not_hang(capacity: int) -> None:
    """Even if readers use entries faster than room is made, something leaves."""
    bounded: BoundedDict[Item] = BoundedDict(capacity)
    for number in range(200):
        for item in bounded.entries.values():
            item.uses += 1_000
        bounded.add(f"key {number}", Item())
        assert len(bounded.entries) <= capacity
        assert f"key {number}" in bounded.entries


def test_replacing_and_removing_for_ever_takes_no_memory() -> None:
    """Places of entries that are gone are dropped in time."""
    bounded: BoundedDict[Item] = BoundedDict(4)
    for number in range(5_000):
        bounded.add("same", Item())
        bounded.add(f"key {number}", Item())
        bounded.remove(f"key {number}")
    assert len(bounded._small) + len(bounded._main) <= 2 * 4 + 17
    assert list(bounded.entries) == ["same"]


def test_it_misses_less_than_chance_does() -> None:
    """On a skewed load, by a quarter at least."""
    generator = random.Random(20_260_101)
    keys = [f"key {min(int(generator.paretovariate(0.7)), 5_000)}" for _ in range(40_000)]
    bounded: BoundedDict[Item] = BoundedDict(200)
    chance: dict[str, None] = {}
    misses = {"bounded": 0, "chance": 0}
    for key in keys:
        misses["bounded"] += key not in bounded.entries
        fill(bounded, [key])
        misses["chance"] += key not in chance
        if key not in chance:
            if len(chance) >= 200:
                del chance[generator.choice(list(chance))]
            chance[key] = None
    assert misses["bounded"] < misses["chance"] * 0.75


def test_any_key_that_can_be_hashed_can_be_removed() -> None:
    """Callers' keys of other types are simply not in there."""
    bounded: BoundedDict[Any] = BoundedDict(2)
    assert bounded.remove(("tuple", 1)) is None

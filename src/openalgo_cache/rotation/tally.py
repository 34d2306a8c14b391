"""What a look at records comes to: how many of each cache there are, and which keys they need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """The records of one cache in one place. Plain records, which no key sealed, are not counted.

    Attributes:
        place: The file or the server.
        cache: The cache's name, with ``@`` and the namespace where that is not the default one.
        needs: How many records need each key of the ring, by the key's id; after a sweep, still.
        resealed: How many were sealed anew.
        unreadable: How many name a key of the ring, by its id, and cannot be verified.
        foreign: How many name keys that the ring does not have, or are no records.
    """

    place: str
    cache: str
    needs: Counter[int] = field(default_factory=Counter)
    resealed: int = 0
    unreadable: Counter[int] = field(default_factory=Counter)
    foreign: int = 0


def needing(tallies: Iterable[Tally], key_ids: Iterable[int]) -> int:
    """Return how many readable records need one of these keys."""
    wanted = list(key_ids)
    return sum(tally.needs[key_id] for tally in tallies for key_id in wanted)


def unreadable(tallies: Iterable[Tally], key_ids: Iterable[int]) -> int:
    """Return how many records name one of these keys and cannot be verified."""
    wanted = list(key_ids)
    return sum(tally.unreadable[key_id] for tally in tallies for key_id in wanted)


def merged(before: Iterable[Tally], now: Iterable[Tally]) -> list[Tally]:
    """Return what a walk found, with what the walks before it sealed anew."""
    resealed = Counter({(tally.place, tally.cache): tally.resealed for tally in before})
    found = list(now)
    for tally in found:
        tally.resealed += resealed.pop((tally.place, tally.cache), 0)
    return [*found, *(Tally(place, cache, resealed=count) for (place, cache), count in resealed.items() if count)]

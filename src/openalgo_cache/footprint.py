"""About how much memory things take, at a cost that does not grow with how many there are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from sys import getsizeof
from typing import Final

_SAMPLE: Final = 128
"""How many are weighed; the others are taken to be like them."""

_DEPTH: Final = 4


def footprint(things: Iterable[object], count: int) -> int:
    """Return about how many bytes things take in this process, by some of them.

    What several of them share is counted with each, so it is rather too much than too little.

    Args:
        things: The things; the first ones are weighed.
        count: How many there are.
    """
    weights = [_weigh(thing, _DEPTH) for thing in islice(things, _SAMPLE)]
    return round(sum(weights) / len(weights) * count) if weights else 0


def _weigh(thing: object, depth: int) -> int:
    if thing is None or callable(thing):  # there once, whoever refers to it
        return 0
    parts: Iterable[object] = ()
    if depth:
        if isinstance(thing, dict):
            parts = (*thing.keys(), *thing.values())
        elif isinstance(thing, tuple | list | set | frozenset):
            parts = thing
        else:
            parts = (getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ()))
    return getsizeof(thing) + sum(_weigh(part, depth - 1) for part in parts)

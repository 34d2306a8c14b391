"""The instruments that were looked up lately, in this process's memory, up to a bound."""

from __future__ import annotations

from itertools import chain, islice
from typing import Final

from openalgo_cache.footprint import footprint
from openalgo_cache.symbols.model import Instrument

Group = dict[str, Instrument]
"""Instruments of one exchange, by one of the texts that they are looked up by."""

_NONE: Final[Group] = {}


class Tier:
    """Dictionaries that hold so many instruments together; when there are more, the older half leaves.

    A hit takes no lock. That the oldest leave, not the least used, is good enough where reading one again takes
    microseconds; that half of them leave at once makes the leaving cheap.

    Args:
        capacity: The most instruments held; one takes about 600 bytes.
    """

    __slots__ = ("_capacity", "_groups", "_kept")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._groups: dict[tuple[str, str], Group] = {}
        self._kept = 0  # at least as many as are held; threads that count at once may miss some, till the next count

    def __len__(self) -> int:
        return sum(map(len, self._groups.copy().values()))

    def footprint(self) -> int:
        """Return about how many bytes they take."""
        groups = [group.copy() for group in self._groups.copy().values()]
        return footprint(chain.from_iterable(map(dict.items, groups)), sum(map(len, groups)))

    def group(self, column: str, exchange: str) -> Group:
        """Return the instruments of an exchange that are held by what is in a column; not to be changed."""
        return self._groups.get((column, exchange), _NONE)

    def keep(self, column: str, exchange: str, instruments: Group) -> None:
        """Hold instruments of an exchange by what is in a column; of more than fit, the last ones."""
        self._groups.setdefault((column, exchange), {}).update(instruments)
        self._kept += len(instruments)
        if self._kept > self._capacity:
            self._let_go()

    def _let_go(self) -> None:
        held = len(self)
        if held > self._capacity:
            for key, group in list(self._groups.items()):
                older = len(group) - len(group) * (self._capacity // 2) // held
                self._groups[key] = dict(islice(group.copy().items(), older, None))
        self._kept = len(self)

"""The instruments that were looked up lately, in this process's memory, up to a bound."""

from __future__ import annotations

from collections import deque

from openalgo_cache.symbols.model import Instrument

Key = tuple[str, str, str]
"""What was asked for: the kind of look-up, the text, the exchange."""


class Tier:
    """A dictionary from which the oldest entries leave.

    A hit costs one dictionary look-up and takes no lock. That the oldest leave, not the least used, is good enough
    where reading one again takes microseconds.

    Args:
        capacity: The most instruments held; one takes about 650 bytes.
    """

    __slots__ = ("_capacity", "_held", "_order", "get")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: dict[Key, Instrument] = {}
        self._order: deque[Key] = deque()
        self.get = self._held.get
        """Returns the instrument held under a key, or None."""

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, key: Key, instrument: Instrument) -> None:
        """Hold ``instrument`` under ``key``."""
        # Threads may do this at once: what counts is how many are held, and an entry that leaves early does no harm.
        while len(self._held) >= self._capacity and self._order:
            self._held.pop(self._order.popleft(), None)
        self._held[key] = instrument
        self._order.append(key)

    def keep_all(self, instruments: dict[Key, Instrument]) -> None:
        """Hold all of ``instruments`` under their keys, or as many of the last ones as the capacity is."""
        self._held.update(instruments)
        self._order.extend(instruments)
        while len(self._held) > self._capacity and self._order:
            self._held.pop(self._order.popleft(), None)

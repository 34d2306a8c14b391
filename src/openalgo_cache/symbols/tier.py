"""The instruments that were looked up lately, in this process's memory, up to a bound."""

from __future__ import annotations

from typing import Generic, TypeVar

Found = TypeVar("Found")


class Tier(Generic[Found]):
    """A dictionary that forgets what was not asked for in a while.

    Two generations: entries go to the young one; when it is full it becomes the old one, and what was the old one is
    gone. An entry of the old one that is asked for again becomes young. That costs one dictionary look-up for a hit,
    takes no lock, and keeps what is in use.

    Args:
        capacity: The most entries held.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        self._half = capacity // 2
        self._young: dict[tuple[str, ...], Found] = {}
        self._old: dict[tuple[str, ...], Found] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: tuple[str, ...]) -> Found | None:
        """Return what is held under ``key``, or None."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.keep(key, found)
        return found

    def keep(self, key: tuple[str, ...], found: Found) -> None:
        """Hold ``found`` under ``key``."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = found

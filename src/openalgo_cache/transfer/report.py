"""What becomes of entries that are moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Existing(Enum):
    """What may be replaced, where the target has another entry under the key already."""

    OLDER = "older"
    """An entry that was written before the one that comes."""

    NOTHING = "nothing"
    """Only what cannot be read there anyway."""

    ANYTHING = "anything"
    """Also an entry that was written later."""


@dataclass(slots=True)
class TransferReport:
    """What became of the entries of one cache. Each counts once.

    Attributes:
        cache: The cache's name.
        moved: Written, read back and found equal; in a dry run, those that would be written.
        unchanged: There already, equal.
        kept: Not written, since the target has another entry that may not be replaced.
        passed: Expired or deleted meanwhile, ended by a tag, or leases of loads that were under way: nothing to move.
        unreadable: Could not be verified, in the source or, in a state cache, in the target, or have tags that nobody
            could name there, under another key ring: left where they are.
        lost: Written, and not there when they were read back: evicted, or removed by somebody else.
    """

    cache: str
    moved: int = 0
    unchanged: int = 0
    kept: int = 0
    passed: int = 0
    unreadable: int = 0
    lost: int = 0

    @property
    def seen(self) -> int:
        """How many entries were looked at."""
        return self.moved + self.unchanged + self.kept + self.passed + self.unreadable + self.lost

    @property
    def complete(self) -> bool:
        """Whether the target now has all that the source has, or something newer in its place."""
        return not self.unreadable and not self.lost


Progress = Callable[[TransferReport], None]
"""Told now and then what became of the entries so far, of one cache after the other."""

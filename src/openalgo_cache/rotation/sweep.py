"""The sweep: it walks through all records and seals anew what an old key sealed.

Each record is exchanged for exactly the one that was looked at. So a newer write is never undone, and what was deleted
does not come back; whoever came between is looked at again. No lock is held over more than one record, and the sweep
rests as long as it works. A sweep that was interrupted is simply begun anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from openalgo_cache.backends.base import Entry
from openalgo_cache.codec.envelope import LEASE, PLAIN, parse_head
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.resealing import Resealer
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.keys import owner
from openalgo_cache.rotation.places import Place
from openalgo_cache.rotation.tally import Tally

_BATCH: Final = 64
"""Records between two rests."""
_LONGEST_REST: Final = 0.25
_OF_BACKUPS: Final = "backups of "

Progress = Callable[[int, int], None]
"""Told now and then how many records were looked at, and about how many there are."""


class Sweep:
    """One walk through the records of an installation.

    Args:
        ring: The key ring as it is now.
        resealer: Seals anew with its active key.
        counts_only: Whether to look only.
        total: About how many records there are.
        progress: Told how far it is.
        rest: Waits for some seconds.
    """

    def __init__(  # noqa: PLR0913  # what a walk consists of
        self,
        ring: KeyRing,
        resealer: Resealer,
        *,
        counts_only: bool = False,
        total: int = 0,
        progress: Progress | None = None,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self._ring = ring
        self._resealer = resealer
        self._counts_only = counts_only
        self._total = total
        self._progress = progress
        self._rest = rest
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._seen = 0
        self._worked_since = time.monotonic()

    def run(self, places: Iterable[Place]) -> list[Tally]:
        """Walk through all places; return a tally for each cache in each of them.

        Raises:
            BackendUnavailableError: A store fails. What was sealed anew before stays so.
        """
        for place in places:
            for stored, record, expires_at in place.records():
                self._look(place, stored, record, expires_at)
                self._seen += 1
                if self._seen % _BATCH == 0:
                    self._pause()
            if place.backups is not None:
                title = _OF_BACKUPS + place.title
                place.backups.rewrite(lambda stored, record, title=title: self._of_backup(title, stored, record))  # type: ignore[misc]
        self._tell()
        return list(self._tallies.values())

    def _look(self, place: Place, stored: str, record: bytes, expires_at: float | None) -> None:
        """Seal one record anew if an old key sealed it, and count it."""
        if owner(stored) is None:  # no cache's record
            return
        for _ in range(2):  # a key that changes all the time is the next walk's
            new = self._renewed(self._tally(place.title, stored), stored, record)
            if new is None:
                return
            if place.backend.compare_and_set(stored, record, Entry(new, expires_at)):
                self._count_resealed(place.title, stored)
                return
            found = place.backend.get(stored)
            if found is None:
                return
            record, expires_at = found
        self._tally(place.title, stored).needs[parse_head(record).key_id] += 1

    def _of_backup(self, title: str, stored: str, record: bytes) -> bytes:
        new = None if owner(stored) is None else self._renewed(self._tally(title, stored), stored, record)
        if new is None:
            return record
        self._count_resealed(title, stored)
        return new

    def _renewed(self, tally: Tally, stored: str, record: bytes) -> bytes | None:
        """Return what is to take a record's place; None, and count it, if it is to stay."""
        try:
            head = parse_head(record)
        except UnreadableRecordError:
            tally.foreign += 1
            return None
        if head.mode == PLAIN:
            return None
        if head.key_id not in self._ring:
            tally.foreign += 1
            return None
        if head.key_id == self._ring.active.id:
            tally.needs[head.key_id] += 1
            return None
        # A lease can only be given back by whoever put it there, as it is; it ends by itself within half a minute.
        if self._counts_only or head.flags & LEASE:
            (tally.needs if self._resealer.verifies(stored, record) else tally.unreadable)[head.key_id] += 1
            return None
        try:
            return self._resealer.reseal(stored, record)
        except UnreadableRecordError:
            tally.unreadable[head.key_id] += 1
            return None

    def _count_resealed(self, title: str, stored: str) -> None:
        tally = self._tally(title, stored)
        tally.resealed += 1
        tally.needs[self._ring.active.id] += 1

    def _tally(self, title: str, stored: str) -> Tally:
        namespace, cache = owner(stored) or (None, "")
        name = cache if namespace is None else f"{cache}@{namespace}"
        tally = self._tallies.get((title, name))
        if tally is None:
            tally = self._tallies[title, name] = Tally(title, name)
        return tally

    def _pause(self) -> None:
        self._tell()
        if not self._counts_only:
            self._rest(min(time.monotonic() - self._worked_since, _LONGEST_REST))
        self._worked_since = time.monotonic()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._seen, self._total)

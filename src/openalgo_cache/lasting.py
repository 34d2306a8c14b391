"""What a state cache writes can be read, whatever became of the key ring while it was being written.

A process can be stopped at any point for as long as it takes to rotate and to retire the key it seals with: a laptop
that sleeps, a debugger, SIGSTOP. When it goes on, it would store what nobody can read any more, in the place of the
only copy. So a store of state looks at the ring's file before and after each write, which costs it a few microseconds
beside the disk's milliseconds, and seals anew what a key sealed that is no longer the active one, or no longer there.
"""

from __future__ import annotations

from collections.abc import Mapping

from openalgo_cache.backends.base import CacheBackend, Entry
from openalgo_cache.codec.envelope import PLAIN, parse_head
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.codec.resealing import Resealer
from openalgo_cache.errors import UnreadableRecordError


class LastingSeals:
    """Seals anew what was sealed with a key that has gone out of use meanwhile.

    Args:
        live: The ring of this process.
    """

    def __init__(self, live: LiveRing) -> None:
        self._live = live
        self._now = self._before = live.now
        live.attach(self)

    def follow(self) -> None:
        """Remember the ring before this one: what was sealed a moment ago is sealed with a key of that."""
        if self._live.now is not self._now:
            self._before, self._now = self._now, self._live.now

    def rings(self) -> tuple[KeyRing, ...]:
        """Return the rings, one of which sealed what is about to be written."""
        return self._live.now, self._before

    def active(self, stored: str, entry: Entry, rings: tuple[KeyRing, ...]) -> Entry:
        """Return an entry as it is to be written: sealed with the key that is active now."""
        self._live.tick()
        return self._sealed(stored, entry, rings, {self._live.now.active.id})

    def readable(self, stored: str, entry: Entry, rings: tuple[KeyRing, ...]) -> Entry:
        """Return an entry that was written as it is to be: sealed with a key that is still there."""
        self._live.tick()
        return self._sealed(stored, entry, rings, {key.id for key in self._live.now.keys})

    def _sealed(self, stored: str, entry: Entry, rings: tuple[KeyRing, ...], good: set[int]) -> Entry:
        try:
            head = parse_head(entry.payload)
            opens = next((ring for ring in (*rings, self._live.now) if head.key_id in ring), None)
            if head.mode == PLAIN or head.key_id in good or opens is None:
                return entry
            return entry._replace(payload=Resealer(opens, self._live.now).reseal(stored, entry.payload))
        except UnreadableRecordError:  # what is written was none of ours
            return entry


class LastingStore(CacheBackend):
    """Mixed into the class of a backend, before it: its writes can be read.

    Attributes:
        seals: Set once the backend was made.
    """

    seals: LastingSeals

    def set(self, key: str, entry: Entry) -> None:
        """See CacheBackend."""
        rings = self.seals.rings()
        written = self.seals.active(key, entry, rings)
        super().set(key, written)  # type: ignore[safe-super]  # the backend's
        self._look_back(key, written, rings)

    def set_many(self, entries: Mapping[str, Entry]) -> None:
        """See CacheBackend."""
        rings = self.seals.rings()
        written = {key: self.seals.active(key, entry, rings) for key, entry in entries.items()}
        super().set_many(written)
        for key, entry in written.items():
            self._look_back(key, entry, rings)

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        """See CacheBackend."""
        rings = self.seals.rings()
        written = None if new is None else self.seals.active(key, new, rings)
        done = super().compare_and_set(key, expected, written)  # type: ignore[safe-super]  # the backend's
        if done and written is not None:
            self._look_back(key, written, rings)
        return done

    def _look_back(self, key: str, written: Entry, rings: tuple[KeyRing, ...]) -> None:
        readable = self.seals.readable(key, written, rings)
        if readable is not written:  # unless somebody has written something else since
            super().compare_and_set(key, written.payload, readable)  # type: ignore[safe-super]  # the backend's


def lasting(kind: type[CacheBackend]) -> type[CacheBackend]:
    """Return the class of a backend whose writes can be read."""
    return type(kind.__name__, (LastingStore, kind), {"__module__": kind.__module__})

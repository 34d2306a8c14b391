"""Lost deletes of a cache: noted when they fail, withheld until they are carried out, carried out before anything else.

A delete that fails raises, so its caller knows; but the value must not be served meanwhile, by any process of the
folder, near tier included. So every operation first looks whether something is to be deleted yet, and tries that.
While it fails, those keys are misses to all who read, and cannot be written: what is stored afterwards is stored after
the delete, and stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from openalgo_cache.backends.base import CacheBackend, SupportsScan
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import parse_head
from openalgo_cache.coherence.near import NearTier
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError, CacheError
from openalgo_cache.journal import Journal
from openalgo_cache.locks import make_lock
from openalgo_cache.slots import LostDelete

_log = logging.getLogger("openalgo_cache")

FAILURES: Final = (BackendUnavailableError, BackendMisconfiguredError)
"""What a delete fails with."""

_SKEW: Final = 5.0
"""Seconds by which the clocks of two hosts that share a server may differ."""
_QUICK: Final = 0.01
_PAUSES: Final = 10.0
"""After an attempt that failed slowly readers wait for no other one, for this many times as long as it took."""
_LONGEST_PAUSE: Final = 5.0


class DeleteLostError(CacheError):
    """A copy in memory may be of a key whose delete was lost since: never leaves this package."""


class LostDeletes:
    """Keeps what a cache's store failed to delete from being served.

    Args:
        name: The cache's name.
        journal: Where it is written down.
        backend: The store.
        near: The near tier above it.
        codec: Verifies what a record says of its own age.
        keeps_newer: Whether a record that was made after the delete was lost, on another host, stays: it may be the
            only copy. Else it goes, and is a miss: a clock that was set back must not keep a revoked token alive.
    """

    __slots__ = ("_backend", "_busy", "_codec", "_keeps_newer", "_name", "_near", "_not_before", "journal")

    def __init__(  # noqa: PLR0913  # what stands around a lost delete
        self, name: str, journal: Journal, backend: CacheBackend, near: NearTier, codec: Codec, *, keeps_newer: bool
    ) -> None:
        self.journal = journal
        self._name = name
        self._backend = backend
        self._near = near
        self._codec = codec
        self._keeps_newer = keeps_newer
        self._busy = make_lock()
        self._not_before = 0.0
        if journal.problem is not None:
            _log.warning("cache %s: deletes that fail cannot be noted on the disk: %s", name, journal.problem)

    def note(self, stored: Iterable[str] | None, now: float) -> str:
        """Note that ``stored`` (None: the whole cache) could not be deleted; return what comes of it, in words."""
        on_disk = self.journal.add(stored, now)
        _log.warning("cache %s: a delete failed; its keys are not served until it was carried out", self._name)
        if on_disk:
            return "this is noted, and not served until it was deleted"
        return f"this is not served by this process, but could not be noted on the disk ({self.journal.problem})"

    def pending(self) -> int:
        """Return how many lost deletes are still to be carried out."""
        self.journal.refresh()
        return len(self.journal.entries)

    def withholds(self, stored: str) -> bool:
        """Return whether a key must not be served now; first try to carry out what is noted."""
        journal = self.journal
        if journal.words[0] == journal.seen:
            return False
        journal.refresh()
        if journal.entries and time.monotonic() >= self._not_before and self._busy.acquire(blocking=False):
            try:
                self._carry_out()
            finally:
                self._busy.release()
        return journal.withholds(stored)

    def clear_the_way(self, stored: Collection[str] | None) -> None:
        """Carry out what is noted, for a write of ``stored`` (None: the whole cache).

        Raises:
            BackendUnavailableError: That failed: what is written now might go with it later.
        """
        journal = self.journal
        if journal.words[0] == journal.seen:
            return
        journal.refresh()
        if self._in_the_way(stored) or (journal.entries and time.monotonic() >= self._not_before):
            self._carry_out()
        if self._in_the_way(stored):
            raise BackendUnavailableError("an earlier delete of the same key is still to be carried out")

    def _in_the_way(self, stored: Collection[str] | None) -> bool:
        journal = self.journal
        return bool(journal.entries) if stored is None else any(map(journal.withholds, stored))

    def guard(self, load: Callable[[Any], Any] | None, generation: int) -> Callable[[Any], Any]:
        """Return a ``load`` for the near tier that raises DeleteLostError once a delete was lost since ``generation``.

        Args:
            load: Makes the value of what is held; None if it is the value.
            generation: The journal's, from before the record was read.
        """
        journal = self.journal

        def guarded(held: Any) -> Any:
            if journal.words[0] != generation:
                raise DeleteLostError
            return held if load is None else load(held)

        return guarded

    def _carry_out(self) -> None:
        """Delete what is noted, as far as the store lets us, and strike it out."""
        began = time.monotonic()
        done = []
        try:
            for entry in self.journal.entries:
                self._delete(entry)
                done.append(entry)
        except FAILURES:
            took = time.monotonic() - began
            self._not_before = began + took + (min(_PAUSES * took, _LONGEST_PAUSE) if took > _QUICK else 0.0)
        if done:
            self.journal.settle(done)
            self._near.begin_write(None)  # what a reader was about to put there, too
            self._near.end_write(None)
            what = "1 lost delete was" if len(done) == 1 else f"{len(done)} lost deletes were"
            _log.warning("cache %s: %s carried out", self._name, what)

    def _delete(self, entry: LostDelete) -> None:
        if entry.stored is not None:
            self._remove(entry, entry.stored)
        elif self._keeps_newer and isinstance(self._backend, SupportsScan):
            for stored, _ in self._backend.scan():
                self._remove(entry, stored)
        elif self.journal.stands(entry):
            self._backend.clear()

    def _remove(self, entry: LostDelete, stored: str) -> None:
        """Remove what lies under a key, unless it was put there after another process had carried out the same."""
        while (found := self._backend.get(stored)) is not None:
            if self._keeps_newer and self._is_newer(stored, found.payload, entry.lost_at):
                return
            # Looked at after the record was read: nobody writes the key while the entry stands.
            if not self.journal.stands(entry) or self._backend.compare_and_set(stored, found.payload, None):
                return

    def _is_newer(self, stored: str, record: bytes, lost_at: float) -> bool:
        """Return whether a record was made after its delete was lost; so is one that nobody can read, for safety."""
        return not self._codec.verifies(stored, record) or parse_head(record).created_at > lost_at + _SKEW

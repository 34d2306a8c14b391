"""The target's side: what is missing or older there is written, in one atomic step each, and read back.

A step replaces exactly the record that was looked at, so that two deliveries, or a delivery and the application, cannot
undo each other's work. What is there and equal is not written again: a delivery that was interrupted is simply begun
anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Final

from openalgo_cache.backends.base import Entry
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability
from openalgo_cache.codec.codec import Contents
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.expiry import expires_at
from openalgo_cache.transfer.reading import refuse_unless
from openalgo_cache.transfer.report import Existing, Progress, TransferReport

_BATCH_ENTRIES: Final = 64
_BATCH_BYTES: Final = 1 << 20
"""Of the values that a batch holds, before the last of them."""
_MILLISECOND: Final = 0.001

Batch = dict[str, Contents]
"""Contents by stored key."""


class _Verdict(Enum):
    WRITE = auto()
    UNCHANGED = auto()
    KEEP = auto()
    UNREADABLE = auto()


class Delivery:
    """Brings contents into one cache.

    Args:
        target: The cache.
        existing: What may be replaced.
        report: Gets what becomes of the entries.
        dry_run: Whether to look only.
        skip_unreadable: Whether to go on when a record in a state cache cannot be verified.
    """

    def __init__(
        self, target: Cache, existing: Existing, report: TransferReport, *, dry_run: bool, skip_unreadable: bool
    ) -> None:
        self._target = target
        self._existing = existing
        self._report = report
        self._dry_run = dry_run
        self._skip_unreadable = skip_unreadable
        self._stack = target._opened()

    def deliver_all(self, entries: Iterable[tuple[str, Contents]], progress: Progress | None) -> None:
        """Write what has to be written, and read it back.

        Args:
            entries: Contents by stored key.
            progress: See ``copy_cache``.

        Raises:
            UnreadableRecordError: A record in the way cannot be verified, and its cache is the only copy.
            BackendUnavailableError: The store fails. What was written before stays.
        """
        if progress is not None:
            progress(self._report)
        for batch in _batches(entries):
            self._deliver(batch)
            if progress is not None:
                progress(self._report)

    def _deliver(self, batch: Batch) -> None:
        now = self._target._now()
        limit = expires_at(self._target.policy.limit, now)
        wanted: Batch = {}
        for stored, contents in batch.items():
            bounded = contents if limit is None else _until(contents, limit)
            if _gone_at(bounded) > now:
                wanted[stored] = bounded
            else:
                self._report.passed += 1
        if self._dry_run:
            self._settle_all(wanted)
            return
        # Nobody may go on with what was there before. The keys behind the hashes are unknown, so all that is near goes.
        self._target._flights.cancel(wanted, str)
        self._stack.near.begin_write(None)
        try:
            if self._stack.lost is not None:
                self._stack.lost.clear_the_way(wanted)
            written = self._settle_all(wanted)
        finally:
            self._stack.near.end_write(None)
        self._read_back(written)

    def _settle_all(self, wanted: Batch) -> dict[str, Entry]:
        there = self._stack.backend.get_many(wanted)
        settled = ((stored, self._settle(stored, contents, there.get(stored))) for stored, contents in wanted.items())
        return {stored: entry for stored, entry in settled if entry is not None}

    def _settle(self, stored: str, contents: Contents, there: Entry | None) -> Entry | None:
        """Decide on one entry and act, again if somebody came between; return what was written."""
        while (verdict := self._judge(stored, contents, there)) is _Verdict.WRITE and not self._dry_run:
            entry = self._entry(stored, contents)
            if self._stack.backend.compare_and_set(stored, None if there is None else there.payload, entry):
                return entry
            there = self._stack.backend.get(stored)
        report = self._report
        report.moved += verdict is _Verdict.WRITE
        report.unchanged += verdict is _Verdict.UNCHANGED
        report.kept += verdict is _Verdict.KEEP
        report.unreadable += verdict is _Verdict.UNREADABLE
        return None

    def _entry(self, stored: str, contents: Contents) -> Entry:
        gone_at = _gone_at(contents)
        expires = None if gone_at == math.inf else gone_at
        extras = contents.extras
        if extras.tags:
            generations = self._stack.tags.cover(tuple(tag for tag, _ in extras.tags), expires)
            contents = contents._replace(extras=extras._replace(tags=generations))
        return Entry(self._stack.codec.record_of(stored, contents), expires)

    def _judge(self, stored: str, contents: Contents, there: Entry | None) -> _Verdict:
        if there is None:
            return _Verdict.WRITE
        try:
            present = self._stack.codec.contents_of(stored, there.payload)
        except UnreadableRecordError as error:
            if self._target.policy.durability is not Durability.STATE:
                return _Verdict.WRITE  # a miss, which any set would replace
            refuse_unless(self._skip_unreadable, self._target, error)
            return _Verdict.UNREADABLE
        if present is None or _gone_at(present) <= self._target._now():
            return _Verdict.WRITE
        if not self._stack.tags.hold(present.extras.tags):
            return _Verdict.WRITE
        if _without_generations(present) == _without_generations(contents):
            return _Verdict.UNCHANGED
        if self._existing is Existing.ANYTHING:
            return _Verdict.WRITE
        older = present.created_at < contents.created_at
        return _Verdict.WRITE if older and self._existing is Existing.OLDER else _Verdict.KEEP

    def _read_back(self, written: dict[str, Entry]) -> None:
        found = self._stack.backend.get_many(written)
        now = self._target._now()
        for stored, entry in written.items():
            there = found.get(stored)
            if there is None:
                arrived = entry.expires_at is not None and entry.expires_at <= now
            else:  # another payload is somebody else's later word, by an atomic step of their own
                arrived = there.payload != entry.payload or _agree(there.expires_at, entry.expires_at)
            self._report.moved += arrived
            self._report.lost += not arrived


def _batches(entries: Iterable[tuple[str, Contents]]) -> Iterator[Batch]:
    """Group entries so that neither their number nor their values take much memory."""
    batch: Batch = {}
    size = 0
    for stored, contents in entries:
        batch[stored] = contents
        size += len(contents.body)
        if len(batch) >= _BATCH_ENTRIES or size >= _BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch


def _gone_at(contents: Contents) -> float:
    """Return when a store may drop an entry: at its expiry, or when it may not even be served stale any more."""
    stale_until = contents.extras.stale_until
    return contents.expires_at if stale_until is None else max(contents.expires_at, stale_until)


def _without_generations(contents: Contents) -> Contents:
    """Return the contents without what every store has its own of."""
    extras = contents.extras
    return contents._replace(extras=extras._replace(tags=tuple((tag, 0) for tag, _ in extras.tags)))


def _until(contents: Contents, limit: float) -> Contents:
    """Return the contents with an expiry that keeps to the target's limit."""
    extras = contents.extras
    if extras.stale_until is not None and extras.stale_until > limit:
        extras = extras._replace(stale_until=limit)
    return contents._replace(expires_at=min(contents.expires_at, limit), extras=extras)


def _agree(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and abs(one - other) <= _MILLISECOND)

"""Installations for the tests of rotation: folders with key rings of several keys, and records of every kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from openalgo_cache import CacheManager
from openalgo_cache.catalogue import AUDIT_HEADS
from openalgo_cache.codec.envelope import PLAIN, parse_head
from openalgo_cache.codec.keyring import Key
from openalgo_cache.codec.resealing import Resealer
from openalgo_cache.codec.ringfile import FILE_NAME, RingFile
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.keys import owner
from openalgo_cache.rotation.places import places
from openalgo_cache.rotation.sweep import Sweep
from openalgo_cache.rotation.tally import Tally


def ring_file(folder: Path) -> RingFile:
    """Return the file of the key ring of an installation."""
    return RingFile(folder / "db" / FILE_NAME)


def add_active(folder: Path) -> tuple[int, int]:
    """Give an installation a new active key; return the ids of the one before and of the new one."""
    key = Key.generate()
    before = ring_file(folder).load().active.id
    ring_file(folder).update(lambda ring: ring.with_key(key))
    ring_file(folder).update(lambda ring: ring.with_active(key.id))
    return before, key.id


class SkippingClock:
    """The system's clock, which a wait sets on."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        """Return the present as seconds since the epoch."""
        return time.time() + self.skipped

    def wait(self, seconds: float) -> None:
        """Let some seconds have passed."""
        self.skipped += seconds


def waiting(caches: CacheManager, clock: SkippingClock) -> Callable[[float], None]:
    """Return what waits for a rotation: what the audit log's thread would have done by then, it has done."""

    def wait(seconds: float) -> None:
        if seconds >= 1.0:
            caches.audit().close()
        clock.wait(seconds)

    return wait


def no_rest(seconds: float) -> None:
    """Wait for nothing."""
    del seconds


def sweep(manager: CacheManager, *, counts_only: bool = False, **options: Any) -> list[Tally]:
    """Walk through an installation once."""
    path = manager.ring_path()
    assert path is not None
    ring = RingFile(path).load()
    resealer = Resealer(ring)
    with closing(places(manager, resealer.verifies)) as found:
        return Sweep(ring, resealer, counts_only=counts_only, rest=no_rest, **options).run(found)


def keys_in(manager: CacheManager) -> dict[int, int]:
    """Return how many records each key of an installation sealed, by what stands in them.

    Without the audit log's heads: how many of those there are is the audit log's business.
    """
    found: dict[int, int] = {}
    with closing(places(manager, lambda _stored, _record: True)) as everywhere:
        for place in everywhere:
            if AUDIT_HEADS in place.title:
                continue
            for stored, record, _ in place.records():
                if owner(stored) not in {None, (None, AUDIT_HEADS)}:
                    _count(record, found)
            for path in place.backups.existing() if place.backups else ():
                for record in records_of(path):
                    _count(record, found)
    return found


def resealed(tallies: list[Tally]) -> int:
    """Return how many records were sealed anew, without the audit log's heads."""
    return sum(tally.resealed for tally in tallies if tally.cache != AUDIT_HEADS)


def records_of(path: Path) -> list[bytes]:
    """Return all records in a file, expired ones as well."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM cache")]


def raw(manager: CacheManager) -> dict[tuple[str, str], tuple[bytes, float | None]]:
    """Return every record of an installation with its expiry, by its place and its stored key."""
    with closing(places(manager, lambda _stored, _record: True)) as everywhere:
        return {
            (place.title, stored): (record, expires_at)
            for place in everywhere
            for stored, record, expires_at in place.records()
            if owner(stored) is not None
        }


def _count(record: bytes, found: dict[int, int]) -> None:
    try:
        head = parse_head(record)
    except UnreadableRecordError:
        return
    if head.mode != PLAIN:
        found[head.key_id] = found.get(head.key_id, 0) + 1

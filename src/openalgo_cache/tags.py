"""Tags: names that entries carry, so that all entries of a tag can be ended at once, however many there are.

A tag has a record of its own with a random number, its generation. An entry that carries the tag has the generation of
that moment sealed into it, and stands only while the tag's record is there and says the same. To clear a tag is to
delete that one record: the next entry that carries the tag makes a new one, with another generation.

Whoever stores an entry reads the generations first and seals then. So an entry whose tag was cleared meanwhile has the
old generation, and is never served.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from openalgo_cache.backends.base import CacheBackend, Entry
from openalgo_cache.clock import Clock
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import TagsOfRecord, tags_of
from openalgo_cache.errors import InvalidKeyError, UnreadableRecordError
from openalgo_cache.keys import Keyspace, text
from openalgo_cache.lost import LostDeletes

MOST_TAGS: Final = 255
"""Of one entry: the record format counts them in a byte."""

_ID_BYTES: Final = 16
_GENERATION_BYTES: Final = 8
_LONGER: Final = 3_600.0
"""Seconds by which a tag's record outlives what it was made for, at least, so that few entries have to prolong it."""


def several(names: Iterable[str]) -> Iterable[str]:
    """Return ``names``, unless it is a single str, which would pass for as many tags as it has letters."""
    if isinstance(names, str):
        raise InvalidKeyError("tags are several: write tags=('user:123',), with the comma")
    return names


class _Generation(NamedTuple):
    """What a tag's record says, and the record itself (None, None, 0.0 for none)."""

    payload: bytes | None
    number: int | None
    expires_at: float


class Tags:
    """The tags of one cache, in the cache's own store.

    Args:
        keyspace: Says where a tag's record lies.
        codec: Seals it.
        backend: The store.
        clock: Where the time comes from.
        secret: Returns what the tags' names are hashed with; the store never gets them.
        lost: The lost deletes, among which may be the records of tags; None where none are noted.
        strict: Whether an unreadable record raises; otherwise its tag counts as cleared.
    """

    __slots__ = ("_backend", "_codec", "_hash", "_keyspace", "_lost", "_now", "_secret", "_strict")

    def __init__(  # noqa: PLR0913  # what the tags of a cache stand on
        self,
        keyspace: Keyspace,
        codec: Codec,
        backend: CacheBackend,
        clock: Clock,
        secret: Callable[[], bytes],
        lost: LostDeletes | None = None,
        *,
        strict: bool,
    ) -> None:
        self._keyspace = keyspace
        self._codec = codec
        self._backend = backend
        self._now = clock
        self._secret = secret
        self._lost = lost
        self._strict = strict
        self._hash: hashlib.blake2b | None = None

    def ids(self, names: Iterable[str]) -> tuple[bytes, ...]:
        """Return the ids of tags, each once.

        Raises:
            InvalidKeyError: A name is no str, or has characters or a length that a key could not have; or there are
                too many.
        """
        ids = tuple(sorted({self._id(name) for name in several(names)}))
        if len(ids) > MOST_TAGS:
            raise InvalidKeyError(f"an entry has at most {MOST_TAGS} tags, not {len(ids)}")
        return ids

    def stored(self, tag: bytes) -> str:
        """Return the stored key of a tag's record."""
        return self._keyspace.of_tag(tag)

    def stored_of(self, tags: TagsOfRecord) -> Iterator[str]:
        """Return the stored keys that an entry with these tags depends on."""
        return (self.stored(tag) for tag, _ in tags)

    def hold(self, tags: TagsOfRecord) -> bool:
        """Return whether all tags of a record still have the generations that are sealed in it."""
        return not tags or self._match(tags, self._read(tag for tag, _ in tags))

    def hold_each(self, payloads: Iterable[bytes]) -> Callable[[TagsOfRecord], bool]:
        """Return what answers as :meth:`hold` does for the records of ``payloads``, by one look at the store."""
        known: dict[bytes, _Generation] | None = None

        def hold(tags: TagsOfRecord) -> bool:
            nonlocal known
            if tags and known is None:
                known = self._read({tag for payload in payloads for tag, _ in tags_of(payload)})
            return not tags or self._match(tags, known or {})

        return hold

    def cover(self, ids: tuple[bytes, ...], until: float | None) -> TagsOfRecord:
        """Return the present generations of tags, each in a record that lasts until then at least.

        Args:
            ids: The tags' ids.
            until: When the entry that is to carry them expires, seconds since the epoch; None for never.
        """
        if not ids:
            return ()
        if self._lost is not None:
            self._lost.clear_the_way([self.stored(tag) for tag in ids])
        found = self._read(ids)
        return tuple((tag, self._covered(tag, found.get(tag, _NONE), until)) for tag in ids)

    def _covered(self, tag: bytes, found: _Generation, until: float | None) -> int:
        stored = self.stored(tag)
        while found.number is None or (found.expires_at < until if until is not None else found.expires_at != _NEVER):
            now = self._now()
            number = _draw() if found.number is None else found.number
            expires_at = None if until is None else until + max(until - now, _LONGER)
            record = self._codec.encode(stored, number, now, expires_at)
            if self._backend.compare_and_set(stored, found.payload, Entry(record, expires_at)):
                return number
            found = self._read((tag,)).get(tag, _NONE)
        return found.number

    def _read(self, ids: Iterable[bytes]) -> dict[bytes, _Generation]:
        wanted = {self.stored(tag): tag for tag in ids}
        if self._lost is not None:
            wanted = {stored: tag for stored, tag in wanted.items() if not self._lost.withholds(stored)}
        entries = self._backend.get_many(wanted)
        return {wanted[stored]: self._open(stored, entry) for stored, entry in entries.items()}

    def _open(self, stored: str, entry: Entry) -> _Generation:
        try:
            number, expires_at, terms = self._codec.decode(stored, entry.payload)
        except UnreadableRecordError:
            if self._strict:
                raise
            number, expires_at, terms = None, 0.0, None
        if terms is not None or type(number) is not int or expires_at <= self._now():
            return _Generation(entry.payload, None, 0.0)
        return _Generation(entry.payload, number, expires_at)

    @staticmethod
    def _match(tags: TagsOfRecord, known: dict[bytes, _Generation]) -> bool:
        return all(known.get(tag, _NONE).number == generation for tag, generation in tags)

    def _id(self, name: str) -> bytes:
        if type(name) is not str:
            raise InvalidKeyError(f"a tag is a str, not {type(name).__name__}")
        if self._hash is None:
            self._hash = hashlib.blake2b(key=self._secret(), digest_size=_ID_BYTES)
        digest = self._hash.copy()
        digest.update(text(name).encode())
        return digest.digest()


def _draw() -> int:
    """Return a new generation."""
    return int.from_bytes(os.urandom(_GENERATION_BYTES), "big")


_NEVER: Final = float("inf")
_NONE: Final = _Generation(None, None, 0.0)

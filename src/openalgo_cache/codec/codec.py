"""The codec of one cache: a value becomes a record and a record a value.

Reading has two forms. :meth:`Codec.decode` verifies a record and returns its value. :meth:`Codec.admit` also returns
what of it may lie in this process's memory, and how that becomes a value again: ciphertext for an encrypted cache;
else the value itself where nobody can change it, one flat container that is copied at each read, or the verified
bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from openalgo_cache.codec import compressors
from openalgo_cache.codec.envelope import (
    AEAD,
    LEASE,
    MAX_VALUE_BYTES,
    MODE,
    MSGPACK,
    NO_EXTRAS,
    Extras,
    Head,
    TagsOfRecord,
    parse_extras,
    parse_head,
)
from openalgo_cache.codec.sealing import RingSeal, Seal, Sealed
from openalgo_cache.codec.serializers import (
    UNREADABLE,
    decode_extension,
    decode_unverified,
    dumps,
    loads,
    loads_unverified,
    refused,
    unpack,
)
from openalgo_cache.errors import UnreadableRecordError, ValueTooLargeError

_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
_IMMUTABLE: Final = _ATOMS | {datetime, date, time, timedelta, Decimal, UUID}
_COPIES: Final[dict[type, Callable[[Any], Any]]] = {dict: dict.copy, list: list.copy, set: set.copy}

Load = Callable[[Any], Any]


class Terms(NamedTuple):
    """On what terms a record may be served, where there is more to it than its expiry.

    Attributes:
        is_lease: It has no value: its key is reserved for whoever loads one.
        stale_until: Until when the value may stand in for one that cannot be loaded; the expiry itself for most.
        tags: The generations that its tags must have.
        epoch: The epoch that its reader must name; None for none.
    """

    is_lease: bool
    stale_until: float
    tags: TagsOfRecord
    epoch: bytes | None


Read = tuple[Any, float, Terms | None]
"""A verified record: its value, when it expires by the word that is sealed in it (seconds since the epoch, infinity for
never), and its terms, or None in place of those that nearly all have: a value, served until its expiry.

No named tuple: making one would cost every read as much as finding the key.
"""


class Contents(NamedTuple):
    """What a record holds apart from its place, its seal and its compression: what a copy of it holds as well.

    Attributes:
        body: The value, as the serialiser wrote it.
        created_at: Seconds since the epoch.
        expires_at: Seconds since the epoch; infinity for never.
        extras: The optional fields.
    """

    body: bytes
    created_at: float
    expires_at: float
    extras: Extras


class Admitted(NamedTuple):
    """What may lie in memory: ``load(held)`` is the value, or ``held`` itself is where ``load`` is None."""

    held: Any
    load: Load | None


class Codec:
    """Encodes and decodes the records of one cache.

    Args:
        seal: What makes and verifies records.
        compress: Whether larger bodies are compressed; never true under encryption.
        max_value_bytes: The largest serialised value to take.
    """

    __slots__ = ("_hook", "_max_value_bytes", "_open", "_seal", "_worth_compressing")

    def __init__(self, seal: Seal, *, compress: bool = False, max_value_bytes: int = MAX_VALUE_BYTES) -> None:
        self._seal = seal
        self._open = seal.open
        self._hook = decode_extension if isinstance(seal, RingSeal) else decode_unverified
        self._worth_compressing = compressors.WORTH_TRYING if compress else math.inf
        self._max_value_bytes = max_value_bytes

    def encode(
        self, stored: str, value: object, now: float, expires_at: float | None, extras: Extras = NO_EXTRAS
    ) -> bytes:
        """Return the record of ``value`` under a stored key.

        Args:
            stored: The stored key, which the record is bound to.
            value: Any supported value.
            now: The present, seconds since the epoch.
            expires_at: Seconds since the epoch, or None for never.
            extras: The optional fields.

        Raises:
            UnsupportedValueError: The value would not come back the same.
            ValueTooLargeError: The value is larger than the cache allows.
        """
        body = dumps(value)
        if len(body) > self._max_value_bytes:
            self._check_size(body)
        codec = MSGPACK
        if len(body) >= self._worth_compressing:
            compressor, body = compressors.compress(body)
            codec |= compressor << 4
        return self._seal.seal(stored, body, codec, now, math.inf if expires_at is None else expires_at, extras)

    def encode_lease(self, stored: str, now: float, expires_at: float) -> bytes:
        """Return a record that reserves a key for a loader until ``expires_at``."""
        return self._seal.seal(stored, b"", MSGPACK, now, expires_at, lease=True)

    def decode(self, stored: str, record: bytes) -> Read:
        """Verify a record and return what it holds.

        Raises:
            UnreadableRecordError: It cannot be verified or read; as ForgedRecordError if it names a key that we hold.
        """
        body, expires_at, head = self._open(stored, record)
        terms = None
        if head is not None:
            terms = _terms(record, head)
            if terms is not None and terms.is_lease:
                return None, expires_at, terms
            body = self._decompressed(head, body)
        try:  # what ``loads`` does, without its call: this is the path of every read that is not near
            return unpack(body, ext_hook=self._hook), expires_at, terms
        except UNREADABLE:
            raise refused() from None

    def contents_of(self, stored: str, record: bytes) -> Contents | None:
        """Verify a record and return its contents, or None for a lease. The value is not decoded.

        Raises:
            UnreadableRecordError: As for :meth:`decode`, except that the value may be of a type that is unknown here.
        """
        body, expires_at, head = self._open(stored, record)
        if head is None:
            head = parse_head(record)
        elif head.flags & LEASE:
            return None
        body = self._decompressed(head, body)
        if not isinstance(self._seal, RingSeal):
            loads_unverified(body)  # what nobody has signed is not handed on unseen
        return Contents(body, head.created_at, expires_at, parse_extras(record, head))

    def record_of(self, stored: str, contents: Contents) -> bytes:
        """Return the record of ``contents`` under a stored key, sealed as this cache's own records are.

        Raises:
            ValueTooLargeError: The value is larger than the cache allows.
        """
        self._check_size(contents.body)
        body, codec = contents.body, MSGPACK
        if len(body) >= self._worth_compressing:
            compressor, body = compressors.compress(body)
            codec |= compressor << 4
        extras = NO_EXTRAS if contents.extras == NO_EXTRAS else contents.extras  # the seal looks for that very object
        return self._seal.seal(stored, body, codec, contents.created_at, contents.expires_at, extras)

    def verifies(self, stored: str, record: bytes) -> bool:
        """Return whether a record is as it was written, under this key."""
        try:
            self._open(stored, record)
        except UnreadableRecordError:
            return False
        return True

    def admit(self, stored: str, record: bytes) -> tuple[Read, Admitted | None]:
        """Do as :meth:`decode` does, and return what may lie in memory as well (nothing for a lease)."""
        body, expires_at, head = self._open(stored, record)
        terms = None
        if head is not None:
            terms = _terms(record, head)
            if terms is not None and terms.is_lease:
                return (None, expires_at, terms), None
            body = self._decompressed(head, body)
        try:
            read = unpack(body, ext_hook=self._hook), expires_at, terms
        except UNREADABLE:
            raise refused() from None
        if record[MODE] == AEAD:
            assert isinstance(self._seal, RingSeal)  # noqa: S101  # for the type checker: only a ring opens such records
            load = _load_sealed if head is None else partial(self._load_sealed_body, head)
            return read, Admitted(self._seal.hold(stored, record), load)
        return _admit_plain(read, body)

    def _load_sealed_body(self, head: Head, held: Sealed) -> Any:
        return loads(self._decompressed(head, held.decrypt(held.nonce, held.ciphertext, held.associated)))

    def _decompressed(self, head: Head, body: bytes) -> bytes:
        """Return a verified body as the serialiser wrote it."""
        if head.codec & 0x0F != MSGPACK:
            raise UnreadableRecordError("a record uses a serialiser that this version does not know")
        return compressors.decompress(head.codec >> 4, body, self._max_value_bytes)

    def _check_size(self, body: bytes) -> None:
        if len(body) > self._max_value_bytes:
            raise ValueTooLargeError(
                f"the value has {len(body):,} bytes, and a cache takes at most {self._max_value_bytes:,} "
                "(CACHE_MAX_VALUE_BYTES): store it in parts, or allow more"
            )


def _admit_plain(read: Read, body: bytes) -> tuple[Read, Admitted]:
    value, expires_at, terms = read
    kind = type(value)
    if kind in _IMMUTABLE:
        return read, Admitted(value, None)
    copy = _COPIES.get(kind)
    if copy is not None and {*map(type, value.values() if kind is dict else value)} <= _IMMUTABLE:
        return (copy(value), expires_at, terms), Admitted(value, copy)
    return read, Admitted(body, loads)


def _terms(record: bytes, head: Head) -> Terms | None:
    """Return the terms of a verified record."""
    if not head.flags:  # only its body is out of the ordinary
        return None
    stale_until, epoch, tags = parse_extras(record, head)
    return Terms(bool(head.flags & LEASE), head.expires_at if stale_until is None else stale_until, tags, epoch)


def _load_sealed(held: Sealed) -> Any:
    return loads(held.decrypt(held.nonce, held.ciphertext, held.associated))

"""The record format, version 1: what stands around a value's bytes. Frozen; big-endian throughout.

    ======  ====  ==========================================================================
    offset  size  field
    ======  ====  ==========================================================================
    0       3     magic ``OAC``
    3       1     version, 1
    4       1     mode: 0 plain, 1 AEAD (AES-256-GCM), 2 MAC (AES-256-GCM as GMAC)
    5       1     codec: serialiser in the low four bits (1 MessagePack), compressor in the high (0 none, 1 zlib)
    6       2     flags: 1 stale_until, 2 epoch, 4 tags, 8 lease
    8       8     created, seconds since the epoch (IEEE 754 double)
    16      8     expires, likewise; infinity for never
    24      4     key id                                                       (modes 1 and 2 only)
    28      16    writer id                                                    (modes 1 and 2 only)
    44      12    nonce                                                        (modes 1 and 2 only)
    then          stale_until: 8, a double                                     (flag 1)
    then          epoch: 1 byte of length, then as many bytes                  (flag 2)
    then          tags: 1 byte of count, then 16 bytes of tag id and 8 bytes of generation each (flag 4)
    then          mode 0: the body. Mode 1: ciphertext and a 16-byte tag. Mode 2: the body and a 16-byte tag.
    ======  ====  ==========================================================================

The associated data of modes 1 and 2 begins with the context (``sealing.py``), then everything from offset 0 up to the
ciphertext; in mode 2 the body follows, since nothing is encrypted. A lease (flag 8) has an empty body and is no value.
"""

from __future__ import annotations

import math
import struct
from typing import Final, NamedTuple

from openalgo_cache.errors import UnreadableRecordError

MAGIC: Final = b"OAC"
USUAL_START: Final = 8
VERSION: Final = 1

MSGPACK: Final = 1
"""The serialiser, in the low four bits of the codec; with nothing above them the body is not compressed."""

PLAIN: Final = 0
AEAD: Final = 1
MAC: Final = 2

HAS_STALE_UNTIL: Final = 1
HAS_EPOCH: Final = 2
HAS_TAGS: Final = 4
LEASE: Final = 8
_KNOWN_FLAGS: Final = HAS_STALE_UNTIL | HAS_EPOCH | HAS_TAGS | LEASE
_OPTIONAL: Final = HAS_STALE_UNTIL | HAS_EPOCH | HAS_TAGS

_PLAIN_HEAD: Final = struct.Struct(">3sBBBHdd")
_SEALED_HEAD: Final = struct.Struct(">3sBBBHddI16s12s")
_DOUBLE: Final = struct.Struct(">d")
_TAG_ENTRY: Final = struct.Struct(">16sQ")
TAG_BYTES: Final = 16
MAX_VALUE_BYTES: Final = 1 << 20
"""The largest serialised value that a cache takes by default."""
MOST_AROUND_BODY: Final = _SEALED_HEAD.size + _DOUBLE.size + 256 + 1 + 255 * _TAG_ENTRY.size + TAG_BYTES
"""Bytes that a record has at most besides its body."""
MODE: Final = 4
EXPIRES_AT: Final = 16
PLAIN_BODY: Final = slice(_PLAIN_HEAD.size, None)
NO_WRITER: Final = bytes(16)
NO_NONCE: Final = bytes(12)


class Head(NamedTuple):
    """The fixed part of a record, and where the rest begins.

    Attributes:
        mode: PLAIN, AEAD or MAC.
        codec: Serialiser and compressor.
        flags: Which optional fields are there, and whether the record is a lease.
        created_at: Seconds since the epoch.
        expires_at: Seconds since the epoch; infinity for never.
        key_id: Which key of the ring sealed the record (0 in plain records).
        writer: Which writer's subkey sealed it.
        nonce: The nonce under that subkey.
        size: Bytes of the whole head, optional fields included: the body begins there.
    """

    mode: int
    codec: int
    flags: int
    created_at: float
    expires_at: float
    key_id: int
    writer: bytes
    nonce: bytes
    size: int


TagsOfRecord = tuple[tuple[bytes, int], ...]
"""(tag id of 16 bytes, generation) pairs, at most 255."""


class Extras(NamedTuple):
    """The optional, authenticated fields.

    Attributes:
        stale_until: Until when the value may be served past its expiry, seconds since the epoch.
        epoch: The caller's own revision of what the value was made from, at most 255 bytes.
        tags: The generation that each of its tags had.
    """

    stale_until: float | None = None
    epoch: bytes | None = None
    tags: TagsOfRecord = ()


NO_EXTRAS: Final = Extras()


def usual_start(mode: int, codec: int) -> bytes:
    """Return the first eight bytes of records of a mode and codec that have neither optional fields nor a lease's flag.

    Nearly all records begin so; whoever compares them knows the layout without taking the head apart.
    """
    return _PLAIN_HEAD.pack(MAGIC, VERSION, mode, codec, 0, 0.0, 0.0)[:USUAL_START]


def pack_head(  # noqa: PLR0913  # one argument a field of the frozen format
    mode: int,
    codec: int,
    created_at: float,
    expires_at: float,
    key_id: int = 0,
    writer: bytes = NO_WRITER,
    nonce: bytes = NO_NONCE,
    extras: Extras = NO_EXTRAS,
    *,
    lease: bool = False,
) -> bytes:
    """Return the head of a record, up to where the body begins."""
    flags = LEASE if lease else 0
    optional = b""
    if extras is not NO_EXTRAS:
        if extras.stale_until is not None:
            flags |= HAS_STALE_UNTIL
            optional += _DOUBLE.pack(extras.stale_until)
        if extras.epoch is not None:
            flags |= HAS_EPOCH
            optional += bytes([len(extras.epoch)]) + extras.epoch
        if extras.tags:
            flags |= HAS_TAGS
            optional += bytes([len(extras.tags)]) + b"".join(_TAG_ENTRY.pack(*tag) for tag in extras.tags)
    if mode == PLAIN:
        return _PLAIN_HEAD.pack(MAGIC, VERSION, mode, codec, flags, created_at, expires_at) + optional
    head = _SEALED_HEAD.pack(MAGIC, VERSION, mode, codec, flags, created_at, expires_at, key_id, writer, nonce)
    return head + optional


def parse_head(record: bytes) -> Head:
    """Read the head of a record. What it says is only to be believed once the record has been verified.

    Raises:
        UnreadableRecordError: The bytes are no record of this version.
    """
    try:
        if record[4] == PLAIN:
            magic, version, mode, codec, flags, created_at, expires_at = _PLAIN_HEAD.unpack_from(record)
            key_id, writer, nonce, size = 0, NO_WRITER, NO_NONCE, _PLAIN_HEAD.size
        else:
            magic, version, mode, codec, flags, created_at, expires_at, key_id, writer, nonce = (
                _SEALED_HEAD.unpack_from(record)
            )
            size = _SEALED_HEAD.size
        if magic != MAGIC or version != VERSION or mode > MAC or flags & ~_KNOWN_FLAGS:
            raise UnreadableRecordError("not a record of this version")
        if flags & _OPTIONAL:
            size = _end_of_extras(record, flags, size)
    except (struct.error, IndexError, TypeError):  # the last, where a store has something else than bytes
        raise UnreadableRecordError("a record is cut short") from None
    if math.isnan(expires_at) or size > len(record):
        raise UnreadableRecordError("a record is malformed")
    return Head(mode, codec, flags, created_at, expires_at, key_id, writer, nonce, size)


def parse_extras(record: bytes, head: Head) -> Extras:
    """Read the optional fields of a record that :func:`parse_head` accepted."""
    at = _PLAIN_HEAD.size if head.mode == PLAIN else _SEALED_HEAD.size
    stale_until: float | None = None
    epoch: bytes | None = None
    tags: TagsOfRecord = ()
    if head.flags & HAS_STALE_UNTIL:
        (stale_until,) = _DOUBLE.unpack_from(record, at)
        at += _DOUBLE.size
    if head.flags & HAS_EPOCH:
        epoch = record[at + 1 : at + 1 + record[at]]
        at += 1 + record[at]
    if head.flags & HAS_TAGS:
        size = _TAG_ENTRY.size
        tags = tuple(_TAG_ENTRY.unpack_from(record, at + 1 + size * nth) for nth in range(record[at]))
    return Extras(stale_until, epoch, tags)


def tags_of(record: bytes) -> TagsOfRecord:
    """Return the tags that a record names, which need not have been verified; none if it cannot be read."""
    try:
        return parse_extras(record, parse_head(record)).tags
    except UnreadableRecordError:
        return ()


def _end_of_extras(record: bytes, flags: int, at: int) -> int:
    if flags & HAS_STALE_UNTIL:
        at += _DOUBLE.size
    if flags & HAS_EPOCH:
        at += 1 + record[at]
    if flags & HAS_TAGS:
        at += 1 + _TAG_ENTRY.size * record[at]
    return at

"""Seals: what makes a record unforgeable, and unreadable where that is asked for.

The configuration decides the scheme, never the record: a seal opens only records of the modes it was built for. Each
associates a record with its place, so that it cannot be moved: the context is

    ``openalgo-cache/1`` 0x00, then namespace, cache name and stored key, each with its length in two bytes.

Under one key of the ring every writer (a process, per cache) has a subkey of its own, derived from a random writer id
that travels in the record, so that random 96-bit nonces stay far below 2^32 records a key (NIST SP 800-38D, section
8.3). When the ring changes, the next record is another writer's. The MAC is GMAC: the same cipher, with the body as
associated data and nothing encrypted.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openalgo_cache.codec import envelope
from openalgo_cache.codec.envelope import (
    AEAD,
    EXPIRES_AT,
    MAC,
    MAX_VALUE_BYTES,
    MOST_AROUND_BODY,
    MSGPACK,
    NO_EXTRAS,
    PLAIN,
    PLAIN_BODY,
    TAG_BYTES,
    USUAL_START,
    Extras,
    Head,
)
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.locks import Forks, make_lock

_RECORDS_PER_WRITER: Final = 2**31
_NONCE_BYTES: Final = 12
_REMEMBERED_SUBKEYS: Final = 512
_REMEMBERED_PLACES: Final = 8192
_PURPOSES: Final = {AEAD: "encrypt", MAC: "sign"}
_HEAD: Final = struct.Struct(">8s8xd20s12s")
"""The fixed part of a sealed head: its first eight bytes, then expiry, key and writer id, nonce."""
_unpack_head = _HEAD.unpack_from
_pack_usual = struct.Struct(">8sdd20s12s").pack
_TAG: Final = slice(-TAG_BYTES, None)
_BEFORE_TAG: Final = slice(None, -TAG_BYTES)
_SEALED_HEAD: Final = slice(None, _HEAD.size)
_SIGNED_BODY: Final = slice(_HEAD.size, -TAG_BYTES)
_CIPHERTEXT: Final = slice(_HEAD.size, None)
_DOUBLE: Final = struct.Struct(">d")
_FORGED: Final = "a record fails verification: damaged, moved, or made up"
_TOO_LONG: Final = "a record is longer than this cache writes any (CACHE_MAX_VALUE_BYTES)"
_UNKNOWN_KEY: Final = "a record is sealed with a key that is not in the key ring"
_USUAL_PLAIN: Final = envelope.usual_start(PLAIN, MSGPACK)


class ForgedRecordError(UnreadableRecordError):
    """A record names a key that we hold, and fails verification: it was damaged, moved or made up."""


class Sealed(NamedTuple):
    """An encrypted body with everything that opening it again takes; holds no plain text."""

    decrypt: Callable[[bytes, bytes, bytes], bytes]
    nonce: bytes
    ciphertext: bytes
    associated: bytes


Opened = tuple[bytes, float, Head | None]
"""A verified record: its body, the moment at which it expires (infinity for never), and its head, or None in place of a
head that says what nearly all say: MessagePack, not compressed, no optional field, no lease.
"""


class Seal(Protocol):
    """Makes and verifies the records of one cache."""

    def seal(  # noqa: PLR0913  # what the format binds together
        self,
        stored: str,
        body: bytes,
        codec: int,
        created_at: float,
        expires_at: float,
        extras: Extras = NO_EXTRAS,
        *,
        lease: bool = False,
    ) -> bytes:
        """Return the record of ``body`` for the stored key."""
        ...

    def open(self, stored: str, record: bytes) -> Opened:
        """Verify a record and return what it holds; raise UnreadableRecordError."""
        ...


class Unsealed:
    """Plain records, for caches whose content is worth nothing to a forger: no key, no verification.

    Args:
        max_body_bytes: The largest body that is opened.
    """

    __slots__ = ("_longest",)

    def __init__(self, max_body_bytes: int = MAX_VALUE_BYTES) -> None:
        self._longest = max_body_bytes + MOST_AROUND_BODY

    def seal(  # noqa: D102, PLR0913  # see Seal
        self,
        stored: str,
        body: bytes,
        codec: int,
        created_at: float,
        expires_at: float,
        extras: Extras = NO_EXTRAS,
        *,
        lease: bool = False,
    ) -> bytes:
        del stored
        return envelope.pack_head(PLAIN, codec, created_at, expires_at, extras=extras, lease=lease) + body

    def open(self, stored: str, record: bytes) -> Opened:  # noqa: D102  # see Seal
        del stored
        if record[:USUAL_START] == _USUAL_PLAIN and PLAIN_BODY.start < len(record) <= self._longest:
            (expires_at,) = _DOUBLE.unpack_from(record, EXPIRES_AT)
            if expires_at > 0:  # and so a number
                return record[PLAIN_BODY], expires_at, None
        head = envelope.parse_head(record)
        if len(record) > self._longest:
            raise UnreadableRecordError(_TOO_LONG)
        if head.mode != PLAIN:
            raise UnreadableRecordError("a sealed record in a plain cache")
        return record[head.size :], head.expires_at, head


class RingSeal:
    """Signs or encrypts with the keys of a ring.

    Args:
        ring: The key ring; one that is live is followed.
        namespace: Bound into every record.
        cache: The cache's name, likewise.
        mode: What new records get: AEAD or MAC.
        accept: The modes that are opened; by default only ``mode``.
        max_body_bytes: The largest body that is opened: what is longer than any record of ours is not even copied.
    """

    __slots__ = (
        "__weakref__",
        "_cache",
        "_context",
        "_left",
        "_lock",
        "_longest",
        "_mode",
        "_places",
        "_process",
        "_ring",
        "_signs",
        "_subkeys",
        "_usual",
        "_usual_ciphers",
        "_writer",
    )

    def __init__(  # noqa: PLR0913  # what a record is bound to, and how
        self,
        ring: KeyRing | LiveRing,
        namespace: str,
        cache: str,
        mode: int,
        accept: frozenset[int] | None = None,
        max_body_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        self._ring = ring if isinstance(ring, LiveRing) else LiveRing(ring)
        self._cache = cache.encode()
        self._context = b"openalgo-cache/1\0" + _sized(namespace.encode()) + _sized(self._cache)
        self._mode = mode
        self._subkeys: dict[int, dict[bytes, AESGCM]] = {accepted: {} for accepted in accept or {mode}}
        self._signs = mode == MAC
        self._usual = envelope.usual_start(mode, MSGPACK)
        self._usual_ciphers = self._subkeys[mode]
        self._places: dict[str, bytes] = {}
        self._writer: tuple[bytes, AESGCM]
        self._process = -1
        self._left = 0
        self._longest = max_body_bytes + MOST_AROUND_BODY
        self._lock = make_lock()
        self._ring.attach(self)

    def seal(  # noqa: D102, PLR0913  # see Seal
        self,
        stored: str,
        body: bytes,
        codec: int,
        created_at: float,
        expires_at: float,
        extras: Extras = NO_EXTRAS,
        *,
        lease: bool = False,
    ) -> bytes:
        if self._left <= 0 or self._process != Forks.count:
            self._become_a_new_writer()
        self._left -= 1
        sealer, cipher = self._writer  # at once: another thread may become a new writer meanwhile
        nonce = os.urandom(_NONCE_BYTES)  # each by itself: a stock would be used twice by a machine that was restored
        if codec == MSGPACK and extras is NO_EXTRAS and not lease:
            head = _pack_usual(self._usual, created_at, expires_at, sealer, nonce)
        else:
            key_id, writer = int.from_bytes(sealer[:4], "big"), sealer[4:]
            head = envelope.pack_head(
                self._mode, codec, created_at, expires_at, key_id, writer, nonce, extras, lease=lease
            )
        place = self._places.get(stored) or self._place(stored)
        if self._signs:
            signed = head + body
            return signed + cipher.encrypt(nonce, b"", place + signed)
        return head + cipher.encrypt(nonce, body, place + head)

    def open(self, stored: str, record: bytes) -> Opened:  # noqa: D102  # see Seal
        try:
            start, expires_at, sealer, nonce = _unpack_head(record)
        except (struct.error, TypeError):  # the latter, where a store has something else than bytes
            raise UnreadableRecordError("a record is cut short") from None
        cipher = self._usual_ciphers.get(sealer)
        if start != self._usual or cipher is None or len(record) > self._longest:
            return self._open_by_its_head(stored, record)
        place = self._places.get(stored) or self._place(stored)
        try:
            if self._signs:
                cipher.decrypt(nonce, record[_TAG], place + record[_BEFORE_TAG])
                return record[_SIGNED_BODY], expires_at, None
            return cipher.decrypt(nonce, record[_CIPHERTEXT], place + record[_SEALED_HEAD]), expires_at, None
        except InvalidTag:
            raise ForgedRecordError(_FORGED) from None

    def hold(self, stored: str, record: bytes) -> Sealed:
        """Return an encrypted record, opened once already, in the form that may lie in memory."""
        head = envelope.parse_head(record)
        start = head.size
        return Sealed(
            self._cipher_of(head).decrypt, head.nonce, record[start:], self._associated(stored, record[:start])
        )

    def _open_by_its_head(self, stored: str, record: bytes) -> Opened:
        head = envelope.parse_head(record)
        if len(record) > self._longest:
            raise UnreadableRecordError(_TOO_LONG)
        cipher = self._cipher_of(head)
        try:
            if head.mode == AEAD:
                body = cipher.decrypt(head.nonce, record[head.size :], self._associated(stored, record[: head.size]))
            else:
                cipher.decrypt(head.nonce, record[_TAG], self._associated(stored, record[_BEFORE_TAG]))
                body = record[head.size : -TAG_BYTES]
        except InvalidTag:
            raise ForgedRecordError(_FORGED) from None
        return body, head.expires_at, head

    def _cipher_of(self, head: Head) -> AESGCM:
        if head.mode not in self._subkeys:
            raise UnreadableRecordError("a record is not sealed in the way this cache demands")
        return self._subkey(head.mode, head.key_id.to_bytes(4, "big") + head.writer)

    def _associated(self, stored: str, head: bytes) -> bytes:
        return self._place(stored) + head

    def _place(self, stored: str) -> bytes:
        """Return what the associated data of a key's records begin with; remembered, since keys come again."""
        place = self._context + _sized(stored.encode())
        if len(self._places) >= _REMEMBERED_PLACES:
            self._places.clear()
        self._places[stored] = place
        return place

    def follow(self) -> None:
        """Forget what followed from the ring before; what is sealed next is sealed as the ring is now."""
        self._process = -1
        for ciphers in self._subkeys.values():
            ciphers.clear()  # a key that was taken out opens nothing any more

    def _subkey(self, mode: int, sealer: bytes) -> AESGCM:
        ciphers, key_id = self._subkeys[mode], int.from_bytes(sealer[:4], "big")
        cipher = ciphers.get(sealer)
        if cipher is None:
            ring = self._ring.holding(key_id)
            if ring is None:
                raise UnreadableRecordError(_UNKNOWN_KEY)
            self._ring.watch()
            cipher = self._derive(ring, mode, key_id, sealer[4:])
            if len(ciphers) >= _REMEMBERED_SUBKEYS:
                ciphers.clear()  # whoever floods the store with writer ids costs time, not memory
            ciphers[sealer] = cipher
            if key_id not in self._ring.now:  # it was taken out meanwhile, perhaps after everything was forgotten
                ciphers.clear()
        return cipher

    def _derive(self, ring: KeyRing, mode: int, key_id: int, writer: bytes) -> AESGCM:
        return AESGCM(ring.sealing_subkey(key_id, _PURPOSES[mode], self._cache + b"\0" + writer))

    def _become_a_new_writer(self) -> None:
        # A forked child must not share its parent's subkey, and one subkey must not see too many random nonces.
        with self._lock:
            self._process = Forks.count  # first: should the ring change from here on, this was not the last time
            ring, writer = self._ring.now, secrets.token_bytes(16)
            key_id = ring.active.id
            self._writer = key_id.to_bytes(4, "big") + writer, self._derive(ring, self._mode, key_id, writer)
            self._left = _RECORDS_PER_WRITER
            self._ring.watch()


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(2, "big") + part

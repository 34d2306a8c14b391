"""The slots of a journal of lost deletes (``journal.py``): what one says, sealed, in 576 bytes.

    ======  ====  ==========================================================================
    offset  size  field
    ======  ====  ==========================================================================
    0       8     the key ring's fingerprint
    8       12    nonce
    20      548   AES-256-GCM, under a subkey of the cache, for this slot: 1 byte of what is lost (1 a key, 2 the whole
                  cache), 8 of when (IEEE 754 double), 2 of the text's length, the key's text, filled up; and the tag
    568     8     the fingerprint again
    ======  ====  ==========================================================================

All zero is free. A slot whose fingerprints are the same and not ours belongs to another key ring and is left alone. Any
other that cannot be opened is damaged.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.keys import escape, unescape

SLOT: Final = 576
FREE: Final = bytes(SLOT)
UNREADABLE: Final = b"\xff" * SLOT
"""What is written where something was forgotten."""

_OWNER: Final = 8
_NONCE: Final = 12
_BODY: Final = struct.Struct(">BdH521s")
_KEY: Final = 1
_EVERYTHING: Final = 2
_FILLERS: Final = b"\0\xff"
"""What is found where a write did not get to, or a disk forgot: no fingerprint consists of it."""


class LostDelete(NamedTuple):
    """Something that is still to be deleted.

    Attributes:
        stored: The stored key; None for the whole cache.
        lost_at: When deleting it failed, seconds since the epoch.
        slot: Where it is written; -1 where that failed, too, and only this process knows.
        written: What the slot holds.
    """

    stored: str | None
    lost_at: float
    slot: int = -1
    written: bytes = b""


class Slots:
    """Writes and reads the slots of one cache.

    Args:
        ring: Seals them.
        prefix: What every stored key of the cache begins with.
    """

    __slots__ = ("_cipher", "_owner", "_prefix")

    def __init__(self, ring: KeyRing, prefix: str) -> None:
        self._cipher = AESGCM(ring.subkey("lost deletes", prefix.encode()))
        self._owner = bytes.fromhex(ring.fingerprint())
        self._prefix = prefix

    def seal(self, one: LostDelete, number: int) -> bytes:
        """Return the slot that says this, for the place of that number."""
        text = b"" if one.stored is None else unescape(one.stored.removeprefix(self._prefix)).encode()
        body = _BODY.pack(_EVERYTHING if one.stored is None else _KEY, one.lost_at, len(text), text)
        nonce = os.urandom(_NONCE)
        return self._owner + nonce + self._cipher.encrypt(nonce, body, bytes([number])) + self._owner

    def read(self, slots: Iterable[bytes]) -> tuple[list[LostDelete], list[LostDelete]]:
        """Return what slots say, and those that are damaged, as if each said that the whole cache is lost."""
        found, damaged = [], []
        for number, slot in enumerate(slots):
            if slot == FREE or self._belongs_to_another(slot):
                continue
            try:
                nonce, sealed = slot[_OWNER : _OWNER + _NONCE], slot[_OWNER + _NONCE : -_OWNER]
                body = self._cipher.decrypt(nonce, sealed, bytes([number]))
            except InvalidTag:
                damaged.append(LostDelete(None, math.inf, number, slot))
                continue
            kind, lost_at, length, text = _BODY.unpack(body)
            stored = None if kind == _EVERYTHING else self._prefix + escape(text[:length].decode())
            found.append(LostDelete(stored, lost_at, number, slot))
        return found, damaged

    def _belongs_to_another(self, slot: bytes) -> bool:
        owner = slot[:_OWNER]
        return owner == slot[-_OWNER:] and owner != self._owner and owner.strip(_FILLERS) != b""

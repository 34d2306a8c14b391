"""The mark by which a row of the master shows that it is ours: a GMAC over all its fields.

A row's mark binds its fields, its number and the version it was written in, so that a row that was changed, moved or
taken from another version does not verify. The key is the installation's, so that only who holds the key ring can make
marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import ormsgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PURPOSE: Final = "symbol master"


class Seal(Protocol):
    """Where the key comes from; :class:`~openalgo_cache.codec.keyring.KeyRing` is one."""

    def subkey(self, purpose: str, context: bytes) -> bytes:
        """Return 32 bytes that nobody without the key ring can tell, one value for each purpose and context."""
        ...


class Signer:
    """Makes and checks the marks of one version of the master.

    AES-256-GCM with an empty plaintext, the fields as associated data and a number as the nonce. Every version has a
    key of its own, derived from its random id, and every number is used once in a version: 0 for its header, 1 and up
    for its rows.

    Args:
        seal: Where the key comes from. Without one, marks are empty, and only empty ones pass.
        version: The version's random id.
    """

    __slots__ = ("_cipher",)

    def __init__(self, seal: Seal | None, version: bytes) -> None:
        self._cipher = None if seal is None else AESGCM(seal.subkey(_PURPOSE, version))

    def sign(self, number: int, fields: Sequence[object]) -> bytes:
        """Return the mark, 16 bytes, for the fields (texts, bytes, numbers, None) under a number."""
        if self._cipher is None:
            return b""
        # MessagePack states the type and the length of every field, so no two rows are packed alike.
        return self._cipher.encrypt(number.to_bytes(12, "big"), b"", ormsgpack.packb(fields))

    def verify(self, number: int, fields: Sequence[object], mark: object) -> bool:
        """Return whether ``mark`` is the one that :meth:`sign` made for this number and these fields."""
        if self._cipher is None:
            return mark == b""
        try:
            self._cipher.decrypt(number.to_bytes(12, "big"), mark, ormsgpack.packb(fields))  # type: ignore[arg-type]  # read from a file: anything
        except (InvalidTag, TypeError, ValueError, OverflowError):
            return False
        return True

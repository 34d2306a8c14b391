"""Secrets of the host's own database: encrypted where they lie, and bound to the row that they belong to."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from openalgo_cache import CacheManager

_PURPOSE: Final = "openalgo-host vault"
_NONCE: Final = 12


class VaultError(Exception):
    """A secret cannot be read: it was moved or changed, or sealed with another key ring."""


class Vault:
    """Encrypts texts with a key that is derived from the cache's key ring and lies in no database (AES-256-GCM).

    Args:
        manager: Where the key ring comes from.
    """

    def __init__(self, manager: CacheManager) -> None:
        self._cipher = AESGCM(manager.ring().subkey(_PURPOSE, b""))

    def seal(self, place: str, text: str) -> bytes:
        """Return a text encrypted.

        Args:
            place: Where it will lie: table, column and row, such as ``api_keys.key/7``.
            text: The secret.
        """
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, text.encode(), place.encode())

    def open(self, place: str, sealed: bytes) -> str:
        """Return a text that was sealed for this place.

        Raises:
            VaultError: It was not, or not with this key ring.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise VaultError(f"the secret at {place} cannot be read with this key ring") from None

"""Epochs: a caller's own revision of what a value was made from, such as the token version of a user in its database.

An entry that was stored with an epoch is served to those who name the same one, and absent for everybody else; so an
old record is refused even when somebody puts it back into the store under its own key. Epochs are compared and never
ordered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from openalgo_cache.errors import InvalidEpochError

MOST_BYTES: Final = 254
"""Of an epoch, as it is given."""

_HASH_BYTES: Final = 16

Epoch = str | bytes | int


def sealed_form(epoch: Epoch | None, secret: Callable[[], bytes]) -> bytes | None:
    """Return an epoch as it stands in a record: a keyed hash (BLAKE2b, RFC 7693), since it may be a token itself.

    Args:
        epoch: The epoch, where 1, "1" and b"1" are three; None for none.
        secret: Returns the key of the hash; empty for caches without seals.

    Returns:
        16 bytes, or None for none.

    Raises:
        InvalidEpochError: It is of another type (a bool is no number), too long, or holds a lone surrogate.
    """
    if epoch is None:
        return None
    if type(epoch) is int:
        form = b"i" + epoch.to_bytes(epoch.bit_length() // 8 + 1, "big", signed=True)
    elif type(epoch) is str:
        try:
            form = b"s" + epoch.encode()
        except UnicodeEncodeError:
            raise InvalidEpochError("an epoch holds a lone surrogate, which UTF-8 cannot carry") from None
    elif type(epoch) is bytes:
        form = b"b" + epoch
    else:
        raise InvalidEpochError(f"an epoch is a str, bytes or an int, not {type(epoch).__name__}")
    if len(form) > 1 + MOST_BYTES:
        raise InvalidEpochError(f"an epoch has at most {MOST_BYTES} bytes, not {len(form) - 1}")
    return hashlib.blake2b(form, key=secret(), digest_size=_HASH_BYTES).digest()

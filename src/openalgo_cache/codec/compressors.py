"""Smaller bodies for larger values. Never used under encryption, where the length would tell about the content."""

from __future__ import annotations

import zlib
from typing import Final

from openalgo_cache.errors import UnreadableRecordError

NONE: Final = 0
ZLIB: Final = 1

WORTH_TRYING: Final = 2048
"""Bytes: below this, the time is worth more than the room."""


def compress(body: bytes) -> tuple[int, bytes]:
    """Return (compressor, bytes): compressed if that saves at least an eighth, else as it was."""
    smaller = zlib.compress(body, 1)
    return (ZLIB, smaller) if len(smaller) <= len(body) * 7 // 8 else (NONE, body)


def decompress(compressor: int, body: bytes, most: int) -> bytes:
    """Undo :func:`compress`.

    Args:
        compressor: What ``compress`` returned.
        body: The bytes it returned.
        most: The largest result to accept, in bytes: a small body must not blow up to fill the memory.

    Raises:
        UnreadableRecordError: The bytes cannot be decompressed, or to more than ``most``.
    """
    if compressor == NONE:
        return body
    if compressor != ZLIB:
        raise UnreadableRecordError("a record uses a compressor that this version does not know")
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(body, most + 1)  # one more: at the limit itself the end would not be seen
    except zlib.error:
        raise UnreadableRecordError("a record's body cannot be decompressed") from None
    if not inflater.eof or inflater.unused_data or len(plain) > most:
        raise UnreadableRecordError("a record's body is incomplete or too large")
    return plain

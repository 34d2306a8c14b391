"""The export file, version 1: caches on their way to another store, sealed as a whole. Frozen; see docs/moving.md.

A head in plain text, then frames: a cache begins, an entry, an entry, ..., another cache begins, ..., the end. Every
frame is encrypted with AES-256-GCM under a key that this file alone has, derived from the ring's active key and the
file's random id. The number of the frame is the nonce, and head, kind and length are the associated data. So a frame
that was changed, moved, repeated, left out or taken from another file does not verify; the frame of the end says how
many entries there were, and that nothing comes after it.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

import ormsgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openalgo_cache.codec.codec import Contents
from openalgo_cache.codec.envelope import Extras
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import KeyRingError, UnreadableExportError

MAGIC: Final = b"OACEXPRT"
VERSION: Final = 1
CACHE: Final = 1
ENTRY: Final = 2
END: Final = 3
MOST_BYTES: Final = 1 << 24
"""Of a frame: more than the largest value that CACHE_MAX_VALUE_BYTES can allow takes, with all around it."""

_PURPOSE: Final = "export"
_HEAD: Final = struct.Struct(">8sBI16s8sdB")
"""Magic, version, key id, file id, fingerprint of the ring, when it was made, length of the namespace that follows."""
_FRAME: Final = struct.Struct(">BI")
"""Kind, and length of what follows."""
_TAG_BYTES: Final = 16


class Begin(NamedTuple):
    """A cache begins: its name, whether it is encrypted, and whether hashes stand in place of its keys."""

    name: str
    encrypted: bool
    blinded: bool


class Item(NamedTuple):
    """An entry: the text of its key, as it stands behind the prefix of stored keys, and its contents."""

    text: str
    contents: Contents


class Writer:
    """Writes an export.

    Args:
        file: Where to.
        ring: Its active key seals the file.
        namespace: Where the caches come from.
        now: Seconds since the epoch.
    """

    def __init__(self, file: BinaryIO, ring: KeyRing, namespace: str, now: float) -> None:
        self._file = file
        name, file_id, fingerprint = namespace.encode(), os.urandom(16), bytes.fromhex(ring.fingerprint())
        self._head = _HEAD.pack(MAGIC, VERSION, ring.active.id, file_id, fingerprint, now, len(name)) + name
        self._cipher = AESGCM(ring.sealing_subkey(ring.active.id, _PURPOSE, file_id))
        self._frames = 0
        self._counts: list[list[Any]] = []
        file.write(self._head)

    def begin(self, cache: Begin) -> None:
        """Begin a cache."""
        self._counts.append([cache.name, 0])
        self._write(CACHE, list(cache))

    def add(self, item: Item) -> None:
        """Add an entry to the cache that was begun last."""
        body, created_at, expires_at, (stale_until, epoch, tags) = item.contents
        expires = None if expires_at == math.inf else expires_at
        self._write(ENTRY, [item.text, created_at, expires, stale_until, epoch, list(map(list, tags)), body])
        self._counts[-1][1] += 1

    def end(self) -> None:
        """Write the end; without it the file counts as cut off."""
        self._write(END, self._counts)

    def _write(self, kind: int, content: list[Any]) -> None:
        packed = ormsgpack.packb(content)
        prefix = _FRAME.pack(kind, len(packed) + _TAG_BYTES)
        nonce = self._frames.to_bytes(12, "big")  # once under this key, which is this file's own
        self._file.write(prefix + self._cipher.encrypt(nonce, packed, self._head + prefix))
        self._frames += 1


class Reader:
    """Reads an export, and believes nothing that it has not verified.

    Args:
        file: Where from, at its beginning; it has to be seekable.
        ring: The key ring that the export was made with.

    Attributes:
        namespace: Where the caches come from.
        created_at: When the export was made.

    Raises:
        UnreadableExportError: It is no export of this version.
        KeyRingError: It was made with another key ring.
    """

    def __init__(self, file: BinaryIO, ring: KeyRing) -> None:
        self._file = file
        fixed = self._read(_HEAD.size)
        magic, version, key_id, file_id, fingerprint, self.created_at, length = _HEAD.unpack(fixed)
        if magic != MAGIC:
            raise UnreadableExportError("the file is no export of caches")
        if version != VERSION:
            raise UnreadableExportError("the export was written by a newer version of openalgo-cache")
        name = self._read(length)
        self._head = fixed + name
        self.namespace = name.decode("utf-8", "replace")
        theirs, ours = fingerprint.hex(), ring.fingerprint()
        if theirs != ours:
            raise KeyRingError(
                f"the export was made with another key ring (fingerprint {theirs}; the one here has {ours}): point "
                "CACHE_KEY_FILE at a copy of that one"
            )
        if key_id not in ring:
            raise KeyRingError(
                f"the export was made with the key {key_id}, which the key ring here lacks: point CACHE_KEY_FILE at a "
                "copy of the ring that has it"
            )
        self._cipher = AESGCM(ring.sealing_subkey(key_id, _PURPOSE, file_id))

    def frames(self) -> Iterator[Begin | Item]:
        """Yield what the file holds, from its beginning, each part once it is verified.

        Raises:
            UnreadableExportError: Something was changed, moved, cut off or added. What was yielded before is genuine.
        """
        self._file.seek(len(self._head))
        counts: list[list[Any]] = []
        for number in range(2**32):
            kind, content = self._frame(number)
            try:
                if kind == CACHE:
                    begin = Begin(*content)
                    counts.append([begin.name, 0])
                    yield begin
                elif kind == ENTRY:
                    counts[-1][1] += 1
                    yield _item(content)
                else:
                    break
            except (TypeError, ValueError, IndexError):
                raise UnreadableExportError(f"part {number} of the export is malformed") from None
        else:
            raise UnreadableExportError("the export has no end")
        if content != counts:
            raise UnreadableExportError("the export does not hold what its end says")
        if self._file.read(1):
            raise UnreadableExportError("there is something behind the end of the export")

    def _frame(self, number: int) -> tuple[int, Any]:
        prefix = self._read(_FRAME.size)
        kind, length = _FRAME.unpack(prefix)
        if not _TAG_BYTES <= length <= MOST_BYTES:
            raise UnreadableExportError(f"part {number} of the export was changed: its length is impossible")
        try:
            packed = self._cipher.decrypt(number.to_bytes(12, "big"), self._read(length), self._head + prefix)
        except InvalidTag:
            raise UnreadableExportError(
                f"part {number} of the export fails verification: the file was changed, or put together anew"
            ) from None
        try:
            return kind, ormsgpack.unpackb(packed)
        except ValueError:
            raise UnreadableExportError(f"part {number} of the export is malformed") from None

    def _read(self, size: int) -> bytes:
        read = self._file.read(size)
        if len(read) != size:
            raise UnreadableExportError("the export is cut off")
        return read


def _item(content: list[Any]) -> Item:
    text, created_at, expires, stale_until, epoch, tags, body = content
    extras = Extras(stale_until, epoch, tuple((tag, generation) for tag, generation in tags))
    return Item(text, Contents(body, created_at, math.inf if expires is None else expires, extras))

"""Where instances that share a store put a master for each other: chunks, and one small record that names them.

The record (under the key ``snapshot`` of the cache ``symbols``) says which version is current, and lists every version
of which chunks may be there. It is replaced by ``compare_and_set`` alone, with a number that rises by one each time, so
that of two publishers one wins. A version's chunks are written before it becomes current, and none of them is changed
afterwards: nobody ever sees half of one. Record and chunks are sealed like all records of a cache, each under its own
key; the record also has the digest of the whole. All of that is verified before anything is parsed.

Who is killed leaves at most chunks that are on the list; whoever looks after the next publication removes them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from openalgo_cache.backends.base import CacheBackend, Entry
from openalgo_cache.clock import Clock
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.sealing import ForgedRecordError
from openalgo_cache.errors import BackendUnavailableError, CacheError, UnreadableRecordError
from openalgo_cache.keys import Keyspace

CHUNK_BYTES: Final = 512 * 1024
GRACE: Final = 60.0
"""Seconds for which the chunks of an old version stay, for those who are reading them."""

_RECORD: Final = "snapshot"
_ATTEMPTS: Final = 8
_VERSION: Final = re.compile(r"[0-9a-f]{32}")

Told = Callable[[float], None]


class Published(NamedTuple):
    """What the record says of the current version.

    Attributes:
        serial: Rises by one with each publication.
        version: The version's number, 32 hexadecimal digits.
        chunks: How many chunks it has.
        size: How many bytes those have together.
        digest: SHA-256 of the whole, in hexadecimal digits.
        rows: How many instruments it has.
        imported_at: When it was imported, in seconds since the epoch.
        published_at: When it became current, likewise.
        instance: Who published it.
    """

    serial: int
    version: str
    chunks: int
    size: int
    digest: str
    rows: int
    imported_at: float
    published_at: float
    instance: str


class Board(NamedTuple):
    """The record.

    Attributes:
        payload: The bytes in the store; None if there are none.
        current: The current version; None if there is none, or the record is damaged.
        uploads: By versions of which chunks may be in the store: the serial that they are meant for, and how many.
    """

    payload: bytes | None
    current: Published | None
    uploads: dict[str, tuple[int, int]]


class SupersededError(CacheError):
    """Another instance published since: an older version must not take its place."""

    def __init__(self, current: Published) -> None:
        super().__init__(f"the instance {current.instance} published another symbol master meanwhile")
        self.current = current


class ChunksGoneError(BackendUnavailableError):
    """Chunks of a version are missing: it is being replaced, or the store lost them."""


class Shelf:
    """The shared master in one store.

    Args:
        backend: The store.
        keyspace: Makes its keys.
        codec: Seals and verifies what lies there.
        clock: Tells when something is published.
        instance: Who publishes.
    """

    def __init__(
        self, backend: CacheBackend, keyspace: Keyspace, codec: Codec, clock: Clock, instance: str = ""
    ) -> None:
        self._backend = backend
        self._keyspace = keyspace
        self._codec = codec
        self._clock = clock
        self._instance = instance
        self._key = keyspace.stored(_RECORD)
        self._board = Board(None, None, {})

    def look(self) -> Board:
        """Return the record; costs one read of a few hundred bytes.

        Raises:
            BackendUnavailableError: The store does not answer.
            UnreadableRecordError: It belongs to another key ring, or another release wrote it.
        """
        entry = self._backend.get(self._key)
        payload = None if entry is None else entry.payload
        if payload != self._board.payload:
            self._board = self._read(payload)
        return self._board

    def publish(self, packed: bytes, serial: int, version: str, rows: int, imported_at: float) -> Published:
        """Make a version the current one, unless another was published after ``serial``.

        Args:
            packed: The version, see ``snapshot``.
            serial: The serial of the publication that this one may replace, the highest that its publisher knew.
            version: The version's number.
            rows: How many instruments it has.
            imported_at: When it was imported.

        Raises:
            SupersededError: Another instance was faster.
            BackendUnavailableError: The store does not answer, or is full.
        """
        count = -(-len(packed) // CHUNK_BYTES)
        digest = hashlib.sha256(packed).hexdigest()
        is_written = False
        for _ in range(_ATTEMPTS):
            board = self._look_before(serial, version, is_written=is_written, chunks=count)
            if board.current is not None and board.current.version == version and board.current.serial > serial:
                return board.current
            if version not in board.uploads or board.uploads[version] != (serial + 1, count):
                listed = board.uploads | {version: (serial + 1, count)}
                if not self._replace(board, board.current, listed):
                    continue
            if not is_written:
                for key, start in zip(self._keys(version, count), range(0, len(packed), CHUNK_BYTES), strict=True):
                    self._backend.set(key, Entry(self._sealed(key, packed[start : start + CHUNK_BYTES]), None))
                is_written = True
                continue  # and look again: that took its time
            current = Published(
                serial + 1, version, count, len(packed), digest, rows, imported_at, self._clock(), self._instance
            )
            if self._replace(board, current, board.uploads):
                return current
        raise BackendUnavailableError("the shared symbol master is being published by others again and again")

    def fetch(self, current: Published, told: Told) -> bytes:
        """Return a published version, verified.

        Args:
            current: Which one.
            told: Told how far it is, from 0 to 1.

        Raises:
            ChunksGoneError: Some of it is missing.
            UnreadableRecordError: Some of it is not as it was written.
            BackendUnavailableError: The store does not answer.
        """
        parts: list[bytes] = []
        for key in self._keys(current.version, current.chunks):
            entry = self._backend.get(key)
            if entry is None:
                raise ChunksGoneError("the shared symbol master is incomplete in the store")
            part, _, is_lease = self._codec.decode(key, entry.payload)
            if is_lease or type(part) is not bytes:
                raise UnreadableRecordError("a chunk of the shared symbol master is none")
            parts.append(part)
            told(len(parts) / current.chunks)
        packed = b"".join(parts)
        if len(packed) != current.size or not hmac.compare_digest(hashlib.sha256(packed).hexdigest(), current.digest):
            raise UnreadableRecordError("the shared symbol master is not what was published")
        return packed

    def tidy(self) -> None:
        """Remove the chunks of versions that can no longer become current, once those who read them had their time.

        Raises:
            BackendUnavailableError: The store does not answer.
        """
        board = self.look()
        current = board.current
        if current is None or self._clock() < current.published_at + GRACE:
            return
        # What is meant for a higher serial is on its way, or of somebody who was killed: the next publication tells.
        old = {
            version: chunks
            for version, (serial, chunks) in board.uploads.items()
            if version != current.version and serial <= current.serial
        }
        for version, chunks in old.items():
            self._backend.delete_many(self._keys(version, chunks))
        if old:
            self._replace(board, current, {one: what for one, what in board.uploads.items() if one not in old})

    def close(self) -> None:
        """Let go of the store."""
        self._backend.close()

    def _look_before(self, serial: int, version: str, *, is_written: bool, chunks: int) -> Board:
        """Look whether a version may still be published; if not, take back what was written of it."""
        board = self.look()
        current = board.current
        if current is not None and current.serial > serial and current.version != version:
            if is_written:
                self._backend.delete_many(self._keys(version, chunks))
            raise SupersededError(current)
        return board

    def _replace(self, board: Board, current: Published | None, uploads: dict[str, tuple[int, int]]) -> bool:
        record = {
            "current": None if current is None else current._asdict(),
            "uploads": [[version, serial, chunks] for version, (serial, chunks) in uploads.items()],
        }
        payload = self._sealed(self._key, record)
        return self._backend.compare_and_set(self._key, board.payload, Entry(payload, None))

    def _sealed(self, key: str, value: object) -> bytes:
        return self._codec.encode(key, value, self._clock(), None)

    def _keys(self, version: str, chunks: int) -> Iterator[str]:
        return (self._keyspace.stored((_RECORD, version, place)) for place in range(chunks))

    def _read(self, payload: bytes | None) -> Board:
        if payload is None:
            return Board(None, None, {})
        try:
            value, _, is_lease = self._codec.decode(self._key, payload)
        except ForgedRecordError:
            return Board(payload, None, {})  # ours, and damaged: whoever has a master may publish it in its place
        except UnreadableRecordError as error:
            raise UnreadableRecordError(
                f"the shared symbol master was not published with this key ring ({error}): every instance needs the "
                "same one, and installations that share a server need CACHE_NAMESPACE"
            ) from None
        if is_lease or not isinstance(value, dict):
            raise UnreadableRecordError("what is in the place of the shared symbol master is none")
        return Board(payload, *_contents(value))


def _contents(record: dict[str, Any]) -> tuple[Published | None, dict[str, tuple[int, int]]]:
    try:
        current = None if record["current"] is None else Published(**record["current"])
        uploads = {_checked(version): (serial, chunks) for version, serial, chunks in record["uploads"]}
        if current is not None:
            _checked(current.version)
    except (KeyError, TypeError, ValueError):
        raise UnreadableRecordError(
            "the shared symbol master was published by another release of openalgo-cache"
        ) from None
    return current, uploads


def _checked(version: str) -> str:
    """Return a version's number, which becomes part of a path."""
    if _VERSION.fullmatch(version) is None:
        raise ValueError
    return version

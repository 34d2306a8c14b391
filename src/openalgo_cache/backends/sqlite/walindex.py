"""The change token: a look into SQLite's WAL index, shared memory that every commit of every process updates.

The index (``-shm``) begins with two copies of a 48-byte header (https://sqlite.org/walformat.html, section 2.3.1): at
byte 8 a counter that goes up by one with each commit, at byte 40 a checksum over the rest. The checksum is the token,
since the counter starts again at 0 when the index is recovered after a crash. SQLite writes the second copy first.

Closing any descriptor of this file drops the locks that SQLite holds on it in this process, so one map is made per
file and kept until every connection is closed.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from openalgo_cache.locks import make_lock

_HEADER: Final = 48
_CHECKSUM: Final = 5
"""In words of 64 bits from the beginning of the first copy."""
_SECOND_COUNTER: Final = (_HEADER + 8) // 4
"""In words of 32 bits: the second copy's counter."""


class WalIndex:
    """A read-only view of one file's WAL index.

    Args:
        database: The database file, open in WAL mode in this process.

    Attributes:
        commits: Element 0 is the counter of the header's second copy.
        token: Element 0 is the checksum of the first.

    Raises:
        OSError: It cannot be mapped here.
    """

    __slots__ = ("_descriptor", "_map", "commits", "token")

    _descriptor: int
    _map: mmap.mmap
    commits: memoryview[int]
    token: memoryview[int]

    def __init__(self, database: Path) -> None:
        if sys.platform == "win32":
            raise OSError("SQLite locks the WAL index against others on Windows")
        self._descriptor = os.open(f"{database}-shm", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if os.fstat(self._descriptor).st_size < 2 * _HEADER:
            _kept_open.append(self._descriptor)
            raise OSError("the WAL index is shorter than its header")
        self._map = mmap.mmap(self._descriptor, 2 * _HEADER, mmap.MAP_SHARED, mmap.PROT_READ)
        self.token = memoryview(self._map).cast("Q")[_CHECKSUM : _CHECKSUM + 1]
        self.commits = memoryview(self._map).cast("I")[_SECOND_COUNTER : _SECOND_COUNTER + 1]

    def close(self) -> None:
        """Let go of the file; only :func:`leave` knows when."""
        os.close(self._descriptor)
        # The token may be in the hands of a reader for another moment; the map goes with its last user.
        del self._map, self.commits, self.token


_kept_open: Final[list[int]] = []
"""Descriptors that could not be used, and must not be closed while connections stand."""

_users: Final[Counter[Path]] = Counter()
_parked: Final[dict[Path, list[WalIndex]]] = {}
_lock: Final = make_lock()


def enter(database: Path) -> None:
    """Note that one more store of this process has connections to a database."""
    with _lock:
        _users[database] += 1


def park(database: Path, index: WalIndex) -> None:
    """Keep an index that its store does not look at any more until every connection to the database is closed."""
    with _lock:
        _parked.setdefault(database, []).append(index)


def leave(database: Path) -> None:
    """Note that a store has closed its connections; close the indexes that were parked when it was the last."""
    with _lock:
        _users[database] -= 1
        if not _users[database]:
            del _users[database]
            for index in _parked.pop(database, []):
                index.close()

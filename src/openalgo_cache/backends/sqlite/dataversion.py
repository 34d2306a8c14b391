"""The change token where the WAL index cannot be looked into: without a log, and on Windows.

``PRAGMA data_version`` changes when another connection commits. It costs a few microseconds a look, and our own
writes count as another connection's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import apsw

from openalgo_cache.locks import make_lock


class DataVersion(Sequence[int]):
    """A sequence of one number, asked for anew at each look.

    Args:
        connect: Opens a connection that is used for nothing else.
    """

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connection = connect()
        self._lock = make_lock()
        self._failures = 0

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        """Return the version; after a failure a number that was never there, so that nothing kept is trusted."""
        del at
        with self._lock:
            try:
                return int(self._connection.pragma("data_version"))
            except apsw.Error:
                self._failures += 1
                return -10 - self._failures

    def __len__(self) -> int:
        return 1

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

"""Connections for reading: at most a few a file, opened when needed, lent to one thread at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import apsw

from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.locks import make_lock, sleep

MOST: Final = 8
_PATIENCE: Final = 10.0
"""Seconds to wait for a connection that others use; a read takes microseconds."""


class Link:
    """A connection with a cursor that is kept, so that its statements stay prepared."""

    __slots__ = ("changes", "connection", "cursor", "execute")

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.execute = self.cursor.execute
        self.changes = connection.total_changes


class Pool:
    """Lends connections.

    Args:
        connect: Opens one.

    Attributes:
        idle: The connections that are not lent; whoever takes one from here puts it back.
    """

    __slots__ = ("_connect", "_lock", "_open", "_shut", "idle")

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self.idle: list[Link] = []
        self._lock = make_lock()
        self._open = 0
        self._shut = False

    def take(self) -> Link:
        """Return a connection; give it back with :meth:`give`."""
        try:
            return self.idle.pop()
        except IndexError:
            return self._take_new()

    def give(self, link: Link) -> None:
        """Take a connection back."""
        self.idle.append(link)

    def discard(self, link: Link) -> None:
        """Close a connection instead of giving it back."""
        link.connection.close()
        with self._lock:
            self._open -= 1

    def close(self, patience: float) -> bool:
        """Close every connection, and lend none until :meth:`reopen`.

        Args:
            patience: Seconds to wait for those that are lent.

        Returns:
            Whether all came back in time; those that did not are abandoned, not closed.
        """
        with self._lock:
            self._shut = True
        deadline = time.monotonic() + patience
        while self._open:
            try:
                link = self.idle.pop()
            except IndexError:
                if time.monotonic() > deadline:
                    return False
                sleep(0.0005)
                continue
            self.discard(link)
        return True

    def reopen(self) -> None:
        """Lend connections again."""
        with self._lock:
            self._shut = False

    def forget(self) -> bool:
        """Start anew, in a forked child: whatever is left belongs to the parent and is neither used nor closed.

        Returns:
            Whether there was anything.
        """
        left = self._open
        _abandoned.append(self.idle.copy())
        self.idle.clear()
        self._lock = make_lock()
        self._open = 0
        self._shut = False
        return left > 0

    def _take_new(self) -> Link:
        deadline = time.monotonic() + _PATIENCE
        while True:
            with self._lock:
                if not self._shut and self._open < MOST:
                    self._open += 1
                    break
            try:
                return self.idle.pop()
            except IndexError:
                if time.monotonic() > deadline:
                    raise BackendUnavailableError("no connection to a cache file became free in time") from None
                sleep(0.0005)
        try:
            return Link(self._connect())
        except BaseException:
            with self._lock:
                self._open -= 1
            raise


_abandoned: Final[list[object]] = []
"""Keeps a parent's connections from being collected, and so closed, in its child."""

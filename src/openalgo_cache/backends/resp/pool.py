"""The connections of one node that wait to be used."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.locks import get_ident, is_patched, make_lock

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.driver import Connection

_LOOK_AGAIN: Final = 0.001


class Pool:
    """Keeps a bounded number of connections, handed out last in, first out.

    The list of idle ones needs no lock: its steps are single ones of the interpreter. The lock guards the count.

    Args:
        dial: Opens a connection, by a deadline.
        size: The most connections.
        variable: What sets ``size``, for messages.
    """

    __slots__ = ("_dial", "_idle", "_lock", "_made", "_size", "_variable", "_waiting")

    def __init__(self, dial: Callable[[float], Connection], size: int, variable: str) -> None:
        self._dial = dial
        self._size = size
        self._variable = variable
        self._lock = make_lock()
        self._idle: list[Connection] = []
        self._made = 0
        self._waiting: deque[Any] = deque()

    def take(self, deadline: float) -> tuple[Connection, bool]:
        """Return a connection, and whether it is new.

        Raises:
            BackendUnavailableError: All are in use, and none came back by the deadline.
            Exception: Whatever opening one raises.
        """
        while True:
            try:
                return self._idle.pop(), False
            except IndexError:
                pass
            with self._lock:
                may_make = self._made < self._size
                self._made += may_make
            if may_make:
                try:
                    return self._dial(deadline), True
                except BaseException:
                    self._forget_one()
                    raise
            self._wait(deadline)

    def give(self, connection: Connection) -> None:
        """Take a connection back that is fit for use."""
        self._idle.append(connection)
        if self._waiting:
            self._wake()

    def drop(self, connection: Connection) -> None:
        """Close a connection that is not."""
        connection.disconnect()
        self._forget_one()

    def empty(self) -> None:
        """Close all that are idle."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            self.drop(connection)

    def abandon(self) -> None:
        """Forget everything, in a forked child: connections and waiting threads are the parent's."""
        self._idle, self._made = [], 0
        self._waiting.clear()

    def _forget_one(self) -> None:
        with self._lock:
            self._made -= 1
        self._wake()

    def _wake(self) -> None:
        with suppress(IndexError):
            self._waiting.popleft().release()

    def _wait(self, deadline: float) -> None:
        """Return when a connection may be free. Raise if the time is over."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise BackendUnavailableError(f"all {self._size} connections are in use ({self._variable})")
        if is_patched():  # waiting at a lock would stop the greenlet that is to give its connection back
            time.sleep(_LOOK_AGAIN)
            return
        turn = make_lock()
        turn.acquire()
        self._waiting.append(turn)
        if self._idle or self._made < self._size:  # one came back just before we queued up
            return
        turn.acquire(True, left)


class PoolOfThreads:
    """A pool for each thread of the system, under eventlet or gevent: a socket belongs to the loop that opened it."""

    __slots__ = ("_make", "_pools")

    def __init__(self, make: Callable[[], Pool]) -> None:
        self._make = make
        self._pools: dict[int, Pool] = {}

    def _own(self) -> Pool:
        thread = get_ident()
        pool = self._pools.get(thread)
        if pool is None:
            pool = self._pools[thread] = self._make()
        return pool

    def take(self, deadline: float) -> tuple[Connection, bool]:
        """See Pool."""
        return self._own().take(deadline)

    def give(self, connection: Connection) -> None:
        """See Pool."""
        self._own().give(connection)

    def drop(self, connection: Connection) -> None:
        """See Pool."""
        self._own().drop(connection)

    def empty(self) -> None:
        """Close what is idle and this thread's; the other threads find out for themselves."""
        self._own().empty()

    def abandon(self) -> None:
        """See Pool."""
        self._pools.clear()


def make_pool(dial: Callable[[float], Connection], size: int, variable: str) -> Pool | PoolOfThreads:
    """Return the pool that fits the sockets of this process; the arguments are those of Pool."""
    if is_patched():
        return PoolOfThreads(lambda: Pool(dial, size, variable))
    return Pool(dial, size, variable)

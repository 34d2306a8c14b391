"""The connections of one node that wait to be used."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.bridge import at_end, is_bridged
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

    __slots__ = ("_closed", "_dial", "_idle", "_lock", "_made", "_size", "_variable", "_waiting")

    def __init__(self, dial: Callable[[float], Connection], size: int, variable: str) -> None:
        self._dial = dial
        self._size = size
        self._variable = variable
        self._lock = make_lock()
        self._idle: list[Connection] = []
        self._made = 0
        self._closed = False
        self._waiting: deque[Any] = deque()

    def line_up(self, seconds: float) -> None:
        """Do nothing: only a loop's own operations have to line up."""

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
            self.wake()
        if self._closed:
            self.empty()

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

    def close(self) -> None:
        """Close all that are idle, and keep none that comes back from now on: nobody would close it later."""
        self._closed = True
        self.empty()

    def abandon(self) -> None:
        """Forget everything, in a forked child: connections and waiting threads are the parent's."""
        self._idle, self._made = [], 0
        self._waiting.clear()

    def _forget_one(self) -> None:
        with self._lock:
            self._made -= 1
        self.wake()

    def wake(self) -> None:
        """Let the next who waits have another look."""
        with suppress(IndexError):
            self._waiting.popleft().release()

    def _wait(self, deadline: float) -> None:
        """Return when a connection may be free. Raise if the time is over."""
        left = self._left(deadline)
        if is_patched():  # waiting at a lock would stop the greenlet that is to give its connection back
            time.sleep(_LOOK_AGAIN)
            return
        turn = make_lock()
        turn.acquire()
        self._waiting.append(turn)
        if self._idle or self._made < self._size:  # one came back just before we queued up
            return
        turn.acquire(True, left)
        self._leave(turn)

    def _left(self, deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BackendUnavailableError(f"all {self._size} connections are in use ({self._variable})")
        return left

    def _leave(self, turn: Any) -> bool:
        """Leave the line; return whether the turn had not come yet."""
        try:
            self._waiting.remove(turn)
        except ValueError:
            return False
        return True


class Pools:
    """A pool for each place that sockets belong to: an asyncio loop, or, under eventlet and gevent, a thread.

    Everything else in the process shares one. The arguments are those of Pool.
    """

    __slots__ = ("_arguments", "_of_loops", "_of_threads", "_shared")

    def __init__(self, dial: Callable[[float], Connection], size: int, variable: str) -> None:
        self._arguments = dial, size, variable
        self._shared = Pool(*self._arguments)
        self._of_threads: dict[int, Pool] | None = {} if is_patched() else None
        self._of_loops: dict[Any, tuple[Pool, object]] = {}

    def own(self) -> Pool:
        """Return the pool of the place that the caller is at."""
        if is_bridged():
            return self._of_loop()
        if self._of_threads is None:
            return self._shared
        thread = get_ident()
        pool = self._of_threads.get(thread)
        if pool is None:
            pool = self._of_threads[thread] = Pool(*self._arguments)
        return pool

    def close(self) -> None:
        """Close what is idle, and what comes back later; patched threads find out for themselves."""
        (self._shared if self._of_threads is None else self.own()).close()
        for loop, (pool, _) in list(self._of_loops.items()):
            with suppress(RuntimeError):  # it was closed
                loop.call_soon_threadsafe(pool.close)

    def abandon(self) -> None:
        """Forget everything, in a forked child: connections and those who wait are the parent's."""
        self._shared.abandon()
        if self._of_threads is not None:
            self._of_threads.clear()
        self._of_loops.clear()

    def _of_loop(self) -> Pool:
        import asyncio  # noqa: PLC0415  # slow to import, and there already where this is asked

        from openalgo_cache.backends.resp.onloop import LoopPool  # noqa: PLC0415  # likewise

        loop = asyncio.get_running_loop()
        found = self._of_loops.get(loop)
        if found is None:
            for other in [other for other in self._of_loops if other.is_closed()]:
                self._of_loops.pop(other, None)
            pool = LoopPool(*self._arguments)

            def end() -> None:
                self._of_loops.pop(loop, None)
                pool.close()

            found = self._of_loops[loop] = pool, at_end(end)
        return found[0]

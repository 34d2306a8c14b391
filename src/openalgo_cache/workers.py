"""Worker threads, in which asyncio callers have done what would keep their loop waiting.

They are our own, not the loop's default executor: an application may have filled that with work of its own, and a
cache must not wait for it. They are also real threads under eventlet and gevent, and a forked child gets new ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Final, TypeVar

from openalgo_cache.locks import Forks, make_lock, start_new_thread

T = TypeVar("T")

_IDLE_SECONDS: Final = 10.0
"""How long a thread waits for more to do before it ends."""


class _Job:
    """A call, and the future of whoever waits for it."""

    __slots__ = ("_arguments", "_call", "_context", "_future", "_loop")

    def __init__(
        self, call: Callable[..., Any], arguments: tuple[Any, ...], context: Context, future: asyncio.Future[Any]
    ) -> None:
        self._call = call
        self._arguments = arguments
        self._context = context
        self._future = future
        self._loop = future.get_loop()

    def __call__(self) -> None:
        try:
            result = self._context.run(self._call, *self._arguments)
        except BaseException as error:  # noqa: BLE001  # whoever waits is to raise it
            self._tell(self._future.set_exception, error)
        else:
            self._tell(self._future.set_result, result)

    def _tell(self, settle: Callable[[Any], None], what: Any) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle, what)


class Workers:
    """Threads that are started when there is something to do, and end when there has been nothing for a while.

    Args:
        most: How many at a time; further jobs queue up.
    """

    __slots__ = ("_forks", "_idle", "_lock", "_most", "_queue", "_threads")

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = make_lock()
        self._reset()

    def _reset(self) -> None:
        self._forks = Forks.count
        self._queue: deque[_Job] = deque()
        self._idle: list[Any] = []
        self._threads = 0

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call something in a thread, with the caller's context variables, and return what it returns.

        A thread can't be stopped. So a cancellation while the call runs is raised when it has ended, and what it holds
        was let go of; a call that has not begun is not made.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job = _Job(call, arguments, copy_context(), future)
        self._submit(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done() and not self._withdraw(job):
                with suppress(asyncio.CancelledError):  # the first one is raised below
                    await asyncio.wait((future,))
            if future.done():
                future.exception()  # nobody's any more
            raise

    def _submit(self, job: _Job) -> None:
        with self._lock:
            if self._forks != Forks.count:  # the parent's threads are not here
                self._reset()
            self._queue.append(job)  # whichever thread is first: one that is just done, or one that wakes
            if self._idle:
                self._idle.pop().release()
                return
            if self._threads == self._most:
                return
            self._threads += 1
        try:
            start_new_thread(self._work, ())
        except RuntimeError:  # the system gives no more
            with self._lock:
                self._threads -= 1
            if self._withdraw(job):
                raise

    def _withdraw(self, job: _Job) -> bool:
        with self._lock:
            try:
                self._queue.remove(job)
            except ValueError:
                return False
            return True

    def _work(self) -> None:
        bell = make_lock()
        bell.acquire()
        while True:
            with self._lock:
                job = self._queue.popleft() if self._queue else None
                if job is None:
                    self._idle.append(bell)
            if job is not None:
                job()
            elif not bell.acquire(True, _IDLE_SECONDS) and self._retire(bell):
                return

    def _retire(self, bell: Any) -> bool:
        """End a thread that waited in vain; return False if it was called just then."""
        with self._lock:
            if bell not in self._idle:
                bell.acquire()
                return False
            self._idle.remove(bell)
            self._threads -= 1
            return True


SHARED: Final = Workers(8)
"""For verbs; as many as a file of SQLite has connections for reading."""

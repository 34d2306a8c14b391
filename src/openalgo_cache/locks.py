"""Locks that work the same under plain threads, eventlet and gevent, and one that works between processes.

A monkey-patched lock that greenlets and real threads share can stall both. These are always the originals; whoever
holds one does memory work only (the writer's lock of a store is the exception, and under it nothing patched runs).
"""

from __future__ import annotations

import errno
import os
import sys
import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import TracebackType


def _original(module: str, name: str) -> Any:
    """Return an attribute of a module as it was before eventlet or gevent patched it."""
    if (patcher := sys.modules.get("eventlet.patcher")) is not None:
        return getattr(patcher.original(module), name)
    if (monkey := sys.modules.get("gevent.monkey")) is not None:
        return monkey.get_original(module, name)
    return getattr(__import__(module), name)


_allocate_lock = _original("_thread", "allocate_lock")
start_new_thread = _original("_thread", "start_new_thread")
get_ident = _original("_thread", "get_ident")
sleep = _original("time", "sleep")
_locks: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def is_patched() -> bool:
    """Return whether eventlet or gevent has replaced the sockets of this process."""
    if (patcher := sys.modules.get("eventlet.patcher")) is not None and patcher.is_monkey_patched("socket"):
        return True
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def make_lock() -> Any:
    """Return a lock that is free in a forked child, whoever held it in the parent."""
    lock = _allocate_lock()
    _locks.add(lock)
    return lock


class Forks:
    """How often this process's line of ancestors forked: cheaper to compare than to ask the system who we are."""

    count = 0


def _free_all() -> None:
    Forks.count += 1
    for lock in _locks:
        lock._at_fork_reinit()  # noqa: SLF001  # as the threading module does with its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)


class QueueLock:
    """A lock of this process that goes to whoever has waited longest.

    A plain one mostly goes to the thread that has just released it, and threads that write all the time leave others
    waiting for seconds.
    """

    __slots__ = ("_guard", "_held", "_waiting")

    def __init__(self) -> None:
        self._guard = _allocate_lock()
        self._held = False
        self._waiting: deque[Any] = deque()

    def acquire(self) -> None:
        """Wait for the lock."""
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = _allocate_lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()
        except BaseException:  # Ctrl-C: leave the queue, or pass on what was handed over just then
            with self._guard:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                    raise
            self.release()
            raise

    def release(self) -> None:
        """Hand the lock to the next in the queue."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

    __enter__ = acquire

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class FileLock:
    """An exclusive lock between processes, on a file of its own; released by the system when its holder dies.

    Only one thread of a process may use it at a time: its user holds a lock of the process around it.

    Args:
        path: The lock's file; created 0600, never deleted (a deleted lock file locks nobody out).
    """

    __slots__ = ("_descriptor", "_opened_at", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._opened_at = -1

    def __enter__(self) -> None:
        self._open()
        _lock(self._descriptor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _unlock(self._descriptor)

    def attempt(self) -> bool:
        """Take the lock if it is free; return whether it was."""
        self._open()
        return _lock_if_free(self._descriptor)

    def _open(self) -> None:
        if self._opened_at != Forks.count:
            # A forked child shares its parent's open file, and so its lock: it needs one of its own.
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            self._opened_at = Forks.count

    def close(self) -> None:
        """Close the file; the lock can be taken again all the same."""
        if self._opened_at == Forks.count:
            os.close(self._descriptor)
        self._opened_at = -1


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        while not _lock_if_free(descriptor):
            sleep(0.001)  # msvcrt's own waiting looks once a second only

    def _lock_if_free(descriptor: int) -> bool:
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EDEADLK}:
                raise
            return False  # held by somebody else
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    _SPINS: Final = 15
    """Tries before a process sleeps until the lock is free. They take about as long as a write; to fall asleep and be
    woken takes longer, and processes that all do so spend more on that than on writing."""

    _AT_ONCE: Final = fcntl.LOCK_EX | fcntl.LOCK_NB

    _flock = fcntl.flock
    _UNLOCK: Final = fcntl.LOCK_UN

    def _lock(descriptor: int) -> None:
        try:
            _flock(descriptor, _AT_ONCE)
        except BlockingIOError:
            _wait_for(descriptor)

    def _lock_if_free(descriptor: int) -> bool:
        try:
            _flock(descriptor, _AT_ONCE)
        except BlockingIOError:
            return False
        return True

    def _wait_for(descriptor: int) -> None:
        for _ in range(_SPINS):
            with suppress(BlockingIOError):
                return _flock(descriptor, _AT_ONCE)
        return _flock(descriptor, fcntl.LOCK_EX)

    def _unlock(descriptor: int) -> None:
        _flock(descriptor, _UNLOCK)

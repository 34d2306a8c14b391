"""Forks: the connections are closed before, and both sides open their own afterwards.

To leave them to the parent is not enough: SQLite keeps one list of open files per process, and a child that inherits
it believes that it holds locks which the kernel gave to the parent only; when the parent ends, somebody else may then
delete the log that the child is writing to.
"""

from __future__ import annotations

import itertools
import os
import weakref
from typing import Final, Protocol

from openalgo_cache.locks import make_lock


class Forkable(Protocol):
    """Something with connections."""

    def before_fork(self) -> None:
        """Close the connections, and keep everybody from opening new ones until the fork is over."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """Let this side of the fork open its own."""
        ...


_all: Final[weakref.WeakKeyDictionary[Forkable, int]] = weakref.WeakKeyDictionary()
_lock: Final = make_lock()
_serial_numbers: Final = itertools.count()
_forking: Final[list[Forkable]] = []


def register(one: Forkable) -> None:
    """Have the connections of ``one`` closed before each fork."""
    with _lock:
        _all[one] = next(_serial_numbers)


def _before() -> None:
    # Held until the fork is over: what another thread made meanwhile would be inherited open, and locked for ever.
    _lock.acquire()
    # In the order of creation: a cache's write may read the file of its recency, which was created after it.
    in_order = sorted(_all.items(), key=lambda item: item[1])
    for one, _ in in_order:
        one.before_fork()
        _forking.append(one)


def _after(*, child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(child=child)
    if not child:
        _lock.release()  # in the child all locks are free already


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(child=False),
        after_in_child=lambda: _after(child=True),
    )

"""Every handle of this process, so that all can be given another class while something watches them."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakSet

from openalgo_cache.locks import make_lock

Change = Callable[[type], type]
"""Returns the class that a handle of a class is to have from now on."""


def _no_change(kind: type) -> type:
    return kind


class Handles:
    """The handles that are alive."""

    __slots__ = ("_change", "_lock", "_members")

    def __init__(self) -> None:
        self._members: WeakSet[object] = WeakSet()
        self._lock = make_lock()
        self._change: Change = _no_change

    def add(self, handle: object) -> None:
        """Take in a new handle; it is changed like those that are there."""
        with self._lock:
            self._members.add(handle)
            _become(handle, self._change)

    def change(self, now: Change, later: Change = _no_change) -> None:
        """Change the class of every handle, and of those to come by ``later``."""
        with self._lock:
            self._change = later
            for handle in self._members:
                _become(handle, now)


def _become(handle: object, change: Change) -> None:
    kind = type(handle)
    if (wanted := change(kind)) is not kind:
        handle.__class__ = wanted


HANDLES = Handles()

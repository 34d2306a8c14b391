"""Waiting for a store that is away for a moment, instead of failing at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from openalgo_cache.errors import BackendUnavailableError

T = TypeVar("T")

_PAUSE: Final = 0.1


class Patience:
    """Lets a few callers wait until a store answers; whoever finds no place fails at once, as without it.

    Each who waits holds a thread of the server, so their number is bounded: what needs no store has to go on.

    Args:
        seconds: How long one waits.
        places: How many wait at once.
    """

    def __init__(self, seconds: float, places: int) -> None:
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(places)

    def read(self, read: Callable[[], T]) -> T:
        """Return what ``read`` returns, called again until the store answers.

        Raises:
            BackendUnavailableError: It does not, for too long, or for too many.
        """
        try:
            return read()
        except BackendUnavailableError:
            if self._seconds <= 0 or not self._places.acquire(blocking=False):
                raise
        try:
            return self._try_again(read, time.monotonic() + self._seconds)
        finally:
            self._places.release()

    def _try_again(self, read: Callable[[], T], deadline: float) -> T:
        while True:
            time.sleep(_PAUSE)
            try:
                return read()
            except BackendUnavailableError:
                if time.monotonic() >= deadline:
                    raise

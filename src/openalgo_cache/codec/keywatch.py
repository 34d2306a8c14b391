"""The thread that looks once a second whether anything about the keys has changed.

One a process, for all key rings in it. It begins when the first cache opens, and again in a forked child; so neither
reads nor writes ever ask the system whether there are other keys by now.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import Final, Protocol

from openalgo_cache.locks import make_lock, sleep, start_new_thread

_log = logging.getLogger("openalgo_cache")

TICK: Final = 1.0
"""Seconds between looks."""


class Watched(Protocol):
    """Something that looks for changes."""

    def tick(self) -> None:
        """Look once; called from the thread."""
        ...


class KeyWatch:
    """What this process's thread calls once a second."""

    def __init__(self) -> None:
        self._runs = False
        self._all: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._lock = make_lock()
        self._looking = make_lock()

    def add(self, watched: Watched) -> None:
        """Call ``watched``, too, for as long as somebody else holds it; the first starts the thread."""
        with self._lock:
            self._all.add(watched)
            if not self._runs:
                self._runs = True
                start_new_thread(self._loop, ())

    def discard(self, watched: Watched) -> None:
        """Call ``watched`` no more; a call that is under way has ended when this returns."""
        with self._looking, self._lock:
            self._all.discard(watched)

    def forget_the_thread(self) -> None:
        """In a forked child: the thread, and whatever it held, stayed with the parent."""
        self._runs = False
        self._looking = make_lock()

    def _loop(self) -> None:
        while True:
            sleep(TICK)
            with self._lock:
                everybody = list(self._all)
                if not everybody:
                    self._runs = False
                    return
            for watched in everybody:
                with self._looking:
                    if watched in self._all:
                        self._tick(watched)
                del watched  # or it could not be collected
            del everybody

    @staticmethod
    def _tick(watched: Watched) -> None:
        try:
            watched.tick()
        except Exception as error:  # noqa: BLE001  # what is wrong with one must not keep the others waiting
            _log.error("the look at the key ring failed: %s", type(error).__name__)  # its text could hold a key


WATCH: Final = KeyWatch()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCH.forget_the_thread)

"""The key ring as a running process holds it: the file's, and never less than what it held before by mistake.

The file is looked at once a second (``keywatch.py``), and at once when a record names a key that is not held. Only a
ring of the same installation is taken over. Whatever else the file has become, the ring stays that is held: nothing
sealed can be read without it, and with another one nothing should be sealed.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Final, Protocol

from openalgo_cache.codec.keyring import KeyRing, shown
from openalgo_cache.codec.keywatch import WATCH
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.errors import KeyRingError
from openalgo_cache.locks import make_lock

_log = logging.getLogger("openalgo_cache")

_YOUNG: Final = 1.0
"""Seconds in which two changes of a file may look like one, where its time is coarse: it is read once more."""
_NEVER: Final = ()


class Follower(Protocol):
    """Somebody who keeps what follows from a ring."""

    def follow(self) -> None:
        """Forget it: the ring is another one, or the process is."""
        ...


class LiveRing:
    """The key ring of a running process.

    Args:
        ring: The ring, as it was read.
        file: Where it was read; None for one that stays as it is.

    Attributes:
        now: The ring at this moment.
        problem: What is wrong with the file, in words; None if nothing is.
        alarm: Told once what is wrong with the file, and None when it is in order again.
    """

    __slots__ = ("__weakref__", "_file", "_followers", "_lock", "_seen", "alarm", "now", "problem")

    def __init__(self, ring: KeyRing, file: RingFile | None = None) -> None:
        self.now = ring
        self.problem: str | None = None
        self._file = file
        self.alarm: Callable[[str | None], None] | None = None
        self._seen: tuple[int, ...] | None = _NEVER
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()
        self._lock = make_lock()
        _live.add(self)

    def attach(self, follower: Follower) -> None:
        """Tell ``follower`` of every change, and see to it that changes are noticed in this process."""
        self._followers.add(follower)
        self.watch()

    def watch(self) -> None:
        """See to it that this process's thread looks at the file."""
        if self._file is not None:
            WATCH.add(self)

    def rest(self) -> None:
        """Look at the file no more, until somebody attaches again: nothing is used that stands on the ring."""
        WATCH.discard(self)

    def holding(self, key_id: int) -> KeyRing | None:
        """Return the ring if it has a key, by now; else None.

        Asking for one that nobody has costs a look at the file's times, less than reading the record that names it; the
        file is read only if it has changed.
        """
        if key_id not in self.now:
            self.tick()
        ring = self.now
        return ring if key_id in ring else None

    def tick(self) -> None:
        """Take over what the file has become, if it has changed."""
        if self._file is None:
            return
        with self._lock:  # over a small file: whoever asks for a new key should not be told by half
            problem, ring = self.problem, self.now
            if (stamp := _stamp_of(self._file)) != self._seen:
                self._read(self._file)
                # Looked at before it was read, so what is written after the look is another file the next time.
                self._seen = _NEVER if stamp and abs(time.time() - stamp[0] / 1e9) < _YOUNG else stamp
        if self.problem != problem:
            if self.problem is None:
                _log.warning("the key ring %s is in order again", self._file.path)
            else:
                _log.error("%s; this process goes on with the keys that it has", self.problem)
            if self.alarm is not None:
                self.alarm(self.problem)
        if self.now is not ring:
            lost = [shown(key.id) for key in ring.keys if key.id not in self.now]
            _log.log(
                logging.WARNING if lost else logging.INFO,
                "the key ring %s has changed: its keys are %s, and %s seals%s",
                self._file.path,
                ", ".join(shown(key.id) for key in self.now.keys),
                shown(self.now.active.id),
                f"; what {' and '.join(lost)} sealed cannot be opened any more" if lost else "",
            )

    def _read(self, file: RingFile) -> None:
        """Take over the file's ring, or note what is wrong with it."""
        try:
            ring = file.load()
        except KeyRingError as error:
            self.problem = str(error)
            return
        if (ring.id, ring.fingerprint()) != (self.now.id, self.now.fingerprint()):
            self.problem = (
                f"the key ring {file.path} is another installation's: its fingerprint is {ring.fingerprint()}, ours is "
                f"{self.now.fingerprint()}: put ours back"
            )
            return
        self.problem = None
        if ring.keys != self.now.keys:
            self.now = ring
            self.renew()

    def renew(self) -> None:
        """Tell everybody to forget what followed from the ring."""
        for follower in list(self._followers):
            follower.follow()


def _stamp_of(file: RingFile) -> tuple[int, ...] | None:
    """Return what changes with every change of a file; None if it is not there."""
    try:
        status = os.stat(file.path)  # noqa: PTH116  # a millionth of a second less than Path.stat, at made-up key ids
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size, status.st_mode, status.st_uid


_live: Final[weakref.WeakSet[LiveRing]] = weakref.WeakSet()


def _renew_all() -> None:
    """In a forked child: nobody may seal as the parent does, and its first use of a key starts the thread."""
    for ring in list(_live):
        ring.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)

"""What one process writes to the audit log: a chain of lines, each signed over the one before it.

The chain begins with ``START``, which names the process and how the newest file ended that it found, and ends with
``STOP`` if it ends in an orderly way. In the next day's file it goes on with ``DAY``, which says the same of the file
before. A forked child, and whoever goes on after a close, begins a chain of its own.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from openalgo_cache import files
from openalgo_cache.audit.appending import End, append, end_of, is_torn, open_file
from openalgo_cache.audit.days import Days, day_of, days_before
from openalgo_cache.audit.event import Event
from openalgo_cache.audit.heads import Anchor
from openalgo_cache.audit.line import FIRST, Head, chain_key, sign
from openalgo_cache.clock import Clock
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.locks import FileLock, make_lock

Stamped = tuple[float, Event]
"""When something happened, seconds since the epoch, and what."""

START: Final = "START"
STOP: Final = "STOP"
DAY: Final = "DAY"
"""What a chain's first line in the next day's file says."""
MENDED: Final = "MENDED"
"""What follows the rest of a line that somebody could not finish."""

_LONGEST_SILENCE: Final = 7
"""Days after which a process begins a new chain, so that what retention says of the old one is still there with it."""
_BATCH: Final = 500
"""Lines that are written at a time, while other processes wait."""


class Writer:
    """Writes the lines of one process.

    Args:
        days: The log's files.
        ring: Where the key ring comes from.
        namespace: CACHE_NAMESPACE, if it is set.
        instance: This instance's name.
        clock: Where the time comes from.
        kept_days: How many days are kept; None for all.

    Attributes:
        instance: This instance's name.
        day: The day of the last line; earlier ones are not written to any more, whatever the clock says.
        unanchored: The ends of this process's chains that are on the disk, and that nobody has anchored yet.
    """

    def __init__(  # noqa: PLR0913  # what a line and its place are made of
        self,
        days: Days,
        ring: Callable[[], KeyRing],
        namespace: str | None,
        instance: str,
        clock: Clock,
        kept_days: int | None,
    ) -> None:
        self._days = days
        self._ring = ring
        self._namespace = namespace
        self.instance = instance
        self._clock = clock
        self._longest_silence = min(_LONGEST_SILENCE, kept_days or _LONGEST_SILENCE)
        self._mutex = make_lock()
        self._file_lock = FileLock(days.lock_path)
        self._key = b""
        self._head: Head | None = None
        self._left: Head | None = None
        self._unsynced: list[Path] = []
        self._known: set[Path] = set()
        self.day = ""
        self.unanchored: dict[str, Anchor] = {}

    def drain(self, queue: deque[Stamped]) -> None:
        """Write what is queued; it is on the disk when this returns.

        Raises:
            OSError: Something could not be written; it is still in the queue.
            KeyRingError: There is no key to sign with; likewise.
        """
        with self._mutex:
            while queue:
                self._write(queue)
            self._sync()

    def write(self, events: Sequence[Event]) -> None:
        """Write some lines of the log's own, on the disk when this returns; raise as :meth:`drain` does."""
        own = deque((self._clock(), event) for event in events)
        self.drain(own)

    def finish(self, queue: deque[Stamped]) -> None:
        """Write what is queued and end the chain; raise as :meth:`drain` does."""
        self.drain(queue)
        with self._mutex:
            if self._head is not None:
                at = self._clock()
                self._put(max(self.day, day_of(at)), [(at, Event(None, STOP, None, None))])
                self._sync(closed=True)
                self._head = None
            self._file_lock.close()

    # --- under the mutex ---------------------------------------------------------------------------------------------

    def _write(self, queue: deque[Stamped]) -> None:
        """Write the first events of a queue, all of one day, and take them out."""
        day = max(self.day, day_of(queue[0][0]))
        batch = []
        for number in range(min(len(queue), _BATCH)):  # others append meanwhile, so no iterator
            if max(self.day, day_of(queue[number][0])) != day:
                break
            batch.append(queue[number])
        if self._head is not None and self.day and self.day < days_before(day, self._longest_silence):
            self._left, self._head = self._head, None
        if self._head is None:
            self._begin()
        self._put(day, batch)
        for _ in batch:
            queue.popleft()

    def _begin(self) -> None:
        ring, writer = self._ring(), secrets.token_hex(16)
        files.ensure_folder(self._days.path.parent)
        self._key = chain_key(ring, self._namespace or ring.id, writer)
        self._head = Head(writer, 0, FIRST)

    def _put(self, day: str, batch: Sequence[Stamped]) -> None:
        """Append lines to a day's file. They are written whole, or not at all."""
        assert self._head is not None  # noqa: S101  # for the type checker: whoever calls has begun
        head, lines, path = self._head, b"", self._days.file_of(day)
        at = batch[0][0]  # for lines of our own, too: the day must be that of the file
        opens = START if not head.sequence else DAY if day != self.day else None
        if opens is None:
            lines, head = self._signed(head, batch)  # while others need not wait
        with self._file_lock:
            descriptor = open_file(path)
            try:
                if opens is not None:
                    lines, head = self._signed(head, [(at, self._opening(opens, path, end_of(descriptor))), *batch])
                if is_torn(descriptor):
                    mended, head = self._signed(head, [(at, self._mended(end_of(descriptor)))])
                    lines = b"\n" + lines + mended
                append(descriptor, lines)
            finally:
                os.close(descriptor)
        self._head, self.day, self._left = head, day, None
        if path not in self._unsynced:
            self._unsynced.append(path)

    def _signed(self, head: Head, batch: Sequence[Stamped]) -> tuple[bytes, Head]:
        lines = []
        for at, event in batch:
            line, head = sign(self._key, head, at, event, self.instance)
            lines.append(line)
        return b"".join(lines), head

    def _opening(self, operation: str, path: Path, end: End) -> Event:
        """Return the first event of a chain, or of its part in a file: who writes, and how the newest file ended."""
        from importlib.metadata import version  # noqa: PLC0415  # slow to import, and only needed here

        name = path.name
        if not end.size:
            earlier = [file for file in self._days.files().values() if file.name < name]
            with suppress(OSError):  # it went just now: then nothing is said of it
                if earlier:
                    descriptor = os.open(earlier[-1], os.O_RDONLY | getattr(os, "O_BINARY", 0))
                    try:
                        name, end = earlier[-1].name, end_of(descriptor)
                    finally:
                        os.close(descriptor)
        size = end.size - len(end.torn)
        after = f"after {name} {size} {end.last or '-'}" if size else "after nothing"
        goes_on = f"goes on from {self._left.writer} {self._left.sequence}, " if self._left is not None else ""
        detail = f"pid {os.getpid()}, version {version('openalgo-cache')}, {goes_on}{after}"
        return Event(None, operation, None, None, detail=detail)

    def _mended(self, end: End) -> Event:
        detail = f"at {end.size - len(end.torn)}, {len(end.torn)} bytes, sha256 {sha256(end.torn).hexdigest()}"
        return Event(None, MENDED, None, None, detail=detail)

    def _sync(self, *, closed: bool = False) -> None:
        """Bring to the disk what was written, and note what may be anchored from now on."""
        while self._unsynced:
            path = self._unsynced[0]
            descriptor = open_file(path)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if path not in self._known:
                files.sync_folder(path.parent)
                self._known = {path}
            self._unsynced.pop(0)
        if (head := self._head) is not None and head.sequence:
            self.unanchored[head.writer] = Anchor(
                head.sequence, head.mac, self.day, closed, self.instance, str(self._days.path)
            )

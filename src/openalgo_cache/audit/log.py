"""The audit log of a manager: takes events off its callers' hands, and sees to it that they are written.

Whoever records an event puts it into a queue, which costs about as much as a call. A thread of our own, which starts
with the first event in each process and ends when there is nothing to do, writes what is queued, in batches. The queue
is bounded, and no event is ever dropped: where it is full, callers wait, and then are told.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Final

from openalgo_cache.audit.days import Days
from openalgo_cache.audit.event import Event
from openalgo_cache.audit.heads import HeadStore
from openalgo_cache.audit.upkeep import Upkeep, words
from openalgo_cache.audit.writer import Stamped, Writer
from openalgo_cache.clock import Clock
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import AuditUnavailableError, CacheError
from openalgo_cache.locks import Forks, make_lock, sleep, start_new_thread
from openalgo_cache.settings import Settings

_log = logging.getLogger("openalgo_cache")

_PAUSE: Final = 0.1
"""Seconds between two batches: what comes meanwhile is written together."""
_LONGEST_WAIT: Final = 2.0
"""Seconds that a caller waits for room in the queue, or for the disk."""
_LOOK_AGAIN: Final = 0.005
_IDLE: Final = 10.0
"""Seconds without an event after which the thread ends."""
_LOOK_AT_WORK: Final = 1.0
"""Seconds between two looks whether there is upkeep to do."""


class AuditLog:
    """Records who did what with which cache.

    Args:
        settings: Where it lies, and what happens when it cannot be written.
        ring: Where the key ring comes from.
        clock: Where the time comes from.
        open_heads: Opens the cache of the heads; the thread alone uses it, and closes it.

    Attributes:
        days: Its files.
        problem: Why nothing can be written at present; None if all is well.
    """

    def __init__(
        self, settings: Settings, ring: Callable[[], KeyRing], clock: Clock, open_heads: Callable[[], HeadStore]
    ) -> None:
        self.days = Days(settings.audit_log_path, settings.cache_namespace)
        namespace, kept_days = settings.cache_namespace, settings.cache_audit_retention_days
        self._new_writer = partial(Writer, self.days, ring, namespace, settings.instance, clock, kept_days)
        self._new_upkeep = partial(Upkeep, self.days, ring, namespace, open_heads, kept_days)
        self._now = clock
        self._size = settings.cache_audit_queue_size
        self._waits = settings.cache_audit_on_full == "block"
        self._guard = make_lock()
        self._forks = -1
        self._become_another()

    def record(self, event: Event) -> None:
        """Have an event written soon, with the present time.

        Raises:
            AuditUnavailableError: The queue is full, and stays so for as long as CACHE_AUDIT_ON_FULL lets callers wait.
        """
        if self._forks != Forks.count:
            self._become_another()
        if len(self._queue) >= self._size:
            self._wait_for_room()
        self._queue.append((self._now(), event))
        if self._sleeps:
            self._wake()
        if self._news:
            self._tell()

    def record_now(self, event: Event) -> None:
        """Write an event, and all that are queued before it; they are on the disk when this returns.

        Raises:
            AuditUnavailableError: That cannot be done. The event stays in the queue if there was room for it.
        """
        self.record(event)
        self.flush()

    def flush(self) -> None:
        """Write what is queued; it is on the disk when this returns.

        Raises:
            AuditUnavailableError: That cannot be done; it stays in the queue.
        """
        deadline = time.monotonic() + _LONGEST_WAIT
        while self._write():
            if not self._waits or time.monotonic() >= deadline:
                raise self._unavailable()
            time.sleep(_LOOK_AGAIN)  # the patched one, where it is patched: other greenlets go on

    def close(self) -> None:
        """Write what is queued and end the chain. The next event begins another."""
        if self._forks != Forks.count:
            self._become_another()
        _open.discard(self)
        try:
            self._writer.finish(self._queue)
        except (OSError, CacheError) as error:
            _log.error(
                "the audit log %s is closed, and %d events are not written: %s",
                self.days.path,
                len(self._queue),
                words(error),
            )
        self._anchor_at_the_end()
        if self._queue:  # somebody has gone on meanwhile
            self._wake()
        if self._news:
            self._tell()

    def pending(self) -> int:
        """Return how many events wait to be written."""
        return len(self._queue)

    def _become_another(self) -> None:
        """Forget what belongs to the parent of this process: its queue, its chain and its thread."""
        with self._guard:
            if self._forks == Forks.count:
                return  # another thread was first
            self._queue: deque[Stamped] = deque()
            self._writer = self._new_writer()
            self._bell = make_lock()
            self._bell.acquire()
            self._sleeps = True
            self._runs = False
            self._ends = False
            self._news: list[str] = []
            self.problem: str | None = None
            self._forks = Forks.count

    def _wait_for_room(self) -> None:
        deadline = time.monotonic() + _LONGEST_WAIT
        while len(self._queue) >= self._size:
            if not self._waits or time.monotonic() >= deadline:
                raise self._unavailable()
            self._wake()
            time.sleep(_LOOK_AGAIN)

    def _unavailable(self) -> AuditUnavailableError:
        why = self.problem or "events come faster than they can be written"
        return AuditUnavailableError(
            f"the audit log {self.days.path} cannot be written ({why}), and {len(self._queue)} events wait: make "
            "space, or set CACHE_AUDIT_LOG_PATH to a file in a folder that this user can write to; "
            "CACHE_AUDIT_QUEUE_SIZE says how many may wait"
        )

    def _write(self) -> str | None:
        """Write what is queued; return what is wrong, or None."""
        try:
            self._writer.drain(self._queue)
        except Exception as error:  # noqa: BLE001  # whatever it is, callers are told, and the thread goes on
            problem = words(error)
            if self.problem is None:
                self._news.append(f"the audit log {self.days.path} cannot be written, and events wait: {problem}")
            self.problem = problem
        else:
            if self.problem is not None:
                self._news.append(f"the audit log {self.days.path} is written again")
            self.problem = None
        return self.problem

    def _tell(self) -> None:
        # Not the thread: a log's lock may be a patched one.
        while self._news:
            _log.warning("%s", self._news.pop(0))

    # --- the thread --------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """See to it that the thread looks into the queue; start it if it is not there."""
        with self._guard:
            if not self._sleeps:
                return
            _open.add(self)
            if self._runs:
                self._bell.release()
            else:
                try:
                    start_new_thread(self._run, (self._writer,))
                except RuntimeError:  # the system gives no more, or the interpreter ends: the next event tries again
                    return
                self._runs = True
            self._sleeps = False

    def _run(self, writer: Writer) -> None:
        with closing(self._new_upkeep(writer, self._news.append)) as upkeep:
            while True:
                ends, wrote = self._ends, bool(self._queue)  # before it is looked what there is to anchor
                failed = self._write() is not None
                upkeep.run(at_once=ends)
                if ends:
                    break
                if wrote or failed:
                    self._pause()
                elif not self._doze(_LOOK_AT_WORK if upkeep.has_work else _IDLE, stays=upkeep.has_work):
                    return
        with self._guard:
            self._runs = self._ends = False
            self._sleeps = True

    def _pause(self) -> None:
        """Let events gather, unless the log is closed meanwhile."""
        until = time.monotonic() + _PAUSE
        while not self._ends and time.monotonic() < until:
            sleep(_LOOK_AGAIN)

    def _doze(self, seconds: float, *, stays: bool) -> bool:
        """Wait until there is something to do; return False if the thread is to end."""
        self._sleeps = True
        if not self._queue and not self._ends and self._bell.acquire(True, seconds):
            return True
        with self._guard:
            if not self._sleeps:  # somebody was waking us just then
                self._bell.acquire()
                return True
            if self._queue or self._ends or stays:
                self._sleeps = False
                return True
            self._runs = False
            return False

    def _anchor_at_the_end(self) -> None:
        """Have the thread anchor what is left and end, and wait for that, but not for ever."""
        if not self._writer.unanchored and not self._runs:
            return
        self._ends = True
        self._wake()
        deadline = time.monotonic() + _LONGEST_WAIT
        while self._runs and time.monotonic() < deadline:
            sleep(_LOOK_AGAIN)


_open: Final[set[AuditLog]] = set()
"""The logs that may have something to write; they stay until they are closed, at the latest when the process ends."""


@atexit.register
def _close_all() -> None:
    for log in list(_open):
        log.close()

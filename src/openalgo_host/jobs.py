"""Background work that one of several instances does for all: at every beat, or once a day.

Whoever holds the lease ``jobs`` does it. If that instance dies, another one takes over within :data:`TAKEOVER` seconds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Double, String
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from openalgo_cache import CacheError
from openalgo_host.database import Base, Database
from openalgo_host.india import INDIA
from openalgo_host.leases import FencedOffError, Lease, Leases, check

_log = logging.getLogger("openalgo_host")

BEAT: Final = 1.0
"""Seconds between two looks at what there is to do."""
TAKEOVER: Final = 8.0
"""Seconds after which another instance does what this one did, if it has died."""

_RENEWED_WITH: Final = TAKEOVER / 2
"""Seconds that are left of the lease when it is prolonged: not at every beat, since that writes."""


class JobRow(Base):
    """A row of the table of daily jobs: for when one was last done, in seconds since the epoch."""

    __tablename__ = "jobs"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    due_at: Mapped[float] = mapped_column(Double)


class _Daily(NamedTuple):
    name: str
    at: time
    work: Callable[[Session, float], object]


class Jobs:
    """What is done in the background, in one instance of the fleet.

    Args:
        database: Where it is written down what was done.
        leases: Which instance does it.
        clock: Where the time comes from.
    """

    def __init__(self, database: Database, leases: Leases, clock: Callable[[], float]) -> None:
        self._database = database
        self._leases = leases
        self._clock = clock
        self._at_each_beat: list[Callable[[], object]] = []
        self._daily: list[_Daily] = []
        self._lease: Lease | None = None
        self._held_until = 0.0
        self._fails = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def at_each_beat(self, work: Callable[[], object]) -> None:
        """Do something about once a second. It may happen twice in a second when instances take turns."""
        self._at_each_beat.append(work)

    def daily(self, name: str, at: time, work: Callable[[Session, float], object]) -> None:
        """Do something once a day, whatever dies meanwhile.

        Args:
            name: Of the job, up to 64 characters.
            at: When, in India. Whoever starts later makes up for the last time, not for those before.
            work: Gets the transaction in which it is also written down that this was done, and when it was due.
        """
        self._daily.append(_Daily(name, at, work))

    def beat(self) -> None:
        """Do what there is to do, if it is this instance that does it.

        Raises:
            SQLAlchemyError: The database fails.
            CacheError: Something else does.
        """
        lease = self._take()
        if lease is None:
            return
        for work in self._at_each_beat:
            work()
        for job in self._daily:
            self._do(job, lease)

    def start(self) -> None:
        """Look after it in a thread, until :meth:`stop`."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="openalgo-host jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, when what is being done is done, and let another instance take over at once."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join()
        self._thread = None
        if self._lease is not None:
            lease, self._lease = self._lease, None
            try:
                self._leases.release(lease)
            except SQLAlchemyError:
                _log.warning("the database fails: another instance takes over the jobs in %g seconds", TAKEOVER)

    def _run(self) -> None:
        while not self._stopping.wait(BEAT):
            try:
                self.beat()
                self._fails = False
            except FencedOffError:  # another instance was quicker, and does it
                self._lease = None
            except (SQLAlchemyError, CacheError) as error:
                if not self._fails:
                    _log.error("background work waits until this is over: %s", type(error).__name__)
                self._fails = True
            except Exception:  # noqa: BLE001  # a flaw in one job must not end the others for good
                _log.exception("background work failed")

    def _take(self) -> Lease | None:
        """Return the lease if this instance has or gets it; prolong it in time, and when the clock went back."""
        now = self._clock()
        if self._lease is None or not _RENEWED_WITH < self._held_until - now <= TAKEOVER:
            self._lease = self._leases.take("jobs", TAKEOVER)
            self._held_until = now + TAKEOVER
        return self._lease

    def _do(self, job: _Daily, lease: Lease) -> None:
        with self._database.reading() as session:
            due = _last(job.at, self._database.now(session))  # by the clock that also says when orders were placed
            done = session.get(JobRow, job.name)
            if done is not None and done.due_at >= due:
                return
        with self._database.writing() as session:
            check(session, lease)
            job.work(session, due)
            session.merge(JobRow(name=job.name, due_at=due))
        _log.info("done: %s", job.name)


def _last(at: time, now: float) -> float:
    """Return when a time of day in India was last, in seconds since the epoch."""
    here = datetime.fromtimestamp(now, INDIA)
    moment = datetime.combine(here.date(), at, INDIA)
    if moment > here:
        moment -= timedelta(days=1)
    return moment.timestamp()

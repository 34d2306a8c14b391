"""One strategy that is in this instance's charge: its lease, its process, and what becomes of them."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from openalgo_host.india import INDIA
from openalgo_host.strategies.child import MACHINE, Child, end_leftover
from openalgo_host.strategies.logs import LogFile
from openalgo_host.strategies.runs import Last, Outcome, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from openalgo_host.leases import Lease
    from openalgo_host.strategies.configs import Config
    from openalgo_host.strategies.means import Means

LEASE: Final = 6.0
"""Seconds for which this instance has a strategy, unless it prolongs that."""
_RENEWED_WITH: Final = LEASE / 2
_TO_END: Final = 3.0
"""Seconds that a process has to end in its own way."""
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two runs of a strategy that fails; and how long one has to run to count as a new beginning."""


class Charge:
    """A strategy whose lease this instance has.

    Args:
        means: What its runs need.
        config: What its user wants.
        lease: The lease.
        until: When that ends, in seconds since the epoch.
        wake: Has this looked after at once.
    """

    def __init__(self, means: Means, config: Config, lease: Lease, until: float, wake: Callable[[], None]) -> None:
        self.config = config
        self._means = means
        self._lease = lease
        self._until = until
        self._wake = wake
        self._last = self._take_over()
        self._child: Child | None = None
        self._kill_at: float | None = None
        self._starts_at = 0.0
        self._folder = means.folder / config.id
        self._log = LogFile(self._folder / "output.log", means.tails.get(config.id))

    @classmethod
    def take(cls, means: Means, config: Config, wake: Callable[[], None]) -> Charge | None:
        """Take charge of a strategy; None if another instance has it."""
        until = means.clock() + LEASE
        lease = means.leases.take(f"strategy/{config.id}", LEASE)
        return None if lease is None else cls(means, config, lease, until, wake)

    def tend(self, config: Config | None, address: str) -> bool:
        """Begin, go on with, or end what there is; return whether it stays in this instance's charge.

        Args:
            config: What the user wants now; None if the strategy was removed.
            address: Under which its process reaches this instance.

        Raises:
            FencedOffError: Another instance has it.
            RunReplacedError: Likewise.
        """
        now = self._means.clock()
        if not self._keeps_lease(now):
            self.abandon()
            return False
        is_wanted = config is not None and config.is_to_run(now)
        self.config = config = config or self.config
        run = self._last.run
        is_new_wish = run is None or not run.serves(config)
        if self._child is not None:
            self._look(self._child, ends=not is_wanted or is_new_wish)
        elif not is_wanted or (run is not None and run.is_finished(config, now)):
            self._means.leases.release(self._lease)
            return False
        elif is_new_wish or now >= self._starts_at:
            self._start(address, now, 0 if run is None or is_new_wish else run.failures)
        self._publish()
        return True

    def ask_to_end(self) -> None:
        """Ask its process to end."""
        if self._child is not None and self._kill_at is None:
            self._kill_at = time.monotonic() + _TO_END
            self._child.ask_to_end()

    def end(self) -> None:
        """Wait until its process has ended, end it if it does not, and let other instances have the strategy.

        Raises:
            SQLAlchemyError: The database fails; others have it when the lease has run out.
            CacheError: What became of it could not be written down.
        """
        try:
            if self._child is not None:
                self._child.wait(max((self._kill_at or 0.0) - time.monotonic(), 0.0))
                self._child.kill()
                self._child.wait(_TO_END)
                self._look(self._child, ends=True)
        finally:
            self.abandon()
            self._means.leases.release(self._lease)

    def abandon(self) -> None:
        """End its process at once: it is another instance's."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(_TO_END)
            self._child.bury()
            self._child = None

    def _take_over(self) -> Last:
        """Take over the record; end what is left of the run that it speaks of, and its key."""
        last = self._means.runs.begin(self.config.id, self._lease)
        if last.run is None or last.run.outcome is not Outcome.RUNNING:
            return last
        end_leftover(last.run)
        self._means.take_key(self.config, self._lease)
        return self._write(last, replace(last.run, outcome=Outcome.STOPPED))

    def _keeps_lease(self, now: float) -> bool:
        """Return whether the lease is ours; prolong it in time, and when the clock went back."""
        if _RENEWED_WITH < self._until - now <= LEASE:
            return True
        try:
            lease = self._means.leases.take(self._lease.name, LEASE)
        except SQLAlchemyError:
            return now < self._until
        self._until = now + LEASE
        return lease == self._lease

    def _start(self, address: str, now: float, failures: int) -> None:
        means, config, key = self._means, self.config, secrets.token_hex(32)
        source = means.configs.source(config.id)
        means.states.begin(config.id, self._lease.fence)
        means.give_key(config, self._lease, key)
        self._log.hide((key,))
        self._mark(now, f"started by {means.instance}")
        variables = {
            "HOST_SERVER": address,
            "STRATEGY_DAY": f"{datetime.fromtimestamp(now, INDIA):%Y-%m-%d}",
            "STRATEGY_ID": config.id,
            "STRATEGY_NAME": config.name,
        }
        child = Child(config.name, source, variables, {"OPENALGO_API_KEY": key}, self._folder, self._log, self._wake)
        try:
            wish = config.wanted_since or 0.0
            run = Run(means.instance, MACHINE, child.pid, child.process_started, now, wish, failures=failures)
            self._last = self._write(self._last, run)
        except BaseException:  # nobody would know of it
            child.kill()
            child.bury()
            raise
        self._child, self._kill_at = child, None

    def _look(self, child: Child, *, ends: bool) -> None:
        """See how its process is; make it end if it should."""
        code = child.poll()
        if code is not None:
            self._note_end(child, code)
        elif ends and self._kill_at is None:
            self.ask_to_end()
        elif self._kill_at is not None and time.monotonic() >= self._kill_at:
            child.kill()

    def _note_end(self, child: Child, code: int) -> None:
        run, now = self._last.run, self._means.clock()
        assert run is not None  # noqa: S101  # for the type checker: there is a process
        child.bury()
        again = ""
        run = replace(run, exit=code, outcome=Outcome.FINISHED if code == 0 else Outcome.FAILED)
        if self._kill_at is not None:
            run = replace(run, outcome=Outcome.STOPPED)
        elif code != 0:
            is_lasting = now - run.started_at >= _LONGEST_PAUSE
            run = replace(run, failures=1 if is_lasting else run.failures + 1)
            pause = min(2.0 ** (run.failures - 1), _LONGEST_PAUSE)
            self._starts_at, again = now + pause, f", starts again in {pause:.0f} s"
        self._means.take_key(self.config, self._lease)
        self._mark(now, f"{run.outcome}, exit code {code}{again}")
        self._publish()
        self._last = self._write(self._last, run)
        self._child = self._kill_at = None
        self._wake()  # it may be to start anew, or another instance's

    def _mark(self, now: float, what: str) -> None:
        """Add a line of the host's own to the log."""
        self._log.write(f"--- {datetime.fromtimestamp(now, INDIA):%d %b %Y, %H:%M:%S} IST: {what}")

    def _publish(self) -> None:
        if (tail := self._log.news()) is not None:
            self._means.tails.publish(self.config.id, tail)

    def _write(self, last: Last, run: Run) -> Last:
        return Last(self._means.runs.save(self.config.id, run, last.version, self._lease), run)

"""What runs, or ran last: the records in the cache ``running_strategies``, which holds state.

A record is written by whoever holds the strategy's lease, under the lease's fence, so that an instance that was taken
over leaves it alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from openalgo_cache.strategies.states import StrategyStates
from openalgo_host.strategies.records import readable
from openalgo_host.strategies.schedule import due_since

if TYPE_CHECKING:
    from openalgo_cache import CacheManager
    from openalgo_host.leases import Lease
    from openalgo_host.strategies.configs import Config


class Outcome(StrEnum):
    """How a run is, or ended."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a strategy.

    Attributes:
        instance: Which instance's it is.
        machine: The name of the machine.
        pid: Of its process.
        process_started: When that started, by the system's own account: with the pid it is the process's identity.
        started_at: When the host started it, in seconds since the epoch.
        wish: The configuration's ``wanted_since`` that it was started for.
        outcome: How it is.
        exit: Its exit code; minus the signal's number if one ended it; None while it runs.
        failures: How many runs in a row have failed, this one included.
    """

    instance: str
    machine: str
    pid: int
    process_started: float
    started_at: float
    wish: float = 0.0
    outcome: Outcome = Outcome.RUNNING
    exit: int | None = None
    failures: int = 0

    def serves(self, config: Config) -> bool:
        """Return whether the user has not stopped or started the strategy since it was started for this.

        The two moments are those of two instances, whose clocks differ: only whether they are the same one counts.
        """
        return self.wish == config.wanted_since

    def is_finished(self, config: Config, now: float) -> bool:
        """Return whether the strategy is done, until its next window begins or the user starts it again."""
        is_done = self.outcome is Outcome.FINISHED and self.serves(config)
        return is_done and self.started_at >= (due_since(config.schedule, now) or 0.0)


class Last(NamedTuple):
    """What is known of a strategy's last run.

    Attributes:
        version: Of the record.
        run: The run; None if there was none yet.
    """

    version: int
    run: Run | None


class Runs:
    """The last run of each strategy.

    Args:
        manager: Where the cache comes from.
    """

    def __init__(self, manager: CacheManager) -> None:
        self._states = StrategyStates(manager.get_cache("running_strategies"))

    def last(self, strategy_ids: list[str]) -> dict[str, Run]:
        """Return the last run of those that ever ran, and whose record can be read."""
        states = readable(self._states.load_many, strategy_ids)
        return {name: _run(state.data) for name, state in states.items() if state.data}

    def begin(self, strategy_id: str, lease: Lease) -> Last:
        """Take over the record of a strategy, whose lease was just taken; return the run that it had.

        Raises:
            RunReplacedError: A later holder of the lease has.
        """
        state = self._states.begin(strategy_id, lease.fence)
        return Last(state.version, _run(state.data) if state.data else None)

    def save(self, strategy_id: str, run: Run, version: int, lease: Lease) -> int:
        """Write down how a run is; return the record's new version.

        Raises:
            RunReplacedError: Somebody else has taken over.
        """
        return self._states.save(strategy_id, asdict(run) | {"outcome": run.outcome.value}, version, lease.fence)

    def remove(self, strategy_id: str) -> None:
        """Forget a strategy's runs."""
        self._states.remove(strategy_id)


def _run(record: dict[str, object]) -> Run:
    return Run(**{**record, "outcome": Outcome(record["outcome"])})  # type: ignore[arg-type]  # as it was written

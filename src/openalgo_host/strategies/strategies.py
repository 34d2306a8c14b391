"""The strategies of all users: what they may ask, and what they are shown."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openalgo_cache.strategies.states import State, StrategyStates
from openalgo_host.strategies.configs import Config, Configs
from openalgo_host.strategies.errors import RefusedStrategyError
from openalgo_host.strategies.logs import Tails
from openalgo_host.strategies.means import Means
from openalgo_host.strategies.runs import Outcome, Run, Runs
from openalgo_host.strategies.schedule import Schedule, is_due, next_start
from openalgo_host.strategies.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from openalgo_cache import CacheManager
    from openalgo_host.api_keys import ApiKeys
    from openalgo_host.database import Database
    from openalgo_host.leases import Leases


@dataclass(frozen=True, slots=True)
class StrategyView:
    """A strategy as its user sees it.

    Attributes:
        id: Its number.
        name: What the user calls it.
        state: ``stopped``, ``scheduled``, ``starting``, ``running``, ``failed`` (and about to start again) or
            ``finished``.
        wanted: Whether it is to run, when it is due.
        instance: Which instance runs it, or ran it last; None if it never ran.
        pid: Of its process, while it runs.
        started_at: When its last run began, in seconds since the epoch.
        schedule: When it runs, as the API has it; None for always.
        next_start: When it is to start next, if it is wanted and has a schedule.
        last_exit: The last run's exit code; minus the signal's number if one ended it.
    """

    id: str
    name: str
    state: str
    wanted: bool
    instance: str | None
    pid: int | None
    started_at: float | None
    schedule: dict[str, Any] | None
    next_start: float | None
    last_exit: int | None


class Strategies:
    """The strategies of all users, and the supervisor that runs those of this instance.

    Args:
        manager: Where the caches come from.
        database: Where the keys of runs are.
        leases: Which instance runs what.
        api_keys: What runs call the API with.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, manager: CacheManager, database: Database, leases: Leases, api_keys: ApiKeys, clock: Callable[[], float]
    ) -> None:
        settings = manager.settings
        self._means = Means(
            configs=Configs(manager),
            runs=Runs(manager),
            states=StrategyStates(manager.get_cache("strategy_state")),
            tails=Tails(manager),
            leases=leases,
            api_keys=api_keys,
            database=database,
            folder=settings.cache_folder / "strategies",
            instance=settings.instance,
            clock=clock,
        )
        self.supervisor = Supervisor(self._means)

    def list(self, user_id: int) -> Sequence[StrategyView]:
        """Return a user's strategies, the oldest first."""
        configs = [one for one in self._means.configs.all() if one.user_id == user_id]
        runs = self._means.runs.last([one.id for one in configs]) if configs else {}
        return [_view(one, runs.get(one.id), self._means.clock()) for one in configs]

    def revision(self, user_id: int) -> object:
        """Return what is another one whenever a user's strategies, what they print, or what they keep has changed."""
        views, means = self.list(user_id), self._means
        if not views:
            return ()
        tails = means.tails.get_many([view.id for view in views])
        kept = means.states.load_many([view.id for view in views if view.pid is not None])  # others keep nothing new
        versions = {name: state.version for name, state in kept.items()}
        return tuple((view, hash(tails.get(view.id)), versions.get(view.id)) for view in views)

    def get(self, user_id: int, strategy_id: str) -> StrategyView:
        """Return one of a user's strategies.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        return self._show(self._means.configs.get(user_id, strategy_id))

    def source(self, user_id: int, strategy_id: str) -> str:
        """Return the source of one of a user's strategies.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        return self._means.configs.source(self._means.configs.get(user_id, strategy_id).id)

    def add(self, user_id: int, name: str, source: str, schedule: Mapping[str, Any] | None = None) -> StrategyView:
        """Add a strategy, which is not to run yet.

        Args:
            user_id: Whose it is.
            name: What the user calls it.
            source: Its program, in Python.
            schedule: When it runs, as :meth:`Schedule.parse` takes it; None for always.

        Raises:
            RefusedStrategyError: It cannot be like that.
        """
        when = None if schedule is None else Schedule.parse(schedule)
        return self._show(self._means.configs.add(user_id, name, source, when))

    def change(self, user_id: int, strategy_id: str, **changes: Any) -> StrategyView:
        """Change ``name``, ``source`` or ``schedule`` of a strategy; a new source counts from the next run on.

        Raises:
            RefusedStrategyError: It cannot be like that.
            UnknownStrategyError: The user has none with this number.
        """
        source = changes.pop("source", None)
        if changes.get("schedule") is not None:
            changes["schedule"] = Schedule.parse(changes["schedule"])
        return self._changed(user_id, strategy_id, changes, source)

    def start(self, user_id: int, strategy_id: str) -> StrategyView:
        """Let a strategy run whenever it is due; one that has finished or failed starts again.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        view = self.get(user_id, strategy_id)
        if view.wanted and view.state in {"running", "starting"}:
            return view
        return self._changed(user_id, strategy_id, {"wanted_since": self._means.clock()})

    def stop(self, user_id: int, strategy_id: str) -> StrategyView:
        """Let a strategy run no more.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        return self._changed(user_id, strategy_id, {"wanted_since": None})

    def remove(self, user_id: int, strategy_id: str) -> None:
        """Remove a strategy that does not run, with its state and its log.

        Raises:
            RefusedStrategyError: It is to run, or has not ended yet.
            UnknownStrategyError: The user has none with this number.
        """
        view, means = self.get(user_id, strategy_id), self._means
        if view.wanted or view.state == "running":
            raise RefusedStrategyError("Only a strategy that is stopped can be removed: stop it first")
        means.configs.remove(user_id, strategy_id)
        means.states.remove(strategy_id)
        means.runs.remove(strategy_id)
        means.tails.remove(strategy_id)
        shutil.rmtree(means.folder / strategy_id, ignore_errors=True)

    def log_tail(self, user_id: int, strategy_id: str) -> str:
        """Return the last lines that a strategy printed, on whatever instance.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        return self._means.tails.get(self._means.configs.get(user_id, strategy_id).id)

    def state(self, user_id: int, strategy_id: str) -> State:
        """Return what a strategy has saved for itself.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        return self._means.states.load(self._means.configs.get(user_id, strategy_id).id)

    def save_state(self, user_id: int, strategy_id: str, data: dict[str, Any], version: int, fence: int) -> int:
        """Save what a strategy's run has for later runs; return the new version.

        Raises:
            RunReplacedError: A later run has begun.
            StaleStateError: Another version is there.
            UnknownStrategyError: The user has none with this number.
        """
        self._means.configs.get(user_id, strategy_id)
        return self._means.states.save(strategy_id, data, version, fence)

    def _changed(
        self, user_id: int, strategy_id: str, changes: dict[str, Any], source: str | None = None
    ) -> StrategyView:
        config = self._means.configs.change(user_id, strategy_id, changes, source)
        self.supervisor.wake()
        return self._show(config)

    def _show(self, config: Config) -> StrategyView:
        return _view(config, self._means.runs.last([config.id]).get(config.id), self._means.clock())


def _view(config: Config, run: Run | None, now: float) -> StrategyView:
    is_wanted, is_running = config.wanted_since is not None, run is not None and run.outcome is Outcome.RUNNING
    return StrategyView(
        id=config.id,
        name=config.name,
        state=_state(config, run, now),
        wanted=is_wanted,
        instance=None if run is None else run.instance,
        pid=run.pid if run is not None and is_running else None,
        started_at=None if run is None else run.started_at,
        schedule=None if config.schedule is None else config.schedule.fields(),
        next_start=next_start(config.schedule, now) if is_wanted else None,
        last_exit=None if run is None else run.exit,
    )


def _state(config: Config, run: Run | None, now: float) -> str:
    """Say how a strategy is; a process that is to end soon still counts as running."""
    if run is not None and run.outcome is Outcome.RUNNING and (config.wanted_since is None or run.serves(config)):
        return "running"
    if config.wanted_since is None:
        return "stopped"
    if run is not None and run.is_finished(config, now):
        return "finished"
    if not is_due(config.schedule, now):
        return "scheduled"
    is_failed = run is not None and run.outcome is Outcome.FAILED and run.serves(config)
    return "failed" if is_failed else "starting"

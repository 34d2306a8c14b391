"""What a run of a strategy needs of the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openalgo_host.leases import check

if TYPE_CHECKING:
    from openalgo_cache.strategies.states import StrategyStates
    from openalgo_host.api_keys import ApiKeys
    from openalgo_host.database import Database
    from openalgo_host.leases import Lease, Leases
    from openalgo_host.strategies.configs import Config, Configs
    from openalgo_host.strategies.logs import Tails
    from openalgo_host.strategies.runs import Runs


@dataclass(frozen=True, slots=True)
class Means:
    """What a run needs.

    Attributes:
        configs: What is to run.
        runs: What runs.
        states: What strategies keep for themselves.
        tails: The ends of their logs.
        leases: Which instance runs which.
        api_keys: What they call the API with.
        database: Where the keys are.
        folder: Where each has a folder of its own.
        instance: The name of this instance.
        clock: Seconds since the epoch.
    """

    configs: Configs
    runs: Runs
    states: StrategyStates
    tails: Tails
    leases: Leases
    api_keys: ApiKeys
    database: Database
    folder: Path
    instance: str
    clock: Callable[[], float]

    def give_key(self, config: Config, lease: Lease, key: str) -> None:
        """Let a run call the API with a key, and none that ran before it.

        Raises:
            FencedOffError: Another instance has the strategy.
        """
        with self.database.writing() as session:
            check(session, lease)
            ended = self.api_keys.remove(session, config.user_id, lease.name)
            self.api_keys.add(session, config.user_id, key, self.clock(), lease)
        self.api_keys.forget(ended)

    def take_key(self, config: Config, lease: Lease) -> None:
        """Let a run that has ended call the API no more.

        Raises:
            FencedOffError: Another instance has the strategy, and the key is gone already.
        """
        with self.database.writing() as session:
            check(session, lease)
            ended = self.api_keys.remove(session, config.user_id, lease.name)
        self.api_keys.forget(ended)

"""What the host consists of, put together in one place."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openalgo_cache import CacheManager, Settings
from openalgo_cache.integrations.sessions import CacheSessions
from openalgo_host.api_keys import ApiKeys
from openalgo_host.attempts import LoginAttempts
from openalgo_host.broker import Broker
from openalgo_host.database import Database, url_of
from openalgo_host.jobs import Jobs
from openalgo_host.leases import Leases
from openalgo_host.limits import USUAL, Limits, Rates
from openalgo_host.market.paper import PaperMarket
from openalgo_host.master_status import MasterStatus
from openalgo_host.modes import Modes
from openalgo_host.sandbox.book import OrderBook
from openalgo_host.strategies import Strategies
from openalgo_host.telegram import Telegram
from openalgo_host.users import Users
from openalgo_host.vault import Vault
from openalgo_host.watch import Watch
from openalgo_host.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from openalgo_cache.symbols import SymbolMaster

_ACCESS_RULES: Final = Path(__file__).with_name("access.toml")
"""Which of the host's modules may use which caches, unless CACHE_ACCESS_RULES says otherwise."""

_MIDNIGHT: Final = datetime.time(0, 0)
_MOST_STREAMS: Final = 16
"""Pages that are told of changes at once, by one process; further ones ask now and then."""
_PATIENCE: Final = 8.0
"""Seconds for which a page waits for the store of the sessions: fewer than a balancer waits for us."""
_MOST_WAITING: Final = 16
"""Pages that do so at once."""


@dataclass(frozen=True, slots=True)
class Host:
    """The parts of a running host.

    Attributes:
        settings: The cache's settings; the host's data lie in their cache folder.
        manager: The caches.
        database: Users, API keys and leases.
        users: Who may log in.
        api_keys: Who may call the API.
        broker: Who is connected to the broker.
        webhooks: Strategies that others drive.
        telegram: What users want to be told by Telegram.
        leases: Which instance does what only one may do.
        sessions: Who is logged in.
        login_attempts: How often each address tried to log in.
        symbols: The symbol master.
        master_status: How its last import went.
        market: What is paid for what.
        orders: Orders, trades, positions and funds.
        modes: Whether it analyses or trades live.
        limits: How often the API may be called.
        jobs: What is done in the background, in one of several instances.
        strategies: What users have running for days.
        watch: What changes, for the pages that are open.
        clock: Seconds since the epoch.
        started_at: When the host was put together.
    """

    settings: Settings
    manager: CacheManager
    database: Database
    users: Users
    api_keys: ApiKeys
    broker: Broker
    webhooks: Webhooks
    telegram: Telegram
    leases: Leases
    sessions: CacheSessions
    login_attempts: LoginAttempts
    symbols: SymbolMaster
    master_status: MasterStatus
    market: PaperMarket
    orders: OrderBook
    modes: Modes
    limits: Limits
    jobs: Jobs
    strategies: Strategies
    watch: Watch
    clock: Callable[[], float]
    started_at: float

    @classmethod
    def open(cls, settings: Settings, clock: Callable[[], float], database_url: str = "", rates: Rates = USUAL) -> Host:
        """Put a host together; makes its folder, key ring and tables where they are missing.

        Args:
            settings: The cache's settings.
            clock: Where the time comes from.
            database_url: DATABASE_URL; empty for a SQLite file beside the caches.
            rates: How often the API may be called.

        Raises:
            StartError: The database cannot be used.
            KeyRingError: There is no key ring that can be used.
            OSError: The folder cannot be written.
        """
        if settings.cache_access_rules is None:
            settings = replace(settings, cache_access_rules=_ACCESS_RULES)
        manager = CacheManager(settings, clock)
        manager.ring()
        database = Database(url_of(database_url, settings.cache_folder), None if clock is time.time else clock)
        database.create()
        vault = Vault(manager)
        symbols = manager.symbols()
        market = PaperMarket(symbols, clock)
        orders = OrderBook(database, symbols, market)
        leases = Leases(database, settings.instance)
        jobs = Jobs(database, leases, clock)
        api_keys = ApiKeys(database, manager, vault)
        jobs.at_each_beat(orders.settle)
        jobs.daily("end of the day", _MIDNIGHT, orders.end_day)
        strategies = Strategies(manager, database, leases, api_keys, clock)
        watch = Watch(_MOST_STREAMS)
        watch.topic("orders", 0.5, orders.revision)
        watch.topic("prices", 2.0, orders.open_prices)
        watch.topic("strategies", 1.0, strategies.revision)
        return cls(
            settings=settings,
            manager=manager,
            database=database,
            users=Users(database, manager),
            api_keys=api_keys,
            broker=Broker(database, manager, vault, clock),
            webhooks=Webhooks(database, manager, vault, symbols),
            telegram=Telegram(database, manager, vault),
            leases=leases,
            sessions=CacheSessions(manager=manager, clock=clock, patience=_PATIENCE, waiting=_MOST_WAITING),
            login_attempts=LoginAttempts(manager),
            symbols=symbols,
            master_status=MasterStatus(database),
            market=market,
            orders=orders,
            modes=Modes(database, manager),
            limits=rates.limits(manager, clock),
            jobs=jobs,
            strategies=strategies,
            watch=watch,
            clock=clock,
            started_at=clock(),
        )

    def start(self, address: str) -> None:
        """Begin with what is done in the background. In the process that serves: threads do not survive a fork.

        Args:
            address: Under which processes of this machine reach this instance, such as ``http://127.0.0.1:5000``.
        """
        self.jobs.start()
        self.strategies.supervisor.start(address)

    def close(self) -> None:
        """Stop what is done in the background, and let go of every file."""
        self.watch.close()
        self.strategies.supervisor.stop()
        self.jobs.stop()
        self.manager.close()
        self.database.close()

"""What the host consists of, put together in one place."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openalgo_cache import CacheManager, Settings
from openalgo_cache.integrations.sessions import CacheSessions
from openalgo_host.api_keys import ApiKeys
from openalgo_host.attempts import LoginAttempts
from openalgo_host.database import Database, url_of
from openalgo_host.leases import Leases
from openalgo_host.limits import USUAL, Limits, Rates
from openalgo_host.market.paper import PaperMarket
from openalgo_host.modes import Modes
from openalgo_host.sandbox.book import OrderBook
from openalgo_host.users import Users
from openalgo_host.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from openalgo_cache.symbols import SymbolMaster

_ACCESS_RULES: Final = Path(__file__).with_name("access.toml")
"""Which of the host's modules may use which caches, unless CACHE_ACCESS_RULES says otherwise."""


@dataclass(frozen=True, slots=True)
class Host:
    """The parts of a running host.

    Attributes:
        settings: The cache's settings; the host's data lie in their cache folder.
        manager: The caches.
        database: Users, API keys and leases.
        users: Who may log in.
        api_keys: Who may call the API.
        leases: Which instance does what only one may do.
        sessions: Who is logged in.
        login_attempts: How often each address tried to log in.
        symbols: The symbol master.
        market: What is paid for what.
        orders: Orders, trades, positions and funds.
        modes: Whether it analyses or trades live.
        limits: How often the API may be called.
        clock: Seconds since the epoch.
        started_at: When the host was put together.
    """

    settings: Settings
    manager: CacheManager
    database: Database
    users: Users
    api_keys: ApiKeys
    leases: Leases
    sessions: CacheSessions
    login_attempts: LoginAttempts
    symbols: SymbolMaster
    market: PaperMarket
    orders: OrderBook
    modes: Modes
    limits: Limits
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
        symbols = manager.symbols()
        market = PaperMarket(symbols, clock)
        return cls(
            settings=settings,
            manager=manager,
            database=database,
            users=Users(database),
            api_keys=ApiKeys(database, manager, Vault(manager)),
            leases=Leases(database, settings.instance_id or settings.instance_name),
            sessions=CacheSessions(manager=manager, clock=clock),
            login_attempts=LoginAttempts(manager),
            symbols=symbols,
            market=market,
            orders=OrderBook(database, symbols, market),
            modes=Modes(database, manager),
            limits=rates.limits(manager, clock),
            clock=clock,
            started_at=clock(),
        )

    def close(self) -> None:
        """Let go of every file."""
        self.manager.close()
        self.database.close()

"""A holder of a strategy's lease that is paused at the worst moment, and says what becomes of its order when it wakes.

``python -m tests.fleet.late LEASE USER WHERE`` with the fleet's variables around it. WHERE is ``before`` or ``within``:
the process stops itself before the order's transaction, or in the middle of that, with account and lease locked.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from openalgo_cache import Settings
from openalgo_host.caller import Caller
from openalgo_host.host import Host
from openalgo_host.leases import FencedOffError
from openalgo_host.market.paper import PaperMarket
from openalgo_host.sandbox.book import OrderBook
from openalgo_host.sandbox.ticket import Ticket
from openalgo_host.strategies.charge import LEASE

if TYPE_CHECKING:
    from openalgo_cache.symbols import Instrument


class _Paused(PaperMarket):
    """A market at which time stops once."""

    is_to_stop = True

    def price(self, instrument: Instrument, at: float | None = None) -> float:
        """Return the price, after the process was stopped and went on."""
        if self.is_to_stop:
            self.is_to_stop = False
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().price(instrument, at)


def main() -> None:
    """Take the lease, stop, and try twice to place an order under it."""
    name, user, where = sys.argv[1:]
    host = Host.open(Settings.from_environment(dict(os.environ), dotenv=None), time.time, os.environ["DATABASE_URL"])
    market = _Paused(host.symbols, time.time)
    ticket = Ticket("late", "RELIANCE", "NSE", "BUY", "MIS", "MARKET", 1)
    ticket.check(host.symbols.by_symbol(ticket.symbol, ticket.exchange))  # it has the symbols before it stops
    lease = host.leases.take(name, LEASE)
    assert lease is not None
    if where == "before":
        market.is_to_stop = False
        os.kill(os.getpid(), signal.SIGSTOP)
    for _ in range(2):
        try:
            OrderBook(host.database, host.symbols, market).place(Caller(int(user), lease), ticket, "late")
            print("placed", flush=True)
        except (FencedOffError, SQLAlchemyError) as error:
            print(type(error).__name__, flush=True)
    host.close()


if __name__ == "__main__":
    main()

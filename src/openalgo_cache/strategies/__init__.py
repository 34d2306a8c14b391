"""What a strategy needs to live for days: a state that outlives it, and orders that are placed once.

    from openalgo import api
    from openalgo_cache.strategies import StrategyState

    mine = StrategyState.load()
    client = api(api_key=mine.api_key, host=mine.server)
    mine.order("entry", client.placeorder, symbol="RELIANCE", exchange="NSE", action="BUY", quantity=10)

This is what runs in the strategy's own process; it needs the standard library only. A host keeps the states in
:class:`openalgo_cache.strategies.states.StrategyStates`.
"""

from __future__ import annotations

from openalgo_cache.strategies.errors import (
    HostRefusedError,
    HostUnavailableError,
    OrderRefusedError,
    RunReplacedError,
    StaleStateError,
)
from openalgo_cache.strategies.state import StrategyState

__all__ = [
    "HostRefusedError",
    "HostUnavailableError",
    "OrderRefusedError",
    "RunReplacedError",
    "StaleStateError",
    "StrategyState",
]

"""Buy ten shares on one day, and sell them on the next on which this runs, whatever happens to the machine in between.

Add it to the host with the market's hours for a schedule. Killed at any line, it goes on where it was.
"""

from __future__ import annotations

import os
import threading

from openalgo import api

from openalgo_cache.strategies import StrategyState

today = os.environ["STRATEGY_DAY"]
order = {"strategy": "two days", "symbol": "RELIANCE", "exchange": "NSE", "product": "CNC", "quantity": 10}

mine = StrategyState.load()
client = api(api_key=mine.api_key, host=mine.server)

if "bought_on" not in mine:
    mine["bought_on"] = today
mine.order("buy", client.placeorder, **order, action="BUY")

if mine["bought_on"] == today:
    print(f"bought 10 RELIANCE on {today}; waiting for tomorrow", flush=True)
    threading.Event().wait()  # until the host ends this at the end of the day

mine.order("sell", client.placeorder, **order, action="SELL")
print(f"sold 10 RELIANCE on {today}, bought on {mine['bought_on']}")

"""Buy, look, and sell again, through the `openalgo` client from PyPI.

make run                                            # shows an API key at its first start
OPENALGO_API_KEY=... python examples/round_trip.py
"""

from __future__ import annotations

import os
import sys

from openalgo import api

client = api(
    api_key=os.environ.get("OPENALGO_API_KEY") or sys.exit("Set OPENALGO_API_KEY to the key that the host showed."),
    host=os.environ.get("OPENALGO_HOST", "http://127.0.0.1:5000"),
)


def ask(what, answer):
    """Show an answer, and stop at the first that is an error."""
    if answer["status"] != "success":
        sys.exit(f"{what}: {answer['message']}")
    print(f"{what}: {answer.get('data') or answer.get('orderid') or answer.get('message')}")
    return answer


order = {"symbol": "RELIANCE", "exchange": "NSE", "product": "MIS", "quantity": 10}
ask("Quote", client.quotes(symbol="RELIANCE", exchange="NSE"))
bought = ask("Bought", client.placeorder(**order, action="BUY"))
ask("Order", client.orderstatus(order_id=bought["orderid"]))
ask("Positions", client.positionbook())
waiting = ask("Waits", client.placeorder(**order, action="SELL", price_type="LIMIT", price=100_000))
ask("Changed", client.modifyorder(order_id=waiting["orderid"], **order, action="SELL", price=90_000))
ask("Cancelled", client.cancelorder(order_id=waiting["orderid"]))
ask("Sold", client.placeorder(**order, action="SELL"))
ask("Trades", client.tradebook())
ask("Funds", client.funds())

"""Calls about what a user has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from openalgo_host.api import schemas
from openalgo_host.api.calls import Answer, Calls, Fields
from openalgo_host.india import INDIA, midnight
from openalgo_host.sandbox.money import to_rupees
from openalgo_host.sandbox.tables import PENDING, OrderRow, PositionRow, Status

if TYPE_CHECKING:
    from openalgo_host.caller import Caller
    from openalgo_host.host import Host


def add(calls: Calls, host: Host) -> None:
    """Add them."""
    book = host.orders

    @calls.post("/orderbook", schemas.Call)
    def order_book(caller: Caller, _call: Fields) -> Answer:
        orders = book.orders(caller.user_id, midnight(host.clock()))
        return {"data": {"orders": [order_facts(order) for order in orders], "statistics": _statistics(orders)}}

    @calls.post("/tradebook", schemas.Call)
    def trade_book(caller: Caller, _call: Fields) -> Answer:
        return {
            "data": [
                {
                    "action": order.action,
                    "average_price": to_rupees(trade.price),
                    "exchange": order.exchange,
                    "orderid": str(order.id),
                    "product": order.product,
                    "quantity": trade.quantity,
                    "symbol": order.symbol,
                    "timestamp": _shown(trade.traded_at),
                    "trade_value": to_rupees(trade.price * trade.quantity),
                }
                for order, trade in book.trades(caller.user_id, midnight(host.clock()))
            ]
        }

    @calls.post("/positionbook", schemas.Call)
    def position_book(caller: Caller, _call: Fields) -> Answer:
        return {"data": [_position(host, one) for one in book.positions(caller.user_id)]}

    @calls.post("/holdings", schemas.Call)
    def holdings(caller: Caller, _call: Fields) -> Answer:
        held = [one for one in book.positions(caller.user_id) if one.product == "CNC" and one.quantity > 0]
        shown = [_holding(host, one) for one in held]
        value = sum(one.quantity * book.price(one.symbol, one.exchange) for one in held)
        cost = sum(one.cost for one in held)
        return {
            "data": {
                "holdings": shown,
                "statistics": {
                    "totalholdingvalue": to_rupees(value),
                    "totalinvvalue": to_rupees(cost),
                    "totalprofitandloss": to_rupees(value - cost),
                    "totalpnlpercentage": _percent(value - cost, cost),
                },
            }
        }

    @calls.post("/funds", schemas.Call)
    def funds(caller: Caller, _call: Fields) -> Answer:
        found = book.funds(caller.user_id)
        return {
            "data": {
                "availablecash": f"{to_rupees(found.available):.2f}",
                "collateral": "0.00",
                "m2mrealized": f"{to_rupees(found.realised):.2f}",
                "m2munrealized": f"{to_rupees(found.unrealised):.2f}",
                "utiliseddebits": f"{to_rupees(found.utilised):.2f}",
            }
        }


def order_facts(order: OrderRow) -> dict[str, Any]:
    """Return what the API tells of an order."""
    return {
        "action": order.action,
        "average_price": to_rupees(order.average_price),
        "exchange": order.exchange,
        "order_status": order.status,
        "orderid": str(order.id),
        "price": to_rupees(order.price),
        "pricetype": order.pricetype,
        "product": order.product,
        "quantity": order.quantity,
        "symbol": order.symbol,
        "timestamp": _shown(order.placed_at),
        "trigger_price": to_rupees(order.trigger_price),
    }


def _statistics(orders: Sequence[OrderRow]) -> dict[str, int]:
    return {
        "total_buy_orders": sum(order.action == "BUY" for order in orders),
        "total_sell_orders": sum(order.action == "SELL" for order in orders),
        "total_completed_orders": sum(order.status == Status.COMPLETE for order in orders),
        "total_open_orders": sum(order.status in PENDING for order in orders),
        "total_rejected_orders": sum(order.status == Status.REJECTED for order in orders),
    }


def _position(host: Host, one: PositionRow) -> dict[str, Any]:
    price = host.orders.price(one.symbol, one.exchange)
    return {
        "symbol": one.symbol,
        "exchange": one.exchange,
        "product": one.product,
        "quantity": one.quantity,
        "average_price": f"{to_rupees(one.cost / one.quantity) if one.quantity else 0.0:.2f}",
        "ltp": to_rupees(price),
        "pnl": to_rupees(one.quantity * price - one.cost + one.realised),
    }


def _holding(host: Host, one: PositionRow) -> dict[str, Any]:
    gain = one.quantity * host.orders.price(one.symbol, one.exchange) - one.cost
    return {
        "symbol": one.symbol,
        "exchange": one.exchange,
        "product": one.product,
        "quantity": one.quantity,
        "average_price": to_rupees(one.cost / one.quantity),
        "pnl": to_rupees(gain),
        "pnlpercent": _percent(gain, one.cost),
    }


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, INDIA).strftime("%d-%b-%Y %H:%M:%S")

"""Calls that trade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openalgo_host.api import schemas
from openalgo_host.api.account import order_facts
from openalgo_host.api.calls import Answer, Calls, Fields, RefusedCallError
from openalgo_host.sandbox.tables import OrderRow, Status
from openalgo_host.sandbox.ticket import CASH, RefusedOrderError, Ticket, closing

if TYPE_CHECKING:
    from openalgo_host.caller import Caller
    from openalgo_host.host import Host
    from openalgo_host.sandbox.book import OrderBook


def add(calls: Calls, host: Host) -> None:  # noqa: C901  # a list of calls
    """Add them."""
    book = host.orders

    @calls.post("/placeorder", schemas.PlaceOrder, host.limits.orders, trades=True)
    def place_order(caller: Caller, call: Fields) -> Answer:
        return placed(book.place(caller, _ticket(call), call["idempotency_key"]))

    @calls.post("/placesmartorder", schemas.SmartOrder, host.limits.smart_orders, trades=True)
    def place_smart_order(caller: Caller, call: Fields) -> Answer:
        held = book.quantity(caller.user_id, call["symbol"], call["exchange"], call["product"])
        wanted = _smart_quantity(call, held)
        if wanted == 0:
            return {"message": "Positions Already Matched. No Action needed."}
        call = {**call, "action": "BUY" if wanted > 0 else "SELL", "quantity": abs(wanted)}
        return placed(book.place(caller, _ticket(call), call["idempotency_key"]))

    @calls.post("/basketorder", schemas.Basket, host.limits.orders, trades=True)
    def basket_order(caller: Caller, call: Fields) -> Answer:
        # What is bought first lowers the margin of what is sold.
        orders = sorted(call["orders"], key=lambda order: order["action"] != "BUY")
        return {"results": [_in_basket(book, caller, {**order, "strategy": call["strategy"]}) for order in orders]}

    @calls.post("/modifyorder", schemas.ModifyOrder, host.limits.orders, trades=True)
    def modify_order(caller: Caller, call: Fields) -> Answer:
        return {"orderid": str(book.modify(caller, _number(call), _ticket(call)).id)}

    @calls.post("/cancelorder", schemas.OneOrder, host.limits.orders, trades=True)
    def cancel_order(caller: Caller, call: Fields) -> Answer:
        return {"orderid": str(book.cancel(caller, _number(call)).id)}

    @calls.post("/cancelallorder", schemas.StrategyCall, trades=True)
    def cancel_all_orders(caller: Caller, _call: Fields) -> Answer:
        cancelled = [str(order.id) for order in book.cancel_all(caller)]
        message = f"Canceled {len(cancelled)} orders. Failed to cancel 0 orders."
        return {"canceled_orders": cancelled, "failed_cancellations": [], "message": message}

    @calls.post("/closeposition", schemas.StrategyCall, trades=True)
    def close_position(caller: Caller, call: Fields) -> Answer:
        for held in book.positions(caller.user_id):
            if held.quantity:
                book.place(caller, closing(held, call["strategy"]))
        return {"message": "All Open Positions Squared Off"}

    @calls.post("/orderstatus", schemas.OneOrder)
    def order_status(caller: Caller, call: Fields) -> Answer:
        return {"data": order_facts(book.order(caller.user_id, _number(call)))}

    @calls.post("/openposition", schemas.OpenPosition)
    def open_position(caller: Caller, call: Fields) -> Answer:
        book.settle(caller.user_id)
        held = book.quantity(caller.user_id, call["symbol"], call["exchange"], call["product"])
        return {"quantity": str(held)}


def _ticket(call: Fields) -> Ticket:
    product = call["product"]
    if product == "NRML" and call["exchange"] in CASH:
        product = "CNC"  # what it means there
    return Ticket(
        strategy=call["strategy"],
        symbol=call["symbol"],
        exchange=call["exchange"],
        action=call["action"],
        product=product,
        pricetype=call["pricetype"],
        quantity=call["quantity"],
        price=call["price"],
        trigger_price=call["trigger_price"],
    )


def placed(order: OrderRow) -> Answer:
    """Return what is answered about an order that was placed.

    Raises:
        RefusedCallError: It was rejected.
    """
    if order.status == Status.REJECTED:
        raise RefusedCallError(400, f"Order {order.id} was rejected: {order.reason}")
    return {"orderid": str(order.id)}


def _in_basket(book: OrderBook, caller: Caller, order: Fields) -> Answer:
    try:
        made = book.place(caller, _ticket(order), order["idempotency_key"])
    except RefusedOrderError as error:
        return {"symbol": order["symbol"], "status": "error", "message": str(error)}
    if made.status == Status.REJECTED:
        return {"symbol": order["symbol"], "status": "error", "message": made.reason, "orderid": str(made.id)}
    return {"symbol": order["symbol"], "status": "success", "orderid": str(made.id)}


def _smart_quantity(call: Fields, held: int) -> int:
    """Return how many to buy (negative: to sell) so that the position becomes what the call asks for.

    Where it asks for none and there is none, its own action and quantity count.
    """
    target: int = call["position_size"]
    if target == 0 and held == 0:
        quantity: int = call["quantity"]
        return quantity if call["action"] == "BUY" else -quantity
    return target - held


def _number(call: Fields) -> int:
    text: str = call["orderid"]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise RefusedOrderError(f"Order {text} not found")
    return int(text)

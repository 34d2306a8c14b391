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


def add(calls: Calls, host: Host) -> None:
    """Add them."""
    book = host.orders

    @calls.post("/placeorder", schemas.PlaceOrder, host.limits.orders, trades=True)
    def place_order(caller: Caller, call: Fields) -> Answer:
        return placed(book.place(caller, _ticket(call), call["idempotency_key"]))

    @calls.post("/placesmartorder", schemas.SmartOrder, host.limits.smart_orders, trades=True)
    def place_smart_order(caller: Caller, call: Fields) -> Answer:
        order = book.reach(caller, _ticket(call), call["position_size"], call["idempotency_key"])
        return {"message": "Positions Already Matched. No Action needed."} if order is None else placed(order)

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
                book.reach(caller, closing(held, call["strategy"]), 0)
        return {"message": "All Open Positions Squared Off"}

    @calls.post("/orderstatus", schemas.OneOrder)
    def order_status(caller: Caller, call: Fields) -> Answer:
        return {"data": order_facts(book.order(caller.user_id, _number(call)))}

    @calls.post("/openposition", schemas.OpenPosition)
    def open_position(caller: Caller, call: Fields) -> Answer:
        book.settle(caller.user_id)
        held = book.quantity(caller.user_id, call["symbol"], call["exchange"], _product(call))
        return {"quantity": str(held)}


def _ticket(call: Fields) -> Ticket:
    return Ticket(
        strategy=call["strategy"],
        symbol=call["symbol"],
        exchange=call["exchange"],
        action=call["action"],
        product=_product(call),
        pricetype=call["pricetype"],
        quantity=call["quantity"],
        price=call["price"],
        trigger_price=call["trigger_price"],
    )


def _product(call: Fields) -> str:
    """Return the product of a call. NRML is for derivatives: of shares it means CNC."""
    product: str = call["product"]
    return "CNC" if product == "NRML" and call["exchange"] in CASH else product


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


def _number(call: Fields) -> int:
    text: str = call["orderid"]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise RefusedOrderError(f"Order {text} not found")
    return int(text)

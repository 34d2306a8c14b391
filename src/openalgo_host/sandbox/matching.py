"""Matching: which pending orders the market fills, and what a fill does to a position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openalgo_host.sandbox.tables import OrderRow, PositionRow, Status, TradeRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def is_reached(order: OrderRow, market: int) -> bool:
    """Return whether the market changes an order now: it is filled, or its stop comes into force.

    Args:
        order: A pending order.
        market: The last traded price, in units; 0 for what is not traded any more.
    """
    if not market:
        return False
    buys = order.action == "BUY"
    if order.status == Status.TRIGGER_PENDING:
        return market >= order.trigger_price if buys else market <= order.trigger_price
    if order.pricetype in {"MARKET", "SL-M"}:
        return True
    return market <= order.price if buys else market >= order.price


def execution_price(order: OrderRow, market: int) -> int | None:
    """Return at what price the market fills an order now; None if it does not. A stop that is reached comes into force.

    Args:
        order: A pending order.
        market: As with :func:`is_reached`.
    """
    if not is_reached(order, market):
        return None
    if order.status == Status.TRIGGER_PENDING:
        order.status = Status.OPEN
        return execution_price(order, market)
    return market


def fill(session: Session, order: OrderRow, price: int, now: float) -> None:
    """Fill an order as a whole: a trade comes of it, and the position changes."""
    order.status, order.average_price, order.updated_at = Status.COMPLETE, price, now
    session.add(TradeRow(order_id=order.id, quantity=order.quantity, price=price, traded_at=now))
    key = (order.user_id, order.symbol, order.exchange, order.product)
    position = session.get(PositionRow, key)
    if position is None:
        position = PositionRow(
            user_id=order.user_id, symbol=order.symbol, exchange=order.exchange, product=order.product,
            quantity=0, cost=0, realised=0,
        )  # fmt: skip
        session.add(position)
    trade(position, order.quantity if order.action == "BUY" else -order.quantity, price)


def trade(position: PositionRow, quantity: int, price: int) -> None:
    """Add a trade to a position: what closes a part of it realises that part's profit or loss.

    Args:
        position: The position.
        quantity: How many were bought; negative for sold.
        price: At what price, in units.
    """
    held = position.quantity
    if held and (held > 0) != (quantity > 0):
        closed = min(abs(held), abs(quantity)) * (1 if held > 0 else -1)
        cost = position.cost * closed // held
        position.realised += closed * price - cost
        position.cost -= cost
        position.quantity -= closed
        quantity += closed
    position.quantity += quantity
    position.cost += quantity * price

"""Orders, trades, positions and funds; cancelling and closing, each with a question before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound

from openalgo_host import csrf
from openalgo_host.caller import Caller
from openalgo_host.india import midnight
from openalgo_host.pages import members, rows
from openalgo_host.sandbox.tables import PENDING, OrderRow, PositionRow, Status
from openalgo_host.sandbox.ticket import RefusedOrderError, closing

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from openalgo_host.host import Host

_EARLIER: Final = 50
"""Orders on a page of those before."""
_NEWEST: Final = 100
"""Orders and trades of today that are shown: an open page asks for them whenever one changes."""
_STRATEGY: Final = "By hand"
"""Whose order it is that closes a position on this page."""


@dataclass(frozen=True, slots=True)
class _Holding:
    """A position, with what it is worth now; money is in units."""

    position: PositionRow
    price: int

    @property
    def average(self) -> int:
        """What one of it was traded for."""
        return round(self.position.cost / self.position.quantity) if self.position.quantity else 0

    @property
    def profit(self) -> int:
        """What it has brought, and would bring if it were closed now."""
        return self.position.quantity * self.price - self.position.cost + self.position.realised


def make_blueprint(host: Host) -> Blueprint:  # noqa: C901  # a list of pages
    """Make the blueprint of the pages about orders and positions."""
    blueprint = members.make_blueprint("orders", host, parts=("holdings", "today"))
    book = host.orders

    @blueprint.get("/orders")
    def index() -> str:
        return render_template("orders.html", **_holdings(host), **_today(host))

    @blueprint.get("/orders/holdings")
    def holdings() -> str:
        """Return the part of the page that changes with prices, for the script."""
        return render_template("holdings.html", **_holdings(host))

    @blueprint.get("/orders/today")
    def today() -> str:
        """Return the part of the page that changes with orders."""
        return render_template("today.html", **_today(host))

    @blueprint.get("/orders/earlier")
    def earlier() -> str:
        below = max(0, min(request.args.get("below", rows.LARGEST, type=int), rows.LARGEST))
        before = midnight(host.clock()) if below == rows.LARGEST else math.inf
        found = book.earlier(members.account().id, before, below, _EARLIER + 1)
        onward = found[_EARLIER - 1].id if len(found) > _EARLIER else None
        return render_template("earlier.html", orders=found[:_EARLIER], onward=onward, is_first=below == rows.LARGEST)

    @blueprint.get("/orders/<row:number>/cancel")
    def ask_cancel(number: int) -> str:
        order = _order(host, number)
        if order.status not in PENDING:
            raise NotFound(f"Order {number} is {order.status}: there is nothing to cancel any more.")
        return render_template("questions/cancel.html", order=order)

    @blueprint.post("/orders/<row:number>/cancel")
    def cancel(number: int) -> AnyResponse:
        try:
            book.cancel(_caller(), number)
            flash(f"Order {number} is cancelled.")
        except RefusedOrderError as error:
            flash(f"{error}.", "problem")
        return redirect(url_for("orders.index"), 303)

    @blueprint.get("/orders/cancel-all")
    def ask_cancel_all() -> str:
        pending = _pending(book.newest(members.account().id, 0.0, 0))
        return render_template("questions/cancel_all.html", count=pending)

    @blueprint.post("/orders/cancel-all")
    def cancel_all() -> AnyResponse:
        count = len(book.cancel_all(_caller()))
        flash({0: "No order was pending.", 1: "1 order is cancelled."}.get(count, f"{count} orders are cancelled."))
        return redirect(url_for("orders.index"), 303)

    @blueprint.get("/positions/<exchange>/<product>/<path:symbol>/close")
    def ask_close(exchange: str, product: str, symbol: str) -> str:
        for one in _holdings(host)["open"]:
            if (one.position.exchange, one.position.product, one.position.symbol) == (exchange, product, symbol):
                return render_template("questions/close.html", one=one, once=csrf.make_token())
        raise NotFound(f"There is no open position in {symbol} on {exchange} ({product}) any more.")

    @blueprint.post("/positions/<exchange>/<product>/<path:symbol>/close")
    def close(exchange: str, product: str, symbol: str) -> AnyResponse:
        held = _open(book.positions(members.account().id))
        _close(host, [one for one in held if (one.exchange, one.product, one.symbol) == (exchange, product, symbol)])
        return redirect(url_for("orders.index"), 303)

    @blueprint.get("/positions/close-all")
    def ask_close_all() -> str:
        return render_template("questions/close_all.html", once=csrf.make_token(), **_holdings(host))

    @blueprint.post("/positions/close-all")
    def close_all() -> AnyResponse:
        _close(host, _open(book.positions(members.account().id)))
        return redirect(url_for("orders.index"), 303)

    return blueprint


def _caller() -> Caller:
    return Caller(members.account().id)


def _holdings(host: Host) -> dict[str, Any]:
    """Return the positions, open ones first, and the account's money."""
    user_id, book = members.account().id, host.orders
    held = [_Holding(one, book.price(one.symbol, one.exchange)) for one in book.positions(user_id)]
    return {
        "open": [one for one in held if one.position.quantity],
        "closed": [one for one in held if not one.position.quantity],
        "funds": book.funds(user_id),
    }


def _today(host: Host) -> dict[str, Any]:
    """Return the newest orders and trades of this day in India, and where the others are."""
    user_id, begin = members.account().id, midnight(host.clock())
    orders = host.orders.newest(user_id, begin, _NEWEST + 1)
    trades = host.orders.trades(user_id, begin, _NEWEST + 1)
    is_cut = len(orders) > _NEWEST
    kept = [one for place, one in enumerate(orders) if place < _NEWEST or one.status in PENDING]
    return {
        "orders": kept,
        "older": orders[_NEWEST - 1].id if is_cut else None,
        "trades": trades[::-1][:_NEWEST],
        "trades_are_cut": len(trades) > _NEWEST,
        "newest": _NEWEST,
        "pending": _pending(kept),
    }


def _pending(orders: list[OrderRow]) -> int:
    return sum(one.status in PENDING for one in orders)


def _open(positions: list[PositionRow]) -> list[PositionRow]:
    return [one for one in positions if one.quantity]


def _order(host: Host, number: int) -> OrderRow:
    try:
        return host.orders.order(members.account().id, number)
    except RefusedOrderError as error:
        raise NotFound(f"{error}.") from None


def _close(host: Host, positions: list[PositionRow]) -> None:
    """Close positions at the market's price, each once however often the form is sent; say what came of it."""
    if not host.modes.analyses() and host.broker.tokens(members.account().id) is None:
        flash(
            "In live mode that takes a session at the broker: connect in the settings, or switch to analyze.", "problem"
        )
        return
    once = request.form.get("once", "")[:50]
    for one in positions:
        key = f"close {once} {one.product} {one.exchange} {one.symbol}" if once else None
        try:
            order = host.orders.reach(_caller(), closing(one, _STRATEGY), 0, key)
        except RefusedOrderError as error:
            flash(f"{one.symbol} could not be closed: {error}.", "problem")
            continue
        if order is None or order.status == Status.COMPLETE:  # somebody else may have closed it meanwhile
            flash(f"{one.symbol} is closed.")
        else:
            flash(f"{one.symbol} could not be closed: {order.reason or order.status}.", "problem")
    if not positions:
        flash("There was nothing to close any more.")

"""The sandbox: what orders do to an account, once and in the right order, on every stack."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openalgo_host.administrator import ensure_administrator
from openalgo_host.caller import Caller
from openalgo_host.host import Host
from openalgo_host.leases import FencedOffError
from openalgo_host.sandbox.book import OrderBook
from openalgo_host.sandbox.funds import CAPITAL
from openalgo_host.sandbox.matching import trade
from openalgo_host.sandbox.money import to_units
from openalgo_host.sandbox.tables import PositionRow, Status
from openalgo_host.sandbox.ticket import RefusedOrderError, Ticket
from tests.host.conftest import Hands

pytestmark = pytest.mark.each_database

ME = Caller(1)
REFUSED: dict[str, dict[str, Any]] = {
    "NOSUCH not found in exchange NSE": {"symbol": "NOSUCH"},
    "index": {"symbol": "NIFTY", "exchange": "NSE_INDEX"},
    "Quantity must be a number from 1": {"quantity": 0},
    "Quantity must be a number from 1 to": {"quantity": -5},
    "lots of 65": {"symbol": "NIFTY26MAR26FUT", "exchange": "NFO", "quantity": 66},
    "CNC is for shares": {"symbol": "NIFTY26MAR26FUT", "exchange": "NFO", "quantity": 65, "product": "CNC"},
    "NRML is for derivatives": {"product": "NRML"},
    "Price must be more than 0": {"pricetype": "LIMIT"},
    "steps of 0.05": {"pricetype": "LIMIT", "price": 100.01},
    "Trigger price must be more than 0": {"pricetype": "SL", "price": 100.0},
}
"""What is no order, by what is said of it."""


def ticket(**changes: Any) -> Ticket:
    """Return a ticket for ten shares at the market's price."""
    usual: dict[str, Any] = {
        "strategy": "test", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "product": "MIS",
        "pricetype": "MARKET", "quantity": 10,
    }  # fmt: skip
    return Ticket(**(usual | changes))


@pytest.fixture
def trading(host: Host) -> Host:
    """A host with a user."""
    ensure_administrator(host, lambda _text: None)
    return host


@pytest.fixture
def book(trading: Host) -> OrderBook:
    """Its order book."""
    return trading.orders


def test_a_market_order_is_filled_at_once(book: OrderBook) -> None:
    """There is a trade and a position, and the account binds a fifth of what it cost."""
    order = book.place(ME, ticket())
    price = book.price("RELIANCE", "NSE")
    assert (order.status, order.average_price) == (Status.COMPLETE, price)
    ((traded, one),) = book.trades(1)
    assert (traded.id, one.quantity, one.price) == (order.id, 10, price)
    (held,) = book.positions(1)
    assert (held.quantity, held.cost, held.realised) == (10, 10 * price, 0)
    assert book.funds(1) == (CAPITAL - 2 * price, 2 * price, 0, 0)


def test_a_limit_order_waits_for_its_price(book: OrderBook, hands: Hands) -> None:
    """Until the market reaches it; what is filled is filled at the market's price."""
    now = book.price("RELIANCE", "NSE")
    order = book.place(ME, ticket(pricetype="LIMIT", price=_ticks(now * 0.999)))
    assert order.status == Status.OPEN
    assert book.positions(1) == []
    _until(hands, lambda: book.price("RELIANCE", "NSE") <= order.price)
    assert book.settle() == 1
    filled = book.order(1, order.id)
    assert filled.status == Status.COMPLETE
    assert filled.average_price <= order.price
    assert book.settle() == 0


def test_a_stop_waits_for_its_trigger(book: OrderBook, hands: Hands) -> None:
    """Then it is a market order, or a limit order that may wait on."""
    now = book.price("RELIANCE", "NSE")
    stop = book.place(ME, ticket(action="SELL", pricetype="SL-M", trigger_price=_ticks(now * 0.999)))
    limited = book.place(
        ME, ticket(action="SELL", pricetype="SL", trigger_price=_ticks(now * 0.999), price=_ticks(now * 1.004))
    )
    assert (stop.status, limited.status) == (Status.TRIGGER_PENDING, Status.TRIGGER_PENDING)
    _until(hands, lambda: book.price("RELIANCE", "NSE") <= stop.trigger_price)
    assert book.order(1, stop.id).status == Status.COMPLETE
    assert book.order(1, limited.id).status == Status.OPEN


def test_what_only_waits_costs_no_transaction(trading: Host, book: OrderBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many orders that wait, or every look at one's orders would take seconds, and hold up all others."""
    book.place(ME, ticket(pricetype="LIMIT", price=1.0))
    book.place(ME, ticket(action="SELL", pricetype="SL-M", trigger_price=1.0))
    monkeypatch.setattr(trading.database, "writing", None)
    assert book.settle() == 0
    assert len(book.orders(1)) == 2


def test_what_is_not_traded_any_more_is_not_filled(
    trading: Host, book: OrderBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no price then, which is another thing than a price of 0; nor while the symbol master is lost."""
    waits = [
        book.place(ME, ticket(pricetype="LIMIT", price=1.0)),
        book.place(ME, ticket(action="SELL", pricetype="SL-M", trigger_price=1.0)),
    ]
    monkeypatch.setattr(type(trading.symbols), "by_symbol", lambda *_: None)
    assert book.settle() == 0
    assert [book.order(1, one.id).status for one in waits] == [Status.OPEN, Status.TRIGGER_PENDING]


def test_an_order_that_was_sent_twice_is_placed_once(book: OrderBook) -> None:
    """By its idempotency key; the same key for another order is refused."""
    first = book.place(ME, ticket(), "key-1")
    assert book.place(ME, ticket(), "key-1").id == first.id
    with pytest.raises(RefusedOrderError, match="another order"):
        book.place(ME, ticket(quantity=11), "key-1")
    assert len(book.orders(1)) == 1
    assert book.place(ME, ticket(), "key-2").id != first.id
    assert book.place(ME, ticket()).id != book.place(ME, ticket()).id


def test_eight_that_send_one_order_at_once(book: OrderBook) -> None:
    """One is placed, and all hear of the same one."""
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda _nth: book.place(ME, ticket(), "key-1").id, range(8)))
    assert len(set(placed)) == 1
    assert [order.id for order in book.orders(1)] == placed[:1]


@pytest.mark.parametrize("target", [5, 0, -5])
def test_eight_that_want_one_position_at_once(book: OrderBook, target: int) -> None:
    """One of them orders what it lacks; the others find it as it is to be. So it is with eight that close one."""
    book.place(ME, ticket(quantity=7))
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda _: book.reach(ME, ticket(quantity=0), target), range(8)))
    assert [order.quantity for order in placed if order is not None] == [7 - target]
    assert [one.quantity for one in book.positions(1)] == [target]


def test_a_position_that_is_asked_for_twice(book: OrderBook) -> None:
    """Under one name it is one order, and one answer, whatever has become of the position since."""
    first = book.reach(ME, ticket(), 20, "day 1")
    assert first is not None
    book.place(ME, ticket(quantity=1))
    again = book.reach(ME, ticket(), 20, "day 1")
    assert again is not None
    assert (again.id, again.quantity) == (first.id, 20)
    for other in (ticket(), ticket(action="SELL")):
        with pytest.raises(RefusedOrderError, match="belongs to another order"):
            book.reach(ME, other, 21 if other == ticket() else 20, "day 1")
    with pytest.raises(RefusedOrderError, match="belongs to another order"):
        book.place(ME, ticket(), "day 1")


def test_where_no_position_is_and_none_is_wanted(book: OrderBook) -> None:
    """The order itself counts, as OpenAlgo has it."""
    sold = book.reach(ME, ticket(action="SELL", quantity=3), 0)
    assert sold is not None
    assert (sold.action, sold.quantity) == ("SELL", 3)


def test_orders_at_once_add_up(book: OrderBook) -> None:
    """No fill is lost, whoever comes when."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda nth: book.place(ME, ticket(action="BUY" if nth % 4 else "SELL")), range(40)))
    (held,) = book.positions(1)
    assert held.quantity == 200
    assert len(book.trades(1)) == 40


def test_whoever_was_taken_over_places_nothing(trading: Host, hands: Hands) -> None:
    """A strategy's key is bound to the run's lease, which is looked at in the order's own transaction."""
    book, leases = trading.orders, trading.leases
    lease = leases.take("strategy 7", 10)
    assert lease is not None
    late = Caller(1, lease)
    pending = book.place(late, ticket(pricetype="LIMIT", price=1.0))
    hands.turn(11)
    taken = type(leases)(trading.database, "other").take("strategy 7", 10)
    assert taken is not None
    for act in (
        lambda: book.place(late, ticket()),
        lambda: book.modify(late, pending.id, ticket(pricetype="LIMIT", price=2.0)),
        lambda: book.cancel(late, pending.id),
        lambda: book.cancel_all(late),
    ):
        with pytest.raises(FencedOffError):
            act()
    assert [order.status for order in book.orders(1)] == [Status.OPEN]
    assert book.place(Caller(1, taken), ticket()).status == Status.COMPLETE


def test_modify_and_cancel(book: OrderBook) -> None:
    """Only what is pending, and only one's own."""
    order = book.place(ME, ticket(pricetype="LIMIT", price=1.0))
    changed = book.modify(ME, order.id, ticket(pricetype="LIMIT", price=2.0, quantity=20))
    assert (changed.id, changed.price, changed.quantity) == (order.id, to_units(2), 20)
    with pytest.raises(RefusedOrderError, match="cannot be modified"):
        book.modify(ME, order.id, ticket(action="SELL", pricetype="LIMIT", price=2.0))
    with pytest.raises(RefusedOrderError, match="not found"):
        book.cancel(Caller(2), order.id)
    assert book.cancel(ME, order.id).status == Status.CANCELLED
    with pytest.raises(RefusedOrderError, match="cancelled"):
        book.cancel(ME, order.id)
    filled = book.place(ME, ticket())
    with pytest.raises(RefusedOrderError, match="complete"):
        book.modify(ME, filled.id, ticket())


def test_cancel_all(book: OrderBook) -> None:
    """Whichever strategy's they are; what is none of the caller's stays."""
    waiting = [book.place(ME, ticket(pricetype="LIMIT", price=1.0, strategy=name)).id for name in "aab"]
    assert book.cancel_all(Caller(2)) == []
    assert [order.id for order in book.cancel_all(ME)] == waiting
    assert book.cancel_all(ME) == []


def test_what_cannot_be_paid_is_rejected(book: OrderBook) -> None:
    """And kept as such; what closes a position needs no money."""
    price = book.price("RELIANCE", "NSE")
    quantity = CAPITAL // price
    bought = book.place(ME, ticket(product="CNC", quantity=quantity))
    assert bought.status == Status.COMPLETE
    refused = book.place(ME, ticket(product="CNC", quantity=quantity))
    assert (refused.status, refused.reason) == (Status.REJECTED, "Insufficient funds")
    assert book.place(ME, ticket(product="CNC", action="SELL", quantity=quantity)).status == Status.COMPLETE
    assert book.funds(1) == (CAPITAL, 0, 0, 0)


def test_what_cannot_be_ordered(book: OrderBook) -> None:
    """The message says why, and nothing is kept."""
    for why, changes in REFUSED.items():
        with pytest.raises(RefusedOrderError, match=why):
            book.place(ME, ticket(**changes))
    assert book.orders(1) == []


@given(
    st.lists(st.tuples(st.integers(-1_000, 1_000).filter(bool), st.integers(1, 10_000_000)), max_size=20),
    st.integers(1, 10_000_000),
)
def test_a_position_loses_no_money(trades: list[tuple[int, int]], last: int) -> None:
    """Whatever is traded: what was realised, and what is open at the last price, is what was paid and got."""
    position = PositionRow(quantity=0, cost=0, realised=0)
    paid = 0
    for quantity, price in trades:
        trade(position, quantity, price)
        paid += quantity * price
        assert (position.quantity == 0) <= (position.cost == 0)
        assert position.cost * position.quantity >= 0
    assert position.quantity == sum(quantity for quantity, _ in trades)
    assert position.realised + position.quantity * last - position.cost == position.quantity * last - paid


def _ticks(units: float) -> float:
    return round(round(units / 500) * 0.05, 2)


def _until(hands: Hands, holds: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if holds():
            return
        hands.turn(5)
    raise AssertionError("the market never gets there")

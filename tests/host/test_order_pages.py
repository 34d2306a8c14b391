"""The page of orders and positions: what it shows, and what its forms do. Money as in India, times in India."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from openalgo_host.caller import Caller
from openalgo_host.host import Host
from openalgo_host.india import midnight
from openalgo_host.pages import formats, orders
from openalgo_host.sandbox.money import to_units
from openalgo_host.sandbox.tables import Status
from openalgo_host.sandbox.ticket import Ticket
from openalgo_host.users import User
from tests.host.conftest import Hands, LogIn, token_in

BUY = Ticket("momentum", "M&M", "NSE", "BUY", "MIS", "MARKET", 100)
WAITS = Ticket("<b>dip</b>", "RELIANCE", "NSE", "BUY", "MIS", "LIMIT", 1, price=1.0)
CLOSE = "/positions/NSE/MIS/M%26M/close"
DAY = 86_400.0


def place(host: Host, ticket: Ticket, user_id: int = 1) -> int:
    """Place an order and return its number."""
    return host.orders.place(Caller(user_id), ticket).id


def post(user: FlaskClient, path: str, **fields: str) -> str:
    """Send the form of a question, and return the page that it leads to."""
    question = user.get(path)
    assert question.status_code == 200
    hidden = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', question.text.partition("<main")[2])
    )
    done = user.post(path, data=hidden | fields)
    assert (done.status_code, done.headers["Location"]) == (303, "/orders")
    return user.get("/orders").text


@pytest.mark.parametrize(
    "rupees, shown",
    [
        (0, "₹ 0.00"),
        (999.5, "₹ 999.50"),
        (1_000, "₹ 1,000.00"),
        (1_234_567.89, "₹ 12,34,567.89"),
        (-100_000, "\N{MINUS SIGN}₹ 1,00,000.00"),
        (10_000_000, "₹ 1,00,00,000.00"),
        (0.0049, "₹ 0.00"),
        (9.999, "₹ 10.00"),
    ],
)
def test_money_is_written_as_in_india(rupees: float, shown: str) -> None:
    """In lakhs and crores, with two places."""
    assert formats.rupees(to_units(rupees)).replace("\u00a0", " ") == shown


def test_prices_amounts_and_times(hands: Hands) -> None:
    """A price has the places that its tick has; a gain has its sign; midnight is India's."""
    assert formats.price(to_units(83.2525)) == "83.2525"
    assert formats.price(to_units(2885)) == "2,885.00"
    assert formats.amount(-1_500) == "\N{MINUS SIGN}1,500"
    assert formats.gain(to_units(5)) == "+₹\u00a05.00"
    assert formats.gain(0) == "₹\u00a00.00"
    assert formats.moment(hands.now) == "02 Mar 2026, 08:30:00 IST"
    assert formats.moment(midnight(hands.now)) == "02 Mar 2026, 00:00:00 IST"


def test_an_empty_page_says_what_to_do(user: FlaskClient) -> None:
    """It leads to the key and to the instruments."""
    page = user.get("/orders").text
    assert "No positions." in page
    assert 'href="/settings#api-key"' in page
    assert "₹\u00a01,00,00,000.00" in page


def test_orders_of_today_and_before(user: FlaskClient, host: Host, hands: Hands, log_in: LogIn) -> None:
    """Today's are live; what was before has a page of its own, fifty at a time. Names come out unharmed."""
    for _ in range(51):
        place(host, WAITS)
    host.orders.cancel_all(Caller(1))
    hands.turn(DAY)
    number = place(host, BUY)
    log_in()
    page = user.get("/orders").text
    assert re.findall(r'id="order-(\d+)"', page) == [str(number)]
    assert 'BUY</span> <a href="/symbols/NSE/M&amp;M">M&amp;M</a>' in page
    assert 'id="trade-1"' in page
    first = user.get("/orders/earlier").text
    assert re.findall(r'id="order-(\d+)"', first) == [str(one) for one in range(51, 1, -1)]
    assert "&lt;b&gt;dip&lt;/b&gt;" in first
    assert "02 Mar 2026, 08:30:00 IST" in first
    last = user.get("/orders/earlier?below=2").text
    assert re.findall(r'id="order-(\d+)"', last) == ["1"]
    assert "There are no older ones." in user.get("/orders/earlier?below=1").text
    assert user.get(f"/orders/earlier?below={10**30}").status_code == 200


def test_of_many_orders_the_newest_are_shown(user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is pending, however old it is; the others are a link away, and all are in the API."""
    monkeypatch.setattr(orders, "_NEWEST", 3)
    waits, *done = place(host, WAITS), *(place(host, BUY) for _ in range(5))
    page = user.get("/orders").text
    assert re.findall(r'id="order-(\d+)"', page) == [str(number) for number in (*done[:-4:-1], waits)]
    assert re.findall(r'id="trade-(\d+)"', page) == ["5", "4", "3"]
    assert "All of them are in the <code>tradebook</code>" in page
    older = re.search(r'href="(/orders/earlier\?below=\d+)">Older orders of today', page)
    assert older is not None
    listed = re.findall(r'data-label="Order">(\d+)<', user.get(older[1]).text)
    assert listed == [str(number) for number in (done[1], done[0], waits)]


def test_an_order_is_cancelled_once(user: FlaskClient, host: Host) -> None:
    """Only a pending one; who is too late is told."""
    number = place(host, WAITS)
    question = user.get(f"/orders/{number}/cancel")
    assert f"Order {number} is cancelled." in post(user, f"/orders/{number}/cancel")
    assert host.orders.order(1, number).status == Status.CANCELLED
    late = user.post(f"/orders/{number}/cancel", data={"token": token_in(question)})
    assert late.status_code == 303
    assert f"Order {number} is cancelled, and only a pending one can be changed." in user.get("/orders").text
    assert user.get(f"/orders/{number}/cancel").status_code == 404
    assert user.get("/orders/999/cancel").status_code == 404
    assert user.get(f"/orders/{10**30}/cancel").status_code == 404


def test_all_pending_orders_are_cancelled(user: FlaskClient, host: Host) -> None:
    """And only those."""
    assert "Cancel all" not in user.get("/orders").text
    done, numbers = place(host, BUY), [place(host, WAITS), place(host, WAITS)]
    assert "2 orders are pending" in user.get("/orders/cancel-all").text
    assert "2 orders are cancelled." in post(user, "/orders/cancel-all")
    assert [host.orders.order(1, one).status for one in (done, *numbers)] == ["complete", "cancelled", "cancelled"]
    assert "No order was pending." in post(user, "/orders/cancel-all")


def test_a_position_is_closed_once(user: FlaskClient, host: Host) -> None:
    """However often the form is sent."""
    place(host, BUY)
    question = user.get(CLOSE)
    assert "Sells 100 on NSE (MIS)" in question.text
    once = re.search(r'name="once" value="([^"]+)"', question.text)
    assert once is not None
    fields = {"token": token_in(question), "once": once[1]}
    assert user.post(CLOSE, data=fields).status_code == 303
    assert "M&amp;M is closed." in user.get("/orders").text
    assert user.post(CLOSE, data=fields).status_code == 303
    assert "There was nothing to close any more." in user.get("/orders").text
    assert host.orders.quantity(1, "M&M", "NSE", "MIS") == 0
    assert len(host.orders.orders(1)) == 2
    assert user.get(CLOSE).status_code == 404


def test_all_positions_are_closed(user: FlaskClient, host: Host) -> None:
    """Bought and sold ones; what cannot be closed is named."""
    place(host, BUY)
    place(host, Ticket("x", "RELIANCE", "BSE", "SELL", "MIS", "MARKET", 7))
    page = post(user, "/positions/close-all")
    assert "M&amp;M is closed." in page
    assert "RELIANCE is closed." in page
    assert {one.quantity for one in host.orders.positions(1)} == {0}


def test_what_is_not_traded_any_more_cannot_be_closed(
    user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says so."""
    place(host, BUY)
    question = user.get(CLOSE)
    monkeypatch.setattr(type(host.symbols), "by_symbol", lambda *_: None)
    user.post(CLOSE, data={"token": token_in(question)})
    assert "M&amp;M could not be closed: Symbol M&amp;M not found in exchange NSE." in user.get("/orders").text


def test_others_have_their_own(user: FlaskClient, host: Host) -> None:
    """Nobody sees, cancels or closes what another user has."""
    with host.database.writing() as session:
        session.add(User(id=2, name="bea", password_hash="", created_at=0))
    waiting = place(host, WAITS, user_id=2)
    place(host, BUY, user_id=2)
    assert "RELIANCE" not in user.get("/orders").text
    assert user.get(f"/orders/{waiting}/cancel").status_code == 404
    token = token_in(user.get("/orders/cancel-all"))
    for path in (f"/orders/{waiting}/cancel", "/orders/cancel-all", CLOSE, "/positions/close-all"):
        assert user.post(path, data={"token": token}).status_code == 303
    assert host.orders.order(2, waiting).status == Status.OPEN
    assert host.orders.quantity(2, "M&M", "NSE", "MIS") == 100


@pytest.mark.parametrize("path", ["/orders/1/cancel", "/orders/cancel-all", CLOSE, "/positions/close-all"])
def test_a_form_needs_its_token_and_a_login(user: FlaskClient, host: Host, path: str) -> None:
    """Another site can do nothing; who was logged out comes back to the page afterwards."""
    place(host, WAITS)
    place(host, BUY)
    assert user.post(path).status_code == 400
    assert user.post(path, data={"token": "é"}).status_code == 400
    token = token_in(user.get("/orders"))
    user.delete_cookie("openalgo_session")
    refused = user.post(path, data={"token": token})
    assert (refused.status_code, refused.headers["Location"]) == (302, "/login?next=/orders")
    assert host.orders.order(1, 1).status == Status.OPEN
    assert host.orders.quantity(1, "M&M", "NSE", "MIS") == 100


@pytest.mark.parametrize("path", ["/orders/holdings", "/orders/today", "/events"])
def test_the_script_is_told_that_nobody_is_logged_in(client: FlaskClient, path: str) -> None:
    """401, where a page leads to the login."""
    assert client.get(path).status_code == 401
    assert client.get("/orders").headers["Location"] == "/login?next=/orders"


def test_the_script_gets_parts(user: FlaskClient, host: Host) -> None:
    """The same as in the page, without the page."""
    place(host, BUY)
    page = user.get("/orders").text
    for path in ("/orders/holdings", "/orders/today"):
        part = user.get(path).text
        assert "<html" not in part
        assert part in page

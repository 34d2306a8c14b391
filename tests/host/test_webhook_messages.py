"""Messages to webhooks: what becomes an order, and what is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from openalgo_host.host import Host
from openalgo_host.sandbox.book import OrderBook
from openalgo_host.webhooks import Order, Webhook
from tests.host.conftest import Hands

ORDER = Order("RELIANCE", "NSE", "MIS", 10, ("BUY",))
pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture
def webhook(host: Host, credentials: object) -> Webhook:
    """A strategy that buys ten RELIANCE."""
    return host.webhooks.add(1, "breakout", ORDER)


@pytest.fixture
def token(host: Host, webhook: Webhook) -> str:
    """Its token."""
    return host.webhooks.token(1, webhook.id)


def send(client: FlaskClient, token: str, **message: Any) -> TestResponse:
    """Send a message."""
    return client.post(f"/strategy/webhook/{token}", json=message)


def test_a_message_becomes_an_order(host: Host, client: FlaskClient, token: str) -> None:
    """Under the strategy's name, at the market; it may name what the strategy says anyhow."""
    answer = send(client, token, action="buy", symbol="RELIANCE", exchange="NSE", quantity=10)
    assert answer.json == {"status": "success", "orderid": "1"}
    order = host.orders.order(1, 1)
    assert (order.strategy, order.symbol, order.action, order.quantity, order.product, order.pricetype) == (
        "breakout", "RELIANCE", "BUY", 10, "MIS", "MARKET",
    )  # fmt: skip


def test_a_message_that_is_sent_again(host: Host, client: FlaskClient, token: str) -> None:
    """Is the order that is there, if it has a key; at another webhook the same key is another order."""
    first, again = (send(client, token, action="BUY", idempotency_key="k" * 100) for _ in range(2))
    assert first.json == again.json == {"status": "success", "orderid": "1"}
    other = host.webhooks.add(1, "other", ORDER)
    assert send(client, host.webhooks.token(1, other.id), action="BUY", idempotency_key="k" * 100).json == {
        "status": "success", "orderid": "2",
    }  # fmt: skip
    assert len(host.orders.orders(1)) == 2


@pytest.mark.parametrize(
    "message, wrong",
    [
        ({}, {"action": ["Missing data for required field."]}),
        ({"action": "HOLD"}, {"action": ["Must be one of: BUY, SELL."]}),
        ({"action": "SELL"}, "This strategy does not SELL"),
        ({"action": "BUY", "symbol": "M&M"}, "This strategy's symbol is RELIANCE"),
        ({"action": "BUY", "exchange": "BSE"}, "This strategy's exchange is NSE"),
        ({"action": "BUY", "quantity": 11}, "This strategy's quantity is 10"),
        ({"action": "BUY", "idempotency_key": "k" * 101}, {"idempotency_key": ["Length must be between 1 and 100."]}),
        ({"action": "BUY", "apikey": "k"}, {"apikey": ["Unknown field."]}),
    ],
)
def test_messages_that_are_refused(client: FlaskClient, token: str, message: dict[str, Any], wrong: object) -> None:
    """With 400 and the reason; what the strategy says cannot be changed from outside."""
    answer = send(client, token, **message)
    assert (answer.status_code, answer.json) == (400, {"status": "error", "message": wrong})


def test_a_quantity_from_the_message(host: Host, client: FlaskClient, token: str) -> None:
    """Where the strategy leaves it open it must be said, and be possible."""
    webhook = host.webhooks.add(1, "open", Order("NIFTY26MAR26FUT", "NFO", "NRML"))
    token = host.webhooks.token(1, webhook.id)
    answers = [send(client, token, action="SELL", **more).json for more in ({}, {"quantity": 64}, {"quantity": 130})]
    assert answers == [
        {"status": "error", "message": {"quantity": ["Missing data for required field."]}},
        {"status": "error", "message": "Quantity must be in lots of 65"},
        {"status": "success", "orderid": "1"},
    ]


def test_only_json_is_read(client: FlaskClient, token: str) -> None:
    """A form, which another site could send from somebody's browser, is refused."""
    assert client.post(f"/strategy/webhook/{token}", data={"action": "BUY"}).status_code == 400
    assert client.get(f"/strategy/webhook/{token}").status_code == 405


def test_what_is_gone_looks_like_what_never_was(host: Host, client: FlaskClient, webhook: Webhook, token: str) -> None:
    """Switched off, renewed, removed, unknown: the same answer, at the first message after it, also to nonsense."""
    unknown = send(client, "x" * len(token), action="BUY")
    assert (unknown.status_code, unknown.json) == (
        404, {"status": "error", "message": "No active strategy has this webhook"},
    )  # fmt: skip

    def looks_unknown(token: str) -> bool:
        answers = (send(client, token, action="BUY"), client.post(f"/strategy/webhook/{token}", data="nonsense"))
        return all((one.status_code, one.data, dict(one.headers)) == gone for one in answers)

    gone = (unknown.status_code, unknown.data, dict(unknown.headers))
    assert send(client, token, action="BUY").status_code == 200
    host.webhooks.set_active(1, webhook.id, on=False)
    assert looks_unknown(token)
    host.webhooks.set_active(1, webhook.id, on=True)
    assert send(client, token, action="BUY").status_code == 200
    renewed = host.webhooks.renew_token(1, webhook.id)
    assert looks_unknown(token)
    assert send(client, renewed, action="BUY").status_code == 200
    host.webhooks.remove(1, webhook.id)
    assert looks_unknown(renewed)
    assert len(host.orders.orders(1)) == 3


def test_so_many_messages_a_minute(host: Host, client: FlaskClient, token: str, hands: Hands) -> None:
    """A hundred for each webhook."""
    answers = [send(client, token, action="HOLD").status_code for _ in range(101)]
    assert answers == [400] * 100 + [429]
    other = host.webhooks.add(1, "other", ORDER)
    assert send(client, host.webhooks.token(1, other.id), action="BUY").status_code == 200
    hands.turn(60)
    assert send(client, token, action="BUY").status_code == 200


def test_live_takes_a_broker(host: Host, client: FlaskClient, token: str) -> None:
    """As it does for a call of the API."""
    host.modes.set_analyses(on=False)
    refused = send(client, token, action="BUY")
    assert refused.status_code == 403
    host.broker.connect(1)
    assert send(client, token, action="BUY").status_code == 200


def test_no_log_has_a_token(
    app: Flask, token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even that of a flaw in the program, which Flask would log with the path."""

    def fail(*_arguments: object) -> None:
        raise RuntimeError("a flaw")

    app.config["PROPAGATE_EXCEPTIONS"] = False
    client = app.test_client()
    monkeypatch.setattr(OrderBook, "place", fail)
    with caplog.at_level(logging.DEBUG):
        answer = send(client, token, action="BUY")
    assert answer.status_code == 500
    assert "a flaw" in caplog.text
    assert "Exception on /strategy/webhook/<token> [POST]" in caplog.text
    assert token not in caplog.text
    assert token not in answer.text

"""Pages about what is outside: the broker, Telegram and webhooks."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from openalgo_host.caller import Caller
from openalgo_host.host import Host
from openalgo_host.sandbox.ticket import Ticket
from openalgo_host.telegram import Preferences
from tests.host.conftest import token_in

HOOK = {"name": "chart", "symbol": "RELIANCE", "exchange": "NSE", "product": "MIS", "quantity": "10", "actions": "BUY"}


def post(user: FlaskClient, path: str, **fields: object) -> TestResponse:
    """Send a form with its token."""
    return user.post(path, data={"token": token_in(user.get("/settings")), **fields})


def test_the_broker(user: FlaskClient, host: Host) -> None:
    """Connect, and disconnect after a question."""
    assert "Not connected." in user.get("/settings").text
    assert post(user, "/settings/broker").status_code == 303
    assert "Connected to <strong>paper</strong>" in user.get("/settings").text
    tokens = host.broker.tokens(1)
    assert tokens is not None
    assert tokens.auth not in user.get("/settings").text
    assert "Stay connected" in user.get("/settings/broker/disconnect").text
    assert post(user, "/settings/broker/disconnect").status_code == 303
    assert host.broker.tokens(1) is None


def test_live_trading_takes_the_broker(user: FlaskClient, host: Host) -> None:
    """A position is not closed without, as no order is placed."""
    host.orders.place(Caller(1), Ticket("x", "RELIANCE", "NSE", "BUY", "MIS", "MARKET", 1))
    host.modes.set_analyses(on=False)
    post(user, "/positions/close-all")
    assert "In live mode that takes a session at the broker" in user.get("/orders").text
    assert host.orders.quantity(1, "RELIANCE", "NSE", "MIS") == 1
    host.broker.connect(1)
    post(user, "/positions/close-all")
    assert host.orders.quantity(1, "RELIANCE", "NSE", "MIS") == 0


def test_telegram(user: FlaskClient, host: Host) -> None:
    """What is kept is what the form said; what cannot be is refused beside it."""
    done = post(
        user, "/settings/telegram", enabled="on", alerts=["orders", "end of day"], username="@bea", chat="-100123"
    )
    assert done.status_code == 303
    assert host.telegram.get(1) == Preferences(True, ("orders", "end of day"), -100123, "bea")
    page = user.get("/settings").text
    assert 'value="bea"' in page
    assert 'value="-100123"' in page
    for fields in ({"chat": "1.5"}, {"chat": "9" * 30}, {"username": "no name"}, {"alerts": "all"}, {"enabled": "on"}):
        refused = post(user, "/settings/telegram", **fields)
        assert refused.status_code == 422
        assert 'class="problem" role="alert"' in refused.text
    assert host.telegram.get(1).username == "bea"


def test_a_webhook(user: FlaskClient, host: Host) -> None:
    """Added, its address shown on demand, switched off and on, and removed after a question."""
    assert "No webhooks." in user.get("/webhooks").text
    assert post(user, "/webhooks", **HOOK).status_code == 303
    page = user.get("/webhooks").text
    token = host.webhooks.token(1, 1)
    assert "BUY 10: RELIANCE on NSE (MIS)" in page
    assert token not in page
    shown = post(user, "/webhooks/1/address").text
    found = re.search(r"<code>http://localhost(/strategy/webhook/[^<]+)</code>", shown)
    assert found is not None
    assert user.post(found[1], json={"action": "BUY"}).status_code == 200
    post(user, "/webhooks/1/active", on="no")
    assert "chart is switched off." in user.get("/webhooks").text
    assert user.post(found[1], json={"action": "BUY"}).status_code == 404
    post(user, "/webhooks/1/active", on="yes")
    assert user.post(found[1], json={"action": "BUY"}).status_code == 200
    assert "Make a new address for chart?" in user.get("/webhooks/1/renew").text
    post(user, "/webhooks/1/renew")
    assert "chart has another address" in user.get("/webhooks").text
    assert user.post(found[1], json={"action": "BUY"}).status_code == 404
    assert "Remove chart?" in user.get("/webhooks/1/remove").text
    post(user, "/webhooks/1/remove")
    assert host.webhooks.list(1) == []
    for path in ("address", "renew", "active", "remove"):
        assert post(user, f"/webhooks/1/{path}").status_code == 404


@pytest.mark.parametrize(
    "changes", [{"symbol": "NOSUCH"}, {"quantity": "-1"}, {"quantity": "x"}, {"actions": []}, {"name": " "}]
)
def test_a_webhook_that_cannot_be(user: FlaskClient, host: Host, changes: dict[str, object]) -> None:
    """The form says why, and keeps what was typed."""
    refused = post(user, "/webhooks", **{**HOOK, **changes})
    assert refused.status_code == 422
    assert 'class="problem" role="alert"' in refused.text
    assert "<option selected>NSE</option>" in refused.text
    assert host.webhooks.list(1) == []


@pytest.mark.parametrize(
    "path", ["/settings/broker", "/settings/broker/disconnect", "/settings/telegram", "/webhooks", "/webhooks/1/remove"]
)
def test_forms_need_their_token(user: FlaskClient, path: str) -> None:
    """Another site can change nothing here."""
    assert user.post(path).status_code == 400

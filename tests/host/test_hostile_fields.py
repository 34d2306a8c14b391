"""Every field of every call, form and address with what no store can keep: refused, and never a failure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from openalgo_host.caller import Caller
from openalgo_host.host import Host
from openalgo_host.limits import Rate, Rates
from openalgo_host.sandbox.ticket import Ticket
from openalgo_host.webhooks import Order
from tests.host.conftest import Credentials, Hands, LogIn, token_in
from tests.host.test_strategy_calls import key_of
from tests.host_stacks import Stack

pytestmark = pytest.mark.each_database

_MANY = Rates(*[Rate(1_000_000, 1)] * 3)

TEXTS = ("a\0b", "\0", "\ud800", "a\u202eb", "x" * 5_000, "[", "//[x", "%00", "'\"<", "-1", str(2**31), str(-(10**30)))
"""NUL, which PostgreSQL keeps in no text; half a character; what turns the line around; too long; half an address."""
NUMBERS = (2**31, 2**63, -(2**63) - 1, 10**400, 1e308, float("nan"), float("-inf"), 0.1)
"""More than the columns hold, more than a float does, and what is no number."""
OTHERS: tuple[Any, ...] = (None, True, [], {}, [["x"]], {"\0": "\ud800"})

_PAIR = {"symbol": "RELIANCE", "exchange": "NSE"}
_ORDER = {**_PAIR, "action": "BUY", "quantity": 1, "pricetype": "LIMIT", "price": 1.0, "product": "MIS"}
_MORE = {"trigger_price": 1.0, "disclosed_quantity": 0, "strategy": "s", "idempotency_key": "k"}
_OPTION = {"underlying": "NIFTY", "exchange": "NSE_INDEX", "expiry_date": "26MAR26"}
_ONE = {"id": "0" * 16}

CALLS: dict[str, dict[str, Any]] = {
    "ping": {},
    "symbol": _PAIR,
    "search": {"query": "NIFTY", "exchange": "NFO"},
    "expiry": {"symbol": "NIFTY", "exchange": "NFO", "instrumenttype": "options"},
    "intervals": {},
    "quotes": _PAIR,
    "multiquotes": {"symbols": [_PAIR]},
    "optionsymbol": {**_OPTION, "offset": "ATM", "option_type": "CE", "strategy": "s", "strike_int": 1},
    "optionchain": {**_OPTION, "strike_count": 1},
    "placeorder": {**_ORDER, **_MORE, "target": 1.0, "stoploss": 1.0, "trailing_sl": 1.0},
    "placesmartorder": {**_ORDER, **_MORE, "position_size": 1},
    "basketorder": {"strategy": "s", "orders": [{**_ORDER, "idempotency_key": "k"}]},
    "modifyorder": {**_ORDER, **_MORE, "orderid": "1"},
    "cancelorder": {"orderid": "1", "strategy": "s"},
    "cancelallorder": {"strategy": "s"},
    "closeposition": {"strategy": "s"},
    "orderstatus": {"orderid": "1", "strategy": "s"},
    "openposition": {**_PAIR, "product": "MIS", "strategy": "s"},
    "orderbook": {},
    "tradebook": {},
    "positionbook": {},
    "holdings": {},
    "funds": {},
    "analyzer": {},
    "analyzer/toggle": {"mode": True},
    "strategy/list": {},
    "strategy/get": _ONE,
    "strategy/add": {"name": "s", "source": "pass", "schedule": {"from": "09:15", "to": "15:30"}},
    "strategy/change": {**_ONE, "name": "s", "source": "pass", "schedule": {"from": "09:15"}},
    "strategy/start": _ONE,
    "strategy/stop": _ONE,
    "strategy/remove": _ONE,
    "strategy/log": _ONE,
    "strategy/state": _ONE,
    "strategy/state/save": {"id": None, "version": 0, "state": {"n": 1}},
}
_HOURS = {"scheduled": "on", "from": "09:15", "to": "15:30", "days": "MON", "holidays": "2026-03-06"}
FORMS: dict[str, dict[str, str]] = {
    "/settings/password": {"present": "x", "new": "x" * 12, "again": "x" * 12},
    "/settings/api-key": {},
    "/settings/api-key/renew": {},
    "/settings/mode": {"mode": "analyze"},
    "/settings/broker": {},
    "/settings/broker/disconnect": {},
    "/settings/telegram": {"chat": "1", "username": "abcde", "alerts": "orders", "enabled": "on"},
    "/webhooks": {**_PAIR, "name": "w", "product": "MIS", "quantity": "1", "actions": "BUY"},
    "/orders/cancel-all": {},
    "/positions/close-all": {"once": "x"},
    "/orders/<number>/cancel": {},
    "/positions/NSE/MIS/RELIANCE/close": {"once": "x"},
    "/positions/<text>/<text>/<text>/close": {"once": "x"},
    "/webhooks/<number>/address": {},
    "/webhooks/<number>/renew": {},
    "/webhooks/<number>/active": {"on": "yes"},
    "/webhooks/<number>/remove": {},
    "/strategies/add": {"name": "s", "source": "pass", **_HOURS},
    "/strategies/<strategy>/change": {"name": "t", **_HOURS},
    "/strategies/<strategy>/source": {"source": "pass"},
    "/strategies/<strategy>/stop": {"from": "list"},
    "/strategies/<strategy>/start": {"from": "list"},
    "/strategies/<text>/change": {},
    "/strategies/<text>/source": {},
    "/strategies/<text>/start": {},
    "/strategies/<text>/stop": {},
    "/strategies/<text>/remove": {},
}
PAGES = (
    "/orders/<number>/cancel", "/positions/<text>/<text>/<text>/close", "/webhooks/<number>/remove",
    "/webhooks/<number>/renew",
    "/symbols/<text>/<text>", "/symbols?q=<text>&exchange=<text>", "/symbols/search?q=<text>&exchange=<text>",
    "/orders/earlier?below=<text>", "/login?next=<text>", "/strategies/<text>", "/strategies/<text>/now",
    "/strategies/<text>/change", "/strategies/<text>/remove",
)  # fmt: skip


@pytest.fixture
def host(stack: Stack, settings: Any, hands: Hands, contract: Any) -> Iterator[Host]:
    """A host that lets everybody call as often as they like."""
    opened = Host.open(settings, hands, stack.database_url, rates=_MANY)
    opened.symbols.import_master(contract)
    yield opened
    opened.close()


def variants(fields: dict[str, Any], values: tuple[Any, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return fields with one of them replaced, and what was done; those of a list's first member likewise."""
    for name, usual in fields.items():
        for value in values:
            yield f"{name}={value!r:.20}", {**fields, name: value}
        if isinstance(usual, list):
            yield from ((f"{name}[0].{what}", {**fields, name: [one]}) for what, one in variants(usual[0], values))


def test_calls(app: Flask, host: Host, credentials: Credentials) -> None:
    """Of the API: those that are taken by the schema are answered, the others are refused."""
    paths = {rule.rule.removeprefix("/api/v1/") for rule in app.url_map.iter_rules() if "/api/v1/" in rule.rule}
    assert paths == {*CALLS, "instruments"}, "a call that is missing here, or there"
    failed, browser = [], app.test_client()
    keys = {"strategy/state/save": key_of(host, host.strategies.add(1, "run", "pass").id)}
    for path, fields in CALLS.items():
        call = {"apikey": keys.get(path, credentials.api_key), **fields}
        for what, body in variants(call, (*TEXTS, *NUMBERS, *OTHERS)):
            answer = browser.post(f"/api/v1/{path}", data=json.dumps(body), content_type="application/json")
            if answer.status_code >= 500 or not answer.is_json:
                failed.append((path, what, answer.status_code))
    for text in TEXTS[:2]:
        for query in ({"apikey": text}, {"apikey": credentials.api_key, "exchange": text}):
            status = browser.get("/api/v1/instruments", query_string=query).status_code
            failed += [("instruments", str(query), status)] * (status >= 500)
    assert failed == []


def test_webhooks(app: Flask, host: Host, credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages, and tokens."""
    order = Order("RELIANCE", "NSE", "MIS", 0, ("BUY", "SELL"))
    token = host.webhooks.token(1, host.webhooks.add(1, "w", order).id)
    failed, browser = [], app.test_client()
    monkeypatch.setattr(type(host.limits.webhooks), "admits", lambda *_: True)
    message = {**_PAIR, "action": "BUY", "quantity": 1, "idempotency_key": "k"}
    for what, body in variants(message, (*TEXTS, *NUMBERS, *OTHERS)):
        answer = browser.post(f"/strategy/webhook/{token}", data=json.dumps(body), content_type="application/json")
        failed += [(what, answer.status_code)] * (answer.status_code >= 500)
    for text in TEXTS:
        answer = browser.post(f"/strategy/webhook/{_quoted(text)}", json=message)
        failed += [(text, answer.status_code)] * (answer.status_code >= 500)
    assert failed == []


def test_forms(app: Flask, user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the pages, with the token of their session."""
    known = {re.sub("<[^>]+>", "<>", rule.rule) for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    asked = {re.sub("<[a-z]+>", "<>", path) for path in FORMS}
    left = {path for path in known if not path.startswith(("/api/", "/strategy/"))} - {"/login", "/logout"}
    assert left <= asked, "a form that is missing here"
    monkeypatch.setattr(type(host.login_attempts), "count", lambda *_: 0)
    failed, token, own = [], token_in(user.get("/settings")), host.strategies.add(1, "own", "pass").id
    for path, fields in FORMS.items():
        for what, form in (("as it is", fields), *variants(fields, TEXTS)):
            for address in _filled(path.replace("<strategy>", own)):
                if path.startswith("/positions"):
                    host.orders.place(Caller(1), Ticket("s", "RELIANCE", "NSE", "BUY", "MIS", "MARKET", 1))
                data = {name: value.encode("utf-8", "surrogatepass") for name, value in form.items()}
                answer = user.post(address, data={**data, "token": token})
                failed += [(address, what, answer.status_code)] * (answer.status_code >= 500)
    assert failed == []


def test_a_login(client: FlaskClient, log_in: LogIn, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may be asking: nobody is logged in yet."""
    monkeypatch.setattr(type(host.login_attempts), "count", lambda *_: 0)
    for field in ("name", "password", "next", "token"):
        for text in TEXTS:
            answer = log_in(**{field: text.encode("utf-8", "surrogatepass")})
            assert answer.status_code == {"next": 303, "token": 400}.get(field, 403), (field, text)
            client.delete_cookie("openalgo_session")


def test_addresses(user: FlaskClient) -> None:
    """Of pages that only show something."""
    failed = []
    for path in PAGES:
        for address in _filled(path):
            answer = user.get(address)
            failed += [(address, answer.status_code)] * (answer.status_code >= 500)
    assert failed == []


def _filled(path: str) -> Iterator[str]:
    """Return an address with each hostile text, or number, in the place of what it leaves open."""
    if "<text>" in path:
        yield from (path.replace("<text>", _quoted(text)) for text in TEXTS)
    elif "<number>" in path:
        yield from (path.replace("<number>", str(number)) for number in (0, 2**31, 2**63, 10**30))
    else:
        yield path


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")

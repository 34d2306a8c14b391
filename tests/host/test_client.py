"""The ``openalgo`` client from PyPI, as it is, against a host that serves: every call that this version answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from openalgo_host.host import Host
from tests.host.conftest import Credentials
from tests.host.pypi import client_of
from tests.host.serving import serving


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    """The address of the host."""
    with serving(app) as url:
        yield url


@pytest.fixture
def client(served: str, credentials: Credentials) -> Iterator[Any]:
    """The client, with the administrator's key."""
    with client_of(served, credentials.api_key) as client:
        yield client


def data(answer: dict[str, Any]) -> Any:
    """Return what a call that succeeded brought."""
    assert answer["status"] == "success", answer
    return answer["data"]


def test_what_is_traded(client: Any) -> None:
    """Symbols, searches, expiries, intervals and the whole list."""
    assert data(client.symbol(symbol="M&M", exchange="NSE"))["token"] == "2031"
    assert [one["symbol"] for one in data(client.search(query="NIFTY FUT", exchange="NFO"))] == ["NIFTY26MAR26FUT"]
    assert data(client.expiry(symbol="NIFTY", exchange="NFO", instrumenttype="options")) == ["26-MAR-26"]
    assert data(client.expiry(symbol="NIFTY", exchange="NFO", instrumenttype="futures")) == ["26-MAR-26"]
    assert "5m" in data(client.intervals())["minutes"]
    assert set(client.instruments(exchange="NSE")["symbol"]) == {"RELIANCE", "M&M"}
    assert len(client.instruments()) == 8


def test_prices(client: Any) -> None:
    """One quote and several; what does not exist says so."""
    quote = data(client.quotes(symbol="RELIANCE", exchange="NSE"))
    assert set(quote) == {"ask", "bid", "high", "low", "ltp", "oi", "open", "prev_close", "volume"}
    several = client.multiquotes(
        symbols=[{"symbol": "RELIANCE", "exchange": "NSE"}, {"symbol": "NOSUCH", "exchange": "NSE"}]
    )
    assert several["results"][0] == {"symbol": "RELIANCE", "exchange": "NSE", "data": quote}
    assert several["results"][1] == {"symbol": "NOSUCH", "exchange": "NSE", "error": "Symbol not found"}
    assert client.quotes(symbol="NOSUCH", exchange="NSE")["code"] == 404


def test_options(client: Any) -> None:
    """The strike at the money, and the chain around it."""
    found = client.optionsymbol(
        underlying="NIFTY", exchange="NSE_INDEX", expiry_date="26MAR26", offset="ATM", option_type="CE"
    )
    assert (found["symbol"], found["exchange"], found["lotsize"]) == ("NIFTY26MAR2624000CE", "NFO", 65)
    chain = client.optionchain(underlying="NIFTY26MAR26FUT", exchange="NFO", strike_count=3)
    assert (chain["underlying"], chain["expiry_date"], chain["atm_strike"]) == ("NIFTY", "26MAR26", 24000.0)
    (row,) = chain["chain"]
    assert row["ce"]["label"] == row["pe"]["label"] == "ATM"
    assert row["pe"]["symbol"] == "NIFTY26MAR2624000PE"
    beyond = client.optionsymbol(
        underlying="NIFTY", exchange="NSE_INDEX", expiry_date="26MAR26", offset="OTM2", option_type="CE"
    )
    assert beyond["code"] == 404


@pytest.mark.each_database
def test_a_day_of_trading(client: Any) -> None:
    """An order and its traces in every book, a smart order, a basket, and everything closed again."""
    placed = client.placeorder(
        symbol="RELIANCE", exchange="NSE", action="BUY", price_type="MARKET", product="MIS", quantity=10
    )
    assert placed["status"] == "success"
    status = data(client.orderstatus(order_id=placed["orderid"]))
    assert (status["order_status"], status["quantity"], status["pricetype"]) == ("complete", 10, "MARKET")
    book = data(client.orderbook())
    assert [order["orderid"] for order in book["orders"]] == [placed["orderid"]]
    assert book["statistics"]["total_completed_orders"] == 1
    (trade,) = data(client.tradebook())
    assert trade["trade_value"] == pytest.approx(10 * trade["average_price"])
    (position,) = data(client.positionbook())
    assert (position["symbol"], position["quantity"]) == ("RELIANCE", 10)
    assert client.openposition(symbol="RELIANCE", exchange="NSE", product="MIS")["quantity"] == "10"
    assert float(data(client.funds())["utiliseddebits"]) == pytest.approx(2 * trade["average_price"], abs=0.01)

    smart = client.placesmartorder(
        symbol="RELIANCE", exchange="NSE", action="SELL", product="MIS", quantity=1, position_size=-5
    )
    assert data(client.orderstatus(order_id=smart["orderid"]))["quantity"] == 15
    again = client.placesmartorder(
        symbol="RELIANCE", exchange="NSE", action="SELL", product="MIS", quantity=1, position_size=-5
    )
    assert "No Action needed" in again["message"]

    basket = client.basketorder(
        orders=[
            {"symbol": "M&M", "exchange": "NSE", "action": "SELL", "quantity": 1, "product": "MIS"},
            {"symbol": "M&M", "exchange": "NSE", "action": "BUY", "quantity": 3, "product": "CNC"},
            {"symbol": "NOSUCH", "exchange": "NSE", "action": "BUY", "quantity": 1},
        ]
    )
    assert [(one["symbol"], one["status"]) for one in basket["results"]] == [
        ("M&M", "success"),
        ("NOSUCH", "error"),
        ("M&M", "success"),
    ]
    (holding,) = data(client.holdings())["holdings"]
    assert (holding["symbol"], holding["quantity"]) == ("M&M", 3)

    assert client.closeposition()["message"] == "All Open Positions Squared Off"
    assert {one["quantity"] for one in data(client.positionbook())} == {0}
    assert float(data(client.funds())["utiliseddebits"]) == 0


def test_orders_that_wait(client: Any) -> None:
    """They can be modified and cancelled, one by one or all."""
    order = {"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "product": "MIS", "quantity": 1}
    placed = client.placeorder(**order, price_type="LIMIT", price=1)
    changed = client.modifyorder(order_id=placed["orderid"], **order, price_type="LIMIT", price=2)
    assert changed["orderid"] == placed["orderid"]
    assert data(client.orderstatus(order_id=placed["orderid"]))["price"] == 2
    assert client.cancelorder(order_id=placed["orderid"])["status"] == "success"
    assert client.cancelorder(order_id=placed["orderid"])["code"] == 400
    waiting = [client.placeorder(**order, price_type="LIMIT", price=1)["orderid"] for _ in range(2)]
    assert client.cancelallorder()["canceled_orders"] == waiting


def test_the_mode(client: Any) -> None:
    """It analyses until somebody says otherwise."""
    assert data(client.analyzerstatus())["mode"] == "analyze"
    assert data(client.analyzertoggle(mode=False))["analyze_mode"] is False
    assert data(client.analyzerstatus())["mode"] == "live"


def test_an_order_that_is_sent_again(client: Any) -> None:
    """With an idempotency key it is placed once, whatever became of the first answer."""
    order = {"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "quantity": 1, "idempotency_key": "day-1"}
    assert client.placeorder(**order)["orderid"] == client.placeorder(**order)["orderid"]
    assert len(data(client.orderbook())["orders"]) == 1


def test_a_smart_order_for_shares_to_keep(client: Any) -> None:
    """NRML is what derivatives have; with shares it means CNC, in every call alike."""
    smart = {"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "quantity": 1, "product": "NRML"}
    assert "orderid" in client.placesmartorder(**smart, position_size=5)
    assert "No Action needed" in client.placesmartorder(**smart, position_size=5)["message"]
    assert client.openposition(symbol="RELIANCE", exchange="NSE", product="NRML")["quantity"] == "5"


def test_the_rate_limit(host: Host, client: Any) -> None:
    """Ten orders a second; the clock of the test stands still."""
    order = {"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "quantity": 1}
    assert all(client.placeorder(**order)["status"] == "success" for _ in range(10))
    refused = client.placeorder(**order)
    assert refused["code"] == 429
    assert "10 per second" in refused["message"]
    assert len(host.orders.orders(1)) == 10


def test_the_example(served: str, credentials: Credentials) -> None:
    """``examples/round_trip.py`` does what it says, and shows no key."""
    script = Path(__file__).parents[2] / "examples" / "round_trip.py"
    environment = os.environ | {"OPENALGO_API_KEY": credentials.api_key, "OPENALGO_HOST": served}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert said == ["Quote", "Bought", "Order", "Positions", "Waits", "Changed", "Cancelled", "Sold", "Trades", "Funds"]
    assert credentials.api_key not in done.stdout

"""Every call of the API's subset by the ``openalgo`` client, against any host that serves, and what came of each.

    python -m tests.host.every_call http://127.0.0.1:5000 KEY

It trades one share of RELIANCE, and leaves the account without positions and pending orders, analysing.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import httpx

from tests.host.pypi import client_of

ORDER: Final[dict[str, Any]] = {
    "symbol": "RELIANCE",
    "exchange": "NSE",
    "action": "BUY",
    "product": "MIS",
    "quantity": 1,
}
WAITING: Final[dict[str, Any]] = {**ORDER, "price_type": "LIMIT", "price": 1}
OPTIONS: Final[dict[str, Any]] = {"underlying": "NIFTY", "exchange": "NSE_INDEX"}


class Calls:
    """What was called, and what came of it.

    Args:
        client: The client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.answers: dict[str, str] = {}
        """By call: the beginning of its answer."""

    def __call__(self, name: str, **fields: Any) -> Any:
        """Call a method of the client, and return its answer.

        Raises:
            AssertionError: The answer is an error.
        """
        answer = getattr(self._client, name)(**fields)
        self._note(name, answer)
        return answer

    def ping(self, url: str, key: str) -> None:
        """Call what the client has no method for."""
        self._note("ping", httpx.post(f"{url}/api/v1/ping", json={"apikey": key}, timeout=30).json())

    def _note(self, name: str, answer: Any) -> None:
        if isinstance(answer, dict):
            assert answer.get("status") == "success", (name, answer)
            text = str({key: value for key, value in answer.items() if key != "status"})
        else:  # a table
            assert len(answer), name
            text = f"{len(answer)} rows"
        self.answers.setdefault(name, text[:100])


def call_all(url: str, key: str) -> dict[str, str]:
    """Call each of the subset, and return the beginnings of the answers by call.

    Args:
        url: The address of the host.
        key: An API key.

    Raises:
        AssertionError: An answer is an error.
    """
    with client_of(url, key) as client:
        calls = Calls(client)
        calls.ping(url, key)
        _call_each(calls)
    return calls.answers


def _call_each(calls: Calls) -> None:
    calls("symbol", symbol="RELIANCE", exchange="NSE")
    calls("search", query="NIFTY", exchange="NFO")
    expiry = calls("expiry", symbol="NIFTY", exchange="NFO", instrumenttype="options")["data"][0].replace("-", "")
    calls("instruments", exchange="NSE")
    calls("intervals")
    calls("quotes", symbol="RELIANCE", exchange="NSE")
    calls("multiquotes", symbols=[{"symbol": "RELIANCE", "exchange": "NSE"}])
    calls("optionsymbol", **OPTIONS, expiry_date=expiry, offset="ATM", option_type="CE")
    calls("optionchain", **OPTIONS, expiry_date=expiry, strike_count=1)

    calls("analyzerstatus")
    calls("analyzertoggle", mode=True)
    placed = calls("placeorder", **ORDER)
    calls("orderstatus", order_id=placed["orderid"])
    calls("openposition", symbol="RELIANCE", exchange="NSE", product="MIS")
    calls("placesmartorder", **{**ORDER, "action": "SELL"}, position_size=-1)
    calls("basketorder", orders=[ORDER])
    waiting = calls("placeorder", **WAITING)
    calls("modifyorder", order_id=waiting["orderid"], **{**WAITING, "price": 2})
    calls("cancelorder", order_id=waiting["orderid"])
    calls("placeorder", **WAITING)
    calls("cancelallorder")
    calls("closeposition")
    for book in ("orderbook", "tradebook", "positionbook", "holdings", "funds"):
        calls(book)


if __name__ == "__main__":
    for called, answered in call_all(*sys.argv[1:]).items():
        sys.stdout.write(f"{called:16} {answered}\n")

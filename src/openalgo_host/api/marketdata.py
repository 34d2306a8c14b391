"""Calls about what is traded, and at what price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from openalgo_host.api import schemas
from openalgo_host.api.calls import Answer, Calls, Fields, RefusedCallError

if TYPE_CHECKING:
    from openalgo_cache.symbols import Instrument
    from openalgo_host.caller import Caller
    from openalgo_host.host import Host

_MOST_FOUND: Final = 500
_INTERVALS: Final[dict[str, list[str]]] = {
    "seconds": [], "minutes": ["1m", "3m", "5m", "10m", "15m", "30m"], "hours": ["1h"], "days": ["D"], "weeks": [],
    "months": [],
}  # fmt: skip


def add(calls: Calls, host: Host) -> None:
    """Add them."""

    @calls.post("/ping", schemas.Call)
    def ping(_caller: Caller, _call: Fields) -> Answer:
        return {"data": {"message": "pong", "broker": "sandbox"}}

    @calls.post("/symbol", schemas.Instrument)
    def symbol(_caller: Caller, call: Fields) -> Answer:
        return {"data": facts(find(host, call))}

    @calls.post("/search", schemas.Search)
    def search(_caller: Caller, call: Fields) -> Answer:
        found = host.symbols.search(call["query"], call["exchange"] or None, _MOST_FOUND)
        message = f"Found {len(found)} matching symbols" if found else "No matching symbols found"
        return {"message": message, "data": [facts(one) for one in found]}

    @calls.post("/expiry", schemas.Expiry)
    def expiry(_caller: Caller, call: Fields) -> Answer:
        kind = "FUT" if call["instrumenttype"] == "FUTURES" else "CE"
        found = host.symbols.expiries(call["exchange"], call["symbol"], kind)
        what = f"{call['symbol']} {call['instrumenttype'].lower()} in {call['exchange']}"
        message = f"Found {len(found)} expiry dates for {what}" if found else f"No expiry dates found for {what}"
        return {"message": message, "data": found}

    @calls.get("/instruments", schemas.Instruments)
    def instruments(_caller: Caller, call: Fields) -> Answer:
        found = host.symbols.listed(call["exchange"] or None)
        return {"message": f"Found {len(found)} instruments", "data": [facts(one) for one in found]}

    @calls.post("/intervals", schemas.Call)
    def intervals(_caller: Caller, _call: Fields) -> Answer:
        return {"data": _INTERVALS}

    @calls.post("/quotes", schemas.Instrument)
    def quotes(_caller: Caller, call: Fields) -> Answer:
        return {"data": host.market.quote(find(host, call))._asdict()}

    @calls.post("/multiquotes", schemas.MultiQuotes)
    def multiquotes(_caller: Caller, call: Fields) -> Answer:
        pairs = [(one["symbol"], one["exchange"]) for one in call["symbols"]]
        results: list[dict[str, Any]] = []
        for (name, exchange), found in zip(pairs, host.symbols.many_by_symbol(pairs), strict=True):
            quoted = {"error": "Symbol not found"} if found is None else {"data": host.market.quote(found)._asdict()}
            results.append({"symbol": name, "exchange": exchange, **quoted})
        return {"results": results}


def find(host: Host, call: Fields) -> Instrument:
    """Return the instrument that a call names."""
    found = host.symbols.by_symbol(call["symbol"], call["exchange"])
    if found is None:
        raise RefusedCallError(404, f"Symbol {call['symbol']} not found in exchange {call['exchange']}")
    return found


def facts(instrument: Instrument) -> dict[str, Any]:
    """Return the fields that the API gives of an instrument."""
    shown = instrument._asdict()
    del shown["contract_value"], shown["underlying"]
    return shown

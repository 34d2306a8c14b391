"""The calls of the API: ping, symbol, search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, jsonify, request

from openalgo_host.api.body import RefusedCallError, read_texts

if TYPE_CHECKING:
    from openalgo_cache.symbols import Instrument
    from openalgo_host.host import Host

_MOST_FOUND: Final = 500


def make_blueprint(host: Host) -> Blueprint:
    """Make the blueprint of the API; every call carries its key in the body."""
    blueprint = Blueprint("api", __name__)

    @blueprint.errorhandler(RefusedCallError)
    def refuse(error: RefusedCallError) -> tuple[Response, int]:
        return jsonify(status="error", message=error.message), error.status

    def authenticate(key: str) -> None:
        if host.api_keys.owner(key) is None:
            raise RefusedCallError(403, "Invalid openalgo apikey")

    @blueprint.post("/ping", strict_slashes=False)
    def ping() -> Response:
        call = read_texts(request, ("apikey",))
        authenticate(call["apikey"])
        return jsonify(status="success", data={"message": "pong", "broker": "none"})

    @blueprint.post("/symbol", strict_slashes=False)
    def symbol() -> Response:
        call = read_texts(request, ("apikey", "symbol", "exchange"))
        authenticate(call["apikey"])
        found = host.symbols.by_symbol(call["symbol"], call["exchange"])
        if found is None:
            raise RefusedCallError(404, f"Symbol {call['symbol']} not found in exchange {call['exchange']}")
        return jsonify(status="success", data=_facts(found))

    @blueprint.post("/search", strict_slashes=False)
    def search() -> Response:
        call = read_texts(request, ("apikey", "query"), ("exchange",))
        authenticate(call["apikey"])
        found = host.symbols.search(call["query"], call["exchange"] or None, _MOST_FOUND)
        message = f"Found {len(found)} matching symbols" if found else "No matching symbols found"
        return jsonify(status="success", message=message, data=[_facts(one) for one in found])

    return blueprint


def _facts(instrument: Instrument) -> dict[str, Any]:
    """Return the fields that the API gives of an instrument."""
    facts = instrument._asdict()
    del facts["contract_value"], facts["underlying"]
    return facts

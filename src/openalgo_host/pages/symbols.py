"""Searching the symbol master, and one instrument in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound

from openalgo_cache.symbols import Instrument
from openalgo_host.pages import members
from openalgo_host.pages.formats import amount

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from openalgo_host.host import Host

_SHOWN: Final = 50
_LONGEST_QUERY: Final = 100


def make_blueprint(host: Host) -> Blueprint:
    """Make the blueprint of the symbol pages."""
    blueprint = members.make_blueprint("symbols", host, parts=("search",))

    @blueprint.get("/")
    def home() -> AnyResponse:
        return redirect(url_for("symbols.index"))

    @blueprint.get("/symbols")
    def index() -> str:
        stats = host.symbols.stats()
        return render_template(
            "symbols.html",
            exchanges=sorted(stats.get("exchanges", {})),
            total=stats["total_symbols"],
            longest_query=_LONGEST_QUERY,
            **_search(host),
        )

    @blueprint.get("/symbols/search")
    def search() -> Response:
        """Return the part of the page that holds the results, for the script."""
        return make_response(render_template("results.html", **_search(host)))

    @blueprint.get("/symbols/<exchange>/<path:symbol>")
    def instrument(exchange: str, symbol: str) -> str:
        found = host.symbols.by_symbol(symbol, exchange) if (exchange + symbol).isprintable() else None
        if found is None:
            raise NotFound(f"There is no {symbol} on {exchange}.")
        return render_template(
            "instrument.html",
            instrument=found,
            facts=_facts(found),
            query=request.args.get("q", ""),
            within=request.args.get("within", ""),
        )

    blueprint.add_app_template_filter(_strike, "strike")
    return blueprint


def _search(host: Host) -> dict[str, Any]:
    """Return what was asked for, and what was found."""
    query = request.args.get("q", "").strip()[:_LONGEST_QUERY]
    exchange = request.args.get("exchange", "").strip()
    is_sound = query.isprintable() and exchange.isprintable()
    found: list[Instrument] = []
    if query and is_sound:
        found = host.symbols.search(query, exchange or None, _SHOWN + 1)
    return {
        "query": query if is_sound else "",
        "exchange": exchange if is_sound else "",
        "found": found[:_SHOWN],
        "count": _count(len(found)) if query else "",
    }


def _count(found: int) -> str:
    """Say how many were found, for the line above them."""
    if found > _SHOWN:
        return f"The best {_SHOWN}; more words narrow them down"
    return {0: "Nothing found", 1: "1 instrument"}.get(found, f"{found} instruments")


def _facts(instrument: Instrument) -> list[tuple[str, str]]:
    """Return what there is to know of an instrument, with labels; what it does not have is empty."""
    return [
        ("Token", instrument.token),
        ("Broker's symbol", instrument.brsymbol),
        ("Broker's exchange", instrument.brexchange),
        ("Underlying", instrument.underlying),
        ("Expiry", instrument.expiry),
        ("Strike", _strike(instrument.strike)),
        ("Lot size", amount(instrument.lotsize)),
        ("Tick size", f"{instrument.tick_size:g}"),
        ("Contract value", "" if instrument.contract_value is None else f"{instrument.contract_value:,g}"),
    ]


def _strike(strike: float) -> str:
    """Show a strike price as traders write it."""
    whole, _, part = f"{strike:.2f}".partition(".")
    return f"{amount(int(whole))}.{part}".rstrip("0").rstrip(".") if strike else ""

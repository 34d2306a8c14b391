"""Options and futures: filters, expiries, underlyings, option chains."""

from __future__ import annotations

from typing import Any, Final

from openalgo_cache.symbols.filters import Filters
from openalgo_cache.symbols.model import ChainRow, Instrument, contract_kind, expiry_day
from openalgo_cache.symbols.schema import INSTRUMENT, SERIES_FIRST
from openalgo_cache.symbols.search import Search
from openalgo_cache.symbols.version import MasterVersion

# Lists are read from one instrument of each series, not from the series itself, which carries no mark.
_ONE_OF_SERIES: Final = (
    "series AS s CROSS JOIN instrument AS i "
    "ON i.id = (SELECT id FROM instrument WHERE series = s.id ORDER BY strike LIMIT 1)"
)


def contracts(version: MasterVersion, query: str | None, filters: Filters, limit: int) -> list[Instrument]:
    """Return the options and futures that meet the filters and, if there is one, the query.

    Without a query they come by expiry, strike, kind (CE, FUT, PE) and symbol; with one, as a search orders them.
    """
    if query:
        return Search(version, query, filters, limit).run()
    order = "ORDER BY s.expiry_day, i.strike, s.kind, i.id LIMIT :limit"
    return _ask(version, SERIES_FIRST, filters, order, {"limit": limit})


def expiries(version: MasterVersion, filters: Filters) -> list[str]:
    """Return the expiries of the contracts that meet the filters, the earliest first."""
    found = {instrument.expiry for instrument in _ask(version, _ONE_OF_SERIES, filters) if instrument.expiry}
    return sorted(found, key=expiry_day)


def underlyings(version: MasterVersion, exchange: str | None, *, include_futures: bool) -> list[str]:
    """Return what options (and futures) are written on, in alphabetical order."""
    kinds = ("CE", "PE", "FUT") if include_futures else ("CE", "PE")
    found: set[str] = set()
    for kind in kinds:
        one_of_each = _ask(version, _ONE_OF_SERIES, Filters(exchange, kind=kind), "GROUP BY s.underlying")
        found.update(instrument.underlying for instrument in one_of_each)
    return sorted(found - {""})


def option_chain(version: MasterVersion, filters: Filters) -> list[ChainRow]:
    """Return the strikes of one underlying and expiry, the lowest first, each with its call and its put."""
    sides: dict[float, dict[str, Instrument]] = {}
    for instrument in _ask(version, SERIES_FIRST, filters, "ORDER BY i.strike, i.id"):
        kind = contract_kind(instrument.symbol, instrument.expiry, instrument.instrumenttype)
        if kind != "FUT":
            sides.setdefault(instrument.strike, {}).setdefault(kind, instrument)
    return [ChainRow(strike, of_strike.get("CE"), of_strike.get("PE")) for strike, of_strike in sides.items()]


def _ask(
    version: MasterVersion, tables: str, filters: Filters, end: str = "", more: dict[str, Any] | None = None
) -> list[Instrument]:
    conditions, bindings = filters.conditions()
    where = " AND ".join(conditions) or "TRUE"
    sql = f"SELECT {INSTRUMENT} FROM {tables} WHERE {where} {end}"  # noqa: S608  # values are bound
    return [instrument for instrument in version.all(sql, bindings | (more or {})) if filters.admit(instrument)]

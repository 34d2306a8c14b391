"""Options and futures: filters, expiries, underlyings, option chains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.symbols import Instrument, SymbolMaster
from tests.symbols.samples import RING, ROWS, contract, row


def symbols(found: list[Instrument]) -> list[str]:
    """Return their symbols."""
    return [one.symbol for one in found]


def test_without_a_query_they_come_by_date_and_strike(master: SymbolMaster) -> None:
    """All options and futures, the next expiry first, calls before puts; no stocks, no indices."""
    assert symbols(master.fno_search(exchange="NFO", underlying="NIFTY")) == [
        "NIFTY07MAR2424000CE", "NIFTY28MAR24FUT", "NIFTY28MAR2420800CE", "NIFTY28MAR2420800PE", "NIFTY28MAR2424000CE",
        "NIFTY28MAR2424000PE", "NIFTY25APR24FUT",
    ]  # fmt: skip
    everything = master.fno_search()
    assert len(everything) == sum(1 for one in ROWS if one["expiry"])
    assert master.fno_search(limit=3) == everything[:3]


@pytest.mark.parametrize(
    "filters,expected",
    [
        ({"expiry": "24-APR-24"}, ["BANKNIFTY24APR24FUT", "BANKNIFTY24APR2448000CE"]),
        ({"exchange": "CDS"}, ["USDINR28MAR2482.75CE"]),
        ({"exchange": "NSE"}, []),
        ({"exchange": "NO SUCH"}, []),
        ({"underlying": "M&M"}, ["M&M28MAR241900PE"]),
        ({"underlying": "SENSEX"}, []),
        ({"underlying": ""}, []),
        ({"instrumenttype": "PE", "strike_min": 2000}, ["NIFTY28MAR2420800PE", "NIFTY28MAR2424000PE"]),
        ({"strike_min": 24000, "strike_max": 24000, "expiry": "07-MAR-24"}, ["NIFTY07MAR2424000CE"]),
        ({"strike_min": 24000.5, "strike_max": 47999.5}, []),
        ({"strike_max": 82.75, "instrumenttype": "CE"}, ["USDINR28MAR2482.75CE"]),
        ({"instrumenttype": "FUT", "underlying": "NIFTY", "expiry": "25-APR-24"}, ["NIFTY25APR24FUT"]),
        ({"instrumenttype": "FUT", "exchange": "MCX"}, ["GOLD05APR24FUT"]),
    ],
)
def test_filters(master: SymbolMaster, filters: dict[str, Any], expected: list[str]) -> None:
    """All that are given must hold; strikes include their bounds."""
    assert symbols(master.fno_search(**filters)) == expected


def test_with_a_query_they_come_as_a_search_orders_them(master: SymbolMaster) -> None:
    """With many or with few candidates, the order is the same."""
    expected = ["NIFTY07MAR2424000CE", "NIFTY28MAR2424000CE"]
    assert symbols(master.fno_search("24000 ce")) == expected
    assert symbols(master.fno_search("24000 ce", underlying="NIFTY")) == expected
    assert symbols(master.fno_search("24000", expiry="28-MAR-24", instrumenttype="PE")) == ["NIFTY28MAR2424000PE"]
    assert symbols(master.fno_search("nifty", instrumenttype="FUT")) == [
        "NIFTY28MAR24FUT", "NIFTY25APR24FUT", "BANKNIFTY24APR24FUT",
    ]  # fmt: skip
    assert symbols(master.fno_search("nifty", expiry="28-MAR-24", limit=2)) == [
        "NIFTY28MAR24FUT",
        "NIFTY28MAR2420800CE",
    ]
    assert symbols(master.fno_search("RELIANCE")) == []
    assert symbols(master.fno_search("M&M")) == ["M&M28MAR241900PE"]
    assert symbols(master.fno_search("NIFTY:FUT:25-APR-24", underlying="NIFTY")) == ["NIFTY25APR24FUT"]


def test_filters_that_cannot_hold(master: SymbolMaster) -> None:
    """A misspelt filter is an error, not an empty answer."""
    with pytest.raises(ValueError, match="instrumenttype must be CE, PE or FUT, not 'ce'"):
        master.fno_search(instrumenttype="ce")
    with pytest.raises(ValueError, match="expiry '2024-03-28': not a date like 28-MAR-24"):
        master.fno_search(expiry="2024-03-28")
    with pytest.raises(ValueError, match="expiry"):
        master.option_chain("NIFTY", "28MAR24", "NFO")
    with pytest.raises(ValueError, match="limit"):
        master.fno_search(limit=0)
    with pytest.raises(ValueError, match="instrumenttype"):
        master.expiries(instrumenttype="EQ")


def test_expiries(master: SymbolMaster) -> None:
    """Sorted by date, once each, narrowed down by what is given."""
    assert master.expiries("NFO", "NIFTY") == ["07-MAR-24", "28-MAR-24", "25-APR-24"]
    assert master.expiries("NFO", "NIFTY", "FUT") == ["28-MAR-24", "25-APR-24"]
    assert master.expiries("NFO") == ["07-MAR-24", "28-MAR-24", "24-APR-24", "25-APR-24"]
    assert master.expiries() == ["07-MAR-24", "28-MAR-24", "05-APR-24", "24-APR-24", "25-APR-24"]
    assert master.expiries("NSE") == master.expiries("NFO", "GOLD") == []


def test_underlyings(master: SymbolMaster) -> None:
    """In alphabetical order; those that only futures are written on, if asked for."""
    assert master.underlyings("NFO") == ["BAJAJ-AUTO", "BANKNIFTY", "M&M", "NIFTY"]
    assert master.underlyings("MCX") == []
    assert master.underlyings("MCX", include_futures=True) == ["GOLD"]
    assert master.underlyings() == ["BAJAJ-AUTO", "BANKNIFTY", "M&M", "NIFTY", "SENSEX50", "USDINR"]


def test_option_chain(master: SymbolMaster) -> None:
    """A row a strike, the lowest first; a side that is not listed is None; no futures."""
    chain = master.option_chain("NIFTY", "28-MAR-24", "NFO")
    assert [(one.strike, one.call and one.call.symbol, one.put and one.put.symbol) for one in chain] == [
        (20800.0, "NIFTY28MAR2420800CE", "NIFTY28MAR2420800PE"),
        (24000.0, "NIFTY28MAR2424000CE", "NIFTY28MAR2424000PE"),
    ]
    (only,) = master.option_chain("NIFTY", "07-MAR-24", "NFO")
    assert only.put is None
    assert only.call is not None
    assert master.option_chain("NIFTY", "25-APR-24", "NFO") == []
    assert master.option_chain("NIFTY", "28-MAR-24", "BFO") == []


def test_types_as_brokers_write_them(base: Path) -> None:
    """Where the broker says OPTIDX or FUTSTK, the end of the symbol tells calls, puts and futures apart."""
    kinds = {"CE": "OPTIDX", "PE": "OPTIDX", "FUT": "FUTIDX"}
    rows = [
        contract("NIFTY", "28-MAR-24", kind, "20800.0") | {"instrumenttype": theirs} for kind, theirs in kinds.items()
    ]
    master = SymbolMaster(base, RING)
    master.import_master([*rows, row("SPICE")])
    assert symbols(master.fno_search(instrumenttype="PE")) == ["NIFTY28MAR2420800PE"]
    (only,) = master.option_chain("NIFTY", "28-MAR-24", "NFO")
    assert only.call is not None
    assert only.call.instrumenttype == "OPTIDX"
    assert len(master.fno_search()) == 3

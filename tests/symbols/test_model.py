"""What an instrument is made of."""

from __future__ import annotations

import datetime

import pytest

from openalgo_cache.symbols.model import contract_kind, expiry_day, expiry_text, strike_text, underlying_of


def test_expiries_sort_by_date() -> None:
    """A number stands for the date, so that April follows March; no expiry comes first."""
    assert expiry_day("28-MAR-24") == 20240328
    assert expiry_day("") == 0
    assert sorted(["04-APR-24", "28-MAR-24", "01-JAN-25"], key=expiry_day) == ["28-MAR-24", "04-APR-24", "01-JAN-25"]


@pytest.mark.parametrize(
    "text", ["30-FEB-24", "28-MRZ-24", "28-mar-24", "28MAR24", "2024-03-28", "28-MAR-2024", "x", " "]
)
def test_what_is_no_expiry(text: str) -> None:
    """Only real dates in OpenAlgo's writing are expiries."""
    with pytest.raises(ValueError, match=r"."):
        expiry_day(text)


def test_a_date_as_an_expiry() -> None:
    """Both ways agree."""
    day = datetime.date(2026, 1, 5)
    assert expiry_text(day) == "05-JAN-26"
    assert expiry_day(expiry_text(day)) == 20260105


@pytest.mark.parametrize(
    "symbol,name,expiry,underlying",
    [
        ("NIFTY28MAR2420800CE", "NIFTY", "28-MAR-24", "NIFTY"),
        ("BANKNIFTY24APR24FUT", "", "24-APR-24", "BANKNIFTY"),
        ("SENSEX5031DEC2623500CE", "SENSEX 50", "31-DEC-26", "SENSEX50"),
        ("M&M28MAR241900PE", "", "28-MAR-24", "M&M"),
        ("USDINR28MAR2482.75CE", "", "28-MAR-24", "USDINR"),
        ("SOMETHING-ELSE", "GOLD", "05-APR-24", "GOLD"),
        ("RELIANCE", "RELIANCE INDUSTRIES", "", ""),
    ],
)
def test_underlying(symbol: str, name: str, expiry: str, underlying: str) -> None:
    """It is the symbol up to the expiry, the name where the symbol is written otherwise, and nothing for stocks."""
    assert underlying_of(symbol, name, expiry) == underlying


@pytest.mark.parametrize(
    "symbol,expiry,instrumenttype,kind",
    [
        ("NIFTY28MAR2420800CE", "28-MAR-24", "CE", "CE"),
        ("NIFTY28MAR2420800PE", "28-MAR-24", "OPTIDX", "PE"),
        ("GOLD05APR24FUT", "05-APR-24", "FUTCOM", "FUT"),
        ("RELIANCE", "", "EQ", ""),
        ("SPICE", "", "EQ", ""),
        ("ODD05APR24", "05-APR-24", "COM", ""),
    ],
)
def test_kind_of_a_contract(symbol: str, expiry: str, instrumenttype: str, kind: str) -> None:
    """The type tells, else the end of the symbol, but only where something expires."""
    assert contract_kind(symbol, expiry, instrumenttype) == kind


def test_strikes_as_symbols_write_them() -> None:
    """No decimals that say nothing."""
    assert [strike_text(strike) for strike in (20800.0, 262.5, 0.985)] == ["20800", "262.5", "0.985"]

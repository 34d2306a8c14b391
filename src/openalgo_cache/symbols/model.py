"""What an instrument is: one row of a master contract, typed and immutable."""

from __future__ import annotations

import datetime
import functools
import re
from typing import Final, NamedTuple

COLUMNS: Final = (
    "symbol",
    "brsymbol",
    "name",
    "exchange",
    "brexchange",
    "token",
    "expiry",
    "strike",
    "lotsize",
    "instrumenttype",
    "tick_size",
    "contract_value",
)
"""The columns of a master contract, in the order of :class:`Instrument`'s first fields."""

CONTRACT_KINDS: Final = ("CE", "PE", "FUT")
"""Call, put and future: what :func:`contract_kind` tells apart."""

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EXPIRY: Final = re.compile(r"([0-9]{2})-([A-Z]{3})-([0-9]{2})")


class Instrument(NamedTuple):
    """One instrument, as OpenAlgo names it and as the broker does.

    Attributes:
        symbol: OpenAlgo's symbol, ``NIFTY28MAR2420800CE``; unique within its exchange.
        brsymbol: The broker's symbol.
        name: The company's or the underlying's name; may be empty.
        exchange: OpenAlgo's exchange, ``NFO``.
        brexchange: The broker's exchange.
        token: The broker's number for it, kept as the text it came as. Two exchanges may use the same one.
        expiry: ``28-MAR-24``; empty where nothing expires.
        strike: The strike price; 0.0 where there is none.
        lotsize: Units in a lot.
        instrumenttype: ``EQ``, ``INDEX``, ``FUT``, ``CE``, ``PE``, or what the broker says.
        tick_size: The smallest step of the price.
        contract_value: The value of one contract where the exchange states it, else None.
        underlying: What a derivative derives from (``NIFTY``), read from its symbol; empty for everything else.
    """

    symbol: str
    brsymbol: str
    name: str
    exchange: str
    brexchange: str
    token: str
    expiry: str
    strike: float
    lotsize: int
    instrumenttype: str
    tick_size: float
    contract_value: float | None
    underlying: str


class ChainRow(NamedTuple):
    """One strike of an option chain; a side that is not listed is None."""

    strike: float
    call: Instrument | None
    put: Instrument | None


@functools.lru_cache(maxsize=1024)
def expiry_day(expiry: str) -> int:
    """Return an expiry as a number that sorts by date: 20240328 for ``28-MAR-24``, 0 for the empty text.

    Raises:
        ValueError: It is no such date.
    """
    if not expiry:
        return 0
    parts = _EXPIRY.fullmatch(expiry)
    if parts is None or parts[2] not in _MONTHS:
        raise ValueError("not a date like 28-MAR-24")
    day, month, year = int(parts[1]), _MONTHS.index(parts[2]) + 1, 2000 + int(parts[3])
    datetime.date(year, month, day)  # raises for 30-FEB-24
    return year * 10_000 + month * 100 + day


def expiry_text(day: datetime.date) -> str:
    """Return a date as an expiry: ``28-MAR-24``."""
    # Not strftime: its month names follow the locale.
    return f"{day.day:02d}-{_MONTHS[day.month - 1]}-{day.year % 100:02d}"


def strike_text(strike: float) -> str:
    """Return a strike as symbols write it: ``20800``, ``262.5``."""
    return str(int(strike)) if strike.is_integer() else repr(strike)


def underlying_of(symbol: str, name: str, expiry: str) -> str:
    """Return what a derivative derives from: its symbol up to the expiry, else its name; empty without an expiry."""
    if not expiry:
        return ""
    at = symbol.rfind(expiry.replace("-", ""))
    return symbol[:at] if at > 0 else name


def contract_kind(symbol: str, expiry: str, instrumenttype: str) -> str:
    """Return CE, PE or FUT; empty for what is neither option nor future.

    Brokers also write ``OPTIDX`` or ``FUTSTK`` as a type: there the end of the symbol tells.
    """
    if instrumenttype in CONTRACT_KINDS:
        return instrumenttype
    if not expiry:
        return ""
    return next((kind for kind in CONTRACT_KINDS if symbol.endswith(kind)), "")

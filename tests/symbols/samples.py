"""A small master with awkward names, and what its tests share."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, Final

from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.symbols import COLUMNS

RING: Final = KeyRing.of_one("A" * 43 + "=")
OTHER_RING: Final = KeyRing.of_one("B" * 43 + "=")


class Hand:
    """A clock whose hands the test turns."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return where the hands stand."""
        return self.now


def hurried() -> Hand:
    """A clock that moves two seconds at every look, so that the pointer is looked at for every question."""

    class Hurried(Hand):
        """See above."""

        def __call__(self) -> float:
            self.now += 2
            return self.now

    return Hurried()


def row(symbol: str, exchange: str = "NSE", **changes: Any) -> dict[str, Any]:
    """Return one row; what is not given is that of a stock."""
    return {
        "symbol": symbol,
        "brsymbol": symbol,
        "name": symbol,
        "exchange": exchange,
        "brexchange": exchange,
        "token": f"T{symbol}",
        "expiry": "",
        "strike": "0.0",
        "lotsize": "1",
        "instrumenttype": "EQ",
        "tick_size": "0.05",
        "contract_value": "",
    } | changes


def contract(underlying: str, expiry: str, kind: str, strike: str = "0.0", exchange: str = "NFO") -> dict[str, Any]:
    """Return the row of an option or a future."""
    end = kind if kind == "FUT" else strike.removesuffix(".0") + kind
    symbol = underlying + expiry.replace("-", "") + end
    return row(
        symbol, exchange, name=underlying, brsymbol=f"{underlying}:{end}:{expiry}", expiry=expiry, strike=strike,
        lotsize="50", instrumenttype=kind,
    )  # fmt: skip


ROWS: Final = (
    row("RELIANCE", name="RELIANCE INDUSTRIES LIMITED", token="738561::::2885"),
    row("RELIANCE", "BSE", name="RELIANCE INDUSTRIES LIMITED", token="128083204::::500325"),
    row("RELIANCEPP", name="RELIANCE PARTLY PAID", token="738562::::2886"),
    row("M&M", name="MAHINDRA & MAHINDRA", token="519937::::2031"),
    row("M&M", "BSE", name="MAHINDRA & MAHINDRA", token="519937::::2031"),  # one token for both exchanges
    row("M&MFIN", token="3400961::::13285"),
    row("BAJAJ-AUTO", token="4267265::::16669"),
    row("08ABB", "BSE", token="208011::::812"),
    row("NIFTY", "NSE_INDEX", brsymbol="Nifty 50", name="NIFTY 50", instrumenttype="INDEX", token="256265::::1001"),
    row("NIFTY 50", "NSE_INDEX", brsymbol="N50", instrumenttype="INDEX", token="26000"),
    row("BANKNIFTY", "NSE_INDEX", brsymbol="Nifty Bank", instrumenttype="INDEX", token="260105::::1016"),
    row("NIFTYBEES", name="NIPPON INDIA ETF", token="2707457::::10576"),
    row("BTCUSD.P", "CRYPTO", instrumenttype="PERP", contract_value="0.001", tick_size="0.5", token="27"),
    row("Mixed-Case", token="mc::::1"),
    row("50_%PCT", token="odd"),
    contract("NIFTY", "28-MAR-24", "FUT"),
    contract("NIFTY", "25-APR-24", "FUT"),
    contract("NIFTY", "28-MAR-24", "CE", "20800.0"),
    contract("NIFTY", "28-MAR-24", "PE", "20800.0"),
    contract("NIFTY", "28-MAR-24", "CE", "24000.0"),
    contract("NIFTY", "28-MAR-24", "PE", "24000.0"),
    contract("NIFTY", "07-MAR-24", "CE", "24000.0"),
    contract("BANKNIFTY", "24-APR-24", "FUT"),
    contract("BANKNIFTY", "24-APR-24", "CE", "48000.0"),
    contract("M&M", "28-MAR-24", "PE", "1900.0"),
    contract("BAJAJ-AUTO", "28-MAR-24", "CE", "8250.0"),
    contract("USDINR", "28-MAR-24", "CE", "82.75", "CDS"),
    contract("GOLD", "05-APR-24", "FUT", exchange="MCX"),
    contract("SENSEX50", "28-MAR-24", "CE", "23500.0", "BFO"),
)


def csv_of(rows: Iterable[Mapping[str, Any]], columns: Iterable[str] = COLUMNS) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

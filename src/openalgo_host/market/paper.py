"""Quotes of the paper market, for every instrument of the symbol master."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from openalgo_host.india import INDIA
from openalgo_host.market import paths

if TYPE_CHECKING:
    from openalgo_cache.symbols import Instrument, SymbolMaster

_SEED: Final = 1
"""What prices come from: another one makes other prices, for every instance."""
_OPENS: Final = timedelta(hours=9, minutes=15)
_CLOSES: Final = timedelta(hours=15, minutes=30)
_STEP: Final = 600.0
"""Seconds between the prices of which a day's highest and lowest are taken."""
_YEAR: Final = 365 * 86_400.0
_CARRY: Final = 0.06
_VOLATILITY: Final = 0.16
_LEAST_TICK: Final = 0.0025
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DERIVATIVES_OF: Final = {"NSE": "NFO", "NSE_INDEX": "NFO", "BSE": "BFO", "BSE_INDEX": "BFO"}
"""For each exchange where its options and futures are listed; the others list their own."""


class Quote(NamedTuple):
    """What the market says of an instrument, under OpenAlgo's names. Prices are in rupees."""

    ask: float
    bid: float
    high: float
    low: float
    ltp: float
    oi: int
    open: float
    prev_close: float
    volume: int


class PaperMarket:
    """A market that is always open, deep and honest: whatever is ordered at its price is had.

    Args:
        symbols: What is traded.
        clock: Where the time comes from.
    """

    def __init__(self, symbols: SymbolMaster, clock: Callable[[], float]) -> None:
        self._symbols = symbols
        self._clock = clock
        self._base = lru_cache(maxsize=8192)(self._find_base)

    def price(self, instrument: Instrument, at: float | None = None) -> float:
        """Return the last traded price, in rupees, now or at another moment."""
        when = self._clock() if at is None else at
        tick = max(instrument.tick_size, _LEAST_TICK)
        return max(1, round(self._value(instrument, when) / tick)) * tick

    def quote(self, instrument: Instrument) -> Quote:
        """Return what the market says of an instrument now."""
        now = self._clock()
        opened, closed_before = _day_of(now)
        last, first = self.price(instrument, now), self.price(instrument, opened)
        steps = range(1, math.ceil((min(now, opened + 22_500) - opened) / _STEP))
        seen = [first, last, *(self.price(instrument, opened + step * _STEP) for step in steps)]
        tick = max(instrument.tick_size, _LEAST_TICK)
        busy = paths.share(_SEED, instrument.symbol)
        return Quote(
            ask=_rounded(last + tick),
            bid=_rounded(max(last - tick, tick)),
            high=_rounded(max(seen)),
            low=_rounded(min(seen)),
            ltp=_rounded(last),
            oi=int(busy * 1e6) if instrument.expiry else 0,
            open=_rounded(first),
            prev_close=_rounded(self.price(instrument, closed_before)),
            volume=int((now - opened) * (1 + 200 * busy)) * max(instrument.lotsize, 1),
        )

    def spot(self, underlying: str, exchange: str, at: float | None = None) -> float:
        """Return the price of what derivatives on an exchange derive from, in rupees."""
        when = self._clock() if at is None else at
        return self._base(underlying, exchange) * paths.factor(_SEED, underlying, when)

    def _value(self, instrument: Instrument, at: float) -> float:
        if not instrument.expiry:
            exchange = DERIVATIVES_OF.get(instrument.exchange, instrument.exchange)
            return self.spot(instrument.symbol, exchange, at)
        spot = self.spot(instrument.underlying or instrument.name, instrument.exchange, at)
        years = max(expires_at(instrument.expiry) - at, 0.0) / _YEAR
        if instrument.instrumenttype not in {"CE", "PE"}:
            return spot * (1 + _CARRY * years)
        return _premium(spot, instrument.strike, years, is_call=instrument.instrumenttype == "CE")

    def _find_base(self, underlying: str, exchange: str) -> float:
        """Return the price around which something moves: where its options lie, if it has any."""
        expiries = self._symbols.expiries(exchange=exchange, underlying=underlying, instrumenttype="CE")
        if expiries:
            chain = self._symbols.option_chain(underlying, expiries[0], exchange)
            if chain:
                return chain[len(chain) // 2].strike
        return paths.base(_SEED, underlying)


def expires_at(expiry: str) -> float:
    """Return when a contract expires, seconds since the epoch: at the close of ``28-MAR-24``."""
    day, month, year = expiry.split("-")
    midnight = datetime(2000 + int(year), _MONTHS.index(month) + 1, int(day), tzinfo=INDIA)
    return (midnight + _CLOSES).timestamp()


def _premium(spot: float, strike: float, years: float, *, is_call: bool) -> float:
    """Return about what an option is worth: what it would pay now, and for the time left half a Black-Scholes."""
    inner = max(spot - strike if is_call else strike - spot, 0.0)
    spread = spot * _VOLATILITY * math.sqrt(years)
    if spread == 0.0:
        return inner
    return inner + 0.4 * spread * math.exp(-0.5 * ((spot - strike) / spread) ** 2)


def _day_of(now: float) -> tuple[float, float]:
    """Return when the market of this day opened, and when that of the day before closed."""
    here = datetime.fromtimestamp(now, INDIA)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    if here - midnight < _OPENS:
        midnight -= timedelta(days=1)
    return (midnight + _OPENS).timestamp(), (midnight - timedelta(days=1) + _CLOSES).timestamp()


def _rounded(price: float) -> float:
    return round(price, 4)

"""Make a realistic master contract, the same bytes on every machine, so that everyone measures the same file.

The symbols follow OpenAlgo's naming. Strikes lie around prices of the spring of 2024, expiries follow the anchor date.
Names that are not well known are made up.
"""

from __future__ import annotations

import csv
import datetime
import itertools
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Final, NamedTuple

from openalgo_cache.symbols import listings
from openalgo_cache.symbols.listings import Underlying
from openalgo_cache.symbols.model import COLUMNS, expiry_text, strike_text

MASTER_ROWS: Final = 142_338
"""How many instruments the application that this library serves has to look up."""

ANCHOR: Final = datetime.date(2024, 3, 1)
_WEEK: Final = datetime.timedelta(days=7)
_DAY: Final = datetime.timedelta(days=1)
_SYLLABLES: Final = tuple(consonant + vowel for consonant in "BCDGHJKLMNPRSTVY" for vowel in "AEIOU")
_BUSINESSES: Final = (
    ("", ""),
    ("IND", " INDUSTRIES"),
    ("TECH", " TECHNOLOGIES"),
    ("FIN", " FINANCE"),
    ("INFRA", " INFRASTRUCTURE"),
    ("LTD", ""),
    ("PHARM", " PHARMACEUTICALS"),
    ("CHEM", " CHEMICALS"),
)
_SERIES: Final = ("", "", "", "", "-BE", "-SM")
_STOCK_STEPS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0)
_WEEKLY_MONTHS: Final = "123456789OND"
_SEGMENTS: Final = {  # how many of MASTER_ROWS each exchange lists
    "NSE_INDEX": 130,
    "BSE_INDEX": 60,
    "NSE": 8_600,
    "BSE": 11_900,
    "NFO": 61_000,
    "BFO": 24_000,
    "MCX": 25_000,
    "CDS": 11_648,
}

Row = tuple[str, ...]
"""One line of the file: the texts under :data:`~openalgo_cache.symbols.model.COLUMNS`."""


class _Ladder(NamedTuple):
    """All options, or the one future, of an underlying for one expiry."""

    underlying: Underlying
    expiry: datetime.date
    is_monthly: bool
    weight: int  # 0 for the future


class _Tokens:
    """Hands out tokens in the shape ``instrument::::exchange``, rising within a segment."""

    def __init__(self, draw: random.Random, segment: int, first: int) -> None:
        self._draw = draw
        self._segment = segment
        self._next = first

    def __call__(self) -> str:
        self._next += 1 + int(self._draw.random() * 3)
        return f"{self._next * 256 + self._segment}::::{self._next}"


def generate_master(
    target: str | os.PathLike[str] | IO[str],
    rows: int = MASTER_ROWS,
    seed: int = 20240301,
    anchor: datetime.date = ANCHOR,
) -> int:
    """Write a master contract as CSV: UTF-8, one header line, lines that end in a line feed.

    Args:
        target: The file to write, replaced if it exists, or an open text file (opened with ``newline=""``).
        rows: How many instruments; each exchange has its share of them, and lists the well-known ones first.
        seed: Another seed makes other names, tokens and lots.
        anchor: The day of which the master is; expiries lie after it.

    Returns:
        The number of instruments written, which is ``rows``.

    Raises:
        ValueError: ``rows`` is less than 1.
        OSError: The file cannot be written.
    """
    if rows < 1:
        raise ValueError(f"rows must be 1 or more, not {rows}")
    if isinstance(target, str | os.PathLike):
        with open(target, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123  # takes any path-like
            return generate_master(file, rows, seed, anchor)
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(master_rows(rows, seed, anchor))
    return rows


def master_rows(rows: int = MASTER_ROWS, seed: int = 20240301, anchor: datetime.date = ANCHOR) -> Iterator[Row]:
    """Yield the lines of :func:`generate_master` one by one; the arguments are the same."""
    # Only random() is drawn from: Python promises that its values stay the same, and promises nothing about choice().
    draw, names, names_of_bse = (random.Random(seed + number) for number in range(3))  # noqa: S311  # test data
    count = dict(zip(_SEGMENTS, _shares(rows, list(_SEGMENTS.values())), strict=True))

    yield from _indices("NSE_INDEX", listings.NSE_INDICES, "NIFTY", count["NSE_INDEX"], _Tokens(draw, 9, 1_000))
    yield from _indices("BSE_INDEX", listings.BSE_INDICES, "BSE", count["BSE_INDEX"], _Tokens(draw, 9, 9_000))

    companies = list(itertools.islice(_companies(names), count["NSE"]))
    listed = itertools.chain(_well_known(listings.NSE_EQUITIES), companies)
    at_nse = list(itertools.islice(_equities("NSE", listed, draw, _Tokens(draw, 1, 100), {}), count["NSE"]))
    yield from at_nse
    twins = {symbol: token for symbol, _, _, _, _, token, *_ in at_nse}
    # Every other company of BSE's is one of NSE's too.
    both = itertools.chain.from_iterable(zip(companies, _companies(names_of_bse), strict=False))
    listed = itertools.chain(_well_known(listings.BSE_EQUITIES), both, _companies(names_of_bse))
    at_bse = _equities("BSE", listed, draw, _Tokens(draw, 4, 500_000), twins)
    yield from itertools.islice(at_bse, count["BSE"])

    stocks = [_stock(symbol, price) for symbol, price in listings.STOCKS]
    written_on = {
        "NFO": (2, 0.05, [*listings.NSE_INDEX_DERIVATIVES, *stocks]),
        "BFO": (5, 0.05, [*listings.BSE_INDEX_DERIVATIVES, *stocks[::3]]),
        "MCX": (7, 1.0, listings.COMMODITIES),
        "CDS": (3, 0.0025, listings.CURRENCIES),
    }
    for exchange, (segment, tick, underlyings) in written_on.items():
        ladders = _ladders(underlyings, anchor)
        yield from _derivatives(ladders, count[exchange], exchange, tick, _Tokens(draw, segment, 35_000))


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Divide ``total`` by weight into whole numbers that add up to it."""
    bounds = [total * passed // sum(weights) for passed in itertools.accumulate(weights, initial=0)]
    return [end - start for start, end in itertools.pairwise(bounds)]


def _indices(exchange: str, known: Sequence[tuple[str, str]], family: str, count: int, token: _Tokens) -> Iterator[Row]:
    themes = ((f"{family}THEME{number}", f"{family} THEME {number}") for number in itertools.count(1))
    for symbol, brsymbol in itertools.islice(itertools.chain(known, themes), count):
        yield symbol, brsymbol, brsymbol, exchange, exchange, token(), "", "0.0", "1", "INDEX", "0.05", ""


def _well_known(more: Iterable[str]) -> Iterator[tuple[str, str]]:
    for symbol in itertools.chain((symbol for symbol, _ in listings.STOCKS), more):
        yield symbol, f"{symbol} LIMITED"


def _equities(
    exchange: str,
    companies: Iterable[tuple[str, str]],
    draw: random.Random,
    new_token: _Tokens,
    twins: Mapping[str, str],
) -> Iterator[Row]:
    """Yield stocks. Some brokers number a stock once for both exchanges: a twentieth takes its twin's token."""
    seen: set[str] = set()
    for symbol, name in companies:
        if symbol in seen:
            continue
        seen.add(symbol)
        token = new_token()
        if draw.random() < 0.05:
            token = twins.get(symbol, token)
        tick = ("0.01", "0.05", "0.1")[int(draw.random() * 3)]
        yield symbol, symbol, name, exchange, exchange, token, "", "0.0", "1", "EQ", tick, ""


def _companies(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Yield made-up companies without end: symbol and name."""
    while True:
        syllables = (_SYLLABLES[int(draw.random() * len(_SYLLABLES))] for _ in range(2 + int(draw.random() * 3)))
        stem = "".join(syllables)
        short, long = _BUSINESSES[int(draw.random() * len(_BUSINESSES))]
        series = _SERIES[int(draw.random() * len(_SERIES))]
        yield stem + short + series, f"{stem}{long} LIMITED"


def _stock(symbol: str, price: float) -> Underlying:
    """Return a stock as an underlying: strikes about one per cent apart, lots of about 700,000 rupees."""
    step = next(step for step in _STOCK_STEPS if step * 90 > price)
    return Underlying(symbol, price, step, max(1, round(700_000 / price / 25) * 25))


def _ladders(underlyings: Iterable[Underlying], anchor: datetime.date) -> list[_Ladder]:
    """Return futures and option ladders, the earliest expiries first, so that a small master has some of everything."""
    ladders = []
    for underlying in underlyings:
        for expiry, is_monthly in _expiries(underlying, anchor):
            ladders.append(_Ladder(underlying, expiry, is_monthly, underlying.weight))
        for expiry, is_monthly in _expiries(underlying, anchor):
            if is_monthly:
                ladders.append(_Ladder(underlying, expiry, is_monthly, 0))
    ladders.sort(key=lambda ladder: ladder.expiry)
    return ladders


def _expiries(underlying: Underlying, anchor: datetime.date) -> Iterator[tuple[datetime.date, bool]]:
    """Yield expiries after the anchor: each week's for some weeks, then the last of each month."""
    day = anchor + _DAY * ((underlying.weekday - anchor.weekday()) % 7)
    weeks, months = underlying.weeks, underlying.months
    while weeks > 0 or months > 0:
        is_monthly = (day + _WEEK).month != day.month
        if is_monthly and months > 0:
            months -= 1
            yield day, True
        elif not is_monthly and weeks > 0:
            weeks -= 1
            yield day, False
        day += _WEEK


def _derivatives(ladders: Sequence[_Ladder], count: int, exchange: str, tick: float, token: _Tokens) -> Iterator[Row]:
    futures = [ladder for ladder in ladders if not ladder.weight][: count // 4 + 1]
    options = [ladder for ladder in ladders if ladder.weight]
    shares = _shares(count - len(futures), [ladder.weight for ladder in options])
    for ladder in futures[:count]:
        yield _future(ladder, exchange, tick, token)
    for ladder, share in zip(options, shares, strict=True):
        yield from _options(ladder, share, exchange, tick, token)


def _future(ladder: _Ladder, exchange: str, tick: float, token: _Tokens) -> Row:
    symbol, lot = ladder.underlying.symbol, str(ladder.underlying.lot)
    expiry = expiry_text(ladder.expiry)
    brsymbol = f"{symbol}{expiry[-2:]}{expiry[3:6]}FUT"
    mine = f"{symbol}{expiry.replace('-', '')}FUT"
    return mine, brsymbol, symbol, exchange, exchange, token(), expiry, "0.0", lot, "FUT", str(tick), ""


def _options(ladder: _Ladder, count: int, exchange: str, tick: float, token: _Tokens) -> Iterator[Row]:
    """Yield calls and puts, strike by strike, around the price; strikes are counted in steps from zero."""
    underlying, expiry = ladder.underlying, expiry_text(ladder.expiry)
    compact, lot = expiry.replace("-", ""), str(underlying.lot)
    year, month = expiry[-2:], ladder.expiry.month
    of_broker = expiry[3:6] if ladder.is_monthly else f"{_WEEKLY_MONTHS[month - 1]}{ladder.expiry.day:02d}"
    lowest = max(1, round(underlying.price / underlying.step) - count // 4)
    for number in range(count):
        strike = round((lowest + number // 2) * float(underlying.step), 4)
        kind = ("CE", "PE")[number % 2]
        end = strike_text(strike) + kind
        symbol, brsymbol = f"{underlying.symbol}{compact}{end}", f"{underlying.symbol}{year}{of_broker}{end}"
        yield (
            symbol, brsymbol, underlying.symbol, exchange, exchange, token(),
            expiry, str(strike), lot, kind, str(tick), "",
        )  # fmt: skip

"""One row of a master contract: from texts to types, with everything that is wrong with it said at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from openalgo_cache.symbols.model import COLUMNS, contract_kind, expiry_day, underlying_of

MAX_TEXT: Final = 256
"""The most characters a field may have."""

_SHOWN: Final = 40
_REMEMBERED: Final = 50_000
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,18}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?")
_LARGEST: Final = 1e15  # beyond it a float has no decimals left


class Series(NamedTuple):
    """What an instrument shares with others: all of an underlying's calls of one expiry are one series."""

    exchange: str
    brexchange: str
    expiry: str
    lotsize: int
    instrumenttype: str
    tick_size: float
    contract_value: float | None
    underlying: str
    kind: str
    expiry_day: int


class Row(NamedTuple):
    """A good row."""

    series: Series
    strike: float
    symbol: str
    brsymbol: str
    name: str
    token: str


class BadRowError(ValueError):
    """The row cannot be imported; the message lists all that is wrong with it."""


class RowParser:
    """Turns the texts of rows into :class:`Row`. Series and strikes come again and again: it remembers them."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, ...], Series] = {}
        self._strikes: dict[str, float] = {}

    def parse(self, texts: Sequence[str]) -> Row:
        """Return the row whose texts stand in the order of ``COLUMNS``; spaces around a text don't count.

        Raises:
            BadRowError: Something is wrong with it.
        """
        symbol, brsymbol, name, exchange, brexchange, token, expiry, strike, lot, kind, tick, value = texts
        symbol, brsymbol, name = symbol.strip(), brsymbol.strip(), name.strip()
        token, expiry = token.strip(), expiry.strip()
        of_series = (
            exchange, brexchange, expiry, lot, kind, tick, value,
            underlying_of(symbol, name, expiry.upper()), contract_kind(symbol, expiry, kind),
        )  # fmt: skip
        series, price = self._series.get(of_series), self._strikes.get(strike)
        whole = "".join(texts)
        looks_good = symbol and brsymbol and token and len(whole) <= MAX_TEXT and whole.isprintable()
        if series is None or price is None or not looks_good:
            series, price = _converted([text.strip() for text in texts])
            if len(self._series) >= _REMEMBERED:
                self._series.clear()
            if len(self._strikes) >= _REMEMBERED:
                self._strikes.clear()
            self._series[of_series], self._strikes[strike] = series, price
        return Row(series, price, symbol, brsymbol, name, token)


def _converted(texts: Sequence[str]) -> tuple[Series, float]:
    """Convert and check every field of a row."""
    complaints = []
    values: dict[str, Any] = {}
    for column, text in zip(COLUMNS, texts, strict=True):
        try:
            values[column] = _CONVERTERS[column](text)
        except ValueError as error:
            # Shown as Python writes a text, so that nothing in it reaches a terminal as a command.
            shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
            complaints.append(f"{column} {error}" if not text else f"{column} {shown} {error}")
    if complaints:
        raise BadRowError("; ".join(complaints))
    symbol, name, expiry, kind = values["symbol"], values["name"], values["expiry"], values["instrumenttype"]
    series = Series(
        **{field: values[field] for field in Series._fields if field in values},
        underlying=underlying_of(symbol, name, expiry),
        kind=contract_kind(symbol, expiry, kind),
        expiry_day=expiry_day(expiry),
    )
    return series, values["strike"]


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT} characters")
    if not text.isprintable():
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("is not UTF-8")
        raise ValueError("contains characters that cannot be printed")
    return text


def _required(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return _text(text)


def _expiry(text: str) -> str:
    expiry = text.upper()
    expiry_day(expiry)
    return expiry


def _number(text: str) -> float:
    if not text:
        raise ValueError("is empty")
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    number = float(text)
    if number < 0:
        raise ValueError("is negative")
    if number > _LARGEST:
        raise ValueError("is too large")
    return abs(number)  # -0.0 is 0.0


def _strike(text: str) -> float:
    return _number(text) if text else 0.0


def _lotsize(text: str) -> int:
    number = _number(text)
    if not number.is_integer():
        raise ValueError("is not a whole number")
    return int(number)


def _contract_value(text: str) -> float | None:
    return _number(text) if text else None


_CONVERTERS: Final[dict[str, Callable[[str], Any]]] = {
    "symbol": _required,
    "brsymbol": _required,
    "name": _text,
    "exchange": _required,
    "brexchange": _text,
    "token": _required,
    "expiry": _expiry,
    "strike": _strike,
    "lotsize": _lotsize,
    "instrumenttype": _text,
    "tick_size": _number,
    "contract_value": _contract_value,
}

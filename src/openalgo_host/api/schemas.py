"""What the calls of the API bring, field by field (marshmallow): OpenAlgo's names, and its words for what is wrong."""

from __future__ import annotations

import re
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate

from openalgo_host.market.paper import expires_at
from openalgo_host.sandbox.ticket import ACTIONS, PRICE_TYPES, PRODUCTS

_LONGEST: Final = 200
_MOST_ORDERS: Final = 100
_MOST_QUOTES: Final = 500
_is_offset = re.compile(r"ATM|(ITM|OTM)([1-9]|[1-4][0-9]|50)").fullmatch
_is_expiry = re.compile(r"([0-3][0-9])(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)([0-9]{2})").fullmatch


class Text(fields.String):
    """A short text that can be printed, without blanks around it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs).strip()
        if self.required and not text:
            raise ValidationError("Field may not be empty.")
        if len(text) > _LONGEST:
            raise ValidationError(f"Longer than maximum length {_LONGEST}.")
        if not text.isprintable():
            raise ValidationError("Has characters that cannot be printed.")
        return text


class Word(Text):
    """One of a few words, in any case."""

    def __init__(self, words: tuple[str, ...], **options: Any) -> None:
        super().__init__(**options)
        self._words = words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        word = super()._deserialize(value, attr, data, **kwargs).upper()
        if word not in self._words:
            raise ValidationError(f"Must be one of: {', '.join(self._words)}.")
        return word


def _price() -> fields.Float:
    return fields.Float(load_default=0.0, validate=validate.Range(0, 1e9), allow_nan=False)


def _quantity(**options: Any) -> fields.Integer:
    return fields.Integer(validate=validate.Range(-10_000_000, 10_000_000), **options)


class Call(Schema):
    """Every call."""

    apikey = Text(required=True)


class Instrument(Call):
    """A call about one instrument."""

    symbol = Text(required=True)
    exchange = Text(required=True)


class Search(Call):
    """Words to look for."""

    query = Text(required=True)
    exchange = Text(load_default="")


class Instruments(Call):
    """Which instruments to list."""

    exchange = Text(load_default="")
    format = Word(("JSON",), load_default="JSON")


class Expiry(Call):
    """Which expiries to list."""

    symbol = Text(required=True)
    exchange = Text(required=True)
    instrumenttype = Word(("OPTIONS", "FUTURES"), required=True)


class Pair(Schema):
    """One instrument of several."""

    symbol = Text(required=True)
    exchange = Text(required=True)


class MultiQuotes(Call):
    """Whose quotes to return."""

    symbols = fields.List(fields.Nested(Pair), required=True, validate=validate.Length(1, _MOST_QUOTES))


class OrderFields(Schema):
    """An order, without who wants it."""

    symbol = Text(required=True)
    exchange = Text(required=True)
    action = Word(ACTIONS, required=True)
    quantity = _quantity(required=True)
    pricetype = Word(PRICE_TYPES, load_default="MARKET")
    product = Word(PRODUCTS, load_default="MIS")
    price = _price()
    trigger_price = _price()
    disclosed_quantity = _quantity(load_default=0)
    idempotency_key = Text(load_default=None)


class StrategyCall(Call):
    """A call that says whose it is."""

    strategy = Text(load_default="Python")


class PlaceOrder(StrategyCall, OrderFields):
    """One order."""

    target = _price()
    stoploss = _price()
    trailing_sl = _price()


class SmartOrder(PlaceOrder):
    """One order that ends at a position."""

    position_size = _quantity(required=True)


class Basket(StrategyCall):
    """Several orders."""

    orders = fields.List(fields.Nested(OrderFields), required=True, validate=validate.Length(1, _MOST_ORDERS))


class ModifyOrder(StrategyCall, OrderFields):
    """What becomes of an order."""

    orderid = Text(required=True)


class OneOrder(StrategyCall):
    """Which order."""

    orderid = Text(required=True)


class OpenPosition(StrategyCall):
    """Which position."""

    symbol = Text(required=True)
    exchange = Text(required=True)
    product = Word(PRODUCTS, required=True)


class WebhookMessage(Schema):
    """What comes to a strategy's webhook."""

    action = Word(ACTIONS, required=True)
    symbol = Text(load_default=None)
    exchange = Text(load_default=None)
    quantity = _quantity(load_default=None)
    idempotency_key = Text(load_default=None, validate=validate.Length(1, 100))


class AnalyzerToggle(Call):
    """Whether to analyse."""

    mode = fields.Boolean(required=True)


def _check_offset(offset: str) -> None:
    if not _is_offset(offset.upper()):
        raise ValidationError("Must be ATM, ITM1 to ITM50, or OTM1 to OTM50.")


def _check_expiry(expiry: str) -> None:
    if expiry and not _is_day(expiry.upper()):
        raise ValidationError("Must be a date such as 28NOV24.")


def _is_day(text: str) -> bool:
    """Return whether a text such as ``28NOV24`` is a day that there is."""
    parts = _is_expiry(text)
    if parts is None:
        return False
    try:
        expires_at("-".join(parts.groups()))
    except ValueError:
        return False
    return True


class Underlying(Call):
    """What options derive from."""

    underlying = Text(required=True)
    exchange = Text(required=True)
    expiry_date = Text(load_default="", validate=_check_expiry)


class OptionSymbol(Underlying):
    """Which option."""

    strategy = Text(load_default="")
    strike_int = fields.Integer(load_default=None, allow_none=True)
    offset = Text(required=True, validate=_check_offset)
    option_type = Word(("CE", "PE"), required=True)


class OptionChain(Underlying):
    """How much of a chain."""

    strike_count = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, 100))

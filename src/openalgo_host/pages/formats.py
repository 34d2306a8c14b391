"""How money, amounts and times are written: as traders in India do."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from openalgo_host.india import INDIA
from openalgo_host.sandbox.money import UNIT

if TYPE_CHECKING:
    from flask import Flask

_PAISA: Final = UNIT // 100
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_MINUS: Final = "\N{MINUS SIGN}"


def install(app: Flask) -> None:
    """Give the templates of ``app`` these as filters."""
    for one in (rupees, gain, price, amount, clock_time, moment):
        app.add_template_filter(one)


def rupees(units: int) -> str:
    """Return an amount of money, such as ``₹ 12,34,567.89``."""
    return (_MINUS if units < 0 else "") + "₹" + _NO_BREAK + price(abs(units), places=2)


def gain(units: int) -> str:
    """Return a profit with its sign, or a loss with its own."""
    return ("+" if units >= _PAISA / 2 else "") + rupees(units)


def price(units: int, places: int = 4) -> str:
    """Return a price in rupees: two places, and up to ``places`` where it has them."""
    step = 10 ** (4 - places)
    whole, part = divmod(round(units / step) * step, UNIT)
    shown = f"{part:04d}"
    return f"{amount(whole)}.{shown[:2]}{shown[2:].rstrip('0')}"


def amount(number: int) -> str:
    """Return a whole number, grouped by thousands, lakhs and crores."""
    digits = str(abs(number))
    head, tail = digits[:-3], digits[-3:]
    groups = [head[max(end - 2, 0) : end] for end in range(len(head), 0, -2)][::-1]
    return (_MINUS if number < 0 else "") + ",".join([*groups, tail])


def clock_time(at: float) -> str:
    """Return the time of day in India."""
    return f"{datetime.fromtimestamp(at, INDIA):%H:%M:%S}"


def moment(at: float) -> str:
    """Return date and time in India, and that they are India's."""
    return f"{datetime.fromtimestamp(at, INDIA):%d %b %Y, %H:%M:%S} IST"

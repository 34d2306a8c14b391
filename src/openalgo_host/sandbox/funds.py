"""An account's money: what it begins with, what positions and orders bind of it, and what they bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from openalgo_host.sandbox.money import to_units
from openalgo_host.sandbox.tables import OrderRow, PositionRow
from openalgo_host.sandbox.ticket import DERIVATIVES

CAPITAL: Final = to_units(10_000_000)
"""What every account begins with: a crore of rupees."""
_MARGINS: Final = {"CNC": 100, "NRML": 20, "MIS": 20}
"""Percent of a position's cost that it binds; what is bought in options is paid in full."""


class Funds(NamedTuple):
    """An account's money, in units.

    Attributes:
        available: What new orders can bind.
        utilised: What positions bind.
        realised: Profit and loss of what was closed.
        unrealised: Profit and loss of what is open, at the market's price.
    """

    available: int
    utilised: int
    realised: int
    unrealised: int

    @classmethod
    def of(cls, positions: Iterable[PositionRow], price: Callable[[str, str], int]) -> Funds:
        """Return the money of an account.

        Args:
            positions: All that it has, closed ones too.
            price: Returns the market's price of a symbol on an exchange, in units.
        """
        utilised = realised = unrealised = 0
        for one in positions:
            utilised += _margin(one, one.quantity, one.cost)
            realised += one.realised
            if one.quantity:
                unrealised += one.quantity * price(one.symbol, one.exchange) - one.cost
        return cls(CAPITAL + realised - utilised, utilised, realised, unrealised)


def binds(order: OrderRow, price: int, held: Iterable[PositionRow]) -> int:
    """Return what an order would bind, in units: only for what opens or enlarges a position.

    Args:
        order: The order.
        price: At what price it would be filled, in units.
        held: The account's positions.
    """
    quantity = order.quantity if order.action == "BUY" else -order.quantity
    key = (order.symbol, order.exchange, order.product)
    there = next((one.quantity for one in held if (one.symbol, one.exchange, one.product) == key), 0)
    opened = quantity if there * quantity >= 0 else quantity + there if abs(quantity) > abs(there) else 0
    return _margin(order, opened, opened * price)


def _margin(position: PositionRow | OrderRow, quantity: int, cost: int) -> int:
    is_option = position.exchange in DERIVATIVES and position.symbol.endswith(("CE", "PE"))
    return abs(cost) * (100 if is_option and quantity > 0 else _MARGINS[position.product]) // 100

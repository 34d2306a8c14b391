"""An order ticket: what a caller wants, checked against what is traded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from openalgo_host.sandbox.money import to_units

if TYPE_CHECKING:
    from openalgo_cache.symbols import Instrument
    from openalgo_host.sandbox.tables import PositionRow

ACTIONS: Final = ("BUY", "SELL")
PRODUCTS: Final = ("CNC", "NRML", "MIS")
PRICE_TYPES: Final = ("MARKET", "LIMIT", "SL", "SL-M")
CASH: Final = frozenset({"NSE", "BSE"})
DERIVATIVES: Final = frozenset({"NFO", "BFO", "MCX", "CDS", "BCD"})
_MOST: Final = 10_000_000


class RefusedOrderError(Exception):
    """An order that is not placed; the message says why, and goes to the caller."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a caller wants. Prices are in rupees.

    Attributes:
        strategy: Whose order it is, by the name that the caller gives.
        symbol: OpenAlgo's symbol.
        exchange: OpenAlgo's exchange.
        action: BUY or SELL.
        product: CNC, NRML or MIS.
        pricetype: MARKET, LIMIT, SL or SL-M.
        quantity: How many, in whole lots; 0 only for what is to reach a position.
        price: The limit of LIMIT and SL.
        trigger_price: Where SL and SL-M begin.
    """

    strategy: str
    symbol: str
    exchange: str
    action: str
    product: str
    pricetype: str
    quantity: int
    price: float = 0.0
    trigger_price: float = 0.0

    def digest(self, target: int | None = None) -> str:
        """Return what tells this ticket from another one.

        Args:
            target: The position that it is to reach, if it is to reach one.
        """
        fields = asdict(self) if target is None else asdict(self) | {"target": target}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def check(self, instrument: Instrument | None) -> None:
        """Make sure that this can be ordered.

        Args:
            instrument: What it names, from the symbol master; None if that has no such thing.

        Raises:
            RefusedOrderError: It cannot.
        """
        if instrument is None:
            raise RefusedOrderError(f"Symbol {self.symbol} not found in exchange {self.exchange}")
        if instrument.instrumenttype == "INDEX" or self.exchange.endswith("_INDEX"):
            raise RefusedOrderError(f"{self.symbol} is an index, which cannot be traded itself")
        if not 0 < self.quantity <= _MOST:
            raise RefusedOrderError(f"Quantity must be a number from 1 to {_MOST}")
        if instrument.lotsize > 1 and self.quantity % instrument.lotsize:
            raise RefusedOrderError(f"Quantity must be in lots of {instrument.lotsize}")
        if self.product == "CNC" and self.exchange not in CASH:
            raise RefusedOrderError("CNC is for shares: use NRML or MIS")
        if self.product == "NRML" and self.exchange in CASH:
            raise RefusedOrderError("NRML is for derivatives: use CNC or MIS")
        if self.pricetype in {"LIMIT", "SL"}:
            _check_price("Price", self.price, instrument)
        if self.pricetype in {"SL", "SL-M"}:
            _check_price("Trigger price", self.trigger_price, instrument)


def closing(position: PositionRow, strategy: str) -> Ticket:
    """Return the order that closes a position, at the market's price: to reach 0, however many are left by then.

    Args:
        position: What is held, not none.
        strategy: Whose order it is.
    """
    return Ticket(
        strategy=strategy,
        symbol=position.symbol,
        exchange=position.exchange,
        action="SELL" if position.quantity > 0 else "BUY",
        product=position.product,
        pricetype="MARKET",
        quantity=0,
    )


def _check_price(what: str, price: float, instrument: Instrument) -> None:
    if not price > 0:
        raise RefusedOrderError(f"{what} must be more than 0 for this price type")
    tick = to_units(instrument.tick_size)
    if tick and to_units(price) % tick:
        raise RefusedOrderError(f"{what} must be in steps of {instrument.tick_size:g}")

"""What is stored and read: the same values, under the same keys, in every cache that is measured."""

from __future__ import annotations

import random
from typing import Any, Final

TEXT: Final = "eyJhbGciOiJIUzUxMiJ9." + "x7Kd0mQz" * 16
"""A token of a broker: 149 characters."""

FLAT: Final[dict[str, Any]] = {
    "user_id": 1842,
    "username": "trader_mumbai_17",
    "broker": "zerodha",
    "exchange": "NSE",
    "product": "MIS",
    "quantity": 75,
    "price": 24812.55,
    "trigger_price": 24800.0,
    "is_active": True,
    "order_id": "250408001002736",
    "updated_at": 1744101483.25,
}
"""A flat dict: about 200 bytes as JSON or MessagePack."""


def _order(number: int, action: str, symbol: str, status: str, price: float) -> dict[str, Any]:
    return {
        "action": action,
        "exchange": "NSE",
        "order_status": status,
        "orderid": f"25040800100{number}",
        "price": price,
        "pricetype": "LIMIT",
        "product": "MIS",
        "quantity": "1",
        "symbol": symbol,
        "timestamp": "08-Apr-2025 13:58:03",
        "trigger_price": 0.0,
    }


NESTED: Final[dict[str, Any]] = {
    "status": "success",
    "data": {
        "orders": [
            _order(1, "BUY", "RELIANCE", "complete", 1186.0),
            _order(2, "SELL", "YESBANK", "cancelled", 16.5),
        ],
        "statistics": {
            "total_buy_orders": 1.0,
            "total_sell_orders": 1.0,
            "total_completed_orders": 1.0,
            "total_open_orders": 0.0,
            "total_rejected_orders": 0.0,
        },
    },
}
"""A broker's answer, an order book with two orders: 690 bytes as JSON, 570 as MessagePack."""


def keys(count: int, beginning: str = "user") -> list[str]:
    """Return keys such as an application has."""
    return [f"{beginning}_{number * 7919 % 1_000_003}" for number in range(count)]


def asked(stored: list[str], count: int) -> list[str]:
    """Return ``count`` keys to read, in random order: equal to stored ones, but other objects, as in an application."""
    chosen = random.Random(17).choices(stored, k=count)
    return [f"{key[:1]}{key[1:]}" for key in chosen]

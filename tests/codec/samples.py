"""Values of every type that records can hold, and the classes that the tests register. Names and values are frozen.

``golden_v1.json`` has the bytes of each. A new type gets new names here; what is there is never changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from openalgo_cache.codec import serializers


class Side(Enum):
    """A registered enumeration."""

    BUY = "buy"
    SELL = "sell"


class Product(IntEnum):
    """A registered enumeration whose members are numbers, too."""

    MIS = 1
    CNC = 2


@dataclass
class Order:
    """A registered dataclass, with parts that are registered themselves, and one that ``__init__`` does not take."""

    symbol: str
    quantity: int
    side: Side
    price: Decimal | None = None
    notes: list[str] = field(default_factory=list, init=False)


@dataclass(frozen=True, slots=True)
class Leg:
    """A registered dataclass that is frozen, and has slots."""

    strike: float
    kind: str


class Quote(NamedTuple):
    """A registered named tuple."""

    symbol: str
    bid: float
    ask: float


class Money:
    """A registered class that is neither: it brings its own two functions."""

    def __init__(self, paise: int) -> None:
        self.paise = paise

    def __eq__(self, other: object) -> bool:
        return type(other) is Money and other.paise == self.paise

    def __hash__(self) -> int:
        return hash(self.paise)


for _class in (Side, Product, Order, Leg, Quote):
    serializers.register(_class, f"golden.{_class.__name__}")
serializers.register(Money, "golden.Money", disassemble=lambda money: money.paise, assemble=Money)

KOLKATA: Final = ZoneInfo("Asia/Kolkata")
NEW_YORK: Final = ZoneInfo("America/New_York")


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# Sets have at most one member: the order of more is not the same in every process.
VALUES: Final[dict[str, Any]] = {
    "none": None,
    "true": True,
    "false": False,
    "int zero": 0,
    "int small": 42,
    "int negative": -1,
    "int of 63 bits": 2**63 - 1,
    "int of 64 bits": 2**64 - 1,
    "int least of 64 bits": -(2**63),
    "int beyond 64 bits": 2**64,
    "int negative beyond 64 bits": -(2**63) - 1,
    "int of 200 bits": -(2**200) + 12345,
    "float": 24123.05,
    "float negative zero": -0.0,
    "float infinity": math.inf,
    "float minus infinity": -math.inf,
    "float nan": math.nan,
    "float tiny": 5e-324,
    "str empty": "",
    "str ascii": "NSE:RELIANCE-EQ",
    "str unicode": "निफ्टी ₹ 🚀 \x00",
    "bytes empty": b"",
    "bytes": bytes(range(256)),
    "list empty": [],
    "list": [1, "two", 3.0, None, True, b"six"],
    "list nested": [[1, [2, [3]]], {"a": [4]}],
    "list deep": _nested(99),
    "tuple empty": (),
    "tuple": (1, "two", (3.0, None)),
    "list of tuples": [("NIFTY", 1), ("BANKNIFTY", 2)],
    "dict empty": {},
    "dict flat": {"token": "abc", "expires": 1_700_000_300, "paper": False, "broker": None},
    "dict nested": {"positions": [{"symbol": "M&M", "pnl": -12.5}, {"symbol": "NIFTY 50", "pnl": 0.0}]},
    "dict int keys": {1: "one", -2: "minus two", 2**70: "large"},
    "dict mixed keys": {"1": "str", 1: "int", None: "none", (1, "a"): "tuple", b"1": "bytes", frozenset({7}): "set"},
    "dict bool and float keys": {True: "yes", 0.5: "half"},
    "set empty": set(),
    "set": {"NSE"},
    "frozenset empty": frozenset(),
    "frozenset": frozenset({("NSE", 1)}),
    "datetime naive": datetime(2024, 2, 29, 23, 59, 59, 999_999),  # noqa: DTZ001  # naive on purpose
    "datetime utc": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    "datetime offset": datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "datetime named offset": datetime(2023, 11, 14, tzinfo=timezone(timedelta(seconds=-1, microseconds=5), "odd")),
    "datetime zone": datetime(2023, 11, 14, 3, 0, tzinfo=KOLKATA),
    "datetime fold": datetime(2023, 11, 5, 1, 30, fold=1, tzinfo=NEW_YORK),
    "datetime first": datetime(1, 1, 1),  # noqa: DTZ001  # naive on purpose
    "datetime last": datetime(9999, 12, 31, 23, 59, 59, 999_999),  # noqa: DTZ001  # naive on purpose
    "date": date(2024, 3, 28),
    "time naive": time(9, 15),
    "time zone": time(15, 30, 0, 500, tzinfo=KOLKATA, fold=1),
    "time utc": time(0, 0, tzinfo=UTC),
    "timedelta": timedelta(days=-3, seconds=17, microseconds=9),
    "timedelta longest": timedelta.max,
    "decimal": Decimal("24123.0500"),
    "decimal exponent": Decimal("-1E+400"),
    "decimal signed nan": Decimal("-sNaN123"),
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "enum": Side.SELL,
    "int enum": Product.CNC,
    "dataclass": Order("RELIANCE", 10, Side.BUY, Decimal("2450.10")),
    "dataclass frozen": Leg(24_800.0, "CE"),
    "named tuple": Quote("NIFTY28MAR2420800CE", 101.25, 101.35),
    "own class": Money(12_345),
    "containers of registered": {"orders": [Order("TCS", 1, Side.SELL)], "quotes": (Quote("INFY", 1.0, 2.0),)},
    "large and repetitive": [{"symbol": "RELIANCE", "exchange": "NSE", "lot": 1}] * 60,
}


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of the same types all the way down; a nan equals a nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(key, key_) and same(item, item_)
            for (key, item), (key_, item_) in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return bool(one == other) and {*map(type, one)} == {*map(type, other)}
    if isinstance(one, datetime | time):
        clock, clock_ = one.replace(tzinfo=None), other.replace(tzinfo=None)
        return bool(clock == clock_) and (one.fold, repr(one.tzinfo)) == (other.fold, repr(other.tzinfo))
    if isinstance(one, Decimal):
        return bool(one.as_tuple() == other.as_tuple())
    if isinstance(one, Order):
        return all(same(getattr(one, name), getattr(other, name)) for name in Order.__dataclass_fields__)
    return bool(one == other)

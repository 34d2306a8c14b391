"""Values to try a cache with, and what it means that one came back unchanged."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from openalgo_cache.keys import Key

_KOLKATA: Final = ZoneInfo("Asia/Kolkata")
_NEW_YORK: Final = ZoneInfo("America/New_York")

VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    0.0,
    -0.0,
    0.1,
    1e308,
    5e-324,
    math.inf,
    -math.inf,
    math.nan,
    "",
    "text",
    "\0",
    "रुपया 📈",
    "x" * 70_000,
    b"",
    b"\0\xff",
    bytes(range(256)) * 300,
    [],
    [None, [[], {}]],
    list(range(5_000)),
    (),
    (1,),
    ((), [()], {"a": ()}),
    {},
    {"a": 1, "b": {"c": [1, 2.0, "3", b"4", None, True]}},
    {"b": 1, "a": 2},
    {1: "int", "1": "str", b"1": "bytes", (1,): "tuple", None: None, 2.5: "float", frozenset({1}): "frozenset"},
    {True: "bool", 0: "int"},
    {date(2026, 1, 1): Decimal("1.10")},
    set(),
    {1, "1", b"1", (1,), None},
    frozenset(),
    frozenset({frozenset({1}), 2.0}),
    date(1, 1, 1),
    date(2024, 2, 29),
    datetime(2024, 2, 29, 23, 59, 59, 999_999),  # noqa: DTZ001  # naive ones are values, too
    datetime(2024, 2, 29, 3, tzinfo=UTC),
    datetime(2024, 2, 29, 3, tzinfo=_KOLKATA),
    datetime(2024, 2, 29, 3, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2024, 2, 29, 3, tzinfo=timezone(-timedelta(hours=5, seconds=1), "named")),
    datetime(2024, 11, 3, 1, 30, tzinfo=_NEW_YORK),
    datetime(2024, 11, 3, 1, 30, tzinfo=_NEW_YORK, fold=1),
    datetime.max,  # noqa: DTZ901  # as above
    time(),
    time(9, 15, 0, 1),
    time(15, 30, tzinfo=UTC),
    time(15, 30, tzinfo=_KOLKATA),
    time(1, 30, fold=1),
    timedelta(),
    timedelta(days=-1, microseconds=1),
    timedelta.max,
    Decimal("1.10"),
    Decimal("-0.000"),
    Decimal("1E+999"),
    Decimal("NaN"),
    Decimal("-Infinity"),
    UUID(int=0),
    UUID("12345678-1234-5678-1234-567812345678"),
)
"""One of everything that a cache gives back equal and of the same type."""


def same(one: object, other: object) -> bool:
    """Return whether two values are equal and of the same type, and so are all of their parts.

    Not a number is the same as itself here, and -0.0 is not 0.0. The order of a dict counts, and so do zone and fold of
    a time.
    """
    kind = type(one)
    if kind is not type(other):
        return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if isinstance(one, set | frozenset) and isinstance(other, set | frozenset):
        return len(one) == len(other) and sorted(map(_shown, one)) == sorted(map(_shown, other))
    if is_dataclass(one) and is_dataclass(other):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one.as_tuple() == other.as_tuple()
    return (one == other or one != one) and _shown(one) == _shown(other)  # noqa: PLR0124  # nan differs from itself


def _shown(value: object) -> tuple[str, ...]:
    """Return what equality passes over: the sign of zero, the digits of a Decimal, the zone and fold of a time."""
    kind = type(value).__qualname__
    if isinstance(value, datetime | time):
        return kind, repr(value), type(value.tzinfo).__module__, str(value.fold)
    if isinstance(value, tuple):
        return kind, *(part for one in value for part in _shown(one))
    if isinstance(value, set | frozenset):
        return kind, *(part for one in sorted(map(_shown, value)) for part in one)
    if is_dataclass(value):
        return kind, *(part for field in fields(value) for part in _shown(getattr(value, field.name)))
    return kind, repr(value)


class _Text(str):
    __slots__ = ()


class _Mapping(dict[Any, Any]):
    pass


class _Stranger:
    pass


def _itself() -> list[Any]:
    one: list[Any] = []
    one.append(one)
    return one


UNSUPPORTED: Final[dict[str, Any]] = {
    "an object": object(),
    "an instance": _Stranger(),
    "a class": _Stranger,
    "a function": _itself,
    "a namespace": SimpleNamespace(a=1),
    "a bytearray": bytearray(b"1"),
    "a memoryview": memoryview(b"1"),
    "a complex number": 1j,
    "a range": range(3),
    "an iterator": iter([1]),
    "a str of another class": _Text("1"),
    "a dict of another class": _Mapping(a=1),
    "an OrderedDict": OrderedDict(a=1),
    "a lone surrogate": "\ud800",
    "a key with one": {"\ud800": 1},
    "a list in itself": _itself(),
    "an exception": ValueError("1"),
    "Ellipsis": ...,
}
"""What a cache refuses, since it could not give it back unchanged."""

BAD_KEYS: Final[dict[str, Any]] = {
    "a line's end": "abc\n",
    "a zero": "a\0b",
    "an escape": "\x1b[0m",
    "a C1 control": "a\x85b",
    "a line separator": "a\u2028b",
    "a lone surrogate": "\ud800",
    "too long": "x" * 513,
    "too long in UTF-8": "य" * 171,
    "bytes that are too long": bytes(256),
    "an int that is too long": 2**512,
    "None": None,
    "a float": 1.5,
    "a float in a tuple": ("a", 1.5),
    "a frozenset": frozenset({1}),
    "a date": date(2026, 1, 1),
    "an object": object(),
}
"""What is no key, though it can be hashed."""

BAD_LIFETIMES: Final[dict[str, Any]] = {
    "zero": 0,
    "negative": -1,
    "negative, as a float": -0.5,
    "not a number": math.nan,
    "infinite": math.inf,
    "absurdly long": 1e12,
    "a bool": True,
    "a str": "60",
    "no time": timedelta(),
    "a negative time": timedelta(seconds=-1),
    "a date": datetime(2030, 1, 1, tzinfo=UTC),
    "a list": [60],
}
"""What is no lifetime."""

KEYS: Final[tuple[Key, ...]] = (
    "1",
    1,
    True,
    b"1",
    ("1",),
    (1,),
    (True,),
    (b"1",),
    ("1", None),
    (("1",),),
    (),
    "!i1",
    "!t",
    "!b1",
    "~1",
    "%21i1",
    "",
    -1,
    0,
    False,
    2**500,
    b"",
    ("a:b", "c"),
    ("a", "b:c"),
)
"""Keys that are all different, though some are equal as Python sees it (1 and True) or look alike."""

"""Values of every kind, at random: what goes in comes out equal and of the same type, or is refused."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openalgo_cache.codec import serializers
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import AEAD, MAC, PLAIN, pack_head
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.sealing import RingSeal, Unsealed
from openalgo_cache.errors import UnreadableRecordError, UnsupportedValueError
from openalgo_cache.testing.values import UNSUPPORTED, same

RING = KeyRing.generate()
CODECS = {
    "plain": Codec(Unsealed(), compress=True),
    "signed": Codec(RingSeal(RING, "space", "quotes", MAC), compress=True),
    "encrypted": Codec(RingSeal(RING, "space", "quotes", AEAD)),
}


class Side(Enum):
    """Members with values of two types."""

    BUY = "buy"
    SELL = 2
    LONG = "buy"  # noqa: PIE796  # an alias is the member itself


class Lots(IntEnum):
    """Members that are ints as well."""

    ONE = 1
    TWO = 2


class Exchange(StrEnum):
    """Members that are strings as well."""

    NSE = "NSE"


class Rights(Flag):
    """Members that combine."""

    READ = auto()
    TRADE = auto()
    ADMIN = auto()


class Bits(IntFlag):
    """Members that combine, and are ints as well."""

    LOW = 1
    HIGH = 4


class Quote(NamedTuple):
    """A tuple with names."""

    symbol: str
    price: Any = None


@dataclass
class Order:
    """A dataclass whose constructor must not run again."""

    symbol: str
    legs: Any = field(default_factory=list)
    made: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.made += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One without a dict, and frozen."""

    side: Side
    lots: Any


for _class in (Side, Lots, Exchange, Rights, Bits, Quote, Order, Leg):
    serializers.register(_class, f"properties.{_class.__name__}")

zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.sampled_from(["Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "UTC", "Pacific/Apia"]).map(ZoneInfo),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), st.text("ABC :", max_size=4)),
)
datetimes = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, st.sampled_from([0, 1])
)
times = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), zones, st.sampled_from([0, 1])
)
hashable_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**300), 2**300),
    st.sampled_from([2**63, 2**64, -(2**63), -(2**63) - 1]),
    st.floats(),
    st.text(),
    st.binary(),
    datetimes,
    times,
    st.dates(),
    st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.sampled_from([Decimal("-0"), Decimal("1E+30"), Decimal("NaN123"), Decimal("1.10")]),
    st.uuids(),
    st.sampled_from([*Side, *Lots, *Exchange, Rights.READ | Rights.ADMIN, Rights(0), *Rights, Bits(5), Bits(0)]),
)
hashables: st.SearchStrategy[Any] = st.recursive(
    hashable_atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Quote, st.text(max_size=3), inner),
        st.builds(Leg, side=st.sampled_from(Side), lots=inner),
    ),
    max_leaves=5,
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(hashable_atoms, hashables, st.decimals()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=3),
        st.sets(hashables, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.builds(Order, st.text(max_size=3), inner),
        st.builds(Quote, st.text(max_size=3), inner),
    ),
    max_leaves=12,
)


@given(values)
@example({1: 1, 2.0: 2})
@example({"a": {"b": {(1, frozenset({2})): [Order("X", [Leg(side=Side.SELL, lots=(Lots.TWO,))])]}}})
@example([datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo("America/New_York"), fold=1)])
@example(Rights.READ | Rights.TRADE)
@example(Rights(0))
@example(Bits(5))
@example("".join(map(chr, range(0x20, 0x250))))
@example(math.nan)
def test_values_come_back_unchanged(value: Any) -> None:
    """Equal and of the same type in every part, and with nothing in common with what went in."""
    before = copy.deepcopy(value)
    data = serializers.dumps(value)
    assert same(value, before), "writing changed it"
    first, second = serializers.loads(data), serializers.loads(data)
    assert same(first, value)
    assert same(second, value)


@given(values, st.sampled_from(sorted(CODECS)))
def test_records_come_back_unchanged(value: Any, sealing: str) -> None:
    """Through seal and compressor, read at once or from what lies near, as often as one likes."""
    codec = CODECS[sealing]
    record = codec.encode("key", value, 1.0, None)
    assert same(codec.decode("key", record)[0], value)
    read, admitted = codec.admit("key", record)
    assert admitted is not None
    assert same(read[0], value)
    for _ in range(2):
        held = admitted.held if admitted.load is None else admitted.load(admitted.held)
        assert same(held, value)


@given(values, st.sampled_from(sorted(UNSUPPORTED)), st.data())
def test_a_part_that_is_unsupported_is_found_wherever_it_is(value: Any, bad: str, data: st.DataObject) -> None:
    """As an item, a value, a key's neighbour or an attribute, at any depth; and only our own error is raised."""
    whole: Any = UNSUPPORTED[bad]
    for _ in range(data.draw(st.integers(0, 4))):
        whole = data.draw(
            st.sampled_from([[value, whole], (whole, value), {"a": value, "b": whole}, {1: whole}, Order("X", whole)])
        )
    with pytest.raises(UnsupportedValueError):
        serializers.dumps(whole)


containers = st.sampled_from(
    [
        lambda inner: [inner],
        lambda inner: (inner,),
        lambda inner: {"a": inner},
        lambda inner: {1: inner},
        lambda inner: Order("X", inner),
        lambda inner: Quote("X", inner),
    ]
)


@given(st.lists(containers, max_size=130))
def test_depth_is_bounded_the_same_for_writing_and_reading(layers: list[Any]) -> None:
    """What can be written can be read; what is nested too deeply is refused when it is written."""
    value: Any = ()
    for layer in layers:
        value = layer(value)
    try:
        data = serializers.dumps(value)
    except UnsupportedValueError:
        assert len(layers) >= serializers.MAX_DEPTH / 2
        return
    assert same(serializers.loads(data), value)


@given(data=st.binary(max_size=60), tagged=st.booleans())
def test_bytes_that_nobody_wrote_raise_our_error_or_are_a_value(data: bytes, *, tagged: bool) -> None:
    """Whoever can write to an unsealed store cannot make reading crash."""
    if tagged:  # an extension of MessagePack, with one of our tags
        data = bytes([0xC7, min(len(data[1:]), 255), data[0] % 14 if data else 0]) + data[1:]
    try:
        CODECS["plain"].decode("key", pack_head(PLAIN, 1, 1.0, math.inf) + data)
    except UnreadableRecordError:
        return


def test_lone_surrogates_are_refused_with_their_place() -> None:
    """They have no UTF-8 form."""
    with pytest.raises(UnsupportedValueError, match=r"value\['a'\]\[1\] holds a lone surrogate"):
        serializers.dumps({"a": ["x", "\udcff"]})


@given(moment=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), data=st.data(), is_dst=st.booleans())  # noqa: DTZ001
def test_pytz_zones_come_back(moment: datetime, data: st.DataObject, *, is_dst: bool) -> None:
    """Where an application uses pytz: the same zone, with the offset that it had at that moment."""
    pytz = pytest.importorskip("pytz")
    zone = pytz.timezone(data.draw(st.sampled_from(["Asia/Kolkata", "America/New_York", "Europe/Berlin", "UTC"])))
    localized = zone.normalize(zone.localize(moment, is_dst=is_dst))
    back = serializers.loads(serializers.dumps([localized]))[0]
    assert same(back, localized)
    assert back.tzinfo is localized.tzinfo


def test_a_pytz_zone_that_was_never_localized_comes_back_as_it_was() -> None:
    """``datetime(..., tzinfo=pytz.timezone(...))`` has local mean time: a common mistake, and not ours to mend."""
    pytz = pytest.importorskip("pytz")
    value = datetime(2026, 1, 1, 12, 0, tzinfo=pytz.timezone("Asia/Kolkata"))
    try:
        back = serializers.loads(serializers.dumps(value))
    except UnsupportedValueError:
        return
    assert same(back, value)


def test_a_time_with_a_pytz_zone_is_refused() -> None:
    """Such a zone has no offset without a date."""
    pytz = pytest.importorskip("pytz")
    with pytest.raises(UnsupportedValueError, match="time zone"):
        serializers.dumps(time(12, 0, tzinfo=pytz.timezone("Asia/Kolkata")))

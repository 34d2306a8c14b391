"""Values: exact round trips, clear refusals, and a decoder that bears whatever bytes it gets."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openalgo_cache.codec import nesting, serializers
from openalgo_cache.codec.serializers import MAX_DEPTH, dumps, loads, loads_unverified, register
from openalgo_cache.errors import UnreadableRecordError, UnsupportedValueError
from tests.codec.samples import VALUES, Order, Quote, Side, same

BODIES = {name: dumps(value) for name, value in VALUES.items()}
both_loaders = pytest.mark.parametrize("load", [loads, loads_unverified], ids=["verified", "unverified"])

zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23)).map(timezone),
    st.sampled_from(["Asia/Kolkata", "Europe/London", "America/New_York", "Pacific/Apia"]).map(ZoneInfo),
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
hashable = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=-(2**80), max_value=2**80),
        st.floats(),
        text,
        st.binary(max_size=20),
        st.datetimes(timezones=zones, allow_imaginary=True),
        st.dates(),
        st.times(timezones=zones.filter(lambda zone: not isinstance(zone, ZoneInfo))),
        st.timedeltas(),
        st.decimals().filter(lambda number: not number.is_snan()),  # cannot be hashed
        st.uuids(),
        st.sampled_from(Side),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner.filter(lambda one: one == one), max_size=3),  # noqa: PLR0124  # a nan is not
        st.builds(Quote, text, st.floats(), st.floats()),
    ),
    max_leaves=6,
)
values = st.recursive(
    hashable,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(text, inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.builds(Order, text, st.integers(), st.sampled_from(Side), st.none()),
    ),
    max_leaves=12,
)


@given(values)
@settings(max_examples=400)
def test_what_goes_in_comes_out_equal_and_of_the_same_type(value: Any) -> None:
    """Every supported value, of any shape, survives; nothing of it is the same mutable object."""
    data = dumps(value)
    for load in (loads, loads_unverified):
        back = load(data)
        assert same(back, value) or _same_but_for_order(back, value)
        assert back is not value or not isinstance(value, list | dict | set)


def _same_but_for_order(one: Any, other: Any) -> bool:
    """Sets, and what contains them, may come back in another order: then their bytes, sorted, tell."""
    return type(one) is type(other) and sorted(dumps(one)) == sorted(dumps(other))


@pytest.mark.parametrize(
    "value, message",
    [
        (object(), "value is a builtins.object"),
        ([1, {"a": {"b": object()}}], r"value\[1\]\['a'\]\['b'\] is a builtins.object"),
        (({1: {2, (3, bytearray(b"x").__class__)}},), r"value\[0\]\[1\]"),
        (bytearray(b"x"), "builtins.bytearray"),
        ([memoryview(b"x")], r"value\[0\] is a builtins.memoryview"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (defaultdict(list), "collections.defaultdict"),
        (range(3), "builtins.range"),
        (1j, "builtins.complex"),
        (ValueError("x"), "builtins.ValueError"),
        (ormsgpack.Ext(1, b""), "Ext"),
        ({"a": ormsgpack.Ext(1, b"")}, "Ext"),
        (ormsgpack.Fragment(b"\x01"), "Fragment"),
        ([ormsgpack.Fragment(b"\xc7\x01\x01\x90")], "Fragment"),
        (type("Text", (str,), {})("x"), "Text"),
        ([type("Whole", (int,), {})(1)], "Whole"),
        (type("Pairs", (dict,), {})(a=1), "Pairs"),
        ({type("Text", (str,), {})("x"): 1}, "Text"),
        (type("Moment", (datetime,), {})(2024, 1, 1), "Moment"),
        (["\ud800"], r"value\[0\] holds a lone surrogate"),
        ({"a": ("\udfff",)}, r"value\['a'\]\[0\] holds a lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        ({("a", "\ud800"): 1}, "lone surrogate"),
    ],
)
def test_what_would_not_come_back_the_same_is_refused_with_its_path(value: object, message: str) -> None:
    """The message says which part, by its path, and what it is; never what it holds."""
    with pytest.raises(UnsupportedValueError, match=message):
        dumps(value)


def test_a_refusal_shows_no_value() -> None:
    """Keys that are not text, and values, may be secrets: the message has neither."""
    with pytest.raises(UnsupportedValueError) as caught:
        dumps({("planted-secret", 1): {"name": ["planted-secret", object()]}})
    assert "planted-secret" not in str(caught.value)


class _Zone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, _: datetime | None) -> timedelta:
        raise NotImplementedError

    def tzname(self, _: datetime | None) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("value", [datetime(2024, 1, 1, tzinfo=_Zone()), [time(1, tzinfo=_Zone())]])
def test_a_zone_that_cannot_be_rebuilt_is_refused(value: object) -> None:
    """A time zone of one's own class is named in the message."""
    with pytest.raises(UnsupportedValueError, match="_Zone"):
        dumps(value)


def test_pytz_zones_come_back_with_the_same_instant() -> None:
    """Applications of this kind use pytz; daylight saving time is kept."""
    pytz = pytest.importorskip("pytz")
    for moment in (
        pytz.timezone("Asia/Kolkata").localize(datetime(2024, 3, 28, 15, 30)),  # noqa: DTZ001  # localize adds the zone
        pytz.timezone("America/New_York").localize(datetime(2023, 11, 5, 1, 30), is_dst=True),  # noqa: DTZ001
        pytz.timezone("America/New_York").localize(datetime(2023, 11, 5, 1, 30), is_dst=False),  # noqa: DTZ001
    ):
        back = loads(dumps(moment))
        assert (back, back.utcoffset(), back.tzinfo) == (moment, moment.utcoffset(), moment.tzinfo)


def wrapped(depth: int, wrap: Callable[[Any], Any]) -> Any:
    """Return an empty list inside of so many containers."""
    value: Any = []
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap, steps",
    [
        (lambda one: [one], 1),
        (lambda one: (one,), 1),
        (lambda one: {"a": one}, 1),
        (lambda one: {1: one}, 1),
        (lambda one: Quote("", one, 1), 2),  # an instance, and its parts
    ],
    ids=["list", "tuple", "dict", "pairs", "registered"],
)
def test_depth_has_a_limit(wrap: Callable[[Any], Any], steps: int) -> None:
    """What is not too deep survives, one more is refused, and so is what contains itself."""
    value = wrapped((MAX_DEPTH - 1) // steps, wrap)
    assert loads(dumps(value)) == value == loads_unverified(dumps(value))
    with pytest.raises(UnsupportedValueError, match="nested more than 100 deep"):
        dumps(wrap(wrap(value)))
    circle: list[Any] = []
    circle.append(wrap(circle))
    with pytest.raises(UnsupportedValueError, match="contains itself"):
        dumps(circle)


# Hostile bytes


def bears(load: Callable[[bytes], Any], data: bytes) -> None:
    """Load bytes; anything but UnreadableRecordError fails the test."""
    with suppress(UnreadableRecordError):
        load(data)


@both_loaders
@given(data=st.binary(max_size=100))
def test_random_bytes(load: Callable[[bytes], Any], data: bytes) -> None:
    """Noise gives a value or our error."""
    bears(load, data)


@both_loaders
@given(tag=st.integers(0, 255), content=st.binary(max_size=60))
def test_random_extensions(load: Callable[[bytes], Any], tag: int, content: bytes) -> None:
    """The same for any content of any type of extension."""
    bears(load, b"\xc7" + bytes([len(content), tag]) + content)


@both_loaders
@given(tag=st.integers(1, 13), content=values)
@settings(max_examples=200)
def test_extensions_with_valid_content_of_a_wrong_shape(load: Callable[[bytes], Any], tag: int, content: Any) -> None:
    """The same for any value in the place of another type's parts."""
    body = dumps(content)
    bears(load, b"\xc9" + struct.pack(">IB", len(body), tag) + body)


@both_loaders
@pytest.mark.parametrize("name", list(BODIES))
def test_every_changed_byte_of_every_type(load: Callable[[bytes], Any], name: str) -> None:
    """Each byte of each sample (the first of long ones) set to telling others, cut off there, or left out."""
    body = BODIES[name]
    for at in range(min(len(body), 120)):
        for other in {0x00, 0x01, 0x7F, 0x80, 0x91, 0xC0, 0xC7, 0xC9, 0xDD, 0xFF, body[at] ^ 1, body[at] ^ 0x80}:
            bears(load, body[:at] + bytes([other]) + body[at + 1 :])
        bears(load, body[:at])
        bears(load, body[:at] + body[at + 1 :])


@both_loaders
@pytest.mark.parametrize(
    "zone", ["America", "../../etc/passwd", "/etc/passwd", "", "a\0b", "zone.tab", "x" * 5000, "\ud7ff", 5, None, [1]]
)
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, "3", None])
def test_hostile_zones(load: Callable[[bytes], Any], kind: object, zone: object) -> None:
    """Names of folders, of other files, of nothing: our error, or a zone."""
    content = ormsgpack.packb([2024, 1, 1, 0, 0, 0, 0, 0, kind, zone])
    bears(load, b"\xc9" + struct.pack(">IB", len(content), 6) + content)


HOSTILE_DEPTH = """
import struct, sys
from openalgo_cache.codec import serializers
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.sealing import Unsealed
from openalgo_cache.errors import UnreadableRecordError
arrays, extensions, tag = map(int, sys.argv[1:])
data = b"\\xc0"
for _ in range(extensions):
    data = b"\\x91" * arrays + data
    data = b"\\xc9" + struct.pack(">IB", len(data), tag) + data
record = Unsealed().seal("k", data, 1, 0.0, 9e9)
for read in (Codec(Unsealed()).decode, Codec(Unsealed()).admit):
    try:
        read("k", record)
        print("a value")
    except UnreadableRecordError:
        print("refused")
"""


@pytest.mark.parametrize("tag", [1, 2, 5, 12])
@pytest.mark.parametrize("arrays, extensions", [(1000, 300), (1, 5000), (90, 90), (0, 99)])
def test_hostile_depth_does_not_end_the_process(arrays: int, extensions: int, tag: int) -> None:
    """Extensions in arrays in extensions: each begins the decoder's count of depth anew, and its stack is one."""
    run = subprocess.run(
        [sys.executable, "-c", HOSTILE_DEPTH, str(arrays), str(extensions), str(tag)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split("\n")) <= {"a value", "refused", ""}


@pytest.mark.parametrize(
    "data", [b"\x91" * 5000, b"\x81\xa1a" * 5000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
)
def test_hostile_sizes(data: bytes) -> None:
    """Documents that promise more than they hold, or nest without end, cost nothing."""
    for load in (loads, loads_unverified):
        with pytest.raises(UnreadableRecordError):
            load(data)


@given(values)
def test_the_depth_of_bytes_is_found(value: Any) -> None:
    """The look at the depth agrees with a count over what the decoder makes of the bytes."""
    body = dumps(value)
    depth = _depth(body)
    for most in range(depth + 2):
        assert nesting.is_deeper_than(most, body, serializers._OPAQUE) == (depth > most)


class Content(NamedTuple):
    """An extension as it stands in the bytes."""

    tag: int
    data: bytes


def _depth(body: bytes) -> int:
    def of(part: Any) -> int:
        if isinstance(part, Content):
            return 0 if part.tag in serializers._OPAQUE else 1 + _depth(part.data)
        if isinstance(part, dict):
            return 1 + max(map(of, part.values()), default=0)
        return 1 + max(map(of, part), default=0) if isinstance(part, list) else 0

    return of(ormsgpack.unpackb(body, ext_hook=Content))


# Registered classes


class Colour(Enum):
    """An enumeration that only this test registers."""

    RED = 1


class Point(NamedTuple):
    """A named tuple that only this test registers."""

    x: int


@dataclass
class Account:
    """A dataclass whose construction would be noticed."""

    name: str

    def __post_init__(self) -> None:
        if self.name == "made by a record":
            raise AssertionError("a record ran code")


def test_classes_have_to_be_registered() -> None:
    """Before, the message says so; afterwards instances survive, built without running their constructor."""
    for value in (Colour.RED, Point(1), Account("a")):
        with pytest.raises(UnsupportedValueError, match="register it first"):
            dumps([value])
        register(type(value), f"test_serializers.{type(value).__name__}")
        assert same(loads(dumps([value])), [value])
    account = Account("a")
    account.name = "made by a record"
    assert loads(dumps(account)).name == "made by a record"


def test_a_class_that_is_not_registered_here_is_named_as_the_reason() -> None:
    """A record that another program wrote says what is missing, not that it is damaged."""
    content = ormsgpack.packb(["elsewhere.Thing", [1]])
    body = b"\x91\xc7" + bytes([len(content), 12]) + content
    for load in (loads, loads_unverified):
        with pytest.raises(UnreadableRecordError, match="not registered here"):
            load(body)
        with pytest.raises(UnreadableRecordError, match="no readable value"):
            load(b"\xc1")


def test_what_a_registered_function_refuses_is_unreadable() -> None:
    """Whatever the application's own function raises, the record is what cannot be read."""

    class Picky:
        pass

    def refuse(_: object) -> Picky:
        raise OSError("no")

    register(Picky, "test_serializers.Picky", disassemble=lambda _: None, assemble=refuse)
    with pytest.raises(UnreadableRecordError):
        loads(dumps(Picky()))


def test_names_are_taken_once() -> None:
    """Two classes under one name, or a class that nobody can take apart, are refused."""

    class One(Enum):
        A = 1

    class Two(Enum):
        A = 1

    register(One, "test_serializers.taken")
    register(One, "test_serializers.taken")
    with pytest.raises(UnsupportedValueError, match="registered already"):
        register(Two, "test_serializers.taken")
    with pytest.raises(UnsupportedValueError, match="disassemble"):
        register(Path)


def test_a_set_of_members_comes_back_from_any_order() -> None:
    """Sets have no order, so their bytes may differ between processes; the value does not."""
    members = {f"member {number}" for number in range(50)}
    body = ormsgpack.packb(sorted(members, reverse=True))
    assert loads(b"\xc8" + struct.pack(">HB", len(body), 2) + body) == members

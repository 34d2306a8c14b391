"""Values to bytes and back, exactly: what goes in comes out equal and of the same type, or ``dumps`` raises.

The format is MessagePack through ormsgpack. Types that MessagePack lacks travel as extension types with a frozen tag
(the ``_TAG_*`` numbers below: never reuse one). The set of types is closed: a record can only ever decode to these,
and to classes that the application registered itself. Nothing is imported, and nothing is called, on a record's
say-so.

ormsgpack's own leniency is fenced off: a walk over the value finds what would change its type in silence (bytearray,
memoryview, subclasses, caller-made extension objects) and turns everything that is not native into an extension.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any, Final
from uuid import UUID

import ormsgpack

from openalgo_cache.codec import nesting, zones
from openalgo_cache.errors import UnreadableRecordError, UnsupportedValueError

MAX_DEPTH: Final = 100
"""How deeply containers may be nested: far below what the decoder and Python's stack bear."""

_MOST_LEVELS: Final = 4 * MAX_DEPTH
"""How deeply the bytes of such a value are nested at most: an instance is an extension, a pair, and its parts."""

_TAG_TUPLE: Final = 1
_TAG_SET: Final = 2
_TAG_FROZENSET: Final = 3
_TAG_INT: Final = 4
_TAG_PAIRS: Final = 5
_TAG_DATETIME: Final = 6
_TAG_DATE: Final = 7
_TAG_TIME: Final = 8
_TAG_TIMEDELTA: Final = 9
_TAG_DECIMAL: Final = 10
_TAG_UUID: Final = 11
_TAG_REGISTERED: Final = 12

_OPAQUE: Final = frozenset({_TAG_INT, _TAG_DECIMAL, _TAG_UUID})
"""Whose content is no MessagePack."""

_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
_TEXT: Final = frozenset({str})

_OPTIONS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

unpack: Final = ormsgpack.unpackb
"""The decoder itself, for callers who give it one of the two hooks and translate UNREADABLE by :func:`refused`."""

UNREADABLE: Final = (ValueError, RecursionError)
"""All that the decoder raises, whatever a constructor in it raised."""

Disassemble = Callable[[Any], Any]
Assemble = Callable[[Any], Any]
_by_type: dict[type, tuple[str, Disassemble]] = {}
_by_name: dict[str, tuple[type, Assemble]] = {}
_refusal: Final = threading.local()


def dumps(value: object) -> bytes:
    """Return the bytes of ``value``.

    Raises:
        UnsupportedValueError: A part of the value has no exact representation; the message gives the path to it.
    """
    try:
        return _pack(_native(value, 0))
    except _Unsupported as error:
        raise UnsupportedValueError(f"value{''.join(reversed(error.path))} {error.reason}") from None
    except ormsgpack.MsgpackEncodeError:
        where = _path_to_surrogate(value) or ""
        raise UnsupportedValueError(f"value{where} holds a lone surrogate, which UTF-8 cannot carry") from None


def loads(data: bytes | memoryview) -> Any:
    """Return the value whose bytes are ``data``.

    Args:
        data: Bytes that were verified, or never left this process: see :func:`loads_unverified` for others.

    Raises:
        UnreadableRecordError: The bytes are no value, or name a class that is not registered here.
    """
    try:
        return unpack(data, ext_hook=decode_extension)
    except UNREADABLE:
        raise refused() from None


def loads_unverified(data: bytes | memoryview) -> Any:
    """Do as :func:`loads` does for bytes that nobody vouches for: they may be made to exhaust the decoder's stack."""
    try:
        return unpack(data, ext_hook=decode_unverified)
    except UNREADABLE:
        raise refused() from None


def register(
    cls: type,
    name: str | None = None,
    *,
    disassemble: Disassemble | None = None,
    assemble: Assemble | None = None,
) -> type:
    """Allow values of exactly ``cls`` in caches; usable as a class decorator.

    Args:
        cls: An Enum, a dataclass, a named tuple, or any class together with the two functions below.
        name: What the records call it, stable across releases; by default the class's qualified name.
        disassemble: Returns the parts of an instance as a supported value.
        assemble: Makes an instance of those parts.

    Returns:
        ``cls``.

    Raises:
        UnsupportedValueError: The class is none of these and the functions are missing, or the name is taken.
    """
    name = name or f"{cls.__module__}.{cls.__qualname__}"
    if disassemble is None or assemble is None:
        disassemble, assemble = _standard_parts(cls)
    if (taken := _by_name.get(name)) is not None and taken[0] is not cls:
        raise UnsupportedValueError(f"{name!r} is registered already, for another class: give a name of its own")
    _by_type[cls] = (name, disassemble)
    _by_name[name] = (cls, assemble)
    return cls


def _standard_parts(cls: type) -> tuple[Disassemble, Assemble]:
    if issubclass(cls, Flag):
        return (lambda flags: flags.value), cls  # combinations have no name of their own
    if issubclass(cls, Enum):
        return (lambda member: member.name), (lambda name: cls[name])
    if is_dataclass(cls):
        names = [field.name for field in fields(cls)]
        return (lambda one: [getattr(one, name) for name in names]), (lambda parts: _dataclass(cls, names, parts))
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return list, cls._make  # type: ignore[attr-defined]  # what makes a tuple a named one
    raise UnsupportedValueError(
        f"{cls.__qualname__} is no Enum, dataclass or named tuple: give disassemble= and assemble= to register it"
    )


def _dataclass(cls: type, names: list[str], parts: list[Any]) -> Any:
    # __init__ and __post_init__ would run the application's code on a record's say-so, and may not take every field.
    one: Any = object.__new__(cls)
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(one, name, part)
    return one


def _native(value: Any, depth: int) -> Any:
    """Return ``value`` if MessagePack carries it exactly, else the same with extensions where they are needed."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if depth >= MAX_DEPTH:
        raise _Unsupported(f"is nested more than {MAX_DEPTH} deep, or contains itself")
    if kind is dict:
        if not {*map(type, value)} <= _TEXT:
            pairs = [[_part(key, depth, key), _part(item, depth, key)] for key, item in value.items()]
            return _extension(_TAG_PAIRS, pairs)
        if {*map(type, value.values())} <= _ATOMS:
            return value
        return {key: item if type(item) in _ATOMS else _part(item, depth, key) for key, item in value.items()}
    if kind is list:
        if {*map(type, value)} <= _ATOMS:
            return value
        return [item if type(item) in _ATOMS else _part(item, depth, at) for at, item in enumerate(value)]
    if kind is tuple:
        return _extension(_TAG_TUPLE, [_part(item, depth, at) for at, item in enumerate(value)])
    if kind is set or kind is frozenset:
        parts = [_part(item, depth, item) for item in value]
        return _extension(_TAG_SET if kind is set else _TAG_FROZENSET, parts)
    return _single(value, kind, depth)


def _part(value: Any, depth: int, where: object) -> Any:
    try:
        return _native(value, depth + 1)
    except _Unsupported as error:
        error.path.append(_step(where))
        raise


def _single(value: Any, kind: type, depth: int) -> Any:
    if kind is datetime:
        day = [value.year, value.month, value.day]
        clock = [value.hour, value.minute, value.second, value.microsecond, value.fold]
        return _extension(_TAG_DATETIME, [*day, *clock, *_zone(value)])
    if kind is date:
        return _extension(_TAG_DATE, [value.year, value.month, value.day])
    if kind is time:
        clock = [value.hour, value.minute, value.second, value.microsecond, value.fold]
        return _extension(_TAG_TIME, [*clock, *_zone(value)])
    if kind is timedelta:
        return _extension(_TAG_TIMEDELTA, [value.days, value.seconds, value.microseconds])
    if kind is Decimal:
        return ormsgpack.Ext(_TAG_DECIMAL, str(value).encode())
    if kind is UUID:
        return ormsgpack.Ext(_TAG_UUID, value.bytes)
    if (known := _by_type.get(kind)) is not None:
        name, disassemble = known
        return _extension(_TAG_REGISTERED, [name, _native(disassemble(value), depth + 1)])
    hint = " (register it first)" if isinstance(value, Enum) or is_dataclass(kind) or hasattr(kind, "_fields") else ""
    raise _Unsupported(f"is a {kind.__module__}.{kind.__qualname__}, which no cache can give back unchanged{hint}")


def _zone(value: datetime | time) -> tuple[int, Any]:
    try:
        return zones.parts(value)
    except UnsupportedValueError as error:
        raise _Unsupported(str(error)) from None


def _extension(tag: int, parts: list[Any]) -> ormsgpack.Ext:
    return ormsgpack.Ext(tag, _pack(parts))


def _pack(native: Any) -> bytes:
    return ormsgpack.packb(native, default=_default, option=_OPTIONS)


def _default(value: Any) -> ormsgpack.Ext:
    """Encode what the walk leaves to ormsgpack and ormsgpack passes through: integers of more than 64 bits."""
    if type(value) is int:
        return ormsgpack.Ext(_TAG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    raise TypeError


def decode_extension(tag: int, data: bytes) -> Any:
    """Return the value of an extension in bytes that were verified."""
    try:
        if tag == _TAG_INT:
            return int.from_bytes(data, "big", signed=True)
        if tag == _TAG_DECIMAL:
            return Decimal(data.decode())
        if tag == _TAG_UUID:
            return UUID(bytes=data)
        decode = _DECODERS.get(tag)
        if decode is None:
            raise UnreadableRecordError(  # noqa: TRY301  # so that the reason is kept below, as others' are
                f"a record uses the type tag {tag}, which this version does not know"
            )
        return decode(unpack(data, ext_hook=decode_extension))
    except UnreadableRecordError as error:
        _refusal.reason = str(error)  # the decoder says of any error that there was one, and nothing else
        raise


def decode_unverified(tag: int, data: bytes) -> Any:
    """Do as :func:`decode_extension` does in bytes that nobody vouches for."""
    if len(data) > _MOST_LEVELS and nesting.is_deeper_than(_MOST_LEVELS, data, _OPAQUE):
        raise ValueError
    return decode_extension(tag, data)


def refused() -> UnreadableRecordError:
    """Return our error for what the decoder has just raised, with the reason."""
    reason = getattr(_refusal, "reason", "a record holds no readable value")
    _refusal.__dict__.clear()
    return UnreadableRecordError(reason)


def _decode_datetime(parts: list[Any]) -> datetime:
    *moment, fold, kind, detail = parts
    return zones.attach(datetime(*moment, fold=fold), kind, detail)  # noqa: DTZ001  # the zone, if any, comes next


def _decode_time(parts: list[Any]) -> time:
    *clock, fold, kind, detail = parts
    return zones.attach(time(*clock, fold=fold), kind, detail)


def _decode_registered(parts: list[Any]) -> Any:
    name, content = parts
    if (known := _by_name.get(name)) is None:
        raise UnreadableRecordError("a record holds an instance of a class that is not registered here")
    return known[1](content)


_DECODERS: Final[dict[int, Callable[[list[Any]], Any]]] = {
    _TAG_TUPLE: tuple,
    _TAG_SET: set,
    _TAG_FROZENSET: frozenset,
    _TAG_PAIRS: lambda pairs: {key: value for key, value in pairs},  # noqa: C416  # dict() would take two-letter strings
    _TAG_DATETIME: _decode_datetime,
    _TAG_DATE: lambda parts: date(*parts),
    _TAG_TIME: _decode_time,
    _TAG_TIMEDELTA: lambda parts: timedelta(*parts),
    _TAG_REGISTERED: _decode_registered,
}


class _Unsupported(Exception):  # noqa: N818  # never leaves this module: dumps turns it into UnsupportedValueError
    """A part of a value cannot be stored; the path to it grows while the walk unwinds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []


def _step(where: object) -> str:
    """Show one step of a path. Only str and int keys are shown: others may be long, or have a telling repr."""
    return f"[{where!r:.60}]" if isinstance(where, str | int) else f"[<{type(where).__name__}>]"


def _path_to_surrogate(value: Any) -> str | None:
    """Return the path to the first string that has no UTF-8 form; only called when encoding failed."""
    if isinstance(value, str):
        return "" if any("\ud800" <= char <= "\udfff" for char in value) else None
    steps: list[tuple[object, Any]] = []
    if isinstance(value, dict):
        steps = [*(("<a key>", key) for key in value), *value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        steps = [*enumerate(value)]
    for where, part in steps:
        if (path := _path_to_surrogate(part)) is not None:
            return _step(where) + path
    return None

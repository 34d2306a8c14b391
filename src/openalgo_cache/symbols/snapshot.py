"""A master as one compressed text of bytes, to travel between instances that share a server.

What travels are the rows, not the file that they lie in: 2 MB instead of 17 (7 without its indexes). Whoever receives
them builds and signs a file of its own, in a second or two.

Format 1 is zlib over MessagePack: ``[1, created_at, series, columns]``. A series is what ``rows.Series`` lists. The
columns are texts and numbers by kind, one for each instrument in the order of their numbers: the place of the series,
strike, symbol, broker's symbol (nil where it is the symbol), name (nil where it is the underlying), token.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import ormsgpack

from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.symbols.model import Instrument, contract_kind, expiry_day
from openalgo_cache.symbols.rows import Series
from openalgo_cache.symbols.version import MasterVersion

_FORMAT: Final = 1
_LEVEL: Final = 3
"""Of zlib: 1 is twice as fast and 5 % larger, 6 three times slower and 15 % smaller."""

LARGEST: Final = 256 << 20
"""Bytes that a snapshot may have when it is unpacked: twenty times what 142,338 instruments need."""

_EVERY: Final = 10_000

Told = Callable[[float], None]


class Snapshot(NamedTuple):
    """The rows of a master, typed and in order.

    Attributes:
        created_at: When the master was imported, in seconds since the epoch.
        series: What instruments share.
        columns: See the module's head.
    """

    created_at: float
    series: list[Series]
    columns: list[list[Any]]

    @property
    def rows(self) -> int:
        """How many instruments there are."""
        return len(self.columns[0])

    def instruments(self) -> Iterator[tuple[Any, ...]]:
        """Yield the fields of each instrument, in order, and behind them the place of its series, from 1."""
        for place, strike, symbol, brsymbol, name, token in zip(*self.columns, strict=True):
            exchange, brexchange, expiry, lotsize, kind, tick, value, underlying, *_ = self.series[place]
            yield (
                symbol, symbol if brsymbol is None else brsymbol, underlying if name is None else name, exchange,
                brexchange, token, expiry, strike, lotsize, kind, tick, value, underlying, place + 1,
            )  # fmt: skip


def pack(version: MasterVersion, told: Told) -> bytes:
    """Return a version as it travels; every row of it is verified first.

    Args:
        version: What is to travel.
        told: Told how far it is, from 0 to 1.

    Raises:
        UnreadableRecordError: A row is missing or does not verify: what is damaged here must not spread.
    """
    places: dict[Series, int] = {}
    columns: list[list[Any]] = [[] for _ in range(6)]
    add = [column.append for column in columns]
    for count, one in enumerate(version.in_order(), 1):
        values = (
            places.setdefault(_series_of(one), len(places)), one.strike, one.symbol,
            None if one.brsymbol == one.symbol else one.brsymbol,
            None if one.name == one.underlying else one.name, one.token,
        )  # fmt: skip
        for append, value in zip(add, values, strict=True):
            append(value)
        if count % _EVERY == 0:
            told(count / version.header.rows)
    if len(columns[0]) != version.header.rows:
        raise UnreadableRecordError(f"the symbol master {version.path} is damaged: import it again")
    content = ormsgpack.packb([_FORMAT, version.header.created_at, [tuple(one) for one in places], columns])
    return zlib.compress(content, _LEVEL)


def unpack(packed: bytes) -> Snapshot:
    """Return what travelled; only for bytes that were verified.

    Raises:
        UnreadableRecordError: It is of another release, or larger than anything that we make.
    """
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed, LARGEST)
        if not unpacker.eof:
            raise UnreadableRecordError("the shared symbol master is larger than this release takes")
        form, created_at, series, columns = ormsgpack.unpackb(content)
        if form != _FORMAT:
            raise UnreadableRecordError("the shared symbol master was published by another release of openalgo-cache")
        return Snapshot(float(created_at), [Series(*one) for one in series], columns)
    except (ValueError, TypeError, zlib.error) as error:
        raise UnreadableRecordError(f"the shared symbol master cannot be read: {error}") from None


def _series_of(one: Instrument) -> Series:
    return Series(
        one.exchange, one.brexchange, one.expiry, one.lotsize, one.instrumenttype, one.tick_size, one.contract_value,
        one.underlying, contract_kind(one.symbol, one.expiry, one.instrumenttype), expiry_day(one.expiry),
    )  # fmt: skip

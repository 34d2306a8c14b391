"""Finding instruments by what identifies them, with the last ones found held in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from openalgo_cache.symbols.model import Instrument
from openalgo_cache.symbols.schema import INSTRUMENT, INSTRUMENTS_FIRST, OWN
from openalgo_cache.symbols.tier import Key, Tier
from openalgo_cache.symbols.version import MasterVersion

HELD: Final = 10_240
"""How many instruments a process holds: 7 MB at most."""

_SAME_TOKEN: Final = 1_000


class Lookup(NamedTuple):
    """A way to look up.

    Attributes:
        column: What is looked for, beside the exchange.
        field: The same as a field of :class:`Instrument`.
        sql: The query.
    """

    column: str
    field: int
    sql: str


def _lookup(column: str) -> Lookup:
    # Of several, which only tokens and brokers' symbols can be, the one with the shortest symbol.
    where = f"i.{column} = ? AND i.exchange = ? ORDER BY i.id LIMIT 1"
    sql = f"SELECT {OWN} FROM instrument AS i WHERE {where}"  # noqa: S608  # constants
    return Lookup(column, Instrument._fields.index(column), sql)


BY_SYMBOL: Final = _lookup("symbol")
BY_BRSYMBOL: Final = _lookup("brsymbol")
BY_TOKEN: Final = _lookup("token")
_EXCHANGE: Final = Instrument._fields.index("exchange")
_TOKEN: Final = Instrument._fields.index("token")
_ALL_BY_TOKEN: Final = (
    f"SELECT {INSTRUMENT} FROM {INSTRUMENTS_FIRST} WHERE i.token = ? ORDER BY i.id LIMIT {_SAME_TOKEN}"  # noqa: S608  # constants
)
_NO_EXCHANGE: Final = -1


class Lookups:
    """Looks up in one version.

    Args:
        version: Where to look.
    """

    __slots__ = ("_held", "_numbers", "version")

    def __init__(self, version: MasterVersion) -> None:
        self.version = version
        self._numbers = version.exchange_numbers
        self._held = Tier(HELD)

    def held(self) -> int:
        """Return how many instruments are held in memory."""
        return len(self._held)

    def find(self, lookup: Lookup, text: str, exchange: str) -> Instrument | None:
        """Return the instrument, or None.

        Raises:
            TypeError: ``text`` or ``exchange`` is no text.
        """
        instrument = self._held.get((lookup.column, text, exchange))
        if instrument is None:
            instrument = self.version.first(lookup.sql, self._bindings(text, exchange))
            if instrument is not None:
                instrument = self._hold(lookup, instrument, text, exchange)
        return instrument

    def find_many(self, lookup: Lookup, pairs: Iterable[tuple[str, str]]) -> list[Instrument | None]:
        """Return an instrument or None for each pair of text and exchange, in the same order.

        Raises:
            TypeError: A text or an exchange is no text.
        """
        get, column, field, numbers = self._held.get, lookup.column, lookup.field, self._numbers
        wanted = list(pairs)
        found = [get((column, text, exchange)) for text, exchange in wanted]
        missing = [place for place, instrument in enumerate(found) if instrument is None]
        if not missing:
            return found
        # What `_bindings` and `_hold` do, without a call for each: for a thousand, that is a tenth of the whole.
        bindings: list[tuple[str, int]] = []
        for place in missing:
            text, exchange = wanted[place]
            if not (isinstance(text, str) and isinstance(exchange, str)):
                raise _no_texts(text, exchange)
            bindings.append((text, numbers.get(exchange, _NO_EXCHANGE)))
        fresh: dict[Key, Instrument] = {}
        for place, instrument in zip(missing, self.version.first_of_each(lookup.sql, bindings), strict=True):
            if instrument is not None:
                text, exchange = wanted[place]
                own_text, own_exchange = instrument[field], instrument[_EXCHANGE]
                if own_text == text and own_exchange == exchange:
                    found[place] = fresh[column, own_text, own_exchange] = instrument
        self._held.keep_all(fresh)
        return found

    def _bindings(self, text: str, exchange: str) -> tuple[str, int]:
        if isinstance(text, str) and isinstance(exchange, str):
            return text, self._numbers.get(exchange, _NO_EXCHANGE)
        raise _no_texts(text, exchange)

    def _hold(self, lookup: Lookup, instrument: Instrument, text: str, exchange: str) -> Instrument | None:
        """Hold an instrument that was read, and return it, if it is the one that was asked for."""
        own_text, own_exchange = instrument[lookup.field], instrument[_EXCHANGE]
        if own_text != text or own_exchange != exchange:
            # An index carries no mark: a forged one may lead to a sound row of something else.
            return None
        self._held.keep((lookup.column, own_text, own_exchange), instrument)
        return instrument

    def all_by_token(self, token: str) -> list[Instrument]:
        """Return the instruments of all exchanges that have a token."""
        if not isinstance(token, str):
            raise TypeError(f"a token is text, like '2885', not {type(token).__name__}")
        found = self.version.all(_ALL_BY_TOKEN, (token,))
        return [instrument for instrument in found if instrument[_TOKEN] == token]


def _no_texts(text: object, exchange: object) -> TypeError:
    types = f"{type(text).__name__} and {type(exchange).__name__}"
    return TypeError(f"what is looked up is text, like '2885' and 'NSE', not {types}")

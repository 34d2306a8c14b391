"""Finding instruments by what identifies them, with the last ones found held in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from openalgo_cache.policy.metrics import Counters
from openalgo_cache.symbols.model import Instrument
from openalgo_cache.symbols.schema import INSTRUMENT, INSTRUMENTS_FIRST, Lookup
from openalgo_cache.symbols.tier import Group, Tier
from openalgo_cache.symbols.version import MasterVersion

HELD: Final = 10_240
"""How many instruments a process holds: 7 MB at most."""

_SAME_TOKEN: Final = 1_000


_EXCHANGE: Final = Instrument._fields.index("exchange")
_TOKEN: Final = Instrument._fields.index("token")
_ALL_BY_TOKEN: Final = (
    f"SELECT {INSTRUMENT} FROM {INSTRUMENTS_FIRST} WHERE i.token = ? ORDER BY i.id LIMIT {_SAME_TOKEN}"  # noqa: S608  # constants
)


class Lookups:
    """Looks up in one version.

    Args:
        version: Where to look.
        counters: Count what is asked, across versions.
    """

    __slots__ = ("_counters", "_held", "_numbers", "version")

    def __init__(self, version: MasterVersion, counters: Counters) -> None:
        self.version = version
        self._counters = counters
        self._numbers = version.exchange_numbers
        self._held = Tier(HELD)

    def held(self) -> int:
        """Return how many instruments are held in memory."""
        return len(self._held)

    def footprint(self) -> int:
        """Return about how many bytes they take."""
        return self._held.footprint()

    def find(self, lookup: Lookup, text: str, exchange: str) -> Instrument | None:
        """Return the instrument, or None.

        Raises:
            TypeError: ``text`` or ``exchange`` is no text.
        """
        held = self._held.group(lookup.column, exchange).get(text)
        counters = self._counters
        if held is not None:
            counters.near_hits += 1
            return held
        _check(text, exchange)
        number = self._numbers.get(exchange)
        found = None if number is None else counters.reading.call(self.version.first, lookup, text, number)
        if found is None or found[lookup.field] != text or found[_EXCHANGE] != exchange:
            # An index carries no mark: a forged one may lead to a sound row of something else.
            counters.misses += 1
            return None
        counters.hits += 1
        self._held.keep(lookup.column, exchange, {text: found})
        return found

    def find_many(self, lookup: Lookup, pairs: Iterable[tuple[str, str]]) -> list[Instrument | None]:
        """Return an instrument or None for each pair of text and exchange, in the same order.

        Raises:
            TypeError: A text or an exchange is no text.
        """
        wanted = list(pairs)
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for text, exchange in wanted:
            asked[exchange].append(text)
        # Exchange by exchange: one statement for each, and a text is found sooner than a tuple.
        found = {exchange: self._find_texts(lookup, texts, exchange) for exchange, texts in asked.items()}
        return [found[exchange].get(text) for text, exchange in wanted]

    def _find_texts(self, lookup: Lookup, texts: list[str], exchange: str) -> Group:
        """Return those instruments of an exchange that there are, by their texts."""
        group = self._held.group(lookup.column, exchange)
        held = {text: group[text] for text in texts if text in group}
        counters = self._counters
        counters.near_hits += len(held)
        missing = [text for text in texts if text not in held] if held else texts
        if not missing:
            return held
        if not {type(exchange), *map(type, missing)} <= {str}:
            for text in missing:
                _check(text, exchange)
        number = self._numbers.get(exchange)
        if number is None:
            counters.misses += len(missing)
            return held
        # By what they are, not by what was asked: a forged index may lead to a sound row of something else.
        rows = counters.reading.call(self.version.first_of_each, lookup, missing, number)
        field = lookup.field
        read: Group = {found[field]: found for found in rows if found[_EXCHANGE] == exchange}  # type: ignore[misc]  # texts
        counters.hits += len(read)
        counters.misses += len(missing) - len(read)
        self._held.keep(lookup.column, exchange, read)
        return held | read

    def all_by_token(self, token: str) -> list[Instrument]:
        """Return the instruments of all exchanges that have a token."""
        if not isinstance(token, str):
            raise TypeError(f"a token is text, like '2885', not {type(token).__name__}")
        found = self.version.all(_ALL_BY_TOKEN, (token,))
        return [instrument for instrument in found if instrument[_TOKEN] == token]


def _check(text: object, exchange: object) -> None:
    if not (isinstance(text, str) and isinstance(exchange, str)):
        types = f"{type(text).__name__} and {type(exchange).__name__}"
        raise TypeError(f"what is looked up is text, like '2885' and 'NSE', not {types}")

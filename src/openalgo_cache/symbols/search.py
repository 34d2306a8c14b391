"""Ranked search: what a trader types into one box.

A query is cut at its spaces into terms, and every term must be found in an instrument. Capitals don't matter. In this
order:

1. the symbol is the query;
2. the broker's symbol is the query;
3. the symbol begins with the first term and contains the others;
4. the symbol contains all terms;
5. some term is found only in the name or the broker's symbol, or is the strike, the token or one half of it.

Within each, shorter symbols come first; those of one length go by expiry (what has none, then the nearest), symbol and
exchange. Instruments are numbered in that order, so a query to the index can stop as soon as there are enough. A query
of over 512 characters or 16 words finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from openalgo_cache.symbols import schema
from openalgo_cache.symbols.filters import Filters
from openalgo_cache.symbols.model import Instrument, expiry_day, strike_text
from openalgo_cache.symbols.schema import INDEX_FIRST, INSTRUMENT, INSTRUMENTS_FIRST, SERIES_FIRST, in_capitals
from openalgo_cache.symbols.version import MasterVersion

_LONGEST_QUERY: Final = 512
_MOST_TERMS: Final = 16  # each makes the query to the index longer
_MANY: Final = 20_000  # instruments; fewer are gone through one by one in a few milliseconds
_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")

# A token's halves: 738561::::2885 is known by both numbers.
_KNOWN_BY: Final = (
    "(i.token = :typed{n} OR instr(i.token, '::::') AND :typed{n} IN "
    "(substr(i.token, 1, instr(i.token, '::::') - 1), substr(i.token, instr(i.token, '::::') + 4)))"
)
_IDS_BY_TOKEN: Final = (
    "SELECT id FROM instrument WHERE token = :typed{n} "  # noqa: S608  # constants
    "UNION SELECT id FROM instrument WHERE token >= :typed{n} || '::::' AND token < :typed{n} || ':::;' "
    f"UNION SELECT id FROM instrument WHERE {schema.HALVED} AND {schema.SECOND_HALF} = :typed{{n}}"
)


class _Term(NamedTuple):
    typed: str
    capitals: str
    strike: float | None

    @property
    def spellings(self) -> list[str]:
        """The ways to write the term: 24000.0 is 24000 too."""
        if self.strike is None:
            return [self.capitals]
        return list(dict.fromkeys((self.capitals, strike_text(self.strike))))

    @property
    def has_pieces(self) -> bool:
        return all(len(spelling) >= 3 for spelling in self.spellings)


class Search:
    """One search in one version.

    Args:
        version: Where to look.
        query: What was typed; any text, taken literally.
        filters: What else must hold.
        limit: The most instruments to return.
    """

    def __init__(self, version: MasterVersion, query: str, filters: Filters, limit: int) -> None:
        self._version = version
        self._filters = filters
        self._limit = limit
        words = query.split() if len(query) <= _LONGEST_QUERY else []
        if len(words) > _MOST_TERMS or not "".join(words).isprintable():  # no field has control characters in it
            words = []
        self._whole = in_capitals(" ".join(words))
        self._terms = [_term(word) for word in dict.fromkeys(words)]
        self._conditions, self._bindings = filters.conditions()
        self._bindings |= {"limit": limit, "whole": self._whole}
        for n, term in enumerate(self._terms):
            self._bindings |= {f"typed{n}": term.typed, f"in{n}": f"%{_escaped(term.capitals)}%"}
            if term.strike is not None:
                self._bindings[f"strike{n}"] = term.strike
        self._bindings["begins"] = _escaped(self._terms[0].capitals) + "%" if self._terms else ""

    def run(self) -> list[Instrument]:
        """Return what is found, in the order of the module's head."""
        if not self._terms or self._filters.exchange not in (None, *self._version.header.exchanges):
            return []
        if self._filters.names_series:
            return self._in_series()
        found: dict[tuple[str, str], Instrument] = {}
        for step in (self._exact_symbol, self._exact_brsymbol, self._in_symbol, self._elsewhere):
            for instrument in step():
                found.setdefault((instrument.symbol, instrument.exchange), instrument)
            # Every step returns at most `limit`, of which those before may have found some: it is enough all the same.
            if len(found) >= self._limit:
                break
        return list(found.values())[: self._limit]

    def _exact_symbol(self) -> list[Instrument]:
        return [one for one in self._exact("symbol") if in_capitals(one.symbol) == self._whole]

    def _exact_brsymbol(self) -> list[Instrument]:
        return [one for one in self._exact("brsymbol") if in_capitals(one.brsymbol) == self._whole]

    def _exact(self, column: str) -> list[Instrument]:
        ids = (
            f"SELECT id FROM instrument WHERE {column} = :whole UNION "  # noqa: S608  # one of our own columns
            f"SELECT id FROM instrument WHERE upper({column}) = :whole AND {column} <> upper({column})"
        )
        return self._ask(INSTRUMENTS_FIRST, [f"i.id IN ({ids})"])

    def _in_symbol(self) -> list[Instrument]:
        first, *others = (schema.pieces_of_symbol(term.capitals) for term in self._terms)
        found = self._ask_index([first, *others], self._all_in_symbol())
        beginning = self._terms[0].capitals
        if len(found) == self._limit:  # there may be more, and those that begin with the first term come first
            first = schema.pieces_of_beginning(beginning)
            best = self._ask_index([first, *others], ["i.symbol LIKE :begins ESCAPE '\\'", *self._all_in_symbol()])
            found = [*best, *found]
        return sorted(found, key=lambda one: not in_capitals(one.symbol).startswith(beginning))

    def _elsewhere(self) -> list[Instrument]:
        conditions = [*self._each_somewhere(), f"NOT ({' AND '.join(self._all_in_symbol())})"]
        long = [term for term in self._terms if term.has_pieces]
        in_exchange = self._version.header.exchanges.get(self._filters.exchange or "", _MANY)
        if long or in_exchange < _MANY:
            found = self._ask_index([_pieces_anywhere(term) for term in long], conditions)
        else:
            ids, bounds = _ids_by_short_term(max(self._terms, key=lambda term: min(map(len, term.spellings))))
            found = self._ask(INSTRUMENTS_FIRST, [f"i.id IN ({ids})", *conditions], bounds)
        for n in range(len(self._terms)):
            ids = _IDS_BY_TOKEN.replace("{n}", str(n))
            found += self._ask(INSTRUMENTS_FIRST, [f"i.id IN ({ids})", *conditions])
        return sorted(found, key=_order)

    def _in_series(self) -> list[Instrument]:
        """Rank all instruments of the few series that are meant, in one query."""
        rank = (
            "CASE WHEN upper(i.symbol) = :whole THEN 1 WHEN upper(i.brsymbol) = :whole THEN 2 "
            f"WHEN NOT ({' AND '.join(self._all_in_symbol())}) THEN 5 "
            "WHEN i.symbol LIKE :begins ESCAPE '\\' THEN 3 ELSE 4 END"
        )
        return self._ask(SERIES_FIRST, self._each_somewhere(), order=f"{rank}, i.id")

    def _all_in_symbol(self) -> list[str]:
        return [f"i.symbol LIKE :in{n} ESCAPE '\\'" for n in range(len(self._terms))]

    def _each_somewhere(self) -> list[str]:
        conditions = []
        for n, term in enumerate(self._terms):
            ways = [f"{field} LIKE :in{n} ESCAPE '\\'" for field in ("i.symbol", schema.NAME, "i.brsymbol")]
            if term.strike is not None:
                ways.append(f"i.strike = :strike{n}")
            conditions.append(f"({' OR '.join(ways)} OR {_KNOWN_BY.replace('{n}', str(n))})")
        return conditions

    def _ask_index(self, pieces: Iterable[str], conditions: list[str]) -> list[Instrument]:
        """Ask for instruments that have all of the pieces, as far as there are any, and meet the conditions."""
        number = self._version.exchange_numbers.get(self._filters.exchange or "")
        needed = [piece for piece in (*pieces, "" if number is None else schema.piece_of_exchange(number)) if piece]
        if not needed:
            return self._ask(INSTRUMENTS_FIRST, conditions)
        return self._ask(
            INDEX_FIRST, ["t.trigrams MATCH :pieces", *conditions], {"pieces": " AND ".join(needed)}, "t.rowid"
        )

    def _ask(
        self, tables: str, conditions: list[str], more: dict[str, Any] | None = None, order: str = "i.id"
    ) -> list[Instrument]:
        where = " AND ".join([*conditions, *self._conditions])
        sql = f"SELECT {INSTRUMENT} FROM {tables} WHERE {where} ORDER BY {order} LIMIT :limit"  # noqa: S608  # values are bound
        found = self._version.all(sql, self._bindings | (more or {}))
        return [instrument for instrument in found if self._filters.admit(instrument)]


def _term(typed: str) -> _Term:
    strike = float(typed) if _NUMBER.fullmatch(typed) else None
    return _Term(typed, in_capitals(typed), strike or None)  # 0 stands for "no strike"


def _pieces_anywhere(term: _Term) -> str:
    ways = [f"({make(text)})" for text in term.spellings for make in (schema.pieces_of_symbol, schema.pieces_of_others)]
    return f"({' OR '.join(ways)})"


def _ids_by_short_term(term: _Term) -> tuple[str, dict[str, str]]:
    """Return a query for the instruments that have the beginning of a term in them, and its bindings.

    The index has no pieces of one or two letters, but it can list those that begin with them.
    """
    ways: list[str] = []
    bindings: dict[str, str] = {}
    for text in term.spellings:
        for low, high in schema.ranges_of_pieces(text[:3]):
            n = len(ways)
            ways.append(f"SELECT doc FROM pieces WHERE term >= :low{n} AND term < :high{n}")  # noqa: S608  # values are bound
            bindings |= {f"low{n}": low, f"high{n}": high}
    return " UNION ".join(ways), bindings


def _order(instrument: Instrument) -> tuple[int, int, str, str]:
    """The order in which instruments are numbered."""
    return len(instrument.symbol), expiry_day(instrument.expiry), instrument.symbol, instrument.exchange


def _escaped(text: str) -> str:
    """Take the meaning from the characters that LIKE knows."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

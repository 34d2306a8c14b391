"""How a version of the master lies in its file. Format 2; a change of any line here is a new format.

What a row shares with others (exchange, expiry, lot, and so on) stands once, in ``series``: about 3,000 of them
for 142,000 instruments, so few that a process holds them all. An instrument's own ``exchange`` is the place of its
exchange in the header; its ``name`` is NULL where it is the underlying's, as in every contract. Instruments are
numbered by length of symbol, then by day of expiry, symbol and exchange, which is the order that searches answer in.

The search index holds three-letter pieces (trigrams) without positions. Its text for an instrument is::

    ^^SYMBOL          so that pieces "^^N" and "^NI" mark the beginning of a symbol
    other fields      letters shifted to another range, so that their pieces differ from a symbol's
    three marks       one character that stands for the exchange
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from openalgo_cache.symbols.model import Instrument

FORMAT: Final = 2

TABLES: Final = (
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        exchange TEXT, brexchange TEXT, expiry TEXT, lotsize INTEGER, instrumenttype TEXT, tick_size REAL,
        contract_value REAL, underlying TEXT, kind TEXT, expiry_day INTEGER
    ) STRICT""",
    """CREATE TABLE instrument (
        id INTEGER PRIMARY KEY,
        series INTEGER, exchange INTEGER, strike REAL, symbol TEXT, brsymbol TEXT, name TEXT,
        token TEXT, mark BLOB
    ) STRICT""",
    "CREATE TABLE header (content BLOB, mark BLOB) STRICT",
    """CREATE VIRTUAL TABLE trigrams USING fts5 (
        text, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
    )""",
    "CREATE VIRTUAL TABLE pieces USING fts5vocab (trigrams, instance)",
)

HALVED: Final = "instr(token, '::::')"
SECOND_HALF: Final = "substr(token, instr(token, '::::') + 4)"
"""The exchange's part of a token like ``738561::::2885``, where ``HALVED`` holds."""

INDEXES: Final = (
    # With everything in it that a look-up needs, so that the most frequent one reads one page instead of two.
    "CREATE INDEX by_symbol ON instrument (symbol, exchange, brsymbol, name, token, strike, series, mark)",
    "CREATE INDEX by_brsymbol ON instrument (brsymbol, exchange)",
    # Of the few that have small letters: whoever searches need not know.
    "CREATE INDEX by_symbol_in_capitals ON instrument (upper(symbol)) WHERE symbol <> upper(symbol)",
    "CREATE INDEX by_brsymbol_in_capitals ON instrument (upper(brsymbol)) WHERE brsymbol <> upper(brsymbol)",
    "CREATE INDEX by_token ON instrument (token, exchange)",
    f"CREATE INDEX by_token_tail ON instrument ({SECOND_HALF}) WHERE {HALVED}",
    "CREATE INDEX by_series ON instrument (series, strike)",
    "CREATE INDEX by_underlying ON series (underlying, exchange, expiry_day)",
)

NAME: Final = "coalesce(i.name, s.underlying)"

INSTRUMENT: Final = (
    f"i.symbol, i.brsymbol, {NAME}, s.exchange, s.brexchange, i.token, s.expiry, i.strike, s.lotsize, "
    "s.instrumenttype, s.tick_size, s.contract_value, s.underlying, i.id, i.mark"
)
"""What a query selects: an instrument's fields, its number and its mark."""

OWN: Final = "i.symbol, i.brsymbol, i.name, i.token, i.strike, i.series, i.id, i.mark"
"""What a query selects that leaves the series to be looked up in memory: see ``MasterVersion.first``."""

SHARED: Final = (
    "SELECT exchange, brexchange, expiry, lotsize, instrumenttype, tick_size, contract_value, underlying "
    "FROM series WHERE id = ?"
)


class Lookup(NamedTuple):
    """A way to look up an instrument on an exchange.

    Attributes:
        column: What is looked for, beside the exchange.
        field: The same as a field of :class:`Instrument`.
        sql: The query for one ``OWN``.
        sql_of_many: The same for an array of texts.
    """

    column: str
    field: int
    sql: str
    sql_of_many: str

    @classmethod
    def by(cls, column: str, *, unique: bool = False) -> Lookup:
        """Return the way to look up by a column that has an index; of several instruments, the first one answers."""
        same = f"i.{column} = {{}} AND i.exchange = ?2"
        first = "" if unique else " ORDER BY i.id"
        one, each = f"{same.format('?1')}{first} LIMIT 1", same.format("asked.value")
        if not unique:
            each = f"i.id = (SELECT i.id FROM instrument AS i WHERE {each}{first} LIMIT 1)"  # noqa: S608  # constants
        return cls(
            column,
            Instrument._fields.index(column),
            f"SELECT {OWN} FROM instrument AS i WHERE {one}",  # noqa: S608  # constants
            f"SELECT {OWN} FROM carray(?1) AS asked CROSS JOIN instrument AS i ON {each}",  # noqa: S608  # constants
        )


BY_SYMBOL: Final = Lookup.by("symbol", unique=True)
BY_BRSYMBOL: Final = Lookup.by("brsymbol")
BY_TOKEN: Final = Lookup.by("token")

# Where from, by what is gone through first; CROSS JOIN keeps SQLite from turning that round.
INSTRUMENTS_FIRST: Final = "instrument AS i CROSS JOIN series AS s ON s.id = i.series"
SERIES_FIRST: Final = "series AS s CROSS JOIN instrument AS i ON i.series = s.id"
INDEX_FIRST: Final = (
    "trigrams AS t CROSS JOIN instrument AS i ON i.id = t.rowid CROSS JOIN series AS s ON s.id = i.series"
)

_BEGINNING: Final = "^^"
_SHIFT: Final = {code: code + 0x100 for code in range(0x20, 0x7F)}
_FIRST_MARK: Final = 0xE000  # the private use area: no printable field contains these
MAX_EXCHANGES: Final = 1_000


class Origin(NamedTuple):
    """Where a version came from, so that it can be imported again.

    Attributes:
        source: The file on this machine; empty if it came from elsewhere.
        stamp: What tells whether that file changed: see ``source.stamp_of``.
        skip_bad: Whether bad rows were left out.
    """

    source: str = ""
    stamp: str = ""
    skip_bad: bool = False


class Header(NamedTuple):
    """What a version says of itself, signed.

    Attributes:
        rows: How many instruments it has.
        created_at: When it was imported, in seconds since the epoch.
        exchanges: How many instruments each exchange lists, in the order of the exchanges' marks.
        source: See :class:`Origin`.
        stamp: Likewise.
        skip_bad: Likewise.
    """

    rows: int
    created_at: float
    exchanges: dict[str, int]
    source: str
    stamp: str
    skip_bad: bool

    def to_json(self) -> bytes:
        """Return the header as it is stored."""
        return json.dumps({"format": FORMAT, **self._asdict()}).encode()

    @classmethod
    def of_json(cls, content: bytes) -> Header:
        """Read a header whose mark was verified.

        Raises:
            ValueError: It is of another format.
        """
        stored: dict[str, Any] = json.loads(content)
        if stored.pop("format") != FORMAT:
            raise ValueError("it was written by another release of openalgo-cache: import the master again")
        return cls(**stored)


def in_capitals(text: str) -> str:
    """Return ``text`` with ASCII letters in capitals, as SQLite's ``upper`` and ``LIKE`` see it."""
    return text.upper() if text.isascii() else text.encode().upper().decode()


def search_text(symbol: str, others: tuple[str, ...], exchange_number: int) -> str:
    """Return the text under which an instrument is found.

    Args:
        symbol: Its symbol.
        others: Name, broker's symbol and strike; what the symbol contains anyway is left out.
        exchange_number: The place of its exchange in the header.
    """
    symbol, *rest = in_capitals("\n".join((symbol, *others))).split("\n")
    shifted = "\n".join([other for other in rest if other not in symbol]).translate(_SHIFT)
    return f"{_BEGINNING}{symbol}\n{shifted}\n{chr(_FIRST_MARK + exchange_number) * 3}"


def pieces_of_symbol(term: str) -> str:
    """Return a search expression that all symbols with ``term`` (in capitals) in them meet; empty if too short."""
    return _all_pieces(term)


def pieces_of_beginning(term: str) -> str:
    """Return a search expression that all symbols beginning with ``term`` (in capitals) meet."""
    return _all_pieces(_BEGINNING + term)


def pieces_of_others(term: str) -> str:
    """Return a search expression that all other fields with ``term`` (in capitals) in them meet; empty if too short."""
    return _all_pieces(term.translate(_SHIFT))


def piece_of_exchange(number: int) -> str:
    """Return a search expression that the instruments of one exchange meet."""
    return _all_pieces(chr(_FIRST_MARK + number) * 3)


def ranges_of_pieces(term: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return where in ``pieces`` a term of one or two letters is found: in symbols, and in other fields."""
    in_others = term.translate(_SHIFT)
    return (term, term + "\U0010ffff"), (in_others, in_others + "\U0010ffff")


def _all_pieces(text: str) -> str:
    # Every third piece and the last one cover the text. What else has these is told apart by comparing the texts.
    places = sorted({*range(0, len(text) - 2, 3), len(text) - 3}) if len(text) > 2 else []
    pieces = dict.fromkeys(text[place : place + 3] for place in places)
    return " AND ".join('"' + piece.replace('"', '""') + '"' for piece in pieces)

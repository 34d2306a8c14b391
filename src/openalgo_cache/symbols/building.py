"""Fill the file of a new version: stage the rows, order them, sign them, index them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw

from openalgo_cache.errors import SymbolImportError
from openalgo_cache.symbols.masterfiles import APPLICATION_ID
from openalgo_cache.symbols.model import Instrument, strike_text
from openalgo_cache.symbols.rows import Row, Series
from openalgo_cache.symbols.schema import INDEXES, MAX_EXCHANGES, TABLES, Header, Origin, search_text
from openalgo_cache.symbols.signing import Signer
from openalgo_cache.symbols.source import Problems

_FIELDS: Final = len(Instrument._fields)
_BATCH: Final = 1_000
_KNOWN_SERIES: Final = 50_000
_CACHED_PAGES: Final = -32_000  # KiB, while building
_SEARCH_BUFFER: Final = 8_000_000  # bytes of search index that are sorted in memory at a time

# Nobody reads the file before it is finished, and an unfinished one is thrown away: no journal, no flushing in between.
_PRAGMAS: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    f"PRAGMA cache_size = {_CACHED_PAGES}",
    "ATTACH '' AS staging",  # a temporary file of SQLite's, gone with the connection
    "PRAGMA staging.journal_mode = OFF",
)
_STAGE: Final = """CREATE TABLE staging.staged (
    row INTEGER, series INTEGER, strike REAL, symbol TEXT, brsymbol TEXT, name TEXT, token TEXT, exchange TEXT
) STRICT"""
_DUPLICATES: Final = """
    CREATE TABLE staging.duplicates AS
    SELECT later.row, twice.first, twice.symbol, twice.exchange
    FROM (
        SELECT symbol, exchange, min(row) AS first FROM staging.staged GROUP BY symbol, exchange HAVING count(*) > 1
    ) AS twice CROSS JOIN staging.staged AS later
    ON later.symbol = twice.symbol AND later.exchange = twice.exchange AND later.row > twice.first
"""
_WITHOUT_DUPLICATES: Final = "DELETE FROM staging.staged WHERE row IN (SELECT row FROM staging.duplicates)"
_ORDERED: Final = """
    SELECT i.symbol, i.brsymbol, i.name, s.exchange, s.brexchange, i.token, s.expiry, i.strike, s.lotsize,
        s.instrumenttype, s.tick_size, s.contract_value, s.underlying, i.series
    FROM staging.staged AS i CROSS JOIN series AS s ON s.id = i.series
    ORDER BY length(i.symbol), s.expiry_day, i.symbol, i.exchange
"""


class Builder:
    """Fills one file. Close it in any case; only :meth:`finish` makes it a version.

    Args:
        path: The empty file.
        signer: Signs the rows and the header.
        problems: Where duplicates are noted.
    """

    def __init__(self, path: Path, signer: Signer, problems: Problems) -> None:
        self._path = path
        self._signer = signer
        self._problems = problems
        self._exchanges: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._database = apsw.Connection(os.fspath(path))
        for statement in (*_PRAGMAS, *TABLES, _STAGE):
            self._database.execute(statement)
        self._database.execute("INSERT INTO trigrams (trigrams, rank) VALUES ('hashsize', ?)", (_SEARCH_BUFFER,))

    def stage(self, rows: Iterable[tuple[int, Row]]) -> int:
        """Take in the rows as they come; return how many there were."""
        with self._database:
            self._database.executemany("INSERT INTO staging.staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._staged(rows))
        return self._database.execute("SELECT count(*) FROM staging.staged").get  # type: ignore[no-any-return]  # a number

    def leave_out_duplicates(self) -> None:
        """Leave out every row whose symbol and exchange an earlier row has, and note it."""
        self._database.execute(_DUPLICATES)
        for row, first, symbol, exchange in self._database.execute("SELECT * FROM staging.duplicates"):
            self._problems.add(row, f"{symbol!a} on {exchange!a} is in row {first} already")
        self._database.execute(_WITHOUT_DUPLICATES)

    def add_series(self, series: list[tuple[Any, ...]]) -> None:
        """Write series, each behind its number, and empty the list."""
        self._database.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", series)
        series.clear()

    def staged(self) -> Iterator[tuple[Any, ...]]:
        """Yield the staged rows in their order: an instrument's fields, and behind them the number of its series."""
        return self._database.execute(_ORDERED)

    def write(self, rows: Iterable[tuple[Any, ...]], written: Callable[[int], None]) -> None:
        """Write rows that are in order, signed.

        Args:
            rows: As :meth:`staged` has them.
            written: Told the number of rows written, every thousand.
        """
        instruments: list[tuple[Any, ...]] = []
        texts: list[tuple[int, str]] = []
        with self._database:
            for number, row in enumerate(rows, 1):
                fields, series = row[:_FIELDS], row[_FIELDS]
                symbol, brsymbol, name, exchange, _, token, _, strike, *_, underlying = fields
                place, mark = self._count(exchange), self._signer.sign(number, fields)
                own_name = None if name == underlying else name
                instruments.append((number, series, place, strike, symbol, brsymbol, own_name, token, mark))
                others = (name, brsymbol, strike_text(strike)) if strike else (name, brsymbol)
                texts.append((number, search_text(symbol, others, place)))
                if number % _BATCH == 0:
                    self._insert(instruments, texts)
                    written(number)
            self._insert(instruments, texts)

    def index(self) -> None:
        """Build the indexes."""
        for statement in INDEXES:
            self._database.execute(statement)
        self._database.execute("INSERT INTO trigrams (trigrams) VALUES ('optimize')")

    def finish(self, created_at: float, origin: Origin) -> None:
        """Write the signed header, mark the file as finished, and bring it to the disk."""
        content = Header(sum(self._exchanges.values()), created_at, self._exchanges, *origin).to_json()
        self._database.execute("INSERT INTO header VALUES (?, ?)", (content, self._signer.sign(0, (content,))))
        self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.close()
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the file."""
        self._database.close(force=True)

    def _staged(self, rows: Iterable[tuple[int, Row]]) -> Iterator[tuple[Any, ...]]:
        """Yield what is staged of each row, and write the series that it brings."""
        known: dict[Series, int] = {}
        new: list[tuple[Any, ...]] = []
        last = 0
        for number, (series, strike, symbol, brsymbol, name, token) in rows:
            place = known.get(series)
            if place is None:
                if len(known) >= _KNOWN_SERIES:  # a series that is written twice takes room and does no harm
                    known.clear()
                last += 1
                place = known[series] = last
                new.append((place, *series))
                if len(new) == _BATCH:
                    self.add_series(new)
            yield number, place, strike, symbol, brsymbol, name, token, series.exchange
        self.add_series(new)

    def _count(self, exchange: str) -> int:
        """Count an instrument of the exchange, and return the exchange's place in the header."""
        place = self._places.get(exchange)
        if place is None:
            if len(self._places) >= MAX_EXCHANGES:
                raise SymbolImportError(f"the master contract has more than {MAX_EXCHANGES:,} exchanges")
            place = self._places[exchange] = len(self._places)
        self._exchanges[exchange] = self._exchanges.get(exchange, 0) + 1
        return place

    def _insert(self, instruments: list[tuple[Any, ...]], texts: list[tuple[int, str]]) -> None:
        self._database.executemany("INSERT INTO instrument VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", instruments)
        self._database.executemany("INSERT INTO trigrams (rowid, text) VALUES (?, ?)", texts)
        instruments.clear()
        texts.clear()

"""Where a master contract comes from: a CSV file, an open file, or rows that a program made.

Nothing here trusts its input: lines may be endless, texts may be no texts, and what is wrong is reported with the
number of the line it is in, as an editor shows it.
"""

from __future__ import annotations

import contextlib
import csv
import decimal
import gzip
import io
import operator
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

from openalgo_cache.errors import SymbolImportError
from openalgo_cache.symbols.model import COLUMNS, Instrument
from openalgo_cache.symbols.rows import BadRowError, Row, RowParser

MAX_LINE: Final = 65_536
"""The most characters a line may have."""

_LISTED: Final = 1_000

Source = str | os.PathLike[str] | IO[str] | IO[bytes] | Iterable[Mapping[str, Any] | Instrument]
"""A path (``.gz`` is unpacked), an open file, or rows; a row has the columns' names as its keys."""

Fraction = Callable[[float], None]
"""Told how much has been read, from 0 to 1; not called where that cannot be known."""


class Problems:
    """What is wrong with a master contract: the first 1,000 findings, and the number of all.

    Attributes:
        listed: Findings as (row number, what is wrong).
        count: How many there were.
        notes: What is not wrong, but worth saying.
    """

    def __init__(self) -> None:
        self.listed: list[tuple[int, str]] = []
        self.count = 0
        self.notes: list[str] = []

    def add(self, row: int, what: str) -> None:
        """Note what is wrong with a row."""
        self.count += 1
        if len(self.listed) < _LISTED:
            self.listed.append((row, what))


def stamp_of(path: str) -> str:
    """Return a text that changes when the file does: its size and when it was written; empty if there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def read_rows(source: Source, problems: Problems, fraction: Fraction) -> Iterator[tuple[int, Row]]:
    """Yield the good rows with their numbers; note the bad ones in ``problems``.

    A row's number is the line it begins in, the header's being 1; rows that come from a program are counted from 1.

    Args:
        source: Where the rows are.
        problems: Where findings go.
        fraction: Told how far it is.

    Raises:
        SymbolImportError: The source cannot be read at all, or lacks a column.
    """
    if isinstance(source, str | os.PathLike):
        return _rows_of_path(Path(source), problems, fraction)
    if hasattr(source, "read"):
        return _rows_of_file(cast("IO[Any]", source), problems)
    if isinstance(source, Iterable):
        return _rows_of_program(source, problems)
    raise TypeError(f"a master contract is a path, a file or rows, not {type(source).__name__}")


def _rows_of_path(path: Path, problems: Problems, fraction: Fraction) -> Iterator[tuple[int, Row]]:
    try:
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(path.open("rb"))
            size = os.fstat(file.fileno()).st_size if file.seekable() else 0
            packed = path.suffix.lower() == ".gz"
            content = cast("IO[Any]", opened.enter_context(gzip.open(file)) if packed else file)
            for count, numbered in enumerate(_rows_of_file(content, problems)):
                if size and count % 1_000 == 0:
                    fraction(min(file.tell() / size, 1.0))
                yield numbered
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SymbolImportError(f"{path} is not sound gzip: {error}") from None
    except OSError as error:
        raise SymbolImportError(f"{path} cannot be read: {error.strerror or error}") from None


def _rows_of_file(file: IO[Any], problems: Problems) -> Iterator[tuple[int, Row]]:
    if isinstance(file.read(0), str):
        yield from _rows_of_text(file, problems)
        return
    # Bytes that are no UTF-8 get through here, to be reported with the row and the column they are in.
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield from _rows_of_text(text, problems)
    finally:
        with contextlib.suppress(ValueError):  # the caller closed it already
            text.detach()


class _Lines:
    """The lines of a file, none of them longer than ``MAX_LINE``, counted."""

    def __init__(self, file: IO[str], problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._number = 0
        self.first_of_row = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            line = self._file.readline(MAX_LINE)
            if not line:
                raise StopIteration
            self._number += 1
            if len(line) < MAX_LINE or line.endswith(("\n", "\r")):
                break
            self._problems.add(self._number, f"the line is longer than {MAX_LINE:,} characters")
            while line and not line.endswith(("\n", "\r")):
                line = self._file.readline(MAX_LINE)
        if not self.first_of_row:
            self.first_of_row = self._number
        return line.removeprefix("\ufeff") if self._number == 1 else line


def _rows_of_text(file: IO[str], problems: Problems) -> Iterator[tuple[int, Row]]:
    lines = _Lines(file, problems)
    rows = _csv_rows(lines, problems)
    _, header = next(rows, (0, []))
    pick = operator.itemgetter(*_columns(header, problems))
    parser = RowParser()
    for number, fields in rows:
        if len(fields) != len(header):
            problems.add(number, f"the row has {len(fields)} fields, the header has {len(header)}")
            continue
        try:
            yield number, parser.parse(pick(fields))
        except BadRowError as error:
            problems.add(number, str(error))


def _csv_rows(lines: _Lines, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not empty, with the numbers of the lines they begin in."""
    reader = csv.reader(lines, strict=True)
    while True:
        lines.first_of_row = 0
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(lines.first_of_row, f"the row is not sound CSV: {error}")
            continue
        if fields:
            yield lines.first_of_row, fields


def _columns(header: Sequence[str], problems: Problems) -> list[int]:
    """Return where the columns stand."""
    names = [name.strip().lower() for name in header]
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        shown = ", ".join(ascii(name[:40]) for name in names[:40])
        raise SymbolImportError(
            f"the master contract lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"its first line has: {shown or 'nothing'}"
        )
    doubled = sorted({column for column in COLUMNS if names.count(column) > 1})
    if doubled:
        raise SymbolImportError(f"the master contract has the column {', '.join(doubled)} more than once")
    ignored = [ascii(name[:40]) for name in names if name not in COLUMNS]
    if ignored:
        problems.notes.append(f"columns that were ignored: {', '.join(ignored[:20])}")
    return [names.index(column) for column in COLUMNS]


def _rows_of_program(rows: Iterable[Any], problems: Problems) -> Iterator[tuple[int, Row]]:
    parser = RowParser()
    for number, row in enumerate(rows, 1):
        fields = row._asdict() if isinstance(row, Instrument) else row
        if not isinstance(fields, Mapping):
            problems.add(number, f"the row is no mapping of columns to values, but {type(row).__name__}")
            continue
        try:
            yield number, parser.parse([_text_of(fields, column) for column in COLUMNS])
        except BadRowError as error:
            problems.add(number, str(error))


def _text_of(fields: Mapping[str, Any], column: str) -> str:
    try:
        value = fields[column]
    except KeyError:
        raise BadRowError(f"the row lacks the column {column}") from None
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool):
        return str(value)
    raise BadRowError(f"{column} is of type {type(value).__name__}")

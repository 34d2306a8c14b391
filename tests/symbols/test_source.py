"""Reading a master contract: every shape that is fine, and everything that is wrong with a row, by its number."""

from __future__ import annotations

import csv
import decimal
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.errors import SymbolImportError
from openalgo_cache.symbols import COLUMNS, SymbolMaster
from openalgo_cache.symbols.source import MAX_LINE, Problems, read_rows
from tests.symbols.samples import RING, ROWS, csv_of, row


def read(source: Any) -> tuple[list[tuple[int, str]], Problems]:
    """Return the good rows as (number, symbol), and the problems."""
    problems = Problems()
    return [(number, good.symbol) for number, good in read_rows(source, problems, lambda _part: None)], problems


def found_in(text: str) -> list[tuple[int, str]]:
    """Return the problems of a CSV text."""
    return read(io.StringIO(text))[1].listed


def file(tmp_path: Path, content: bytes, name: str = "master.csv") -> Path:
    """Write a file."""
    path = tmp_path / name
    path.write_bytes(content)
    return path


PLAIN = csv_of(ROWS).encode()
EXPECTED = [(number, wanted["symbol"]) for number, wanted in enumerate(ROWS, 2)]


@pytest.mark.parametrize(
    "content,name",
    [
        (PLAIN, "master.csv"),
        (b"\xef\xbb\xbf" + PLAIN, "bom.csv"),
        (PLAIN.replace(b"\n", b"\r\n"), "windows.csv"),
        (PLAIN.rstrip(b"\n"), "no_last_newline.csv"),
        (gzip.compress(PLAIN), "master.csv.gz"),
    ],
)
def test_files_that_are_fine(tmp_path: Path, content: bytes, name: str) -> None:
    """With or without byte order mark, with any line ends, packed or not: the same rows."""
    path = file(tmp_path, content, name)
    for source in (path, str(path)):
        rows, problems = read(source)
        assert (rows, problems.count) == (EXPECTED, 0)


def test_open_files() -> None:
    """A file may be open already, as text or bytes, and stays open."""
    binary = io.BytesIO(b"\xef\xbb\xbf" + PLAIN)
    for source in (io.StringIO("\ufeff" + PLAIN.decode()), binary):
        assert read(source)[0] == EXPECTED
        assert not source.closed


def test_rows_of_a_program(master: SymbolMaster) -> None:
    """Rows may be mappings with typed values, or instruments of another master; they are counted from 1."""
    typed = row("X", token=26000, strike=24000.5, lotsize=75.0, tick_size=decimal.Decimal("0.05"), contract_value=None)
    assert read([typed])[0] == [(1, "X")]
    assert read(iter([master.by_symbol("M&M", "NSE")]))[0] == [(1, "M&M")]


def test_columns_in_any_order_and_more_of_them() -> None:
    """Columns are found by name; others are ignored, and that is said."""
    rows, problems = read(io.StringIO(csv_of(ROWS, ["junk", *reversed(COLUMNS), "more\x1b"])))
    assert rows == EXPECTED
    assert problems.count == 0
    assert problems.notes == ["columns that were ignored: 'junk', 'more\\x1b'"]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column(column: str) -> None:
    """It is one error that names the column, not one for each row."""
    without = [name for name in COLUMNS if name != column]
    with pytest.raises(SymbolImportError, match=rf"lacks the column {column}; its first line has: "):
        read(io.StringIO(csv_of(ROWS, without)))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xef\xbb\xbf", b"<html>no</html>\n", b"\xff\xfes\x00y\x00", b"\x00" * 99]
)
def test_what_is_no_master_contract(tmp_path: Path, content: bytes) -> None:
    """Another kind of file is refused at its first line."""
    with pytest.raises(SymbolImportError, match="lacks the columns symbol, brsymbol"):
        read(file(tmp_path, content))


def test_a_column_that_comes_twice() -> None:
    """Which of them is meant cannot be known."""
    with pytest.raises(SymbolImportError, match="has the column token more than once"):
        read(io.StringIO(",".join([*COLUMNS, "Token"]) + "\n"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Every failure is the library's own error, with the path in it."""
    with pytest.raises(SymbolImportError, match=r"absent\.csv cannot be read: No such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(SymbolImportError, match="cannot be read"):
        read(tmp_path)
    for content in (b"plain", gzip.compress(PLAIN)[:-20], gzip.compress(PLAIN)[:60] + b"\xff" * 40):
        with pytest.raises(SymbolImportError, match="is not sound gzip"):
            read(file(tmp_path, content, "master.csv.gz"))
    with pytest.raises(TypeError, match="not int"):
        read(7)


@pytest.mark.parametrize(
    "changes,complaint",
    [
        ({"symbol": ""}, "symbol is empty"),
        ({"symbol": "  "}, "symbol is empty"),
        ({"token": ""}, "token is empty"),
        ({"brsymbol": ""}, "brsymbol is empty"),
        ({"exchange": ""}, "exchange is empty"),
        ({"symbol": "A\x00B"}, "symbol 'A\\x00B' contains characters that cannot be printed"),
        ({"name": "A\x1b[2J"}, "name 'A\\x1b[2J' contains characters that cannot be printed"),
        ({"name": "N" * 257}, f"name '{'N' * 40}…' is longer than 256 characters"),
        ({"expiry": "28-MRZ-24"}, "expiry '28-MRZ-24' not a date like 28-MAR-24"),
        ({"expiry": "31-JUN-24"}, "expiry '31-JUN-24' day is out of range for month"),
        ({"strike": "abc"}, "strike 'abc' is not a number"),
        ({"strike": "nan"}, "strike 'nan' is not a number"),
        ({"strike": "inf"}, "strike 'inf' is not a number"),
        ({"strike": "1_000"}, "strike '1_000' is not a number"),
        ({"strike": "٣"}, "strike '٣' is not a number"),
        ({"strike": "-1"}, "strike '-1' is negative"),
        ({"strike": "1e300"}, "strike '1e300' is too large"),
        ({"strike": "1e999"}, "strike '1e999' is too large"),
        ({"lotsize": ""}, "lotsize is empty"),
        ({"lotsize": "-50"}, "lotsize '-50' is negative"),
        ({"lotsize": "1.5"}, "lotsize '1.5' is not a whole number"),
        ({"tick_size": ""}, "tick_size is empty"),
        ({"tick_size": "x"}, "tick_size 'x' is not a number"),
        ({"contract_value": "x"}, "contract_value 'x' is not a number"),
        ({"strike": "x", "lotsize": "y"}, "strike 'x' is not a number; lotsize 'y' is not a number"),
    ],
)
def test_bad_rows(changes: dict[str, str], complaint: str) -> None:
    """Whatever is wrong with a row is said at once, with the line it is in; the rows around it are good."""
    problems = found_in(csv_of([row("A"), row("B") | changes, row("C")]))
    assert [number for number, _ in problems] == [3]
    day = complaint.replace("day is out of range for month", "")
    assert problems[0][1].startswith(day)
    assert read(io.StringIO(csv_of([row("A"), row("B") | changes, row("C")])))[0] == [(2, "A"), (4, "C")]


def test_a_bad_text_does_not_pass_in_a_known_series() -> None:
    """Rows like earlier good ones take a short cut, which leads no bad text past the checks."""
    problems = found_in(csv_of([row("A"), row("A\x00", name="A"), row("", name="A"), row("B" * 300, name="A")]))
    assert [number for number, _ in problems] == [3, 4, 5]


def test_a_spelling_of_the_expiry_does_not_mix_underlyings() -> None:
    """The underlying follows each row's own symbol, however the expiry is written."""
    rows = [row(f"{name}28MAR24FUT", name="", expiry=" 28-mar-24 ", instrumenttype="FUT") for name in ("ONE", "TWO")]
    good = [row for _, row in read_rows(rows, Problems(), lambda _part: None)]
    assert [(one.series.underlying, one.series.expiry) for one in good] == [("ONE", "28-MAR-24"), ("TWO", "28-MAR-24")]


def test_values_that_are_fine() -> None:
    """Empty strikes and contract values, whole numbers written as floats, formulas and quotes in names."""
    good = [
        row("A", strike="", lotsize="75.0", tick_size="5e-2", name="=1+1"),
        row("'; DROP TABLE instrument; --", contract_value="0.001", name='says "hi", twice'),
        row("ÄÖ", name="Ünïcode 株"),
    ]
    text = csv_of(good)
    problems = Problems()
    first, second, third = (parsed for _, parsed in read_rows(io.StringIO(text), problems, lambda _part: None))
    assert problems.count == 0
    assert (first.strike, first.series.lotsize, first.series.tick_size, first.name) == (0.0, 75, 0.05, "=1+1")
    assert (second.series.contract_value, second.name) == (0.001, 'says "hi", twice')
    assert third.symbol == "ÄÖ"


def test_numbers_are_those_of_an_editor() -> None:
    """A quoted line break counts, an empty line too, and a row is where it begins."""
    lines = csv_of([row("A", name="two\nlines"), row("B", strike="x"), row("C")]).replace("\nC,", "\n\n\nC,BAD,")
    assert [number for number, _ in found_in(lines)] == [2, 4, 7]


def test_rows_of_a_wrong_length() -> None:
    """A field too many or too few shifts everything: the row is bad."""
    header, good = csv_of([row("A")]).splitlines()
    assert found_in(f"{header}\n{good},\n{good[:-1]}\n{good}\n") == [
        (2, "the row has 13 fields, the header has 12"),
        (3, "the row has 11 fields, the header has 12"),
    ]


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    """The row and the column are named; the rows around it are read."""
    content = csv_of([row("A"), row("B", name="caf\xe9"), row("C")]).encode("latin-1")
    rows, problems = read(file(tmp_path, content))
    assert rows == [(2, "A"), (4, "C")]
    assert problems.listed == [(3, "name 'caf\\udce9' is not UTF-8")]


def test_broken_quotes() -> None:
    """A quote that is never closed, or closed too early, is reported where its row begins."""
    header, good = csv_of([row("A")]).splitlines()
    problems = found_in(f'{header}\n"A"x,{good}\n{good}\n"open,{good}\n{good}\n')
    assert [number for number, _ in problems] == [2, 4]
    assert all(what.startswith("the row is not sound CSV") for _, what in problems)


def test_a_quote_that_swallows_the_rest() -> None:
    """A field larger than csv admits ends the row, not the import's memory."""
    header, good = csv_of([row("A")]).splitlines()
    swallowed = "".join(f"{good}\n" for _ in range(csv.field_size_limit() // len(good) + 10))
    problems = found_in(f'{header}\n"{swallowed}')
    assert problems[0] == (2, f"the row is not sound CSV: field larger than field limit ({csv.field_size_limit()})")


class EndlessLine(io.RawIOBase):
    """A file with a good row, a line of many megabytes, and another good row; it never holds the line."""

    def __init__(self, megabytes: int) -> None:
        header, good = csv_of([row("A")]).encode().splitlines(keepends=True)
        self._parts: Iterator[bytes] = iter([header + good, *[b"x" * 1_000_000] * megabytes, b"\n" + good])

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of the buffer."""
        part = next(self._parts, b"")
        part, rest = part[: len(buffer)], part[len(buffer) :]
        if rest:
            before = self._parts
            self._parts = iter([rest, *before])
        buffer[: len(part)] = part
        return len(part)


def test_an_endless_line() -> None:
    """It is reported and passed over, without ever being held in memory."""
    rows, problems = read(io.BufferedReader(EndlessLine(20)))
    assert rows == [(2, "A"), (4, "A")]
    assert problems.listed == [(3, f"the line is longer than {MAX_LINE:,} characters")]


def test_many_problems_are_counted() -> None:
    """The first 1,000 are listed, all are counted."""
    problems = read(io.StringIO(csv_of([row("A", strike="x")] * 1_200)))[1]
    assert (len(problems.listed), problems.count) == (1_000, 1_200)
    assert problems.listed[-1][0] == 1_001


def test_bad_rows_of_a_program() -> None:
    """The same checks hold for rows that were never text."""

    class Unknown:
        pass

    rows: list[Any] = [
        row("A"), {"symbol": "B"}, row("C", lotsize=True), row("D", name=Unknown()), row("E", strike=float("nan")),
        ["a", "list"], row("F\ud800", token="F\ud800"),
    ]  # fmt: skip
    assert read(rows)[1].listed == [
        (2, "the row lacks the column brsymbol"),
        (3, "lotsize is of type bool"),
        (4, "name is of type Unknown"),
        (5, "strike 'nan' is not a number"),
        (6, "the row is no mapping of columns to values, but list"),
        (7, "; ".join(f"{column} 'F\\ud800' is not UTF-8" for column in ("symbol", "brsymbol", "name", "token"))),
    ]  # fmt: skip


def test_every_sample_is_sound(base: Path) -> None:
    """What the other tests stand on."""
    report = SymbolMaster(base, RING).import_master(ROWS)
    assert (report.rows, report.skipped, report.problems, report.notes) == (len(ROWS), 0, [], [])

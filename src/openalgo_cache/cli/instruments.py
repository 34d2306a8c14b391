"""What ``symbols import``, ``search``, ``show`` and ``generate`` do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Final, cast

from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Column, Pen, count, show, size
from openalgo_cache.cli.progress import Tell, bar
from openalgo_cache.cli.session import RefusedError, Session
from openalgo_cache.cli.shapes.symbols import Fields, Generated, Imported, Problem, Searched, Shown
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.symbols import Instrument, generate_master

STDIN: Final = Path("-")
_PROBLEMS_SHOWN: Final = 20


def import_file(env_file: Path | None, source: Path, *, skip_bad: bool, as_json: bool) -> None:
    """Replace the symbol master by a file.

    Raises:
        SymbolImportError: Rows are bad and are not to be skipped, or the file is no master contract.
    """
    with Session(env_file, as_json=as_json) as session, bar(as_json=as_json) as tell:
        session.refuse_without_ring_beside_files()
        done = session.manager.symbols(background=False).import_master(
            sys.stdin.buffer if source == STDIN else source, skip_bad=skip_bad, progress=tell
        )
    report = Imported(
        rows=done.rows,
        skipped=done.skipped,
        seconds=round(done.seconds, 3),
        version=done.version,
        published=done.published,
        problems=[Problem(row=row, problem=what) for row, what in done.problems],
        notes=done.notes,
    )
    show(report, lambda pen: _draw_import(pen, report), as_json=as_json)


def search(env_file: Path | None, query: str, exchange: str | None, limit: int, *, as_json: bool) -> Code:
    """Show the instruments that fit a query, the best first."""
    with Session(env_file, as_json=as_json, quiet=True) as session:
        found: list[Instrument] = []
        if session.has_master():
            master = session.manager.symbols(background=False)
            found = master.search(query, exchange, limit + 1)
            _refuse_problem(master.problem)
    report = Searched(
        query=query, exchange=exchange, instruments=list(map(_fields, found[:limit])), more=len(found) > limit
    )
    show(report, lambda pen: _draw_search(pen, report), as_json=as_json)
    return Code.OK if found else Code.NO


def show_one(env_file: Path | None, symbol: str, exchange: str, *, as_json: bool) -> Code:
    """Show all that the master has of an instrument."""
    report = Shown(symbol=symbol, exchange=exchange, found=False, instrument=None)
    with Session(env_file, as_json=as_json, quiet=True) as session:
        if session.has_master():
            master = session.manager.symbols(background=False)
            found = master.by_symbol(symbol, exchange)
            _refuse_problem(master.problem)
            report["found"], report["instrument"] = found is not None, None if found is None else _fields(found)
    show(report, lambda pen: _draw_one(pen, report), as_json=as_json)
    return Code.OK if report["found"] else Code.NO


def generate(target: Path, rows: int, seed: int, *, force: bool, as_json: bool) -> None:
    """Write a made-up master contract.

    Raises:
        RefusedError: The file exists, and it was not said that it may go.
        OSError: It cannot be written.
    """
    with bar(as_json=as_json) as tell, _writable(target, force=force) as file, _Counted(file, rows, tell) as text:
        generate_master(text, rows, seed)
    report = Generated(file=str(target), rows=rows, seed=seed, bytes=target.stat().st_size)
    show(
        report,
        lambda pen: pen.line(f"Wrote {count(rows, 'instrument')} to {target} ({size(report['bytes'])})."),
        as_json=as_json,
    )


@contextmanager
def _writable(target: Path, *, force: bool) -> Iterator[BinaryIO]:
    try:
        file = target.open("wb" if force else "xb")
    except FileExistsError:
        raise RefusedError(f"{target} is there already: say --force to replace it") from None
    with file:
        yield file


class _Counted(TextIOWrapper):
    """A text file that tells how much of it is written; a row is written at once.

    Args:
        file: Where the text goes.
        rows: How many rows there will be.
        tell: Told now and then.
    """

    def __init__(self, file: BinaryIO, rows: int, tell: Tell) -> None:
        super().__init__(file, encoding="utf-8", newline="")
        self._rows = rows
        self._tell = tell
        self._written = 0

    def write(self, row: str, /) -> int:
        self._written += 1
        if self._written % 1_000 == 0:
            self._tell("writing", self._written / self._rows)
        return super().write(row)


def _refuse_problem(problem: str | None) -> None:
    if problem is not None:
        raise UnreadableRecordError(f"the symbol master cannot be used: {problem}")


def _fields(instrument: Instrument) -> Fields:
    return cast("Fields", instrument._asdict())  # the same names and types, as a test makes sure


def _draw_import(pen: Pen, report: Imported) -> None:
    pen.line(f"Imported {count(report['rows'], 'instrument')} in {report['seconds']:.1f} s.")
    if report["published"]:
        pen.line("Published to the instances that share the server.")
    for note in report["notes"]:
        pen.line(f"Note: {note}.")
    if not report["skipped"]:
        return
    pen.line(f"Left out {count(report['skipped'], 'bad row')}:", "yellow")
    pen.facts((f"row {problem['row']}", problem["problem"]) for problem in report["problems"][:_PROBLEMS_SHOWN])
    if report["skipped"] > _PROBLEMS_SHOWN:
        pen.line("The others are in --json, up to the 1,000th.", "dim")


def _draw_search(pen: Pen, report: Searched) -> None:
    if not report["instruments"]:
        pen.line("Nothing was found.")
        return
    columns = [Column("symbol"), Column("exchange"), Column("name", flexible=True), Column("type")]
    columns += [Column("expiry"), Column("strike", right=True), Column("lot", right=True)]
    pen.table(
        columns,
        [
            (
                found["symbol"],
                found["exchange"],
                found["name"],
                found["instrumenttype"],
                found["expiry"],
                f"{found['strike']:g}" if found["strike"] else "",
                f"{found['lotsize']:,}",
            )
            for found in report["instruments"]
        ],
    )
    if report["more"]:
        pen.line("There are more; --limit shows more of them.", "dim")


def _draw_one(pen: Pen, report: Shown) -> None:
    if report["instrument"] is None:
        pen.line(f"There is no {report['symbol']} on {report['exchange']}.")
        return
    pen.facts((name, "" if value is None else str(value)) for name, value in report["instrument"].items())

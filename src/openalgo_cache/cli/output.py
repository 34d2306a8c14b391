"""What is printed: one JSON object, or tables that fit the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NARROWEST: Final = 14
"""Of a flexible column, in characters."""
_UNITS: Final = ("bytes", "KB", "MB", "GB", "TB")
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Column(NamedTuple):
    """A column of a table: ``right`` for numbers, ``flexible`` for words that may go on in the next line."""

    title: str
    right: bool = False
    flexible: bool = False


def show(report: Mapping[str, Any], draw: Callable[[Pen], None], *, as_json: bool) -> None:
    """Print a report: as one JSON object, or as ``draw`` draws it."""
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2, allow_nan=False) + "\n")
    else:
        draw(Pen())


class Pen:
    """Draws on a stream: markup in texts is not interpreted, control characters are made visible, nothing is cut off.

    Args:
        console: Where to draw; standard output if left out.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, markup=False, emoji=False)

    def line(self, text: str = "", style: str = "") -> None:
        """Draw a paragraph."""
        self.console.print(Text(printable(text), style=style, overflow="fold"))

    def verbatim(self, lines: Iterable[str]) -> None:
        """Write lines as they are, however long: what reads them, a terminal or a program, breaks them or does not."""
        self.console.file.writelines(f"{printable(line)}\n" for line in lines)

    def heading(self, text: str) -> None:
        """Draw a heading, with an empty line before it."""
        self.console.print()
        self.line(text, "bold")

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Draw names with what is to be said of each."""
        self.marked((name, "dim", text) for name, text in facts)

    def marked(self, remarks: Iterable[tuple[str, str, str]]) -> None:
        """Draw texts behind marks; each is the mark, its style, and the text."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for mark, style, text in remarks:
            grid.add_row(Text(printable(mark), style=style), Text(printable(text)))
        self.console.print(grid)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
        """Draw a table without its empty columns; where it is too wide for the terminal, rows become lists of facts."""
        cells = [[printable(cell) for cell in row] for row in rows]
        places = [place for place in range(len(columns)) if not place or any(row[place] for row in cells)]
        columns = [columns[place] for place in places]
        cells = [[row[place] for place in places] for row in cells]
        widths = [
            max(cell_len(text) for text in (column.title, *(row[place] for row in cells)))
            for place, column in enumerate(columns)
        ]
        least = [
            min(width, _NARROWEST) if column.flexible else width for column, width in zip(columns, widths, strict=True)
        ]
        if sum(least) + 2 * (len(columns) - 1) > self.console.width:
            for number, row in enumerate(cells):
                if number:
                    self.console.print()
                self.line(row[0], "bold")
                self.facts((column.title, text) for column, text in zip(columns[1:], row[1:], strict=True) if text)
            return
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), collapse_padding=True)
        for column in columns:
            justify: Literal["left", "right"] = "right" if column.right else "left"
            table.add_column(column.title, justify=justify, no_wrap=not column.flexible, overflow="fold")
        for row in cells:
            table.add_row(*(Text(text) for text in row))
        self.console.print(table)


def printable(text: str) -> str:
    """Return ``text`` with whatever could steer a terminal written as an escape sequence of Python's."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def count(number: int, noun: str) -> str:
    """Say how many there are: ``1 row``, ``1,200 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: float) -> str:
    """Say a number of bytes: ``512 bytes``, ``1.5 MB``."""
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


def span(seconds: float) -> str:
    """Say a number of seconds in the two largest units that it has: ``2 h 5 min``."""
    left = max(0, round(seconds))
    words = []
    for length, unit in _SPANS:
        count, left = divmod(left, length)
        if count:
            words.append(f"{count} {unit}")
        elif words:
            break
    return " ".join(words[:2]) or "0 s"


def ago(moment: float | None, now: float) -> str:
    """Say how long ago a moment was; an empty text for None."""
    if moment is None:
        return ""
    return f"{span(now - moment)} ago" if moment <= now else f"in {span(moment - now)}"


def date(moment: float) -> str:
    """Say a moment in the time of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))

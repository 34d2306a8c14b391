r"""The ``.env`` file, read and never written.

A line is ``NAME=value``, with or without ``export`` and spaces around ``=``. The rules are those of python-dotenv, by
which OpenAlgo reads the same file, but ``NAME=   # text`` is empty, and ``${NAME}`` is taken as it is.

    without quotes   up to a `` #`` or the end of the line, without spaces at the ends
    'single'         as it is, over several lines too; only ``\'`` and ``\\`` are escapes
    "double"         over several lines too; ``\n``, ``\t``, ``\"`` and ``\\`` are escapes

The last of several assignments of a name counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLANK = re.compile(r"\s*(?:#[^\n]*)?(?:\n|\Z)")
_NAME = re.compile(
    r"[^\S\n]*(?:export[^\S\n]+)?(?:'(?P<quoted>[^'\n]+)'|(?P<name>[^\s=#'\"]+))[^\S\n]*=(?P<gap>[^\S\n]*)"
)
_SINGLE = re.compile(r"'(?P<value>(?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"', re.DOTALL)
_REST = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")
_LINE = re.compile(r"[^\n]*(?:\n|\Z)")
_COMMENT = re.compile(r"(?<=\s)#.*")  # the spaces before it are stripped: a pattern for them would take its time
_SINGLE_ESCAPE = re.compile(r"\\([\\'])")
_DOUBLE_ESCAPE = re.compile(r"\\([\\'\"abfnrtv])")
_CONTROLS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Dotenv:
    """What a ``.env`` file says.

    Attributes:
        values: The assignments, empty ones included.
        unreadable_lines: The numbers of the lines that are neither an assignment, nor a comment, nor blank.
    """

    values: dict[str, str]
    unreadable_lines: tuple[int, ...]


def read_dotenv(path: Path) -> Dotenv:
    """Read the file at ``path``: UTF-8, with or without a byte order mark, with any line ends.

    Raises:
        OSError: The file cannot be read.
        UnicodeError: The file is UTF-16, as some Windows editors and shells write it.
    """
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnicodeError("the file is UTF-16")
    # Undecodable bytes may stand in a comment or in a variable that is not ours; in one of ours its parser finds them.
    return parse_dotenv(raw.decode("utf-8-sig", errors="surrogateescape"))


def parse_dotenv(text: str) -> Dotenv:
    """Read the text of a ``.env`` file; whatever it holds, there is an answer and no error."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    values: dict[str, str] = {}
    unreadable = []
    position = counted = 0
    line_number = 1
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        name = _NAME.match(text, position)
        value_and_end = _value(text, name.end(), gap=bool(name["gap"])) if name else None
        if name is None or value_and_end is None:
            line_number += text.count("\n", counted, position)
            counted = position
            unreadable.append(line_number)
            line = _LINE.match(text, position)
            position = line.end() if line else len(text)
            continue
        values[name["quoted"] or name["name"]], position = value_and_end
    return Dotenv(values, tuple(unreadable))


def _value(text: str, position: int, *, gap: bool) -> tuple[str, int] | None:
    """Return the value that begins at ``position`` and where the next line begins; None if a quote is not closed."""
    quote = text[position : position + 1]
    if quote in {"'", '"'}:
        quoted = (_SINGLE if quote == "'" else _DOUBLE).match(text, position)
        rest = _REST.match(text, quoted.end()) if quoted else None
        if quoted is None or rest is None:
            return None
        if quote == "'":
            return _SINGLE_ESCAPE.sub(r"\1", quoted["value"]), rest.end()
        return _DOUBLE_ESCAPE.sub(lambda match: _CONTROLS.get(match[1], match[1]), quoted["value"]), rest.end()
    line = _LINE.match(text, position)
    end = line.end() if line else len(text)
    value = text[position:end]
    if gap and quote == "#":
        return "", end
    return _COMMENT.sub("", value).strip(), end

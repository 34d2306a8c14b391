"""Reading the files of the audit log, from their first byte to where they ended when reading began."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from openalgo_cache.audit import line
from openalgo_cache.audit.days import Days


class Raw(NamedTuple):
    """A line as it stands in a file.

    Attributes:
        number: Its number, from 1 up, among those that are read.
        offset: Where it begins, in bytes.
        content: Its bytes, without the newline.
        torn: Whether it has no newline: it is the last, and not whole.
    """

    number: int
    offset: int
    content: bytes
    torn: bool


def extents(days: Days) -> dict[Path, int]:
    """Return the files of a log, in order, and how far each is to be read.

    The newest is looked at first: whoever goes on in the next day's file has ended with that of the day before.
    """
    sizes = {path: path.stat().st_size for path in reversed(days.files().values())}
    return dict(reversed(sizes.items()))


def lines_of(path: Path, size: int, start: int = 0) -> Iterator[Raw]:
    """Yield the lines of a file from an offset on, where a line begins, up to a size.

    Raises:
        OSError: It cannot be read.
    """
    number, offset = 0, start
    with path.open("rb") as file:
        file.seek(start)
        while offset < size:
            content = file.readline(min(line.LONGEST, size - offset))
            if not content:
                return
            number += 1
            whole = content.endswith(b"\n")
            yield Raw(number, offset, content.removesuffix(b"\n"), torn=not whole and offset + len(content) == size)
            offset += len(content)


def mac_before(path: Path, offset: int) -> str | None:
    """Return the MAC that the line claims which ends at an offset of a file; None if none ends there."""
    with path.open("rb") as file:
        reach = 4096
        while True:
            start = max(0, offset - reach)
            file.seek(start)
            content = file.read(offset - start)
            if len(content) < offset - start or not content.endswith(b"\n"):
                return None
            before, newline, last = content[:-1].rpartition(b"\n")
            if newline or not start:
                found = line.read(last if newline else before + last)
                return None if found is None else found.head.mac
            if reach > line.LONGEST:
                return None
            reach *= 16

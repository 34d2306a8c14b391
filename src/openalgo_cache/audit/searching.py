"""Looking into the audit log: what was logged, of that what matches, and what comes to it.

Only what verifies is shown. A line that does not is counted; ``verification.py`` says what is wrong with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from openalgo_cache.audit import line
from openalgo_cache.audit.days import Days
from openalgo_cache.audit.reading import extents, lines_of
from openalgo_cache.audit.verification import KeyOf

DENIED: Final = "DENIED"
"""The operation of an access that was refused."""


class Logged(NamedTuple):
    """A line of a file: its fields, or None if it does not verify."""

    file: str
    fields: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for; None everywhere finds all.

    Attributes:
        cache: The cache's name.
        operation: The operation, in capitals.
        caller: A pattern of ``fnmatch`` for the module.
        keys: The forms that the key may have in the lines of a cache.
        since: The earliest moment, as lines write it.
        until: The moment before which it was, likewise.
    """

    cache: str | None = None
    operation: str | None = None
    caller: str | None = None
    keys: Callable[[str | None], frozenset[str]] | None = None
    since: str | None = None
    until: str | None = None

    def matches(self, fields: dict[str, Any]) -> bool:
        """Return whether the fields of a line are what is looked for."""
        return (
            (self.cache is None or fields["cache"] == self.cache)
            and (self.operation is None or fields["operation"] == self.operation)
            and (self.caller is None or fnmatchcase(fields["caller"] or "", self.caller))
            and (self.keys is None or fields["key"] in self.keys(fields["cache"]))
            and (self.since is None or fields["timestamp"] >= self.since)
            and (self.until is None or fields["timestamp"] < self.until)
        )


class Reader:
    """Reads the lines of a log.

    Args:
        days: The files.
        key_of: Returns the key of a writer.
    """

    def __init__(self, days: Days, key_of: KeyOf) -> None:
        self._days = days
        self._key_of = cache(key_of)
        self._seen: dict[Path, int] = {}

    def search(self, query: Query) -> Iterator[Logged]:
        """Yield the lines that match, the oldest first, and those that do not verify."""
        for path, size in extents(self._days).items():
            if query.since is not None and self._days.day_in(path) < query.since[: len("2026-11-24")]:
                continue  # no line is in the file of a day before its own
            for raw in lines_of(path, size):
                logged = self._read(path, raw.content)
                if logged.fields is None or query.matches(logged.fields):
                    yield logged

    def last(self, count: int) -> list[Logged]:
        """Return the last lines, the oldest first; :meth:`more` goes on behind them."""
        self._seen = extents(self._days)
        found: deque[Logged] = deque()
        for path, size in reversed(self._seen.items()):
            if len(found) >= count:
                break
            here = deque(lines_of(path, size), maxlen=count - len(found))
            if here and here[-1].torn:  # somebody is writing it just now
                self._seen[path] = here.pop().offset
            found.extendleft(self._read(path, raw.content) for raw in reversed(here))
        return list(found)

    def more(self) -> list[Logged]:
        """Return what was written since, whatever day it is by now."""
        found = []
        for path, size in extents(self._days).items():
            start = self._seen.get(path, 0)
            if size < start:
                start = 0  # somebody has cut it, or put another one in its place
            for raw in lines_of(path, size, start):
                if not raw.torn:
                    found.append(self._read(path, raw.content))
                    start = raw.offset + len(raw.content) + 1
            self._seen[path] = start
        return found

    def _read(self, path: Path, content: bytes) -> Logged:
        signed = line.read(content)
        if signed is None or not line.verifies(self._key_of(signed.head.writer), signed):
            return Logged(path.name, None)
        return Logged(path.name, line.contents(signed))

"""Import a master contract: build a new version beside the old one, then switch in one step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from openalgo_cache.clock import Clock
from openalgo_cache.errors import SymbolImportError
from openalgo_cache.symbols.building import Builder
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.replacing import replace_version
from openalgo_cache.symbols.schema import Origin
from openalgo_cache.symbols.signing import Seal, Signer
from openalgo_cache.symbols.source import Problems, Source, read_rows, stamp_of
from openalgo_cache.symbols.version import MasterVersion

Progress = Callable[[str, float], None]
"""Told what is done now (reading, writing, indexing, checking, done) and how far the whole is, from 0 to 1."""

# Where in the whole each part begins, as it was measured.
_READING: Final = 0.0
_WRITING: Final = 0.3
_INDEXING: Final = 0.7
_CHECKING: Final = 0.8


class ImportReport(NamedTuple):
    """What an import did.

    Attributes:
        rows: How many instruments the new master has.
        skipped: How many rows were left out because something is wrong with them.
        seconds: How long it took.
        version: The new version's number.
        published: Whether the instances that share a server have it, too; None if none is shared.
        problems: What is wrong with the rows left out, as (row number, what), the first 1,000 in the file's order.
        notes: What is not wrong, but worth saying.
    """

    rows: int
    skipped: int
    seconds: float
    version: str
    published: bool | None
    problems: list[tuple[int, str]]
    notes: list[str]


def import_master(  # noqa: PLR0913  # what an import is made of
    where: MasterFiles,
    seal: Seal | None,
    clock: Clock,
    source: Source,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    needed: Callable[[], bool] = lambda: True,
    finished: Callable[[str], None] = lambda _number: None,
) -> ImportReport | None:
    """Replace the master by the contents of ``source``, as a whole or not at all; see ``replace_version``.

    Args:
        where: The master's files.
        seal: Signs the rows; None leaves them unsigned.
        clock: Tells when the master was made.
        source: See :data:`~openalgo_cache.symbols.source.Source`.
        skip_bad: Leave bad rows out instead of refusing the whole.
        progress: Told how far it is.
        needed: Asked when the import's turn has come, whether it is still to be done.
        finished: Told the new version's number just before it becomes the current one.

    Returns:
        What was done; None if it was not needed.

    Raises:
        SymbolImportError: Rows are bad (``problems`` lists them), there are none, or the source cannot be read.
        BackendUnavailableError: The new master cannot be written.
        UnreadableRecordError: The new master does not read back as it was written.
    """
    begun = time.perf_counter()
    tell = progress or (lambda _what, _done: None)
    problems = Problems()

    def fill(number: str) -> int:
        rows = _build(where.path_of(number), number, seal, clock, source, skip_bad, problems, tell)
        finished(number)
        return rows

    made = replace_version(where, seal, fill, needed=needed)
    if made is None:
        return None
    number, rows = made
    seconds = time.perf_counter() - begun
    return ImportReport(rows, problems.count, seconds, number, None, sorted(problems.listed), problems.notes)


def _build(  # noqa: PLR0913  # what an import is made of
    path: Path,
    number: str,
    seal: Seal | None,
    clock: Clock,
    source: Source,
    skip_bad: bool,  # noqa: FBT001  # passed on
    problems: Problems,
    tell: Progress,
) -> int:
    """Fill the file of a version and check it; return how many instruments it has."""
    name = str(Path(source).absolute()) if isinstance(source, str | os.PathLike) else ""
    origin = Origin(name, stamp_of(name) if name else "", skip_bad)  # before it is read: it may be replaced meanwhile
    with closing(Builder(path, Signer(seal, bytes.fromhex(number)), problems)) as builder:
        tell("reading", _READING)
        read = builder.stage(read_rows(source, problems, lambda part: tell("reading", part * _WRITING)))
        builder.leave_out_duplicates()
        _refuse(problems, read, skip_bad=skip_bad)
        tell("writing", _WRITING)
        builder.write(builder.staged(), lambda count: tell("writing", _WRITING + (_INDEXING - _WRITING) * count / read))
        tell("indexing", _INDEXING)
        builder.index()
        builder.finish(clock(), origin)
    tell("checking", _CHECKING)
    with closing(MasterVersion(path, number, seal)) as version:
        version.check()
        return version.header.rows


def _refuse(problems: Problems, read: int, *, skip_bad: bool) -> None:
    """Raise if the rows are not to be imported."""
    listed = sorted(problems.listed)
    if problems.count and not skip_bad:
        row, what = listed[0]
        many = "1 row" if problems.count == 1 else f"{problems.count:,} rows"
        raise SymbolImportError(
            f"{many} of the master contract cannot be imported, and the old master stays; the first is row {row}: "
            f"{what}. Mend the file, or skip bad rows (skip_bad=True, --skip-bad)",
            listed,
        )
    if not read:
        raise SymbolImportError("the master contract has no good rows, and the old master stays", listed)

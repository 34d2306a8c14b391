"""Import a master contract: build a new version beside the old one, then switch in one step."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from openalgo_cache import files
from openalgo_cache.clock import Clock
from openalgo_cache.errors import BackendUnavailableError, SymbolImportError, UnreadableRecordError
from openalgo_cache.locks import FileLock
from openalgo_cache.symbols.building import Builder
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.signing import Seal, Signer
from openalgo_cache.symbols.source import Problems, Source, read_rows
from openalgo_cache.symbols.version import MasterVersion, OtherFormatError, VersionGoneError

_log = logging.getLogger(__name__)

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
        problems: What is wrong with the rows left out, as (row number, what), the first 1,000 in the file's order.
        notes: What is not wrong, but worth saying.
    """

    rows: int
    skipped: int
    seconds: float
    version: str
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
) -> ImportReport:
    """Replace the master by the contents of ``source``, as a whole or not at all.

    One import at a time; a second one waits. Whatever ends it early (an error, a signal, the power) leaves the old
    master in place, and the next import clears away what is left of it.

    Args:
        where: The master's files.
        seal: Signs the rows; None leaves them unsigned.
        clock: Tells when the master was made.
        source: See :data:`~openalgo_cache.symbols.source.Source`.
        skip_bad: Leave bad rows out instead of refusing the whole.
        progress: Told how far it is.

    Returns:
        What was done.

    Raises:
        SymbolImportError: Rows are bad (``problems`` lists them), there are none, or the source cannot be read.
        BackendUnavailableError: The new master cannot be written.
        UnreadableRecordError: The new master does not read back as it was written.
    """
    begun = time.perf_counter()
    tell = progress or (lambda _what, _done: None)
    problems = Problems()
    lock = FileLock(where.lock)
    try:
        files.ensure_folder(where.folder)
        with lock:
            where.remove_temporaries()
            with suppress(BackendUnavailableError):  # a damaged pointer: this import mends it
                _clear_away(where, seal, where.current())
            number = where.create()
            try:
                rows = _build(where, number, seal, clock, source, skip_bad, problems, tell)
                where.switch(number)
            except BaseException:
                with suppress(OSError):
                    where.path_of(number).unlink(missing_ok=True)
                raise
            _clear_away(where, seal, number)
    except BackendUnavailableError:
        raise
    except (OSError, apsw.Error) as error:
        raise BackendUnavailableError(f"the new symbol master cannot be written in {where.folder}: {error}") from error
    finally:
        lock.close()
    tell("done", 1.0)
    seconds = time.perf_counter() - begun
    return ImportReport(rows, problems.count, seconds, number, sorted(problems.listed), problems.notes)


def _build(  # noqa: PLR0913  # what an import is made of
    where: MasterFiles,
    number: str,
    seal: Seal | None,
    clock: Clock,
    source: Source,
    skip_bad: bool,  # noqa: FBT001  # passed on
    problems: Problems,
    tell: Progress,
) -> int:
    """Fill the file of a version and check it; return how many instruments it has."""
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
    with closing(Builder(where.path_of(number), Signer(seal, bytes.fromhex(number)), problems)) as builder:
        tell("reading", _READING)
        read = builder.stage(read_rows(source, problems, lambda part: tell("reading", part * _WRITING)))
        builder.leave_out_duplicates()
        _refuse(problems, read, skip_bad=skip_bad)
        tell("writing", _WRITING)
        builder.write(lambda count: tell("writing", _WRITING + (_INDEXING - _WRITING) * count / read))
        tell("indexing", _INDEXING)
        builder.index()
        builder.finish(clock(), str(Path(name).absolute()) if name else "")
    tell("checking", _CHECKING)
    with closing(MasterVersion(where.path_of(number), number, seal)) as version:
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


def _clear_away(where: MasterFiles, seal: Seal | None, current: str | None) -> None:
    """Remove versions that are not current: what a broken import left, and old ones of ours.

    What was signed with another key ring is somebody's, and stays. What Windows still has open stays till the next
    import.
    """
    for number in where.all_versions():
        if number == current:
            continue
        path = where.path_of(number)
        try:
            if where.is_finished(number):
                with suppress(OtherFormatError):  # ours, too
                    MasterVersion(path, number, seal).close()
            path.unlink()
        except UnreadableRecordError as error:
            _log.warning("%s; it is kept", error)
        except (OSError, VersionGoneError) as error:
            _log.info("an old symbol master is removed later: %s", error)

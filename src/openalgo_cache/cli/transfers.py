"""What ``copy``, ``export`` and ``import`` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from openalgo_cache.backends import registry
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, Sealing, catalogue, policy_of
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Column, Pen, date, show, size
from openalgo_cache.cli.progress import Tell, bar, interruptible
from openalgo_cache.cli.session import SYMBOLS, RefusedError, Session, hold_to_its_records, seals_of
from openalgo_cache.cli.shapes.transfers import Copied, Exported, InFile, Moved, Restored
from openalgo_cache.errors import ConfigurationError, UnreadableRecordError
from openalgo_cache.options import Options
from openalgo_cache.transfer import (
    Existing,
    ExportedCache,
    TransferReport,
    copy_cache,
    export_caches,
    import_caches,
    verify_export,
)

_FILES: Final = "sqlite"
_MEMORY: Final = "memory"
_PATIENCE: Final = 10.0
"""Seconds for an operation on a server: here are many large values, and nobody waits for a page."""
_AGAIN: Final = "What was written stays, and is whole; the same command again does the rest."
_NO_FILE: Final = "No file was written."


@dataclass(frozen=True, slots=True)
class How:
    """What the three commands have in common."""

    env_file: Path | None
    names: list[str] | None = None
    overwrite: bool = False
    keep_existing: bool = False
    skip_unreadable: bool = False
    dry_run: bool = False
    as_json: bool = False

    def existing(self) -> Existing:
        """Return what may be replaced."""
        if self.overwrite and self.keep_existing:
            raise RefusedError("--overwrite and --keep-existing contradict each other")
        return Existing.ANYTHING if self.overwrite else Existing.NOTHING if self.keep_existing else Existing.OLDER


def copy(how: How, source: str, target: str) -> Code:
    """Copy caches from one backend to another."""
    existing = how.existing()
    _refuse_backends(source, target)
    report = Copied(source=source, target=target, dry_run=how.dry_run, caches=[])
    with _run(how, "copying", _AGAIN) as run:
        for cache in run.sources(source):
            move = partial(
                copy_cache,
                cache,
                run.target(cache, target),
                existing=existing,
                skip_unreadable=how.skip_unreadable,
                dry_run=how.dry_run,
            )
            report["caches"].append(run.moved(cache.name, move))
    show(report, lambda pen: _draw_copy(pen, report), as_json=how.as_json)
    return _code(report["caches"])


def export(how: How, file: Path, *, include_state: bool, force: bool) -> Code:
    """Write caches to a file."""
    with _run(how, "writing", _NO_FILE) as run:
        backend = run.session.choice().backend
        if backend == _MEMORY:
            raise RefusedError(_IN_MEMORY)
        caches = [cache for cache in run.sources(backend) if include_state or how.names or not _is_state(cache)]
        try:
            reports = export_caches(
                file,
                caches,
                manager=run.session.manager,
                replace=force,
                skip_unreadable=how.skip_unreadable,
                progress=run.progress,
            )
        except FileExistsError:
            raise RefusedError(f"{file} is there already: say --force to replace it") from None
    report = Exported(file=str(file), bytes=file.stat().st_size, caches=[_moved(one) for one in reports])
    show(report, lambda pen: _draw_export(pen, report), as_json=how.as_json)
    return _code(report["caches"])


def import_file(how: How, file: Path) -> Code:
    """Bring an export into the caches of the backend in use."""
    existing = how.existing()
    with _run(how, "importing", _AGAIN) as run:
        session = run.session
        found = verify_export(file, manager=session.manager)
        contents = [
            InFile(name=one.name, entries=one.entries, encrypted=one.encrypted, blinded_keys=one.blinded)
            for one in found.caches
        ]
        report = Restored(
            file=str(file),
            namespace=found.namespace,
            created_at=found.created_at,
            contents=contents,
            dry_run=how.dry_run,
            caches=[],
        )
        if not how.dry_run:
            run.total = sum(one.entries for one in found.caches if how.names is None or one.name in how.names)
            try:
                reports = import_caches(
                    file,
                    names=how.names,
                    manager=session.manager,
                    open_cache=run.opened,
                    existing=existing,
                    skip_unreadable=how.skip_unreadable,
                    progress=run.progress,
                )
            except ConfigurationError as error:
                raise RefusedError(str(error)) from None
            report["caches"] = [_moved(one) for one in reports]
    show(report, lambda pen: _draw_import(pen, report), as_json=how.as_json)
    return _code(report["caches"])


class _Run:
    """One run: opens caches, closes them, and tells how far things are.

    Args:
        how: How it was asked for.
        session: What it stands on.
        tell: Draws the progress.
        what: What is going on.
        exits: Closes what was opened.
    """

    def __init__(self, how: How, session: Session, tell: Tell, what: str, exits: ExitStack) -> None:
        self.session = session
        self.total = 0
        self._how = how
        self._tell = tell
        self._what = what
        self._exits = exits
        self._reports: dict[int, TransferReport] = {}

    def progress(self, report: TransferReport) -> None:
        """Take note of how far a cache is."""
        self._reports[id(report)] = report
        seen = sum(one.seen for one in self._reports.values())
        self._tell(self._what, seen / self.total if self.total else 1.0)

    def moved(self, name: str, move: Callable[..., TransferReport]) -> Moved:
        """Let a cache be moved, and return what became of it; a state cache may stop at an unreadable record."""
        problem = None
        before = set(self._reports)
        try:
            move(progress=self.progress)
        except UnreadableRecordError as error:
            problem = str(error)
        new = [report for number, report in self._reports.items() if number not in before]
        return _moved(new[0] if new else TransferReport(name), problem)

    def sources(self, backend: str) -> list[Cache]:
        """Open the caches that are asked for and have something stored."""
        names = self._names(backend)
        caches = []
        for name in names:
            if backend == _FILES and not self.session.cache_file(name).exists():
                continue
            self.session.refuse_without_ring(f"the cache {name!r} cannot be read")
            cache = self._open(name, backend)
            if held := cache.size():
                caches.append(self._as_its_records(cache, backend))
                self.total += held
        return caches

    def target(self, source: Cache, backend: str) -> Cache:
        """Open the cache that another one is to be copied to."""
        if self._how.dry_run and backend == _FILES and not self.session.cache_file(source.name).exists():
            backend = _MEMORY  # empty, too, and leaves no file
        cache = self._open(source.name, backend, encrypted=_is_encrypted(source), blinded=source.policy.blinded)
        if source.name not in catalogue(self.session.settings):
            hold_to_its_records(cache)
        return cache

    def opened(self, exported: ExportedCache) -> Cache:
        """Open a cache to import into; the catalogue knows its own better than the file."""
        known = exported.name in catalogue(self.session.settings)
        return self.session.open(
            exported.name, encrypted=exported.encrypted and not known, blinded=exported.blinded and not known
        )

    def _names(self, backend: str) -> list[str]:
        settings = self.session.settings
        if self._how.names is not None:
            for name in self._how.names:
                self._refuse(name)
            return list(dict.fromkeys(self._how.names))
        own = [name for name, policy in catalogue(settings).items() if policy.durability not in _ELSEWHERE]
        on_disk = self.session.caches_on_disk() if backend == _FILES else []
        return own + [name for name in on_disk if name not in catalogue(settings)]

    def _refuse(self, name: str) -> None:
        durability = policy_of(name, self.session.settings).durability
        if name == SYMBOLS:
            raise RefusedError("the cache 'symbols' is the symbol master: 'symbols import' makes it anew anywhere")
        if durability in _ELSEWHERE:
            raise RefusedError(f"the cache {name!r}: {_IN_MEMORY}")

    def _as_its_records(self, cache: Cache, backend: str) -> Cache:
        """Return a cache, opened anew if it is not the catalogue's and its records show that it is no signed one."""
        if cache.name in catalogue(self.session.settings):
            return cache
        seals = seals_of(cache)
        encrypted, blinded = any(seal[0] for seal in seals), any(seal[1] for seal in seals)
        return self._open(cache.name, backend, encrypted=encrypted, blinded=blinded) if encrypted or blinded else cache

    def _open(self, name: str, backend: str, *, encrypted: bool = False, blinded: bool = False) -> Cache:
        # Without a bound of its own this process evicts nothing.
        options = Options(backend=backend, maxsize=None, on_error="raise", blinded=blinded)
        if encrypted:
            options["encrypted"] = True
        cache = self.session.manager.new_cache(name, **options)
        self._exits.callback(cache.close)
        return cache


_ELSEWHERE: Final = frozenset({Durability.LOCAL, Durability.SNAPSHOT})
_IN_MEMORY: Final = (
    "memory is that of each process, where no other process can look: an application copies its own with "
    "openalgo_cache.copy_cache"
)


@contextmanager
def _run(how: How, what: str, stopped: str) -> Iterator[_Run]:
    """Begin a run; say at Ctrl-C how things are."""
    with interruptible(stopped, as_json=how.as_json), ExitStack() as exits:
        session = exits.enter_context(Session(how.env_file, as_json=how.as_json, patience=_PATIENCE))
        tell = exits.enter_context(bar(as_json=how.as_json))
        yield _Run(how, session, tell, what, exits)


def _refuse_backends(source: str, target: str) -> None:
    available = registry.available()
    for name in (source, target):
        if name not in available:
            raise RefusedError(
                f"there is no backend {name!r} in this installation: it has {', '.join(sorted(available))}"
            )
        if name == _MEMORY:
            raise RefusedError(_IN_MEMORY)
    if source == target:
        raise RefusedError("--from and --to are the same; to another namespace or folder it goes by export and import")


def _is_state(cache: Cache) -> bool:
    return cache.policy.durability is Durability.STATE


def _is_encrypted(cache: Cache) -> bool:
    return cache.policy.sealing is Sealing.ENCRYPTED


def _moved(report: TransferReport, problem: str | None = None) -> Moved:
    return Moved(
        name=report.cache,
        moved=report.moved,
        unchanged=report.unchanged,
        kept=report.kept,
        passed=report.passed,
        unreadable=report.unreadable,
        lost=report.lost,
        problem=problem,
    )


def _code(caches: list[Moved]) -> Code:
    incomplete = any(one["unreadable"] or one["lost"] or one["problem"] for one in caches)
    return Code.DATA if incomplete else Code.OK


def _draw_copy(pen: Pen, report: Copied) -> None:
    if not report["caches"]:
        pen.line(f"There is nothing to copy in {report['source']}.")
        return
    _draw_caches(pen, report["caches"])
    did = "Would copy" if report["dry_run"] else "Copied"
    total = sum(one["moved"] for one in report["caches"])
    pen.line(f"{did} {_entries(total)} from {report['source']} to {report['target']}.")


def _draw_export(pen: Pen, report: Exported) -> None:
    _draw_caches(pen, report["caches"])
    total = sum(one["moved"] for one in report["caches"])
    pen.line(f"Wrote {_entries(total)} to {report['file']} ({size(report['bytes'])}).")


def _draw_import(pen: Pen, report: Restored) -> None:
    if report["dry_run"]:
        pen.table(
            [Column("cache"), Column("entries", right=True)],
            [(one["name"], f"{one['entries']:,}") for one in report["contents"]],
        )
        pen.line(f"{report['file']} is genuine and complete; made {date(report['created_at'])}.")
        return
    _draw_caches(pen, report["caches"])
    pen.line(f"Imported {_entries(sum(one['moved'] for one in report['caches']))} from {report['file']}.")


def _draw_caches(pen: Pen, caches: list[Moved]) -> None:
    if not caches:
        return
    counted = ("moved", "unchanged", "kept", "passed", "unreadable", "lost")
    columns = [Column("cache"), *(Column(name, right=True) for name in counted)]
    rows = []
    for one in caches:
        counts = (one["moved"], one["unchanged"], one["kept"], one["passed"], one["unreadable"], one["lost"])
        rows.append([one["name"], *(f"{number:,}" if number else "" for number in counts)])
    pen.table(columns, rows)
    for one in caches:
        if one["problem"] is not None:
            pen.line(one["problem"], "yellow")


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"

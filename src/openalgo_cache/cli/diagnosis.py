"""What ``doctor`` does: every check, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from openalgo_cache.cli.checks import place, server, setup, store
from openalgo_cache.cli.checks.finding import error
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Pen, count, show
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.doctor import Check, Diagnosis
from openalgo_cache.settings import InvalidSettingsError

if TYPE_CHECKING:
    from pathlib import Path

_CHECKS: Final[tuple[Callable[[Session], Iterator[Check]], ...]] = (
    setup.check_settings,
    setup.check_backend,
    setup.check_ring,
    setup.check_clock,
    place.check_folder,
    place.check_way,
    place.check_files,
    place.check_file_system,
    place.check_space,
    store.check_sqlite,
    store.check_soundness,
    store.check_damaged_copies,
    store.check_lost_deletes,
    store.check_master,
    server.check_server,
)
_WORST_FIRST: Final = ("error", "warning", "ok")
_STYLES: Final = {"error": "bold red", "warning": "yellow", "ok": "green"}


def doctor(env_file: Path | None, *, as_json: bool) -> Code:
    """Run every check.

    Args:
        env_file: Where the settings are read from.
        as_json: Whether to print JSON.
    """
    try:
        with Session(env_file, quiet=True) as session:
            checks = [found for check in _CHECKS for found in _run(check, session)]
    except InvalidSettingsError as problem:
        checks = list(setup.settings_checks(problem.findings))
    checks.sort(key=lambda check: _WORST_FIRST.index(check["status"]))
    report = Diagnosis(
        errors=sum(check["status"] == "error" for check in checks),
        warnings=sum(check["status"] == "warning" for check in checks),
        checks=checks,
    )
    show(report, lambda pen: _draw(pen, report), as_json=as_json)
    return Code.FINDINGS if report["errors"] else Code.OK


def _run(check: Callable[[Session], Iterator[Check]], session: Session) -> Iterator[Check]:
    """Run one check; what keeps it from looking is a finding, too."""
    try:
        yield from check(session)
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename is not None else ""
        name = check.__name__.removeprefix("check_").replace("_", " ")
        yield error(name, f"{where}{problem.strerror or type(problem).__name__}", "Run as the owner of the files")


def _draw(pen: Pen, report: Diagnosis) -> None:
    remarks: list[tuple[str, str, str]] = []
    for check in report["checks"]:
        remarks.append((check["status"], _STYLES[check["status"]], f"{check['check']}: {check['what']}"))
        if check["fix"] is not None:
            remarks.append(("", "", f"> {check['fix']}."))
    pen.marked(remarks)
    pen.line()
    pen.line(f"{count(report['errors'], 'error')}, {count(report['warnings'], 'warning')}")

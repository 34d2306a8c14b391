"""What ``use`` does: record which backend keeps the caches."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from openalgo_cache import selection
from openalgo_cache.backends import registry
from openalgo_cache.backends.sqlite.inspection import inspect
from openalgo_cache.catalogue import Durability, policy_of
from openalgo_cache.cli.output import Pen, show
from openalgo_cache.cli.session import RefusedError, Session
from openalgo_cache.cli.shapes.use import Used
from openalgo_cache.errors import CacheError
from openalgo_cache.selection.record import DamagedRecordError, read_record

if TYPE_CHECKING:
    from pathlib import Path

_FILES: Final = "sqlite"


def use(env_file: Path | None, backend: str, *, as_json: bool) -> None:
    """Record a backend.

    Args:
        env_file: Where the settings are read from.
        backend: The backend's name.
        as_json: Whether to print JSON.

    Raises:
        RefusedError: There is no such backend in this installation.
        OSError: The record cannot be written.
    """
    with Session(env_file, quiet=True) as session:
        available = registry.available()
        if backend not in available:
            raise RefusedError(
                f"there is no backend {backend!r} in this installation: it has {', '.join(sorted(available))}"
            )
        previous = _previous(session.folder)
        selection.record_choice(session.folder, backend)
        decided_by = _decided_by(session)
        left = {} if backend == _FILES else _entries_in_files(session)
        report = Used(
            backend=backend,
            previous=previous,
            record=str(session.folder / selection.RECORD_NAME),
            in_effect=decided_by == "recorded",
            decided_by=decided_by,
            left_behind=left,
        )
        state = [name for name in left if policy_of(name, session.settings).durability is Durability.STATE]
    show(report, lambda pen: _draw(pen, report, state), as_json=as_json)


def _previous(folder: Path) -> str | None:
    """Return the backend that was recorded; None without a record that can be understood."""
    try:
        return read_record(folder)
    except DamagedRecordError:
        return None


def _decided_by(session: Session) -> str:
    """Return what decides, now that there is a record."""
    try:
        return session.choice().source
    except CacheError:  # only a variable can ask for what is not there
        return "CACHE_BACKEND" if session.settings.cache_backend is not None else "MULTI_INSTANCE_MODE"


def _entries_in_files(session: Session) -> dict[str, int]:
    """Return how many live entries the SQLite files hold, by cache; a file that cannot be read counts as 0."""
    entries = {}
    for name in session.caches_on_disk():
        with suppress(CacheError):
            seen = inspect(session.cache_file(name), session.now(), cipher=session.cipher(name))
            entries[name] = 0 if seen is None else seen.entries - seen.expired
    return {name: count for name, count in entries.items() if count}


def _draw(pen: Pen, report: Used, state: list[str]) -> None:
    backend, previous = report["backend"], report["previous"]
    pen.line(f"Recorded: {backend} ({report['record']}).")
    if not report["in_effect"]:
        pen.line(f"It has no effect while {report['decided_by']} decides.", "yellow")
    pen.line("Processes that run keep the backend they have until they are started again.")
    if previous not in {None, "memory", backend}:
        pen.line(f"What {previous} holds stays there, unseen, until 'openalgo-cache use {previous}'.")
        if backend != "memory":
            pen.line(f"To bring it over: 'openalgo-cache copy --from {previous} --to {backend}'.")
    if left := report["left_behind"]:
        pen.line("In SQLite files stay: " + ", ".join(f"{name} ({count:,})" for name, count in left.items()) + ".")
    if state:
        advice = "" if backend == "memory" else " Bring that over before you go on."
        pen.line(f"The only copy of what they hold: {', '.join(state)}.{advice}", "yellow")
    if backend == "memory":
        pen.line("memory forgets everything at each restart, and refuses caches that hold the only copy.", "yellow")

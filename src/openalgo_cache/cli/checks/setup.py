"""Checks of how the caches are set up: settings, backend, key ring, clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from openalgo_cache.cli.checks.finding import error, ok, warning
from openalgo_cache.cli.overview import ring
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.doctor import Check
from openalgo_cache.errors import CacheError
from openalgo_cache.expiry import until
from openalgo_cache.selection.record import DamagedRecordError, read_record
from openalgo_cache.settings import Finding

_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def settings_checks(findings: Iterable[Finding]) -> Iterator[Check]:
    """Say what is wrong with the settings."""
    for finding in findings:
        value = f"={finding.value_shown}" if finding.value_shown else ""
        say = error if finding.severity == "error" else warning
        yield say("settings", f"{finding.variable}{value} {finding.problem}", finding.fix)


def check_settings(session: Session) -> Iterator[Check]:
    """Look at the settings, which work, for what is doubtful."""
    findings = session.settings.check()
    yield from settings_checks(findings)
    if not findings:
        yield ok("settings", f"{len(session.settings.sources)} variables are set, and nothing is doubtful")


def check_backend(session: Session) -> Iterator[Check]:
    """Look at which backend is chosen, and whether it can be."""
    try:
        read_record(session.folder)
    except DamagedRecordError as problem:
        yield warning(
            "backend",
            f"the record of the chosen backend {problem}, so the choice is made anew at every start",
            "Settle it with 'openalgo-cache use BACKEND'",
        )
    try:
        choice = session.choice()
    except CacheError as problem:
        yield error("backend", str(problem), "Do what the message says; 'openalgo-cache info' shows the settings")
    else:
        yield ok("backend", f"{choice.backend}: {choice.why}")


def check_ring(session: Session) -> Iterator[Check]:
    """Look at the key ring: is it there, safe and readable?"""
    held = ring(session)
    place = held["path"] or "CACHE_ENCRYPTION_KEY"
    if held["problem"] is not None:
        yield error("key ring", held["problem"], "Without a usable key ring nothing can be stored or read")
    elif held["exists"]:
        yield ok("key ring", f"{place}, fingerprint {held['fingerprint']}; keep a copy of it apart from the caches")
    elif session.caches_on_disk():
        yield error(
            "key ring",
            f"there is none at {place}, and the cache files were sealed with one",
            "Restore it from a backup: until then caches miss and state raises ('openalgo-cache keys create' gives up)",
        )
    elif session.settings.cache_key_file is not None or session.settings.multi_instance_mode:
        yield error("key ring", f"there is none at {place}", "Copy the installation's key ring there")
    else:
        yield ok("key ring", f"{place} is not there yet; the first use makes it")


def check_clock(session: Session) -> Iterator[Check]:
    """Look whether the clock can be right, and whether the end of the session can be found."""
    now = session.now()
    try:
        ends = until(session.settings.session_expiry_time).expires_at(now)
    except CacheError as problem:
        yield error("clock", str(problem), "pip install tzdata")
        return
    if now < _BEGINNING:
        yield error("clock", f"it says {datetime.fromtimestamp(now, UTC):%Y-%m-%d}", "Set the clock")
    else:
        yield ok("clock", f"the session ends next at {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M} UTC")

"""What the audit log costs whoever records something, and how fast its lines are written and verified."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Final

from benchmarks import caches
from benchmarks.contest import contest
from benchmarks.lines import Line
from openalgo_cache.audit import AuditLog, Event
from openalgo_cache.audit.line import chain_key
from openalgo_cache.audit.verification import verify
from openalgo_cache.manager import CacheManager

_EVENTS: Final = 128
"""Recorded in one go: few enough to fall between two disturbances."""


def run(*, quick: bool = False) -> list[Line]:
    """Measure with the defaults, on SQLite."""
    rounds = 3 if quick else 400
    with caches.manager("sqlite") as manager:
        log = manager.audit()
        timing = contest({"record": partial(_record, log)}, operations=_EVENTS, rounds=rounds)["record"]
        log.flush()
        denial = contest({"denial": partial(_deny, log)}, operations=1, rounds=rounds)["denial"]
        lines, written = _write(log, 2_000 if quick else 9_000)
        read, verified = _verify(manager)
    return [
        Line(
            what="an event, at the caller",
            value=timing.best * 1e6,
            unit="us",
            target=3.0,
            best="low",
            note=f"median {timing.median * 1e6:.2f} us; the thread writes meanwhile",
        ),
        Line(what="a denial, on the disk when it returns", value=denial.median * 1e3, unit="ms", note="median"),
        Line(what="lines written", value=lines / written, unit="/s", note=f"{lines:,} lines, on the disk"),
        Line(what="lines verified", value=read / verified, unit="/s", note=f"{read:,} lines"),
    ]


def _record(log: AuditLog) -> None:
    for number in range(_EVENTS):
        log.record(Event("auth", "GET", f"~{number:032}", "blueprints.auth", hit=True))


def _deny(log: AuditLog) -> None:
    log.record_now(Event("auth", "DENIED", None, "plugins.one"))


def _write(log: AuditLog, count: int) -> tuple[int, float]:
    """Fill the queue, and return how long it takes until all of it is on the disk."""
    log.flush()
    started = perf_counter()
    for number in range(count):
        log.record(Event("auth", "GET", f"~{number:032}", "blueprints.auth", hit=True))
    log.flush()
    return count, perf_counter() - started


def _verify(manager: CacheManager) -> tuple[int, float]:
    ring = manager.ring()
    started = perf_counter()
    report = verify(manager.audit().days, partial(chain_key, ring, ring.id), {})
    seconds = perf_counter() - started
    if report.problems:
        raise RuntimeError(f"the log does not verify: {report.problems[0]}")
    return report.lines, seconds

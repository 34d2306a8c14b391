"""Audit logs for tests: written by several processes over several days, changed by hand, verified."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from openalgo_cache.audit import Event
from openalgo_cache.audit.findings import Finding
from openalgo_cache.audit.heads import anchors_in
from openalgo_cache.audit.line import chain_key
from openalgo_cache.audit.verification import Report, verify
from openalgo_cache.clock import Clock
from openalgo_cache.manager import CacheManager
from openalgo_cache.testing import FakeClock
from tests.stacks import manager

DAY: Final = 86_400.0
GET: Final = Event("auth", "GET", "~key", "blueprints.auth", hit=True)


def write_days(folder: Path, *, days: int = 3, events: int = 4, clock: Clock | None = None) -> FakeClock:
    """Let two processes write some events on each of some days; the first goes on over all, the other begins anew."""
    hands = clock if isinstance(clock, FakeClock) else FakeClock()
    with closing(manager(folder, hands)) as first:
        for _ in range(days):
            with closing(manager(folder, hands)) as second:
                for number in range(events):
                    first.audit().record_now(GET._replace(key=f"first {number}"))
                    second.audit().record_now(GET._replace(key=f"second {number}"))
            hands.advance(DAY)
        hands.advance(-DAY)
    return hands


def verified(folder: Path, **settings: Any) -> Report:
    """Verify the log of a folder as its own installation does."""
    with closing(manager(folder, **settings)) as house:
        return verified_by(house)


def verified_by(house: CacheManager) -> Report:
    """Verify the log of a manager."""
    heads = house.new_cache("audit_heads")
    anchors = dict(anchors_in(heads))
    heads.close()
    ring = house.ring()
    key_of = partial(chain_key, ring, house.settings.cache_namespace or ring.id)
    return verify(house.audit().days, key_of, anchors)


def places(findings: list[Finding]) -> list[tuple[str, str, int | None]]:
    """Return of each finding what it is, on which day, and in which line."""
    return [(one.kind, one.file.removeprefix("cache_audit.").removesuffix(".log"), one.line) for one in findings]


def until(what: Callable[[], bool]) -> None:
    """Wait until something is so, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline, "it never was"
        time.sleep(0.005)

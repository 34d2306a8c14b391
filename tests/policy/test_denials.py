"""What becomes of a denial: it always raises, is counted, and is written down; a flood of them is not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import AccessDeniedError, on_behalf_of
from openalgo_cache.errors import AuditUnavailableError
from openalgo_cache.manager import CacheManager
from openalgo_cache.policy.repeats import EVERY, Repeats
from openalgo_cache.testing import FakeClock
from tests.policy.modules import FRIEND, STRANGER, ruled, run_as

DENY = "auth.get('user')"


@pytest.fixture
def clock() -> FakeClock:
    """A clock of the test's own."""
    return FakeClock()


@pytest.fixture
def house(tmp_path: Path, clock: FakeClock) -> Iterator[CacheManager]:
    """A manager with rules; nothing but denials is audited."""
    house = ruled(tmp_path, f"[caches]\nauth = ['{FRIEND}']\nquotes = ['*']", clock=clock)
    yield house
    house.close()


def lines(house: CacheManager) -> list[dict[str, Any]]:
    """Return the lines of the audit log that are on the disk, but for where chains begin and end."""
    texts = [path.read_text("ascii") for path in house.audit().days.files().values()]
    found = [json.loads(line) for text in texts for line in text.splitlines()]
    return [line for line in found if line["cache"] is not None]


def denials(house: CacheManager) -> list[tuple[str, str | None, str]]:
    """Return caller, key and detail of those lines that are denials."""
    return [(line["caller"], line["key"], line["detail"]) for line in lines(house) if line["operation"] == "DENIED"]


def test_a_denial_is_on_the_disk_before_it_is_raised(house: CacheManager) -> None:
    """Though nothing else is audited; with who, for whom, and what."""
    auth = house.get_cache("auth")
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, f"def look(): {DENY}\nlook()", auth=auth)
    with pytest.raises(AccessDeniedError), on_behalf_of("others"):
        run_as(FRIEND, "auth.set('user', 'a secret')", auth=auth)
    assert denials(house) == [
        (f"{STRANGER}.look", None, "get needs the right to read"),
        (f"others (by {FRIEND})", None, "set needs the right to write"),
    ]


def test_a_denied_key_is_blinded(house: CacheManager) -> None:
    """And it is shown only where the cache was open already: what has no right opens nothing."""
    auth = house.get_cache("auth")
    run_as(FRIEND, "auth['user'] = 'a secret'", auth=auth)
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, DENY, auth=auth)
    ((_, key, _),) = denials(house)
    assert key == auth.shown("user")
    assert key.startswith("~")
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, "auth.exists(b'\\0' * 1000)", auth=auth)
    assert denials(house)[-1][1] is None, "what is no key has no form that could be shown"


def test_a_flood_is_a_line_a_minute(house: CacheManager, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """That says how many there were; nobody waits for the disk, and it does not fill up."""
    auth = house.get_cache("auth")
    attack = f"for number in range(1000):\n  try:\n    {DENY}\n  except PermissionError:\n    pass"
    run_as(STRANGER, attack, auth=auth)
    assert [detail for *_, detail in denials(house)] == ["get needs the right to read"]
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    clock.advance(EVERY)
    run_as(STRANGER, attack, auth=auth)
    assert denials(house)[-1][2] == "get needs the right to read; 999 more were denied before"
    assert len(denials(house)) == 2
    assert auth.stats()["denied"] == 2000
    house.close()
    assert denials(house)[-1] == (STRANGER, None, "get: 999 more were denied")


def test_a_flood_of_names_is_bounded(clock: FakeClock) -> None:
    """Whoever makes up a new name each time is one among many."""
    repeats = Repeats(clock)
    said = [repeats.due(f"module {number}") for number in range(2000)]
    assert said.count(0) == 513
    assert len(repeats._seen) == 513
    assert repeats.unsaid() == [(("(others)",), 1487)]
    clock.advance(EVERY)
    assert repeats.due("module 1") == 0


def test_what_is_over_makes_room(clock: FakeClock) -> None:
    """Old names do not keep new ones from being told apart."""
    repeats = Repeats(clock)
    for number in range(512):
        repeats.due(number)
    clock.advance(EVERY)
    assert repeats.due("new") == 0
    assert repeats.due("new") is None
    assert repeats.unsaid() == [("new", 1)]


def test_a_denial_stands_though_it_cannot_be_written(
    house: CacheManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk lets nobody in."""

    def fail(*_: object) -> None:
        raise AuditUnavailableError("the disk is full")

    monkeypatch.setattr(house.audit(), "record_now", fail)
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, DENY, auth=house.get_cache("auth"))
    assert "a denial is not in the audit log (AuditUnavailableError)" in caplog.text


def test_nothing_swallows_a_denial(tmp_path: Path, clock: FakeClock) -> None:
    """Not ``on_error="miss"``, and no expired value stands in for what a loader was denied."""
    house = ruled(tmp_path, f"[caches]\nauth = ['{FRIEND}']\nquotes = ['*']", clock=clock)

    def failing() -> str:
        raise ZeroDivisionError

    auth, quotes = house.get_cache("auth", on_error="miss"), house.get_cache("quotes", ttl=60, stale_for=1000)
    quotes.set("key", "stale")
    clock.advance(61)
    with pytest.raises(AccessDeniedError):
        run_as(STRANGER, "quotes.get_or_set('key', lambda: auth.get('user'))", auth=auth, quotes=quotes)
    with pytest.raises(ZeroDivisionError):
        quotes.get_or_set("absent", failing)
    assert quotes.get_or_set("key", failing) == "stale"
    house.close()


def test_no_secret_is_in_a_denial(house: CacheManager, caplog: pytest.LogCaptureFixture) -> None:
    """Neither value nor key: not in the error, the log, or the audit log."""
    auth = house.get_cache("auth")
    run_as(FRIEND, "auth['telling user'] = 'telling token'", auth=auth)
    with pytest.raises(AccessDeniedError) as denied:
        run_as(STRANGER, "auth.set('telling user', 'telling token', tags=('telling tag',))", auth=auth)
    assert "telling" not in str(denied.value) + repr(denied.value) + caplog.text + json.dumps(lines(house))

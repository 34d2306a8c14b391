"""Lifetimes: what they may be, and when they end."""

from __future__ import annotations

import math
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openalgo_cache.errors import InvalidLifetimeError
from openalgo_cache.expiry import Lifetime, Until, describe, earliest, expires_at, until
from openalgo_cache.testing.values import BAD_LIFETIMES

DAY = 86_400.0

# Changes of the clocks by an hour, by half an hour, at midnight, none at all; offsets that are no whole hours.
ZONES = (
    "Asia/Kolkata",
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Antarctica/Troll",
)

moments = st.floats(datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2040, 1, 1, tzinfo=UTC).timestamp())
times = st.builds(time, st.integers(0, 23), st.integers(0, 59), st.sampled_from([0, 0, 0, 1, 59]))


def at(text: str, zone: str, fold: int = 0) -> float:
    """Return a wall time of a zone as seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def transitions() -> st.SearchStrategy[tuple[str, float]]:
    """Return (zone, moment near a change of its clocks)."""
    places = [
        ("America/New_York", at("2026-03-08T01:59:59", "America/New_York")),
        ("America/New_York", at("2026-11-01T01:30", "America/New_York")),
        ("America/New_York", at("2026-11-01T01:30", "America/New_York", fold=1)),
        ("Europe/Berlin", at("2026-03-29T01:59:59", "Europe/Berlin")),
        ("Europe/Berlin", at("2026-10-25T02:30", "Europe/Berlin")),
        ("Australia/Lord_Howe", at("2026-04-05T01:45", "Australia/Lord_Howe")),
        ("Australia/Lord_Howe", at("2026-10-04T01:59", "Australia/Lord_Howe")),
        ("America/Sao_Paulo", at("2018-11-03T23:59:59", "America/Sao_Paulo")),  # midnight did not exist
        ("America/Havana", at("2026-11-01T00:30", "America/Havana")),  # midnight comes twice
        ("Pacific/Apia", at("2011-12-29T23:59:59", "Pacific/Apia")),  # a day did not exist
    ]
    return st.tuples(st.sampled_from(places), st.floats(-4 * 3600, 4 * 3600)).map(
        lambda near: (near[0][0], near[0][1] + near[1])
    )


zoned_moments = st.one_of(st.tuples(st.sampled_from(ZONES), moments), transitions())


def occurrences(wall: time, zone: ZoneInfo, now: float) -> list[float]:
    """Return every moment, some days around ``now``, at which the clocks of a zone show ``wall``: the slow way."""
    found = set()
    today = datetime.fromtimestamp(now, zone).date()
    for days in range(-2, 5):
        for fold in (0, 1):
            naive = datetime.combine(today + timedelta(days=days), wall)
            moment = naive.replace(tzinfo=zone, fold=fold).timestamp()
            if datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0) == naive:
                found.add(moment)
    return sorted(found)


@given(zoned_moments, times)
@example(("America/New_York", at("2026-11-01T01:30", "America/New_York")), time(1, 30))
@example(("America/New_York", at("2026-11-01T01:45", "America/New_York")), time(1, 30))
@example(("Pacific/Apia", at("2011-12-29T12:00", "Pacific/Apia")), time(3, 0))
def test_until_ends_at_the_next_such_time(zoned: tuple[str, float], wall: time) -> None:
    """Strictly later, at the stated wall time, and there is no earlier one; where it is skipped, soon after the gap."""
    zone, now = zoned
    lifetime = until(wall, zone)
    ends = lifetime.expires_at(now)
    assert ends > now
    expected = next(moment for moment in occurrences(wall, ZoneInfo(zone), now) if moment > now)
    if ends != expected:
        # The clocks skip the stated time on the day between: then it ends within the gap's length after it.
        shown = datetime.fromtimestamp(ends, ZoneInfo(zone))
        assert ends < expected
        assert ends not in occurrences(wall, ZoneInfo(zone), now)
        before = datetime.fromtimestamp(ends - 2 * 3600, ZoneInfo(zone)).utcoffset()
        assert before != shown.utcoffset() or zone == "Pacific/Apia"


@given(moments)
@example(at("2026-01-01T02:59:59.999999", "Asia/Kolkata"))
@example(at("2026-01-01T03:00", "Asia/Kolkata"))
@example(at("2025-12-31T23:59:59", "Asia/Kolkata"))
def test_the_session_ends_at_three_in_india(now: float) -> None:
    """At most a day from now, at 21:30 UTC; a token that is stored at three sharp lives for a whole day."""
    ends = until("03:00").expires_at(now)
    assert 0 < ends - now <= DAY
    assert ends % DAY == 21.5 * 3600


@pytest.mark.parametrize(
    "zone, wall, now, ends",
    [
        # The clocks go from 02:00 to 03:00: half past two is when half an hour of the gap would have passed.
        ("America/New_York", "02:30", "2026-03-08T00:00-05:00", "2026-03-08T03:30-04:00"),
        ("America/New_York", "02:30", "2026-03-08T03:30-04:00", "2026-03-09T02:30-04:00"),
        # They go from 02:00 back to 01:00: half past one comes twice.
        ("America/New_York", "01:30", "2026-11-01T00:00-04:00", "2026-11-01T01:30-04:00"),
        ("America/New_York", "01:30", "2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00"),
        ("America/New_York", "01:30", "2026-11-01T01:30-05:00", "2026-11-02T01:30-05:00"),
        # By half an hour only.
        ("Australia/Lord_Howe", "02:15", "2026-10-03T23:00+10:30", "2026-10-04T02:45+11:00"),
        # Midnight did not exist that day.
        ("America/Sao_Paulo", "00:00", "2018-11-03T12:00-03:00", "2018-11-04T01:00-02:00"),
        # Across midnight, a month and a year.
        ("Asia/Kolkata", "03:00", "2025-12-31T23:59+05:30", "2026-01-01T03:00+05:30"),
        ("Asia/Kolkata", "23:59:59", "2025-12-31T23:59:58+05:30", "2025-12-31T23:59:59+05:30"),
        ("Asia/Kathmandu", "00:00", "2026-06-30T23:00+05:45", "2026-07-01T00:00+05:45"),
    ],
)
def test_until_across_changes_of_the_clocks(zone: str, wall: str, now: str, ends: str) -> None:
    """Written down one by one."""
    found = until(wall, zone).expires_at(datetime.fromisoformat(now).timestamp())
    assert datetime.fromtimestamp(found, ZoneInfo(zone)).isoformat() == (
        datetime.fromisoformat(ends).astimezone(ZoneInfo(zone)).isoformat()
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("03:00", time(3)),
        ("3:00", time(3)),
        (" 23:59 ", time(23, 59)),
        ("00:00:01", time(0, 0, 1)),
        (time(15, 30), time(15, 30)),
    ],
)
def test_times_of_day(text: Any, expected: time) -> None:
    """As text or as a time."""
    assert until(text) == Until(expected, ZoneInfo("Asia/Kolkata"))


@pytest.mark.parametrize(
    "text", ["", "3", "24:00", "03:60", "03:00:60", "3 am", "03.00", "-1:00", "03:00\n00", "\u0660\u0663:\u0660\u0660"]
)
def test_what_is_no_time_of_day(text: str) -> None:
    """The message says what one looks like."""
    with pytest.raises(InvalidLifetimeError, match="HH:MM"):
        until(text)


@pytest.mark.parametrize("zone", ["", "Nowhere", "Asia/Calcuta", "../etc/passwd", "/etc/localtime", "IST+5:30"])
def test_what_is_no_zone(zone: str) -> None:
    """The message says what one looks like."""
    with pytest.raises(InvalidLifetimeError, match="Asia/Kolkata"):
        until("03:00", zone)


def test_a_time_of_day_with_a_zone_of_its_own_is_refused() -> None:
    """There would be two."""
    with pytest.raises(InvalidLifetimeError, match="tz="):
        until(time(3, tzinfo=UTC))


@given(moments, st.floats(1e-3, 1e10))
def test_seconds_become_a_moment(now: float, seconds: float) -> None:
    """As a number or a timedelta."""
    assert expires_at(seconds, now) == now + seconds
    assert expires_at(timedelta(seconds=seconds), now) == pytest.approx(now + seconds, abs=1e-6, rel=1e-12)
    assert expires_at(int(seconds) + 1, now) == now + int(seconds) + 1


def test_none_is_never() -> None:
    """And only None is."""
    assert expires_at(None, 1_000.0) is None


@pytest.mark.parametrize("bad", BAD_LIFETIMES.values(), ids=BAD_LIFETIMES.keys())
def test_what_is_no_lifetime(bad: Any) -> None:
    """Refused with our error, which is a ValueError; also as a part of an earliest."""
    with pytest.raises(InvalidLifetimeError):
        expires_at(bad, 1_000.0)
    for lifetimes in ((bad, 60), (60, bad), (60, until("03:00"), bad), (0.001, bad)):
        with pytest.raises(InvalidLifetimeError):
            expires_at(earliest(*lifetimes), 1_000.0)


@given(moments, st.lists(st.none() | st.floats(1, 1e6) | st.just(until("03:00")), max_size=4))
def test_earliest_ends_with_its_first_part(now: float, parts: list[Lifetime]) -> None:
    """None among them limits nothing; only Nones, or nothing, is never."""
    moments_ = [moment for part in parts if (moment := expires_at(part, now)) is not None]
    assert expires_at(earliest(*parts), now) == min(moments_, default=None)


def test_earliest_of_earliest() -> None:
    """They nest."""
    assert expires_at(earliest(earliest(50, 30), None, timedelta(seconds=40)), 100.0) == 130.0


def test_an_own_rule_is_a_lifetime() -> None:
    """Anything that says when what is written now expires."""

    class NextHour:
        def expires_at(self, now: float) -> float:
            return (now // 3600 + 1) * 3600

    assert expires_at(NextHour(), 3_601.0) == 7_200.0
    assert expires_at(earliest(NextHour(), 60), 3_601.0) == 3_661.0


@pytest.mark.parametrize(
    "lifetime, words",
    [
        (None, "no expiry"),
        (60, "60 s"),
        (0.5, "0.5 s"),
        (timedelta(minutes=5), "300 s"),
        (until("03:00"), "until 03:00 Asia/Kolkata"),
        (until("03:00:30", "UTC"), "until 03:00:30 UTC"),
        (earliest(300, until("03:00")), "300 s, or until 03:00 Asia/Kolkata"),
    ],
)
def test_lifetimes_in_words(lifetime: Lifetime, words: str) -> None:
    """For diagnostics and messages."""
    assert describe(lifetime) == words


def test_lifetimes_of_equal_meaning_are_equal() -> None:
    """So that two requests for one cache can be compared."""
    assert until("03:00") == until(time(3), "Asia/Kolkata")
    assert until("03:00") != until("03:00", "UTC")
    assert earliest(60, until("03:00")) == earliest(60, until("03:00"))
    assert math.isclose(expires_at(earliest(60), 0.0) or 0.0, 60.0)

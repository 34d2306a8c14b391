"""When a strategy is due, and when it is to start next."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openalgo_host.india import INDIA
from openalgo_host.strategies import RefusedStrategyError
from openalgo_host.strategies.schedule import Schedule, due_since, is_due, next_start

DAY = 86_400.0
MARKET = Schedule.parse({"from": "09:15", "to": "15:30", "holidays": ["2026-03-04"]})


def moment(text: str) -> float:
    """Return a moment in India, in seconds since the epoch."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=INDIA).timestamp()


minutes = st.integers(0, 1439)
moments = st.floats(moment("2020-01-01"), moment("2040-01-01"))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Make any schedule."""
    opens, closes = sorted(draw(st.sets(minutes, min_size=2, max_size=2)))
    days = draw(st.sets(st.integers(0, 6), min_size=1))
    near = st.dates(datetime.date(2026, 1, 1), datetime.date(2026, 3, 1))
    holidays = draw(st.frozensets(near, max_size=20))
    return Schedule(_time(opens), _time(closes), frozenset(days), holidays)


def _time(minute: int) -> datetime.time:
    return datetime.time(*divmod(minute, 60))


@pytest.mark.parametrize(
    "now, due, following",
    [
        ("2026-03-02T09:14:59", False, "2026-03-02T09:15"),
        ("2026-03-02T09:15", True, "2026-03-03T09:15"),
        ("2026-03-02T15:29:59", True, "2026-03-03T09:15"),
        ("2026-03-02T15:30", False, "2026-03-03T09:15"),
        ("2026-03-03T23:00", False, "2026-03-05T09:15"),
        ("2026-03-04T10:00", False, "2026-03-05T09:15"),
        ("2026-03-07T10:00", False, "2026-03-09T09:15"),
    ],
)
def test_market_hours(now: str, due: bool, following: str) -> None:
    """Monday to Friday unless other days are named, and not on holidays; the end is no part of it."""
    assert is_due(MARKET, moment(now)) is due
    assert next_start(MARKET, moment(now)) == moment(following)


def test_without_a_schedule() -> None:
    """Always."""
    assert is_due(None, 0.0)
    assert next_start(None, 0.0) is None


@given(schedules(), moments)
def test_the_next_start_begins_a_window(schedule: Schedule, now: float) -> None:
    """It lies ahead; there it is due, a moment before not, and in between no other window begins."""
    start = next_start(schedule, now)
    assert start is not None
    assert start > now
    assert due_since(schedule, start) == start
    assert due_since(schedule, start - 0.001) != start
    since = due_since(schedule, (now + start) / 2)
    assert since is None or since <= now


@given(schedules(), moments)
def test_while_it_is_due(schedule: Schedule, now: float) -> None:
    """The window began on the same day, on one of its days, at its time."""
    since = due_since(schedule, now)
    assert is_due(schedule, now) is (since is not None)
    if since is not None:
        began = datetime.datetime.fromtimestamp(since, INDIA)
        assert since <= now < since + DAY
        assert began.time() == schedule.opens
        assert began.weekday() in schedule.days
        assert began.date() not in schedule.holidays


@given(schedules())
def test_the_api_has_it_as_it_is(schedule: Schedule) -> None:
    """What is shown is what can be given."""
    assert Schedule.parse(schedule.fields()) == schedule


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"from": "9:15"}, "from is a time such as 09:15"),
        ({"to": "24:00"}, "to is a time"),
        ({"to": None}, "to is a time"),
        ({"from": "15:30"}, "from must be earlier than to"),
        ({"days": []}, "days of a schedule"),
        ({"days": ["MONDAY"]}, "days of a schedule"),
        ({"days": [["MON"]]}, "days of a schedule"),
        ({"days": "MON"}, "days of a schedule"),
        ({"holidays": ["26-01-2026"]}, "2026-01-26, not"),
        ({"holidays": [7]}, "2026-01-26, not"),
        ({"holidays": ["2026-01-26"] * 367}, "up to 366"),
        ({"zone": "UTC"}, "no 'zone'"),
    ],
)
def test_what_is_no_schedule(changes: dict[str, Any], message: str) -> None:
    """The message says what would be one."""
    with pytest.raises(RefusedStrategyError, match=message):
        Schedule.parse({"from": "09:15", "to": "15:30", **changes})


def test_never() -> None:
    """A schedule whose every day is a holiday has no next start that could be shown."""
    year = [moment("2026-03-02") + day * DAY for day in range(366)]
    holidays = frozenset(datetime.datetime.fromtimestamp(day, INDIA).date() for day in year)
    schedule = MARKET._replace(holidays=holidays, days=frozenset({0}))
    assert next_start(schedule, year[0]) is None or next_start(schedule, year[0]) > year[-1]  # type: ignore[operator]

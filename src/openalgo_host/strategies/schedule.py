"""When a strategy runs: on which days of the week, except on which holidays, from when to when, in India."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from openalgo_host.india import INDIA
from openalgo_host.strategies.errors import RefusedStrategyError

DAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MARKET_DAYS: Final = DAYS[:5]
_MOST_HOLIDAYS: Final = 366
_LONGEST_PAUSE: Final = 370
"""Days for which a next start is looked for: beyond them are no holidays that anybody has listed."""
_is_time = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]").fullmatch


class Schedule(NamedTuple):
    """When a strategy runs.

    Attributes:
        opens: From when on each of its days, in India.
        closes: Until when, on the same day.
        days: On which days of the week; Monday is 0.
        holidays: On which dates not.
    """

    opens: time
    closes: time
    days: frozenset[int]
    holidays: frozenset[date] = frozenset()

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Schedule:
        """Read a schedule as the API has it.

        Args:
            fields: ``from`` and ``to`` (such as ``09:15``), ``days`` (such as ``["MON", "FRI"]``; left out, Monday to
                Friday), ``holidays`` (such as ``["2026-01-26"]``).

        Raises:
            RefusedStrategyError: It is none.
        """
        if unknown := sorted(set(fields) - {"from", "to", "days", "holidays"}):
            raise RefusedStrategyError(f"A schedule has from, to, days and holidays, and no {unknown[0]!r:.40}")
        opens, closes = _time(fields, "from"), _time(fields, "to")
        if opens >= closes:
            raise RefusedStrategyError("A schedule begins before it ends: from must be earlier than to")
        days = fields.get("days", MARKET_DAYS)
        if not isinstance(days, list | tuple) or not days or any(day not in DAYS for day in days):
            raise RefusedStrategyError(f"The days of a schedule are a list of some of {', '.join(DAYS)}")
        holidays = fields.get("holidays", [])
        if not isinstance(holidays, list | tuple) or len(holidays) > _MOST_HOLIDAYS:
            raise RefusedStrategyError(f"The holidays of a schedule are a list of up to {_MOST_HOLIDAYS} dates")
        return cls(opens, closes, frozenset(map(DAYS.index, days)), frozenset(map(_date, holidays)))

    def fields(self) -> dict[str, Any]:
        """Return it as the API has it."""
        return {
            "from": f"{self.opens:%H:%M}",
            "to": f"{self.closes:%H:%M}",
            "days": [DAYS[day] for day in sorted(self.days)],
            "holidays": [day.isoformat() for day in sorted(self.holidays)],
        }


def due_since(schedule: Schedule | None, now: float) -> float | None:
    """Return since when a strategy is to run; None if it is not to run now, or if it always is: see :func:`is_due`.

    Args:
        schedule: Its schedule; None for always.
        now: Seconds since the epoch.
    """
    if schedule is None:
        return None
    here = datetime.fromtimestamp(now, INDIA)
    if not _is_day(schedule, here.date()) or not schedule.opens <= here.time() < schedule.closes:
        return None
    return _moment(here.date(), schedule.opens)


def is_due(schedule: Schedule | None, now: float) -> bool:
    """Return whether a strategy is to run now.

    Args:
        schedule: Its schedule; None for always.
        now: Seconds since the epoch.
    """
    return schedule is None or due_since(schedule, now) is not None


def next_start(schedule: Schedule | None, now: float) -> float | None:
    """Return when a strategy is to start next, after now, in seconds since the epoch; None if it never is."""
    if schedule is None:
        return None
    today = datetime.fromtimestamp(now, INDIA).date()
    for ahead in range(_LONGEST_PAUSE):
        day = today + timedelta(days=ahead)
        if _is_day(schedule, day) and (start := _moment(day, schedule.opens)) > now:
            return start
    return None


def _is_day(schedule: Schedule, day: date) -> bool:
    return day.weekday() in schedule.days and day not in schedule.holidays


def _moment(day: date, at: time) -> float:
    return datetime.combine(day, at, INDIA).timestamp()


def _time(fields: Mapping[str, Any], name: str) -> time:
    text = fields.get(name)
    if not isinstance(text, str) or not _is_time(text):
        raise RefusedStrategyError(f"A schedule's {name} is a time such as 09:15")
    return time.fromisoformat(text)


def _date(text: object) -> date:
    try:
        return datetime.strptime(text if isinstance(text, str) else "", "%Y-%m-%d").date()  # noqa: DTZ007  # a day, no moment
    except ValueError:
        raise RefusedStrategyError(f"A holiday is a date such as 2026-01-26, not {text!r:.40}") from None

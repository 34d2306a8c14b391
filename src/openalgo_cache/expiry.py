"""Lifetimes become absolute here, once; nothing else does arithmetic on them.

Two words are never mixed: a *ttl* is relative (seconds), an *expires_at* is absolute (seconds since the epoch, or None
for never) and is what travels below the handle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from openalgo_cache.errors import InvalidLifetimeError

_LONGEST = 1e11
"""Seconds, about 3,000 years: beyond it a float loses the microseconds, and the number is surely a mistake."""

_DAYTIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class Rule(Protocol):
    """A lifetime that is evaluated anew at every ``set``."""

    def expires_at(self, now: float) -> float | None:
        """Return when an entry written at ``now`` expires."""
        ...


Lifetime = float | timedelta | Rule | None
"""Seconds (int or float), a timedelta, a rule such as :func:`until`, or None for an entry that never expires."""


@dataclass(frozen=True, slots=True)
class Until:
    """Expires at the next occurrence of a time of day in a zone; made by :func:`until`."""

    at: time
    zone: ZoneInfo

    def expires_at(self, now: float) -> float:
        """Return the first such moment strictly after ``now``, across midnight and changes of the clocks."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for days in range(3):
            moment = datetime.combine(today + timedelta(days=days), self.at, self.zone)
            if (first := moment.timestamp()) > now:
                return first
            # Later than the first only where the clocks go back, and show the time a second time.
            if (second := moment.replace(fold=1).timestamp()) > now:
                return second
        raise AssertionError("a day without a tomorrow")  # pragma: no cover

    def __str__(self) -> str:
        return (
            f"until {self.at:%H:%M:%S} {self.zone.key}" if self.at.second else f"until {self.at:%H:%M} {self.zone.key}"
        )


@dataclass(frozen=True, slots=True)
class Earliest:
    """Expires when the first of its parts does; made by :func:`earliest`."""

    parts: tuple[Lifetime, ...]

    def expires_at(self, now: float) -> float | None:
        """Return the earliest expiry among the parts; None only if every part is None."""
        moments = [moment for part in self.parts if (moment := expires_at(part, now)) is not None]
        return min(moments, default=None)

    def __str__(self) -> str:
        return ", or ".join(describe(part) for part in self.parts)


def until(at: str | time, tz: str = "Asia/Kolkata") -> Until:
    """Make a lifetime that ends at a time of day, computed anew at every ``set``.

    Args:
        at: ``"HH:MM"``, ``"HH:MM:SS"`` or a ``datetime.time`` without a zone.
        tz: The zone's name in the IANA database.

    Raises:
        InvalidLifetimeError: The time cannot be read or the zone is unknown.
    """
    if isinstance(at, str):
        match = _DAYTIME.fullmatch(at.strip())
        if match is None:
            raise InvalidLifetimeError(f"a time of day reads HH:MM or HH:MM:SS, not {at!r}")
        at = time(int(match[1]), int(match[2]), int(match[3] or 0))
    elif at.tzinfo is not None:
        raise InvalidLifetimeError("give the zone as tz=..., and the time of day without one")
    try:
        return Until(at, ZoneInfo(tz))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidLifetimeError(
            f"unknown time zone {tz!r}: use a name such as 'Asia/Kolkata' (on Windows the package tzdata supplies them)"
        ) from error


def earliest(*lifetimes: Lifetime) -> Lifetime:
    """Make a lifetime that ends when the first of ``lifetimes`` does.

    Raises:
        InvalidLifetimeError: One of them is no possible number of seconds.
    """
    limits = [lifetime for lifetime in lifetimes if lifetime is not None]
    fixed = [_seconds(limit) for limit in limits if isinstance(limit, int | float | timedelta)]
    for seconds in fixed:
        expires_at(seconds, 0.0)  # a shorter one must not hide one that is impossible
    rules = [limit for limit in limits if not isinstance(limit, int | float | timedelta)]
    parts: tuple[Lifetime, ...] = (*([min(fixed)] if fixed else []), *rules)
    return parts[0] if len(parts) == 1 else Earliest(parts) if parts else None


def expires_at(lifetime: Lifetime, now: float) -> float | None:
    """Turn a lifetime into the moment at which an entry written at ``now`` expires.

    Args:
        lifetime: See :data:`Lifetime`.
        now: Seconds since the epoch.

    Returns:
        Seconds since the epoch, or None for never.

    Raises:
        InvalidLifetimeError: The lifetime is not positive, not finite, absurdly long, or of a wrong type.
    """
    kind = type(lifetime)
    if kind is int or kind is float:
        seconds: float = lifetime  # type: ignore[assignment]  # narrowed by exact type: bool must not pass as an int
    elif lifetime is None:
        return None
    elif isinstance(lifetime, timedelta):
        seconds = lifetime.total_seconds()
    elif hasattr(lifetime, "expires_at"):
        return lifetime.expires_at(now)
    else:
        raise InvalidLifetimeError(
            f"a lifetime is seconds (int or float), a timedelta, until(...), or None for never, not {kind.__name__}"
        )
    if not 0 < seconds <= _LONGEST:
        hint = (
            "use ttl=None for an entry that never expires"
            if seconds == seconds  # noqa: PLR0124  # math.isnan refuses an int that is too large for a float
            else "nan is not a number of seconds"
        )
        raise InvalidLifetimeError(f"a lifetime must be more than 0 and at most {_LONGEST:.0e} seconds: {hint}")
    return now + seconds


def describe(lifetime: Lifetime) -> str:
    """Say a lifetime in words, for diagnostics and error messages."""
    if lifetime is None:
        return "no expiry"
    if isinstance(lifetime, int | float | timedelta):
        return f"{_seconds(lifetime):g} s"
    return str(lifetime)


def _seconds(fixed: float | timedelta) -> float:
    return fixed.total_seconds() if isinstance(fixed, timedelta) else fixed

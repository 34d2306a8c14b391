"""Time zones in records: none, UTC, a fixed offset, a ZoneInfo, or a pytz zone (where the application uses pytz)."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from openalgo_cache.errors import UnreadableRecordError, UnsupportedValueError

_NONE: Final = 0
_UTC: Final = 1
_OFFSET: Final = 2
_ZONEINFO: Final = 3
_PYTZ: Final = 4

Moment = TypeVar("Moment", datetime, time)


def parts(moment: datetime | time) -> tuple[int, Any]:
    """Return the kind and the detail that :func:`attach` makes the zone of ``moment`` from.

    Raises:
        UnsupportedValueError: The zone is of a kind that could not be rebuilt.
    """
    zone = moment.tzinfo
    if zone is None:
        return _NONE, None
    if zone is UTC:
        return _UTC, None
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]  # how pickle and copy see it, too
        return _OFFSET, [offset.days, offset.seconds, offset.microseconds, *name]
    if type(zone) is ZoneInfo and zone.key is not None:
        return _ZONEINFO, zone.key
    if _is_pytz(zone) and isinstance(moment, datetime):
        place: str = zone.zone  # type: ignore[attr-defined]  # pytz's own attribute
        seconds = (moment.utcoffset() or timedelta(0)).total_seconds()
        if not _is_localized(moment, place, seconds):
            raise UnsupportedValueError(
                f"has the pytz zone {place} with an offset that it does not have at that time: "
                "make such datetimes with zone.localize(...) or datetime.now(zone)"
            )
        return _PYTZ, [place, seconds]
    kind = type(zone)
    raise UnsupportedValueError(
        f"has the time zone type {kind.__module__}.{kind.__qualname__}: "
        "timezone.utc, a fixed timezone, ZoneInfo and pytz can be given back unchanged"
    )


def attach(moment: Moment, kind: int, detail: Any) -> Moment:
    """Return ``moment`` with the zone that ``kind`` and ``detail`` describe."""
    if kind == _NONE:
        return moment
    if kind == _UTC:
        return moment.replace(tzinfo=UTC)
    if kind == _OFFSET:
        days, seconds, microseconds, *name = detail
        return moment.replace(tzinfo=timezone(timedelta(days, seconds, microseconds), *name))
    if kind == _ZONEINFO:
        try:
            return moment.replace(tzinfo=ZoneInfo(detail))
        except ZoneInfoNotFoundError:
            raise UnreadableRecordError("a record uses a time zone that this machine does not know") from None
    if kind == _PYTZ and isinstance(moment, datetime):
        return _attach_pytz(moment, *detail)
    raise UnreadableRecordError("a record uses an unknown kind of time zone")


def _attach_pytz(moment: datetime, name: str, offset: float) -> datetime:
    try:
        import pytz  # noqa: PLC0415  # only where the application itself uses it
    except ImportError:
        raise UnreadableRecordError("a record uses a pytz time zone, and pytz is not installed here") from None
    local: datetime = pytz.timezone(name).fromutc(moment - timedelta(seconds=offset))
    return local.replace(fold=moment.fold)


def _is_localized(moment: datetime, name: str, offset: float) -> bool:
    """Return whether attaching the zone anew gives the same wall time and the same offset."""
    wall = moment.replace(tzinfo=None)
    try:
        again = _attach_pytz(wall, name, offset)
    except OverflowError:  # too near to the first or the last year
        return False
    return again.tzinfo is moment.tzinfo and again.replace(tzinfo=None) == wall


def _is_pytz(zone: tzinfo) -> bool:
    return type(zone).__module__.partition(".")[0] == "pytz" and isinstance(getattr(zone, "zone", None), str)

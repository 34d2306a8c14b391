"""Time in India, where the market is."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

INDIA: Final = ZoneInfo("Asia/Kolkata")


def midnight(now: float) -> float:
    """Return when this day began in India, in seconds since the epoch."""
    return datetime.fromtimestamp(now, INDIA).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()

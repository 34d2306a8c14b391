"""Price paths: what something costs at a moment, as a pure function of its name, a seed and the time.

No instance has to tell another one what a price is, a test can say what it will be, and a restart changes nothing.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Final, NamedTuple

_WAVES: Final = ((41.0, 0.0004), (433.0, 0.0012), (3_571.0, 0.004), (25_013.0, 0.008), (604_801.0, 0.02))
"""Periods in seconds, and how far each swings to either side, as a share of the price."""
_CHEAPEST: Final = 40.0
_DEAREST: Final = 4_000.0


class _Wave(NamedTuple):
    period: float
    swing: float
    phase: float


def factor(seed: int, name: str, at: float) -> float:
    """Return by what a price is above or below its base.

    Args:
        seed: Of the whole market.
        name: Of what is priced.
        at: Seconds since the epoch.
    """
    return 1.0 + sum(swing * math.sin(math.tau * at / period + phase) for period, swing, phase in _waves(seed, name))


def base(seed: int, name: str) -> float:
    """Return the base price of something of which nothing else is known; low prices are as likely as high ones."""
    return float(_CHEAPEST * (_DEAREST / _CHEAPEST) ** share(seed, name))


def share(seed: int, name: str) -> float:
    """Return a number from 0 up to 1 that belongs to a name."""
    return int.from_bytes(_digest(seed, name)[-8:], "big") / 2**64


@lru_cache(maxsize=4096)
def _waves(seed: int, name: str) -> tuple[_Wave, ...]:
    digest = _digest(seed, name)
    return tuple(
        _Wave(period, swing, math.tau * digest[nth] / 256) for nth, (period, swing) in enumerate(_WAVES, start=8)
    )


def _digest(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=32).digest()

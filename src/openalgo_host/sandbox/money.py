"""Money: whole numbers of a hundredth of a paisa, so that sums are exact. The finest tick there is has 25 of them."""

from __future__ import annotations

from typing import Final

UNIT: Final = 10_000
"""Units in a rupee."""


def to_units(rupees: float) -> int:
    """Return rupees in units."""
    return round(rupees * UNIT)


def to_rupees(units: float) -> float:
    """Return units in rupees, to four places."""
    return round(units / UNIT, 4)

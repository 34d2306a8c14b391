"""Contenders that are timed in turn, so that whatever else the machine does befalls all of them alike.

Every contender runs once in each of many short rounds; the best round of each is what counts, since noise only ever
adds time. The median is shown beside it.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds an operation took: in the best round, and in the median one."""

    best: float
    median: float


Contender = Callable[[], object]


def contest(contenders: Mapping[str, Contender], *, operations: int, rounds: int) -> dict[str, Timing]:
    """Time contenders against each other.

    Args:
        contenders: For each its name and a function that does ``operations`` operations.
        operations: How many that is; long enough for a clock, short enough to fall between two disturbances.
        rounds: How often each of them runs, not counting the first time, which warms it up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for work in contenders.values():
        work()
    turns, order = list(contenders.items()), random.Random(1)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in turns:
                started = perf_counter()
                work()
                seconds[name].append(perf_counter() - started)
            order.shuffle(turns)  # else one of them would always find the processor's caches as it left them
    finally:
        gc.enable()
    return {name: Timing(min(taken) / operations, median(taken) / operations) for name, taken in seconds.items()}


def note(ours: Timing, theirs: Timing) -> str:
    """Return both sides of a ratio, and what the ratio is between the median rounds."""
    return f"{_shown(ours.best)} : {_shown(theirs.best)}; medians {ours.median / theirs.median:.2f}"


def _shown(seconds: float) -> str:
    nanoseconds = seconds * 1e9
    return f"{nanoseconds:,.0f} ns" if nanoseconds < 10_000 else f"{nanoseconds / 1000:,.1f} us"

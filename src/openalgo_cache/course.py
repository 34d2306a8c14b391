"""Waiting, written once: a course is a generator that says when to wait and when to load.

Its callers, plain and async, drive it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, TypeVar

_FIRST_PAUSE: Final = 0.000_5
_LONGEST_PAUSE: Final = 0.02

LOAD: Final = -1.0
"""What a course yields when it is time to load; anything else is seconds to wait."""

T = TypeVar("T")
Course = Generator[float, Any, T]


def pauses() -> Iterator[float]:
    """Yield seconds to wait for something that others do, each time longer, up to a bound."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def nothing() -> None:
    """Stand in for a loader in a course that loads nothing."""


def drive(steps: Course[T], load: Callable[[], Any] = nothing) -> T:
    """Drive a course, waiting with ``time.sleep`` (which eventlet and gevent patch, so that greenlets make way)."""
    try:
        step = next(steps)
        while True:
            if step != LOAD:
                time.sleep(step)
                step = next(steps)
                continue
            try:
                value = load()
            except BaseException as error:  # noqa: BLE001  # passed on to the course, which raises it
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the course returns

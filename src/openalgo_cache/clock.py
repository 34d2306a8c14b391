"""Where the time comes from: one callable, handed in, so that tests can turn the hands."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns the present as seconds since the epoch (UTC), like :func:`time.time`."""

system_clock: Clock = time.time

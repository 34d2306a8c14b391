"""Rate limits: how often a user may call, counted in the cache that all instances share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from openalgo_host.errors import StartError

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

_PERIODS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_parse = re.compile(r"([1-9][0-9]{0,6}) per (second|minute|hour|day)").fullmatch


class Rate(NamedTuple):
    """So many calls in so many seconds."""

    calls: int
    seconds: int

    @classmethod
    def parse(cls, variable: str, text: str) -> Rate:
        """Read a rate such as ``50 per second``.

        Args:
            variable: Where the text stood.
            text: The rate.

        Raises:
            StartError: It is none.
        """
        found = _parse(text)
        if found is None:
            raise StartError(
                f"{variable}={text!r:.40} is no rate: give one such as '50 per second' or '10 per minute'."
            )
        return cls(int(found[1]), _PERIODS[found[2]])


class RateLimit:
    """One limit. Windows are fixed: at the border of two, twice as many calls may pass.

    Args:
        manager: Where the cache comes from that counts. While its store fails every call passes.
        name: Of what.
        rate: How many calls.
        clock: Where the time comes from.
    """

    def __init__(self, manager: CacheManager, name: str, rate: Rate, clock: Callable[[], float]) -> None:
        self._counts: Cache = manager.get_cache(f"{name}_rate", ttl=2 * rate.seconds, maxsize=10_000)
        self._rate = rate
        self._clock = clock

    def admits(self, who: int) -> bool:
        """Count a call of a user, by number; return whether it is within the limit."""
        window = int(self._clock() // self._rate.seconds)
        return self._counts.incr(f"{who}/{window}") <= self._rate.calls

    def __str__(self) -> str:
        period = next(name for name, seconds in _PERIODS.items() if seconds == self._rate.seconds)
        return f"{self._rate.calls} per {period}"


class Limits(NamedTuple):
    """The limits of the API.

    Attributes:
        calls: Of every call that has none of its own.
        orders: Of placing, modifying and cancelling orders.
        smart_orders: Of smart orders.
        webhooks: Of messages to one webhook; ``who`` is its number.
    """

    calls: RateLimit
    orders: RateLimit
    smart_orders: RateLimit
    webhooks: RateLimit


class Rates(NamedTuple):
    """How often what may be called: API_, ORDER_, SMART_ORDER_ and WEBHOOK_RATE_LIMIT."""

    calls: Rate = Rate(50, 1)
    orders: Rate = Rate(10, 1)
    smart_orders: Rate = Rate(2, 1)
    webhooks: Rate = Rate(100, 60)

    def limits(self, manager: CacheManager, clock: Callable[[], float]) -> Limits:
        """Return what enforces them."""
        return Limits(
            RateLimit(manager, "api", self.calls, clock),
            RateLimit(manager, "order", self.orders, clock),
            RateLimit(manager, "smart_order", self.smart_orders, clock),
            RateLimit(manager, "webhook", self.webhooks, clock),
        )


USUAL: Final = Rates()

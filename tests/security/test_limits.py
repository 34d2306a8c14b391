"""What is too large, too long or no number is refused by every verb, on every backend, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import InvalidLifetimeError, ValueTooLargeError
from openalgo_cache.sentinels import MISSING
from tests.security.attack import Attack
from tests.security.stores import BACKENDS, Ground, ground_on

CAP = 4096
NAMES = ("quotes", "user_strategies", "broker", "running_strategies")

LIFETIMES: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "2^64": 2**64,
    "10^400": 10**400,
    "0": 0,
    "-0.0": -0.0,
    "-1": -1,
    "True": True,
    "False": False,
    "the longest timedelta and one that is negative": timedelta.min,
    "a text": "300",
    "a complex number": 300j,
    "a list": [300],
}

on_each_backend = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.server] if name in {"redis", "valkey"} else []) for name in BACKENDS],
)

Write = Callable[[Cache, Any, Any], object]

WRITES: dict[str, Write] = {
    "set": lambda cache, value, ttl: cache.set("key", value, ttl),
    "set with tags": lambda cache, value, ttl: cache.set("key", value, ttl, tags=("desk",)),
    "set with an epoch": lambda cache, value, ttl: cache.set("key", value, ttl, epoch=1),
    "set_many": lambda cache, value, ttl: cache.set_many({"fine": 1, "key": value}, ttl),
    "add": lambda cache, value, ttl: cache.add("key", value, ttl),
    "get_or_set": lambda cache, value, ttl: cache.get_or_set("key", lambda: value, ttl),
    "aio.set": lambda cache, value, ttl: asyncio.run(_set(cache, value, ttl)),
}


async def _set(cache: Cache, value: object, ttl: Any) -> None:
    await cache.aio.set("key", value, ttl)


@pytest.fixture
def ground(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """The backend of the test."""
    with closing(ground_on(name, tmp_path, request.getfixturevalue)) as one:
        yield one


def caches(ground: Ground, **settings: Any) -> list[Cache]:
    """Return one cache of each kind."""
    house = ground.house(**settings)
    return [house.get_cache(name) for name in NAMES if (name, ground.name) != ("running_strategies", "memory")]


@on_each_backend
@pytest.mark.attack("limits", "values over the cap")
def test_values_over_the_cap(ground: Ground, attack: Attack) -> None:
    """Refused with the two sizes and without the value, whichever verb brings it; what was there stays."""
    value = "planted-secret" * CAP
    for cache in caches(ground, cache_max_value_bytes=CAP):
        for verb, write in WRITES.items():
            cache.clear()
            with pytest.raises(ValueTooLargeError, match=f"at most {CAP:,}") as refusal:
                write(cache, value, 100)
            attack.tried(succeeded="planted" in str(refusal.value), what=f"{verb} told the value")
            attack.tried(succeeded=cache.get("key", MISSING) is not MISSING or cache.size() > 1, what=verb)
        cache.set("key", "x" * (CAP - 3))
        assert cache.get("key") == "x" * (CAP - 3), "just below it"


@on_each_backend
@pytest.mark.attack("limits", "lifetimes that are none")
def test_lifetimes_that_are_none(ground: Ground, attack: Attack) -> None:
    """NaN, infinities, 2^64, bools and the like: refused by every verb that takes one, and nothing is stored."""
    for cache in caches(ground):
        for what, ttl in LIFETIMES.items():
            verbs = dict(WRITES)
            verbs["touch"] = lambda cache, _, ttl: cache.touch("other", ttl)
            verbs["lock"] = lambda cache, _, ttl: cache.lock("name", ttl=ttl).__enter__()
            cache.set("other", 1, 1000)
            for verb, write in verbs.items():
                try:
                    write(cache, 1, ttl)
                    refused = False
                except InvalidLifetimeError:
                    refused = True
                stored = cache.get("key", MISSING, epoch=1 if "epoch" in verb else None)
                attack.tried(succeeded=not refused or stored is not MISSING, what=f"{verb} with {what}")
            left = cache.ttl("other")
            attack.tried(succeeded=left is None or not 0 < left <= 1000, what=f"{left} after {what}")

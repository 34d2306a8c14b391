"""Weak points 14 to 17: None, races, keys, lifetimes and floods, by which a cache can be made to do harm."""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis

from openalgo_cache import MISSING, CacheError
from openalgo_cache.testing import FakeClock
from tests.security.attack import Attack
from tests.security.conftest import SUBJECTS
from tests.security.proposal.wrappers import ValidatedCache
from tests.security.subjects import OnFile, Subject

pytestmark = pytest.mark.server

YEAR = 365 * 86400
INDIA = ZoneInfo("Asia/Kolkata")


# 14: what is not there, and what is None


@pytest.mark.attack("14", "a question that is asked again for ever, since its answer is None")
def test_14_none_is_a_value(anywhere: Subject, attack: Attack) -> None:
    """A cached None is a hit: who asks for what is not there can't make the database work each time."""
    cache, loads = anywhere.cache("quotes"), []

    def load() -> None:
        loads.append(1)

    for _ in range(10):
        if anywhere.is_proposal:
            if cache.get("unknown") is None:
                load()
                cache.set("unknown", None)
        else:
            assert cache.get_or_set("unknown", load) is None
    attack.tried(succeeded=len(loads) > 1, what=len(loads))


@pytest.mark.attack("14", "a key that goes between the look and the read")
def test_14_one_atomic_read(subject: Subject, attack: Attack) -> None:
    """What is read is there or is not; nothing is found to be there, and then is not."""
    cache, over = subject.cache("quotes"), threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            cache.set("key", "value")
            cache.delete("key")

    def is_torn() -> bool:
        if subject.is_proposal:
            return cache.exists("key") and cache.get("key") is None
        return cache.get("key", MISSING) not in {"value", MISSING}

    other = threading.Thread(target=come_and_go)
    other.start()
    reads, torn, end = 0, False, time.monotonic() + (20 if subject.is_proposal else 0.5)
    while not torn and time.monotonic() < end:
        torn = is_torn()
        reads += 1
    over.set()
    other.join()
    attack.tried(succeeded=torn, times=reads)


# 15: keys


def stored(subject: Subject, key: str) -> bool:
    """Return whether a key is taken by a cache that looks at its keys, and found again."""
    cache = subject.cache("quotes")
    cache = ValidatedCache(cache) if subject.is_proposal else cache
    with suppress(ValueError):
        cache.set(key, 1)
        return bool(cache.get(key) == 1)
    return False


@pytest.mark.attack("15", "an honest key that is refused")
@pytest.mark.parametrize("key", ["M&M|NSE", "NIFTY 50", "BTCUSD.P", "auth-user@example.com", "रिलायंस"])
def test_15_honest_keys(subject: Subject, attack: Attack, key: str) -> None:
    """These are instruments and users."""
    attack.tried(succeeded=not stored(subject, key), what=key)


@pytest.mark.attack("15", "a key with a line break, taken for another")
@pytest.mark.parametrize("key", ["abc\n", "user_123\n"])
def test_15_line_break(subject: Subject, attack: Attack, key: str) -> None:
    """It would look like the other in a log and be another in the store."""
    attack.tried(succeeded=stored(subject, key), what=repr(key))


@pytest.mark.attack("15", "a clear that reaches other caches")
@pytest.mark.parametrize("name, other", [("a", "a:b"), ("*", "quotes"), ("[a-z]*", "quotes"), ("a", "a:")])
def test_15_clear_reaches_its_own(served: Subject, attack: Attack, name: str, other: str) -> None:
    """No two caches share a key, whatever their names, and a clear is no pattern."""
    there = False
    with suppress(CacheError):
        served.cache(other).set("key", "value")
        there = True
    with suppress(CacheError):
        served.cache(name).clear()
    attack.tried(succeeded=there and served.cache(other).get("key") is None, what=(name, other))


# 16: lifetimes


@pytest.mark.attack("16", "a lifetime of 0 that never ends, or is a driver's error")
def test_16_lifetime_of_zero(anywhere: Subject, attack: Attack) -> None:
    """It is refused, in the same way everywhere."""
    cache, harm = anywhere.cache("quotes"), False
    try:
        cache.set("key", "value", 0)
        harm = cache.get("key") == "value"
    except redis.RedisError:
        harm = True
    except ValueError as error:
        assert isinstance(error, CacheError)  # noqa: PT017  # the other subject raises none
    attack.tried(succeeded=harm)


@pytest.mark.attack("16", "a lifetime that is none")
@pytest.mark.parametrize("ttl", [math.nan, math.inf, -math.inf, -1, True, 1e400], ids=repr)
def test_16_lifetime_that_is_none(subject: Subject, attack: Attack, ttl: float) -> None:
    """NaN became NULL, and NULL for ever."""
    accepted = False
    with suppress(CacheError):
        subject.cache("quotes").set("key", "value", ttl)
        accepted = True
    attack.tried(succeeded=accepted, what=ttl)


@pytest.mark.attack("16", "a token that outlives the end of the session")
@pytest.mark.parametrize("name", ["auth", "feed_token", "api_keys_verified"])
@pytest.mark.parametrize("who", SUBJECTS)
def test_16_no_token_after_the_end_of_the_session(tmp_path: Path, attack: Attack, who: str, name: str) -> None:
    """Whatever lifetime it is given: at 03:00 in India everybody is logged out."""
    clock = FakeClock(datetime(2026, 3, 2, 22, 0, tzinfo=INDIA).timestamp())
    with closing(OnFile(who, tmp_path, clock)) as subject:
        cache = subject.cache(name)
        for key, ttl in {"given": {"ttl": 43200}, "left out": {}, "for ever": {"ttl": YEAR}}.items():
            cache.set(key, "token", **(ttl if ttl or who == "ours" else {"ttl": 43200}))
        clock.advance(5 * 3600 - 1)
        assert cache.get("given") == "token"
        clock.advance(2)
        for key in ("given", "left out", "for ever"):
            attack.tried(succeeded=cache.get(key) is not None, what=key)


# 17: floods


def flood(subject: Subject, name: str, count: int, **options: Any) -> Any:
    """Put many entries into a cache, as wrong API keys come in."""
    cache = subject.cache(name, **options)
    for number in range(count):
        cache.set(f"wrong key {number}", value=True)
    return cache


@pytest.mark.attack("17", "a flood of a cache with a bound")
def test_17_flood(subject: Subject, attack: Attack) -> None:
    """``maxsize`` holds on SQLite."""
    cache = flood(subject, "quotes", 150, maxsize=100)
    attack.tried(succeeded=cache.size() > 100, what=cache.size(), times=150)


@pytest.mark.attack("17", "a flood of wrong API keys")
def test_17_flood_of_wrong_keys(anywhere: Subject, attack: Attack) -> None:
    """They never come to the store that others use, and are bounded where they are."""
    options: dict[str, Any] = {"maxsize": 512, "ttl": 300} if anywhere.is_proposal else {}
    cache = flood(anywhere, "api_keys_invalid", 520, **options)
    attack.tried(succeeded=cache.size() > 512 or b"wrong key" in anywhere.contents(), times=520)

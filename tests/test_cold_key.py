"""One loader at a time across processes, on a file and on real servers; another follows a loader that dies."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from openalgo_cache.testing import FakeClock
from tests import cold_key
from tests.workers import PATIENCE

LEASE_SECONDS = 0.5
"""Of a loader that dies, in processes that are told so."""


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis_server", marks=pytest.mark.server),
        pytest.param("redis_cluster", marks=pytest.mark.server),
    ]
)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A store of each kind."""
    if request.param == "sqlite":
        return {"base_folder": tmp_path, "cache_backend": "sqlite"}
    brand = request.param.partition("_")[0]
    return {
        "base_folder": tmp_path,
        "cache_backend": brand,
        "cache_namespace": f"cold-{secrets.token_hex(6)}",
        **request.getfixturevalue(request.param).settings(),
    }


def test_of_a_hundred_threads_of_three_processes_one_loads(settings: dict[str, Any], tmp_path: Path) -> None:
    """And all of them get what it loaded."""
    loads, answers = cold_key.loads_of(settings, tmp_path, processes=3, threads=100)
    assert loads == 1
    assert len(answers) == 1


def test_another_takes_over_from_a_loader_that_was_killed(settings: dict[str, Any]) -> None:
    """Once its lease is over; until then nobody knows that it is dead."""
    cold_key.load_and_be_killed(settings, LEASE_SECONDS)
    house = CacheManager(Settings(**settings))
    cache = house.get_cache("quotes")
    started = time.monotonic()
    assert cache.get("key") is None
    assert cache.get_or_set("key", lambda: "taken over") == "taken over"
    assert time.monotonic() - started < PATIENCE
    assert cache.get("key") == "taken over"
    house.close()


def test_a_load_is_cancelled_by_another_process(settings: dict[str, Any]) -> None:
    """By whatever revokes the value, or the right to it."""
    houses = [CacheManager(Settings(**settings), FakeClock(time.time())) for _ in range(2)]
    cache, other = (house.get_cache("quotes") for house in houses)

    def load_while(change: str) -> str:
        if change == "set":
            other.set("key", "set meanwhile")
        elif change == "tag":
            other.clear(tag="tag")
        elif change == "delete":
            other.delete("key")
        else:
            other.clear()
        return "revoked"

    for change, left in (("delete", None), ("clear", None), ("tag", None), ("set", "set meanwhile")):
        other.delete("key")
        loaded = cache.get_or_set("key", lambda change=change: load_while(change), tags=("tag",))  # type: ignore[misc]
        assert loaded == "revoked"
        assert [cache.get("key"), other.get("key")] == [left, left]
    for house in houses:
        house.close()

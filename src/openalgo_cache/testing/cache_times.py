"""What a cache promises of lifetimes, and of loading what is not there."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import InvalidLifetimeError
from openalgo_cache.expiry import until
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing.rig import Contract, Rig
from openalgo_cache.testing.values import BAD_LIFETIMES


class CacheTimes(Contract):
    """Lifetimes and loads."""

    # --- lifetimes ----------------------------------------------------------------------------------------------------

    def test_an_expired_entry_is_absent(self, cache: Cache, rig: Rig) -> None:
        """For every verb, from near as from the store; what stays is not touched by it."""
        cache.set_many({"key": 1, "read": 2}, ttl=self.lifetime)
        cache.set("stays", 3)
        rig.clock.advance(self.lifetime / 2)
        assert cache.get_many(["key", "read", "stays"]) == {"key": 1, "read": 2, "stays": 3}
        assert cache.get("read") == 2
        rig.clock.advance(self.lifetime / 2)
        for key in ("key", "read"):
            assert cache.get(key, MISSING) is MISSING
            assert key not in cache
            assert cache.get_many([key]) == {}
            assert cache.touch(key, None) is False
            assert cache.pop(key, None) is None
            assert cache.delete(key) is False
            with pytest.raises(KeyError):
                cache.ttl(key)
        assert cache.size() == 1
        assert cache.add("key", "new") is True
        assert cache.get("key") == "new"
        assert cache.get("stays") == 3

    def test_lifetimes_come_in_several_forms(self, cache: Cache, rig: Rig) -> None:
        """Seconds as int or float, a timedelta, a time of day, None for never."""
        for ttl, expected in (
            (60, 60.0),
            (60.5, 60.5),
            (timedelta(minutes=2), 120.0),
            (timedelta(milliseconds=1500), 1.5),
            (10**10, 1e10),
        ):
            cache.set("key", 1, ttl=ttl)
            assert cache.ttl("key") == pytest.approx(expected, rel=1e-6, abs=0.5)
        cache.set("key", 1, ttl=until("03:00", tz="Asia/Kolkata"))
        left = cache.ttl("key")
        assert left is not None
        assert 0 < left <= 86_400
        assert (rig.clock() + left) % 86_400 == pytest.approx(21.5 * 3_600, abs=0.5)  # 03:00 at UTC+5:30
        cache.set("key", 1, ttl=None)
        assert cache.ttl("key") is None

    def test_left_out_is_the_caches_own_lifetime(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """For every verb that stores; a limit shortens whatever is asked for."""
        cache = rig.cache(lifetime=self.lifetime, limit=timedelta(seconds=self.lifetime * 2), **sealing)
        cache.set("set", 1)
        cache.set_many({"many": 1})
        cache.add("add", 1)
        cache["item"] = 1
        cache.update(update=1)
        cache.setdefault("setdefault", 1)
        cache.get_or_set("loaded", lambda: 1)
        cache.incr("incr")
        cache.set("touch", 1, ttl=None)
        cache.touch("touch")
        keys = ["set", "many", "add", "item", "update", "setdefault", "loaded", "incr", "touch"]
        cache.set("limited", 1, ttl=None)
        assert [cache.ttl(key) for key in keys] == pytest.approx([self.lifetime] * len(keys), abs=0.5)
        assert cache.ttl("limited") == pytest.approx(self.lifetime * 2, abs=0.5)
        rig.clock.advance(self.lifetime)
        assert list(cache.get_many([*keys, "limited"])) == ["limited"]

    def test_touch_gives_a_new_lifetime(self, cache: Cache, rig: Rig) -> None:
        """Longer or shorter, and leaves the value as it is."""
        cache.set("key", {"a": [1]}, ttl=self.lifetime)
        assert cache.touch("key", self.lifetime * 3) is True
        rig.clock.advance(self.lifetime * 2)
        assert cache.get("key") == {"a": [1]}
        assert cache.touch("key", None) is True
        assert cache.ttl("key") is None
        assert cache.touch("key", self.lifetime / 2) is True
        assert cache.get("key") == {"a": [1]}
        rig.clock.advance(self.lifetime / 2)
        assert cache.get("key") is None

    @pytest.mark.parametrize("limit", [None, 100.0])
    def test_impossible_lifetimes_are_refused(self, rig: Rig, sealing: dict[str, Any], limit: float | None) -> None:
        """By every verb that takes one, even where the cache has a shorter limit; nothing is stored or changed."""
        cache = rig.cache(limit=limit, **sealing)
        cache.set("there", 1, ttl=None)
        left = cache.ttl("there")
        for what, bad in BAD_LIFETIMES.items():
            for verb in (
                lambda bad=bad: cache.set("key", 1, bad),
                lambda bad=bad: cache.set_many({"key": 1}, bad),
                lambda bad=bad: cache.add("key", 1, bad),
                lambda bad=bad: cache.get_or_set("key", lambda: 1, bad),
                lambda bad=bad: cache.touch("there", bad),
                lambda bad=bad: cache.set("there", 2, bad),
            ):
                with pytest.raises(InvalidLifetimeError):
                    verb()
            assert cache.ttl("there") == (left if limit is None else pytest.approx(left, abs=0.5)), what
            assert cache.get("there") == 1, what
            assert cache.size() == 1, what

    # --- loading ------------------------------------------------------------------------------------------------------

    def test_get_or_set_loads_once(self, cache: Cache, rig: Rig) -> None:
        """What was loaded is kept, for its lifetime."""
        loads: list[int] = []

        def load() -> list[int]:
            loads.append(len(loads))
            return list(loads)

        assert cache.get_or_set("key", load, ttl=self.lifetime) == [0]
        assert cache.get_or_set("key", load, ttl=self.lifetime) == [0]
        assert cache.get("key") == [0]
        rig.clock.advance(self.lifetime)
        assert cache.get_or_set("key", load) == [0, 1]
        cache.delete("key")
        assert cache.get_or_set("key", load) == [0, 1, 2]
        assert cache.get_or_set("none", lambda: None) is None
        assert cache.get_or_set("none", load) is None

    def test_what_a_loader_raises_is_raised(self, cache: Cache) -> None:
        """And nothing is kept: the next call loads again."""
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", lambda: 1 // 0)
        assert cache.size() == 0
        assert "key" not in cache
        assert cache.get_or_set("key", lambda: "loaded") == "loaded"

    def test_a_change_while_loading_wins(self, cache: Cache) -> None:
        """What was set, deleted or cleared meanwhile does not give way to the older value that was being loaded."""

        def load_while(change: Any) -> str:
            change()
            return "loaded"

        for change, left in (
            (lambda: cache.set("key", "set"), "set"),
            (lambda: cache.set_many({"key": "many"}), "many"),
            (lambda: cache.add("key", "added"), "added"),
            (lambda: cache.delete("key"), None),
            (cache.clear, None),
            (lambda: cache.pop("key", None), None),
            (lambda: cache.incr("key"), 1),
        ):
            cache.delete("key")
            cache.get_or_set("key", lambda change=change: load_while(change))  # type: ignore[misc]
            assert cache.get("key") == left

    def test_cached_keeps_what_functions_return(self, cache: Cache, rig: Rig) -> None:
        """Plain and async ones, by their arguments or by a key that is made of them."""
        calls: list[Any] = []

        @cache.cached(key="double {number}", ttl=self.lifetime)
        def double(number: int, *, again: bool = False) -> int:  # noqa: ARG001  # no part of the key
            calls.append(number)
            return 2 * number

        @cache.cached()
        async def triple(number: int) -> int:
            calls.append(number)
            return 3 * number

        assert [double(2), double(2, again=True), double(number=2), double(3)] == [4, 4, 4, 6]
        assert calls == [2, 3]
        assert cache.get("double 2") == 4
        rig.clock.advance(self.lifetime)
        assert double(2) == 4
        assert calls == [2, 3, 2]
        assert [asyncio.run(triple(5)), asyncio.run(triple(5)), asyncio.run(triple(number=5))] == [15] * 3
        assert calls == [2, 3, 2, 5]

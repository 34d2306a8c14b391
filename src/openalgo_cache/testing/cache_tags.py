"""What a cache promises of tags: one call ends every entry that carries one, whoever is writing meanwhile."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import InvalidKeyError
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing.rig import Contract, Rig


class CacheTags(Contract):
    """Tags."""

    def test_a_cleared_tag_ends_its_entries(self, cache: Cache) -> None:
        """For every verb, from near as from the store; what does not carry it stays."""
        cache.set("one", 1, tags=("user:1", "desk"))
        cache.set_many({"two": 2, "three": 3}, tags=["desk"])
        cache.add("four", 4, tags={"user:1"})
        cache.set("plain", 5)
        cache.set("other", 6, tags=("user:2",))
        everything = {"one": 1, "two": 2, "three": 3, "four": 4, "plain": 5, "other": 6}
        assert cache.get_many(everything) == everything
        assert {key: cache.get(key) for key in everything} == everything
        assert cache.clear(tag="user:1") == 1
        left = {"two": 2, "three": 3, "plain": 5, "other": 6}
        for key in ("one", "four"):
            assert cache.get(key, MISSING) is MISSING
            assert key not in cache
            assert cache.touch(key) is False
            assert cache.pop(key, None) is None
            with pytest.raises(KeyError):
                cache.ttl(key)
        assert cache.get_many(everything) == left
        assert cache.clear(tag="user:1") == cache.clear(tag="nobody carries it") == 0
        cache.clear(tag="desk")
        assert cache.get_many(everything) == {"plain": 5, "other": 6}

    def test_what_is_stored_after_a_clear_stands(self, cache: Cache) -> None:
        """Under the same tag, and without it."""
        for turn in range(3):
            cache.set("key", turn, tags=("tag",))
            assert cache.get("key") == turn
            cache.clear(tag="tag")
            assert cache.get("key") is None
            assert cache.add("key", [turn], tags=("tag",)) is True
            assert cache.get("key") == [turn]
            cache.clear(tag="tag")
            assert cache.incr("key", 5) == 5
            cache.clear(tag="tag")
            assert cache.get("key") == 5  # as it was absent, the number carries nothing

    def test_a_new_value_has_its_own_tags_only(self, cache: Cache) -> None:
        """Those of the value before are forgotten with it."""
        cache.set("key", 1, tags=("old",))
        cache.set("key", 2)
        cache.clear(tag="old")
        assert cache.get("key") == 2
        cache.set("key", 3, tags=("new",))
        cache.clear(tag="old")
        assert cache.get("key") == 3
        cache.clear(tag="new")
        assert cache.get("key") is None

    def test_touch_and_incr_keep_the_tags(self, cache: Cache, rig: Rig) -> None:
        """And a longer life of the entry is a longer life of its tag."""
        cache.set("key", 1, ttl=self.lifetime, tags=("tag",))
        assert cache.incr("key") == 2
        assert cache.touch("key", self.lifetime * 4) is True
        rig.clock.advance(self.lifetime * 2)
        assert cache.get("key") == 2
        assert cache.touch("key", None) is True
        assert cache.get("key") == 2
        cache.clear(tag="tag")
        assert cache.get("key") is None

    def test_a_loaded_value_carries_tags(self, cache: Cache) -> None:
        """By ``get_or_set``, and by ``cached`` with tags made of the arguments."""
        loads: list[object] = []

        @cache.cached(key="double {number}", tags=("user:{user}", "doubles"))
        def double(number: int, user: str) -> int:  # noqa: ARG001  # it is part of a tag
            loads.append(number)
            return 2 * number

        assert cache.get_or_set("key", lambda: "loaded", tags=("user:ann",)) == "loaded"
        assert [double(1, "ann"), double(2, "bob"), double(1, "ann")] == [2, 4, 2]
        assert cache.get_many(["key", "double 1", "double 2"]) == {"key": "loaded", "double 1": 2, "double 2": 4}
        cache.clear(tag="user:ann")
        assert cache.get_many(["key", "double 1", "double 2"]) == {"double 2": 4}
        assert [double(1, "ann"), double(2, "bob")] == [2, 4]
        assert loads == [1, 2, 1]

    def test_what_is_loaded_while_its_tag_is_cleared_is_not_kept(self, cache: Cache) -> None:
        """Its caller gets it, and nobody else."""

        def load() -> str:
            cache.clear(tag="tag")
            return "revoked"

        assert cache.get_or_set("key", load, tags=("tag",)) == "revoked"
        assert cache.get("key") is None
        assert cache.get_or_set("key", lambda: "anew", tags=("tag",)) == "anew"
        assert cache.get("key") == "anew"

    def test_a_tag_has_no_entry_of_its_own(self, cache: Cache) -> None:
        """Neither can it be read, nor does ``clear`` leave it behind."""
        cache.set("key", 1, tags=("tag",))
        for key in ("tag", "!gtag", "!g", ("g", "tag")):
            assert cache.get(key) is None
            assert cache.delete(key) is False
        assert cache.get("key") == 1
        cache.clear()
        assert cache.size() == 0

    def test_impossible_tags_are_refused(self, cache: Cache) -> None:
        """By every verb that takes some; nothing is stored."""
        bad: list[Any] = ["tag", (1,), (None,), (b"tag",), ("a\n",), ("a" * 513,), [f"{n}" for n in range(256)]]
        for tags in bad:
            for verb in (
                lambda tags=tags: cache.set("key", 1, tags=tags),
                lambda tags=tags: cache.set_many({"key": 1}, tags=tags),
                lambda tags=tags: cache.add("key", 1, tags=tags),
                lambda tags=tags: cache.get_or_set("key", lambda: 1, tags=tags),
            ):
                with pytest.raises(InvalidKeyError):
                    verb()
        with pytest.raises(InvalidKeyError):
            cache.clear(tag=1)  # type: ignore[arg-type]
        assert cache.size() == 0
        cache.set("key", 1, tags=[f"{n}" for n in range(255)])
        assert cache.get("key") == 1
        cache.clear(tag="254")
        assert cache.get("key") is None

    def test_no_write_outlives_a_clear_that_came_after_it(self, cache: Cache) -> None:
        """Whatever several threads write meanwhile: after the clear, everything that was there before it is gone."""

        def write(thread: int) -> None:
            for number in range(8):
                cache.set(f"{thread}", number, tags=("tag", f"{thread}"))

        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                writing = [pool.submit(write, thread) for thread in range(3)]
                while not all(one.done() for one in writing):
                    cache.clear(tag="tag")
                for one in writing:
                    one.result()
                cache.clear(tag="tag")
                assert cache.get_many("012") == {}

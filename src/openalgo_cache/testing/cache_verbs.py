"""What a cache promises of its verbs: reading, writing, counting, and what it tells."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import InvalidKeyError, UnsupportedValueError
from openalgo_cache.keys import Key
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing.rig import Contract, Rig
from openalgo_cache.testing.values import same


class CacheVerbs(Contract):
    """The verbs that do not depend on time."""

    # --- reading and writing ------------------------------------------------------------------------------------------

    def test_nothing_is_there_at_first(self, cache: Cache) -> None:
        """Each verb has its own way to say that nothing is there."""
        assert cache.get("key") is None
        assert cache.get("key", 5) == 5
        assert cache.get("key", MISSING) is MISSING
        assert cache.get_many(["key", "other"]) == {}
        assert cache.exists("key") is False
        assert "key" not in cache
        assert cache.delete("key") is False
        assert cache.delete_many(["key", "other"]) == 0
        assert cache.touch("key") is False
        assert cache.pop("key", 5) == 5
        assert cache.pop("key", None) is None
        assert cache.pop("key", MISSING) is MISSING
        assert cache.clear() == 0
        assert cache.size() == len(cache) == 0
        for verb in (lambda: cache["key"], lambda: cache.pop("key"), lambda: cache.ttl("key")):
            with pytest.raises(KeyError):
                verb()
        with pytest.raises(KeyError):
            del cache["key"]

    def test_set_replaces(self, cache: Cache) -> None:
        """The last value counts."""
        cache.set("key", 1)
        assert cache.get("key") == 1
        cache.set("key", "two")
        assert cache.get("key") == "two"
        cache["key"] = [3]
        assert cache["key"] == [3]
        assert cache.size() == 1

    def test_delete_and_clear(self, cache: Cache) -> None:
        """They say how many entries were there; what is gone is gone for every verb."""
        cache.set_many({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
        assert cache.get("a") == 1
        assert cache.delete("a") is True
        assert cache.get("a") is None
        assert cache.delete_many(["b", "b", "nothing", "a"]) == 1
        del cache["c"]
        assert sorted(cache.get_many("abcde")) == ["d", "e"]
        assert cache.clear() == 2
        assert cache.get_many("abcde") == {}
        assert cache.size() == 0

    def test_bulk_verbs_of_a_cache(self, cache: Cache) -> None:
        """They do what the single verbs do."""
        items: dict[Key, Any] = {f"key {number}": {"n": number} for number in range(120)}
        cache.set_many(items)
        assert cache.get("key 7") == {"n": 7}
        assert cache.get_many([*items, "absent"]) == items
        assert cache.get_many(iter(["key 1", "key 1"])) == {"key 1": {"n": 1}}
        assert cache.delete_many(f"key {number}" for number in range(20)) == 20
        assert cache.size() == 100
        cache.set_many({})
        assert cache.get_many([]) == {}
        assert cache.delete_many([]) == 0

    def test_set_many_stores_all_or_nothing(self, cache: Cache) -> None:
        """One bad item, and none is stored."""
        with pytest.raises(UnsupportedValueError):
            cache.set_many({"good": 1, "bad": object()})
        with pytest.raises(InvalidKeyError):
            cache.set_many({"good": 1, "bad\n": 2})
        assert cache.size() == 0

    def test_add_stores_only_where_nothing_is(self, cache: Cache) -> None:
        """And says whether it did."""
        assert cache.add("key", 1) is True
        assert cache.add("key", 2) is False
        assert cache.get("key") == 1
        cache.delete("key")
        assert cache.add("key", 3) is True
        assert cache.get("key") == 3

    def test_pop_takes_the_value_out(self, cache: Cache) -> None:
        """Once."""
        cache.set("key", {"a": 1})
        assert cache.get("key") == {"a": 1}
        assert cache.pop("key") == {"a": 1}
        assert cache.get("key") is None
        assert cache.pop("key", "default") == "default"

    def test_the_face_of_a_dict(self, cache: Cache) -> None:
        """What code that used a TTLCache calls."""
        cache["a"] = 1
        more: dict[Key, Any] = {"b": 2}
        cache.update(more, c=3)
        cache.update([("d", 4)])
        assert [cache[key] for key in "abcd"] == [1, 2, 3, 4]
        assert len(cache) == 4
        assert cache.setdefault("a", 9) == 1
        assert cache.setdefault("e", 5) == 5
        assert cache["e"] == 5
        assert cache.setdefault("f") is None
        assert cache.get("f", MISSING) is None

    # --- counting -----------------------------------------------------------------------------------------------------

    def test_incr(self, cache: Cache) -> None:
        """It counts from 0, by any int, to any size."""
        assert cache.incr("key") == 1
        assert cache.incr("key", 5) == 6
        assert cache.incr("key", -10) == -4
        assert cache.incr("key", 2**70) == 2**70 - 4
        assert cache.get("key") == 2**70 - 4
        assert cache.incr("key", 0) == 2**70 - 4

    def test_incr_refuses_what_is_no_int(self, cache: Cache) -> None:
        """In the cache and as the step; what is there stays."""
        for there in ("1", 1.0, True, None, [1]):
            cache.set("key", there)
            with pytest.raises(UnsupportedValueError):
                cache.incr("key")
            assert same(cache.get("key"), there)
        for step in (1.0, True, "1", None):
            with pytest.raises(UnsupportedValueError):
                cache.incr("absent", step)  # type: ignore[arg-type]
        assert "absent" not in cache

    def test_incr_keeps_the_remaining_lifetime(self, cache: Cache, rig: Rig) -> None:
        """A window that counts ends when it was to end."""
        cache.set("key", 1, ttl=self.lifetime)
        cache.set("forever", 1, ttl=None)
        rig.clock.advance(self.lifetime / 2)
        assert cache.incr("key") == 2
        left = cache.ttl("key")
        assert left is not None
        assert left <= self.lifetime / 2
        assert cache.incr("forever") == 2
        assert cache.ttl("forever") is None
        rig.clock.advance(self.lifetime / 2)
        assert cache.get("key") is None
        assert cache.incr("key") == 1

    # --- threads ------------------------------------------------------------------------------------------------------

    def test_of_several_threads_one_wins(self, cache: Cache) -> None:
        """``add`` stores once, ``pop`` returns a value once, ``incr`` loses no count, a loader runs once."""
        cache.set("popped", 1)
        loads: list[int] = []

        def load(thread: int) -> int:
            loads.append(thread)
            return thread

        def work(thread: int) -> tuple[bool, bool, int]:
            for _ in range(10):
                cache.incr("count")
            loaded = cache.get_or_set("loaded", lambda: load(thread))
            return cache.add("added", thread), cache.pop("popped", None) == 1, loaded

        with ThreadPoolExecutor(5) as pool:
            added, popped, loaded = zip(*pool.map(work, range(5)), strict=True)
        assert cache.get("count") == 50
        assert [sum(added), sum(popped)] == [1, 1]
        assert set(loaded) == {loads[0]}
        assert len(loads) == 1

    # --- what it tells ------------------------------------------------------------------------------------------------

    def test_stats(self, cache: Cache) -> None:
        """What happened is counted, whichever storey answered."""
        cache.set("key", 1)
        cache.set_many({"a": 1, "b": 2})
        for _ in range(4):
            cache.get("key")
        cache.get_many(["a", "absent"])
        cache.get("absent")
        cache.delete("a")
        stats = cache.stats()
        assert [stats["sets"], stats["hits"], stats["misses"], stats["deletes"]] == [3, 5, 2, 1]
        assert stats["hit_rate"] == pytest.approx(5 / 7)
        assert stats["size"] == 2
        assert [stats["rejected"], stats["errors"], stats["evictions"]] == [0, 0, 0]

    def test_nothing_is_shown(self, cache: Cache) -> None:
        """Neither repr nor statistics carry a value or a key."""
        cache.set("telling-key", "telling-value")
        cache.get("telling-key")
        shown = repr(cache) + repr(cache.stats()) + repr(cache.backend)
        assert "telling" not in shown

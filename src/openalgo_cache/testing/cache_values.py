"""What a cache promises of values and keys: they come back as they were, or are refused."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

import copy
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import InvalidKeyError, UnsupportedValueError, ValueTooLargeError
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing.rig import Contract, Rig
from openalgo_cache.testing.values import BAD_KEYS, KEYS, UNSUPPORTED, VALUES, same


class CacheValues(Contract):
    """Values and keys."""

    # --- values -------------------------------------------------------------------------------------------------------

    def test_values_come_back_unchanged(self, cache: Cache) -> None:
        """Equal and of the same type, down to the last part: from the store, from near, by any verb."""
        for value in VALUES:
            cache.set("key", value)
            for got in (
                cache.get("key", MISSING),
                cache.get("key", MISSING),
                cache["key"],
                cache.get_many(["key"])["key"],
                cache.get_or_set("key", lambda: "loaded"),
                cache.setdefault("key", "default"),
                cache.pop("key"),
                cache.get_or_set("key", lambda value=value: value),  # type: ignore[misc]
                cache.get("key", MISSING),
            ):
                assert same(got, value), f"{value!r:.100} came back as {got!r:.100}"
            cache.delete("key")

    def test_empty_values_are_hits(self, cache: Cache) -> None:
        """None, False, 0 and the like are values; only an absent key is a miss."""
        empty: list[Any] = [None, False, 0, 0.0, "", b"", [], (), {}, set()]
        for value in empty:
            cache.set("key", value)
            assert cache.get("key", MISSING) is not MISSING
            assert "key" in cache
            assert cache.exists("key")
            assert cache.add("key", 1) is False
            assert cache.get_many(["key"]) == {"key": value}
            assert same(cache.pop("key", MISSING), value)

    def test_what_a_read_returns_is_the_readers_own(self, cache: Cache) -> None:
        """Changing it, or what was set, changes nothing in the cache; at any depth."""
        values: list[Any] = [
            {"flat": 1},
            {"nested": {"list": [1, {"a": 2}]}},
            [1, 2],
            [[1], {"a": [2]}],
            {1, 2},
            ([1], {"a": 1}),
            {"a": ([{"b": {1}}],)},
        ]
        for value in values:
            given, expected = copy.deepcopy(value), copy.deepcopy(value)
            cache.set("key", given)
            _spoil(given)
            for _ in range(3):
                got = cache.get("key")
                assert got == expected
                _spoil(got)
                got = cache.get_many(["key"])["key"]
                assert got == expected
                _spoil(got)

    def test_unsupported_values_are_refused(self, cache: Cache) -> None:
        """By every verb that stores, wherever they hide; what was there stays, and nothing else comes."""
        cache.set("there", "stays")
        for what, bad in UNSUPPORTED.items():
            for value in (bad, [1, bad], {"a": {"b": (bad,)}}):
                for store in (
                    lambda key, value=value: cache.set(key, value),
                    lambda key, value=value: cache.set_many({"other": 1, key: value}),
                    lambda key, value=value: cache.update([("other", 1), (key, value)]),
                    lambda key, value=value: cache.get_or_set(f"not {key}", lambda: value),
                    lambda key, value=value: cache.add(f"not {key}", value),
                    lambda key, value=value: cache.setdefault(f"not {key}", value),
                ):
                    with pytest.raises(UnsupportedValueError):
                        store("there")
            assert cache.get("there") == "stays", what
            assert cache.size() == 1, what

    def test_a_refusal_names_the_place(self, cache: Cache) -> None:
        """The message gives the path to the offending part, and shows no value."""
        with pytest.raises(UnsupportedValueError, match=r"value\['orders'\]\[1\]\['lots'\]") as refused:
            cache.set("key", {"orders": [{"lots": 1}, {"lots": bytearray(b"secret")}]})
        assert "secret" not in str(refused.value)

    def test_a_value_that_is_too_large_is_refused(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """The bound is on the serialised value, before compression: five bytes more than such a text has."""
        cache, largest = rig.cache(**sealing), rig.settings.cache_max_value_bytes - 5
        cache.set("key", "x" * largest)
        with pytest.raises(ValueTooLargeError, match="CACHE_MAX_VALUE_BYTES"):
            cache.set("key", "x" * (largest + 1))
        assert cache.get("key") == "x" * largest

    # --- keys ---------------------------------------------------------------------------------------------------------

    def test_keys_are_kept_apart(self, cache: Cache) -> None:
        """By type and by content; what looks like our own syntax is text."""
        for key in KEYS:
            assert cache.get(key, MISSING) is MISSING, repr(key)
            cache.set(key, repr(key))
        assert cache.size() == len(KEYS)
        for key in KEYS:
            assert cache.get(key) == repr(key)
            assert cache[key] == repr(key)
        for left, key in enumerate(KEYS, 1):
            assert cache.delete(key) is True, repr(key)
            assert cache.size() == len(KEYS) - left

    def test_what_is_no_key_is_refused(self, cache: Cache) -> None:
        """By every verb, with our error, which is a ValueError."""
        for what, bad in BAD_KEYS.items():
            for verb in (
                lambda bad=bad: cache.get(bad),
                lambda bad=bad: cache.get_many(["good", bad]),
                lambda bad=bad: cache.exists(bad),
                lambda bad=bad: bad in cache,
                lambda bad=bad: cache.ttl(bad),
                lambda bad=bad: cache.set(bad, 1),
                lambda bad=bad: cache.set_many({"good": 1, bad: 1}),
                lambda bad=bad: cache.add(bad, 1),
                lambda bad=bad: cache.touch(bad),
                lambda bad=bad: cache.incr(bad),
                lambda bad=bad: cache.pop(bad, None),
                lambda bad=bad: cache.delete(bad),
                lambda bad=bad: cache.delete_many(["good", bad]),
                lambda bad=bad: cache.get_or_set(bad, lambda: 1),
                lambda bad=bad: cache.setdefault(bad, 1),
            ):
                with pytest.raises(InvalidKeyError):
                    verb()
            assert cache.size() == 0, what
        for unhashable in (["a"], {"a": 1}, ("a", [1])):
            with pytest.raises(InvalidKeyError):
                cache.get(unhashable)  # type: ignore[arg-type]

    def test_caches_do_not_meet(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """The same key in two caches is two entries, even if one cache's name begins like the other's."""
        cache, other = rig.cache("quotes", **sealing), rig.cache("quotes_old", **sealing)
        cache.set("key", "here")
        other.set("key", "there")
        assert [cache.get("key"), other.get("key")] == ["here", "there"]
        assert cache.clear() == 1
        assert other.get("key") == "there"
        assert cache.get("key") is None


def _spoil(value: Any) -> None:
    """Change whatever can be changed in ``value``."""
    if isinstance(value, dict):
        for part in value.values():
            _spoil(part)
        value["spoiled"] = True
    elif isinstance(value, list):
        for part in value:
            _spoil(part)
        value.append("spoiled")
    elif isinstance(value, set):
        value.add("spoiled")
    elif isinstance(value, tuple):
        for part in value:
            _spoil(part)

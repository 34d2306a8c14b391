"""One contract for each capability that a backend may have besides the verbs."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.errors import BlindedKeysError, LockTimeoutError
from openalgo_cache.keys import Key, escape
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing.rig import Contract, Rig, eventually
from openalgo_cache.testing.sealings import BLINDED, OPEN


class ScanContract(Contract):
    """For a backend that can list what it holds (``SupportsScan``)."""

    def test_a_scan_yields_every_live_entry_once(self, rig: Rig) -> None:
        """With payload and expiry, in any order, however many there are."""
        backend: Any = rig.backend()
        prefix = rig.prefix("quotes")
        entries = {f"{prefix}{number}": Entry(b"%d" % number, None) for number in range(700)}
        backend.set_many(entries)
        backend.set(prefix + "short", Entry(b"", rig.clock() + self.lifetime))
        rig.clock.advance(self.lifetime)
        found = list(backend.scan())
        assert len(found) == 700
        assert dict(found) == entries

    def test_a_scan_takes_a_prefix_for_text(self, rig: Rig) -> None:
        """Nothing in a prefix is a pattern, and case matters."""
        backend: Any = rig.backend()
        prefix = rig.prefix("quotes")
        texts = ["a", "ab", "abc", "a_c", "axc", "A", "b", "a%", "50%", "5", "a:b", "é", "e"]
        backend.set_many({prefix + escape(text): Entry(b"", None) for text in texts})
        for wanted in ["a", "ab", "a_", "a%", "A", "é", "x", "5", "50%"]:
            found = sorted(key for key, _ in backend.scan(prefix + escape(wanted)))
            assert found == sorted(prefix + escape(text) for text in texts if text.startswith(wanted))

    def test_a_scan_bears_changes(self, rig: Rig) -> None:
        """What is written or removed meanwhile may or may not appear; the rest does, once."""
        backend: Any = rig.backend()
        prefix = rig.prefix("quotes")
        backend.set_many({f"{prefix}{number:04}": Entry(b"", None) for number in range(600)})
        seen = []
        for key, _ in backend.scan():
            seen.append(key)
            if len(seen) == 300:
                backend.delete_many(f"{prefix}{number:04}" for number in range(0, 600, 2))
                backend.set_many({f"{prefix}new{number}": Entry(b"", None) for number in range(50)})
        assert len(seen) == len(set(seen))
        assert {f"{prefix}{number:04}" for number in range(1, 600, 2)} <= set(seen)

    @OPEN
    def test_a_cache_lists_its_keys(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Every type of key comes back as it was; a prefix selects among the str keys."""
        cache = rig.cache(**sealing)
        texts = ["", "a", "ab", "a*c", "a?", "[a]", "{a}", "50%", "%35", "!x", "~x", "a\\", "^", "M&M|NSE", "é"]
        keys: list[Key] = [*texts, 7, True, b"\x00", (1, "a", None), ("a",)]
        cache.set_many({key: [repr(key)] for key in keys})
        assert sorted(map(repr, cache.keys())) == sorted(map(repr, cache)) == sorted(map(repr, keys))
        assert {repr(key): value for key, value in cache.items()} == {repr(key): [repr(key)] for key in keys}
        assert sorted(map(repr, cache.values())) == sorted(repr([repr(key)]) for key in keys)
        for prefix in ["a", "a*", "a?", "*", "[", "{", "5", "50%", "%", "!", "~", "a\\", "^", "M&M", "é", "nothing"]:
            assert sorted(cache.keys(prefix)) == sorted(text for text in texts if text.startswith(prefix)), prefix
            assert sorted(key for key, _ in cache.items(prefix)) == sorted(cache.keys(prefix))

    @OPEN
    def test_a_cache_does_not_list_tags(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Only the entries that carry them, until they are cleared."""
        cache = rig.cache(**sealing)
        cache.set("stays", 1, tags=("one", "two"))
        cache.set_many({"goes": 2, "goes too": 3}, tags=("three",))
        assert sorted(cache.keys()) == ["goes", "goes too", "stays"]
        cache.clear(tag="three")
        assert list(cache.items()) == [("stays", 1)]
        assert list(cache) == list(cache.keys("st")) == ["stays"]

    @OPEN
    def test_a_cache_does_not_list_what_has_an_epoch(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Iteration names none."""
        cache = rig.cache(**sealing)
        cache.set("plain", 1)
        cache.set("epoch", 2, epoch=1)
        assert list(cache.items()) == [("plain", 1)]
        assert list(cache.keys("e")) == []
        assert cache.size() == 2

    @OPEN
    def test_a_cache_does_not_list_what_expired(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Nor what was removed, nor what another cache holds."""
        cache, other = rig.cache(**sealing), rig.cache("quotes_old", **sealing)
        cache.set_many({"stays": 1, "goes": 2})
        cache.set("expires", 3, ttl=self.lifetime)
        other.set("elsewhere", 4)
        cache.delete("goes")
        rig.clock.advance(self.lifetime)
        assert list(cache.items()) == [("stays", 1)]

    @BLINDED
    def test_a_cache_with_blinded_keys_does_not_list(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """There is nothing to list: the store has hashes."""
        cache = rig.cache(**sealing)
        cache.set("key", 1)
        for listing in (cache.keys, cache.items, lambda: iter(cache), lambda: cache.keys("k")):
            with pytest.raises(BlindedKeysError):
                list(listing())


class BoundContract(Contract):
    """For a backend that keeps to ``maxsize`` itself."""

    @pytest.mark.parametrize("maxsize", [1, 2, 7, 100])
    def test_the_bound_holds_after_every_write(self, rig: Rig, maxsize: int) -> None:
        """By whichever verb an entry comes; and what was written last is there, even if the clock stood still."""
        backend = rig.backend(maxsize=maxsize)
        prefix = rig.prefix("quotes")
        for number in range(2 * maxsize + 3):
            key = f"{prefix}{number * 7919 % 1000:03}"  # not in the order of the keys
            backend.set(key, Entry(b"set", None))
            assert backend.size() <= maxsize
            assert backend.get(key) == Entry(b"set", None)
        for number in range(maxsize + 3):
            key = f"{prefix}added {number * 7919 % 1000:03}"
            assert backend.compare_and_set(key, None, Entry(b"added", None))
            assert backend.size() <= maxsize
            assert backend.get(key) == Entry(b"added", None)
        backend.set_many({f"{prefix}many {number}": Entry(b"many", None) for number in range(3 * maxsize)})
        assert 1 <= backend.size() <= maxsize

    def test_replacing_an_entry_takes_no_room(self, rig: Rig) -> None:
        """A full cache whose entries are only replaced loses none."""
        backend = rig.backend(maxsize=5)
        keys = [f"{rig.prefix('quotes')}{number}" for number in range(5)]
        for turn in range(4):
            for key in keys:
                backend.set(key, Entry(b"%d" % turn, None))
                rig.clock.advance(self.lifetime / 100)
        assert sorted(backend.get_many(keys)) == keys

    def test_a_cache_keeps_to_its_bound(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Never are more entries to be had than ``maxsize``, and what was set last is one of them."""
        cache = rig.cache(maxsize=6, **sealing)
        assert cache.maxsize == 6
        for number in range(20):
            cache.set(f"key {number}", number)
            found = [number for number in range(20) if cache.get(f"key {number}", MISSING) is not MISSING]
            assert len(found) <= 6
            assert number in found
            assert len(cache) <= 6


class SharedContract(Contract):
    """For a backend whose store other backends, in this process or another, share."""

    def test_another_backend_sees_every_change(self, rig: Rig) -> None:
        """At once: what one wrote, the other reads, and the other way round."""
        one, other = rig.backend(), rig.backend()
        key = rig.prefix("quotes") + "key"
        one.set(key, Entry(b"one", None))
        assert other.get(key) == Entry(b"one", None)
        other.set_many({key: Entry(b"other", None)})
        assert one.get(key) == Entry(b"other", None)
        assert one.compare_and_set(key, b"other", Entry(b"exchanged", None))
        assert not other.compare_and_set(key, b"other", None)
        assert other.delete(key)
        assert one.get(key) is None
        one.set(key, Entry(b"again", None))
        assert other.clear() == 1
        assert one.size() == 0

    def test_entries_outlive_their_backend(self, rig: Rig) -> None:
        """What is closed and made again finds what was there, with its expiry."""
        key = rig.prefix("quotes") + "key"
        first = rig.backend()
        first.set(key, Entry(b"payload", rig.clock() + self.lifetime))
        first.close()
        second = rig.backend()
        assert second.exists(key)
        rig.clock.advance(self.lifetime)
        assert second.get(key) is None

    def test_no_update_is_lost_among_backends(self, rig: Rig) -> None:
        """Each with threads of its own."""
        cache = rig.cache("counts")
        others = [rig.cache("counts") for _ in range(2)]

        def count(nth: int) -> None:
            for _ in range(15):
                (cache, *others)[nth % 3].incr("key")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(count, range(6)))
        assert [one.get("key") for one in (cache, *others)] == [90] * 3

    @pytest.mark.parametrize("verb", ["get", "get_many", "exists", "pop", "get_or_set"])
    def test_caches_see_each_other(self, rig: Rig, sealing: dict[str, Any], verb: str) -> None:
        """Whatever one of them keeps near, whichever verb the other writes with, and whichever verb looks first."""
        one, other = rig.cache(**sealing), rig.cache(**sealing)
        looks: dict[str, Callable[[], object]] = {
            "get": lambda: one.get("key"),
            "get_many": lambda: one.get_many(["key"]).get("key"),
            "exists": lambda: one.get("key") if one.exists("key") else None,
            "pop": lambda: one.pop("key", None),
            "get_or_set": lambda: one.get_or_set("key", lambda: None),
        }
        for change, expected in (
            (lambda: other.set("key", "set"), "set"),
            (lambda: other.set_many({"key": "many"}), "many"),
            (lambda: other.incr("count", 2), "before"),
            (lambda: other.pop("key"), None),
            (lambda: (other.pop("key"), other.add("key", "added")), "added"),
            (lambda: other.delete("key"), None),
            (lambda: (other.delete("key"), other.get_or_set("key", lambda: "loaded")), "loaded"),
            (other.clear, None),
            (lambda: rig.clock.advance(self.lifetime), None),
            (lambda: other.touch("key", self.lifetime * 2), "before"),
        ):
            one.set("key", "before", ttl=self.lifetime)
            assert [one.get("key"), one.get("key")] == ["before"] * 2  # so that it is near, if anything is
            change()
            assert eventually(lambda: looks[verb]() == expected, self.lag)  # noqa: B023  # called at once

    def test_caches_see_each_others_tags(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """At once, whatever one of them keeps near; and what one stored, the other can end."""
        one, other = rig.cache(**sealing), rig.cache(**sealing)
        for turn in range(3):
            one.set("key", turn, tags=("tag", "its own"))
            other.set("another", turn, tags=("tag",))
            assert [one.get("key"), one.get("key"), one.get("another"), other.get("key")] == [turn] * 4
            other.clear(tag="tag")
            assert eventually(lambda: [one.get("key"), one.get("another"), other.get("key")] == [None] * 3, self.lag)
            assert one.get_many(["key", "another"]) == {}

    def test_a_tag_that_another_cache_clears_while_a_value_is_loaded(self, rig: Rig) -> None:
        """Cancels the load's right to store, as a delete by another cache does."""
        one, other = rig.cache(), rig.cache()

        def load_while(cancel: Callable[[], object]) -> str:
            cancel()
            return "revoked"

        cancels: list[Callable[[], object]] = [lambda: other.clear(tag="tag"), lambda: other.delete("key"), other.clear]
        for cancel in cancels:
            assert one.get_or_set("key", partial(load_while, cancel), tags=("tag",)) == "revoked"
            assert [one.get("key"), other.get("key")] == [None, None]

    def test_caches_see_each_others_epochs(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Whatever one of them keeps near; and a load of one is not for those of another epoch, who wait for it."""
        one, other = rig.cache(**sealing), rig.cache(**sealing)
        one.set("key", "plain")
        assert [one.get("key"), one.get("key")] == ["plain"] * 2
        other.set("key", "first", epoch=1)
        assert eventually(lambda: one.get("key", MISSING) is MISSING, self.lag)
        assert [one.get("key", epoch=1), one.get("key", MISSING, epoch=2)] == ["first", MISSING]
        begun, finish = Event(), Event()

        def load() -> str:
            begun.set()
            assert finish.wait(10)
            return "second"

        with ThreadPoolExecutor(2) as pool:
            second = pool.submit(one.get_or_set, "key", load, epoch=2)
            assert begun.wait(10)
            third = pool.submit(other.get_or_set, "key", lambda: "third", epoch=3)
            assert other.get("key", MISSING, epoch=3) is MISSING
            finish.set()
            assert [second.result(10), third.result(10)] == ["second", "third"]
        assert [one.get("key", MISSING, epoch=2), one.get("key", epoch=3)] == [MISSING, "third"]

    def test_a_lock_excludes_other_caches(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Until it is released or its time is over; fences rise across all of them."""
        one, other = rig.cache(**sealing), rig.cache(**sealing)
        with one.lock("name") as first:
            with pytest.raises(LockTimeoutError), other.lock("name", timeout=0):
                pytest.fail("two hold it")
            other.clear()
            with pytest.raises(LockTimeoutError), other.lock("name", timeout=0.01):
                pytest.fail("two hold it")
        with other.lock("name", ttl=self.lifetime, timeout=0) as second, pytest.raises(LockTimeoutError):
            one.lock("name", timeout=0).__enter__()
        abandoned = other.lock("name", ttl=self.lifetime).__enter__()
        rig.clock.advance(self.lifetime)
        one.close()
        with one.lock("name", timeout=0) as third:
            assert first < second < abandoned < third

    def test_a_cache_finds_its_entries_again(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """After it was closed, and in a handle that was made later."""
        cache = rig.cache(**sealing)
        cache.set("key", ["value"])
        cache.close()
        assert cache.get("key") == ["value"]
        assert rig.cache(**sealing).get("key") == ["value"]


class ChangeTokenContract(Contract):
    """For a backend that tells when its store changed (``SupportsChangeToken``)."""

    def test_the_token_moves_with_every_change(self, rig: Rig) -> None:
        """Whichever verb makes it; and it is never negative."""
        backend: Any = rig.backend(maxsize=3)
        key = rig.prefix("quotes") + "key"
        for change in (
            lambda: backend.set(key, Entry(b"1", None)),
            lambda: backend.set(key, Entry(b"2", None)),
            lambda: backend.set_many({key: Entry(b"3", None)}),
            lambda: backend.compare_and_set(key, b"3", Entry(b"4", None)),
            lambda: backend.compare_and_set(key, b"4", None),
            lambda: backend.compare_and_set(key, None, Entry(b"5", None)),
            lambda: backend.delete(key),
            lambda: backend.set_many({f"{key}{number}": Entry(b"", None) for number in range(9)}),
            lambda: backend.delete_many([f"{key}{number}" for number in range(9)]),
            lambda: backend.set(key, Entry(b"6", None)),
            backend.clear,
        ):
            before = backend.change_token[0]
            change()
            assert backend.change_token[0] != before
            assert backend.change_token[0] >= 0

    def test_the_token_stands_still_while_nothing_changes(self, rig: Rig) -> None:
        """Reading is no change: otherwise nothing would ever be kept near."""
        backend: Any = rig.backend(maxsize=3)
        key = rig.prefix("quotes") + "key"
        backend.set(key, Entry(b"1", None))
        before = backend.change_token[0]
        assert backend.get(key)
        assert backend.exists(key)
        assert backend.get_many([key])
        assert backend.size() == 1
        assert not backend.compare_and_set(key, b"other", None)
        assert backend.change_token[0] == before

    def test_an_evicted_entry_is_not_served_from_near(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """What left the store is gone for its reader too: a later delete of it would move no token."""
        store = rig.backend(maxsize=3)
        cache = rig.cache(backend=store, maxsize=3, **sealing)
        for number in range(12):
            key = f"key {number}"
            cache.set(key, number)
            cache.get(key)
            rig.clock.advance(self.lifetime / 1000)
            for earlier in range(number + 1):
                there = store.exists(rig.prefix("quotes") + cache.shown(f"key {earlier}"))
                assert (cache.get(f"key {earlier}", MISSING) is not MISSING) is there

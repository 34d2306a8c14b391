"""What a cache promises of epochs: an entry is there for those who name its epoch, and absent for everybody else."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.epochs import Epoch
from openalgo_cache.errors import InvalidEpochError
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing.rig import Contract, Rig

_DEADLINE = 10.0


class CacheEpochs(Contract):
    """Epochs."""

    def test_an_entry_is_there_for_its_own_epoch_only(self, cache: Cache) -> None:
        """A number is not its text, a text not its bytes, and none is an epoch like no other."""
        epochs: list[Epoch | None] = [None, 0, 1, -1, 2**70, "1", "", b"1", b"", "आ", "a" * 254, b"\xff" * 254]
        for stored in epochs:
            cache.set("key", [stored], epoch=stored)
            cache.set_many({"other": 2}, epoch=stored)
            for named in (*epochs, stored):
                expected = [stored] if named == stored and type(named) is type(stored) else MISSING
                assert cache.get("key", MISSING, epoch=named) == expected
                there = {"key": [stored], "other": 2} if expected is not MISSING else {}
                assert cache.get_many(["key", "other", "absent"], epoch=named) == there

    def test_who_names_no_epoch_finds_nothing(self, cache: Cache) -> None:
        """By no verb; ``delete`` and ``clear`` are for everybody."""
        cache.set("key", 5, epoch=1)
        assert cache.get("key") is None
        assert cache.get_many(["key"]) == {}
        assert cache.exists("key") is False
        assert "key" not in cache
        assert cache.touch("key", 5 * self.lifetime) is False
        for verb in (lambda: cache["key"], lambda: cache.ttl("key")):
            with pytest.raises(KeyError):
                verb()
        assert cache.get("key", epoch=1) == 5
        assert cache.delete("key") is True
        assert cache.get("key", epoch=1) is None
        cache.set("key", 5, epoch=1)
        assert cache.clear() == 1
        assert cache.get("key", epoch=1) is None

    def test_what_is_absent_is_replaced(self, cache: Cache) -> None:
        """By the verbs that look first as by ``set``; ``pop`` takes it away."""
        cache.set("key", 5, epoch=1)
        assert cache.incr("key", 2) == 2
        assert [cache.get("key"), cache.get("key", epoch=1)] == [2, None]
        assert cache.add("key", 3, epoch=1) is True
        assert [cache.get("key"), cache.get("key", epoch=1)] == [None, 3]
        assert cache.add("key", 4, epoch=1) is False
        assert cache.add("key", 4, epoch="1") is True
        assert [cache.get("key", epoch=1), cache.get("key", epoch="1")] == [None, 4]
        assert cache.pop("key", MISSING) is MISSING
        assert cache.get("key", epoch="1") is None
        assert cache.setdefault("key", 6) == 6
        assert [cache.get("key"), cache.get("key", epoch="1")] == [6, None]

    def test_what_is_near_is_not_served_past_the_comparison(self, cache: Cache) -> None:
        """Whatever was read, and however often, before another epoch is named."""
        for value in ("text", ["list"]):
            cache.set("key", value)
            for _ in range(3):
                assert cache.get("key") == value
                assert cache.get("key", MISSING, epoch=1) is MISSING
                assert cache.get_many(["key"], epoch=1) == {}
            cache.set("key", value, epoch=1)
            for _ in range(3):
                assert cache.get("key", epoch=1) == value
                assert cache.get("key", MISSING) is MISSING
                assert cache.get("key", MISSING, epoch=2) is MISSING
                assert cache.get_many(["key"], epoch=1) == {"key": value}

    def test_an_old_record_that_is_put_back_is_a_miss(self, cache: Cache, rig: Rig) -> None:
        """Though it is genuine, and under its own key: it is neither rejected nor removed."""
        backend = cache.backend
        stored = cache._opened().keyspace.stored("token")  # noqa: SLF001  # where it lies, in clear or blinded
        cache.set("token", "revoked", ttl=10 * self.lifetime, epoch=1)
        replayed = backend.get(stored)
        assert replayed is not None
        cache.set("token", "fresh", epoch=2)
        assert cache.get("token", epoch=2) == "fresh"
        backend.set(stored, replayed)
        fresh_handle = rig.cache(backend=backend, sealing=cache.policy.sealing, blinded=cache.policy.blinded)
        for _ in range(2):
            assert fresh_handle.get("token", MISSING, epoch=2) is MISSING
            assert fresh_handle.get("token", MISSING) is MISSING
        assert fresh_handle.stats()["rejected"] == 0
        assert backend.get(stored) == replayed
        assert fresh_handle.get_or_set("token", lambda: "loaded", epoch=2) == "loaded"
        assert fresh_handle.get("token", epoch=2) == "loaded"

    def test_an_epoch_has_lifetime_and_tags_as_well(self, cache: Cache, rig: Rig) -> None:
        """Each of them ends the entry."""
        cache.set("key", 1, ttl=self.lifetime, epoch=1)
        cache.set_many({"tagged": 2, "too": 3}, tags=("tag",), epoch=1)
        assert cache.add("added", 4, tags=("tag",), epoch=1) is True
        cache.get_or_set("loaded", lambda: 5, tags=("tag",), epoch=1)
        everything = {"key": 1, "tagged": 2, "too": 3, "added": 4, "loaded": 5}
        assert cache.get_many(everything, epoch=1) == everything
        rig.clock.advance(self.lifetime)
        assert cache.get("key", epoch=1) is None
        cache.clear(tag="tag")
        assert cache.get_many(everything, epoch=1) == {}

    def test_a_loaded_value_has_an_epoch(self, cache: Cache) -> None:
        """By ``get_or_set``; and by ``cached``, whose format string makes a str."""
        loads: list[int] = []

        @cache.cached(key="double {number}", epoch="{version}")
        def double(number: int, version: int) -> int:  # noqa: ARG001  # it makes the epoch
            loads.append(number)
            return 2 * number

        assert cache.get_or_set("key", lambda: "first", epoch=1) == "first"
        assert cache.get_or_set("key", lambda: "not asked", epoch=1) == "first"
        assert cache.get_or_set("key", lambda: "second", epoch=2) == "second"
        assert cache.get_or_set("key", lambda: "third") == "third"
        assert [cache.get("key", epoch=2), cache.get("key")] == [None, "third"]
        assert [double(1, 1), double(1, 1), double(1, 2), double(1, 2)] == [2] * 4
        assert loads == [1, 1]
        assert cache.get("double 1", epoch="2") == 2

    def test_a_load_is_not_shared_with_another_epoch(self, cache: Cache) -> None:
        """Whoever names it waits and loads once, among several; what was stored last stays."""
        begun, finish = Event(), Event()
        loads: list[str] = []

        def load_old() -> str:
            begun.set()
            assert finish.wait(_DEADLINE)
            return "old"

        def load_new() -> str:
            loads.append("new")
            return "new"

        with ThreadPoolExecutor(4) as pool:
            old = pool.submit(cache.get_or_set, "key", load_old, epoch=1)
            assert begun.wait(_DEADLINE)
            new = [pool.submit(cache.get_or_set, "key", load_new, epoch=2) for _ in range(3)]
            assert cache.get("key", MISSING, epoch=1) is cache.get("key", MISSING, epoch=2) is MISSING
            finish.set()
            assert old.result(_DEADLINE) == "old"
            assert [one.result(_DEADLINE) for one in new] == ["new"] * 3
        assert loads == ["new"]
        assert [cache.get("key", epoch=1), cache.get("key", epoch=2)] == [None, "new"]

    def test_what_is_loaded_while_the_key_changes_is_not_kept(self, cache: Cache) -> None:
        """As without an epoch; a value of another one that was set meanwhile stays."""

        def load() -> str:
            cache.delete("key")
            return "revoked"

        def load_late() -> str:
            cache.set("key", "newer", epoch=2)
            return "older"

        assert cache.get_or_set("key", load, epoch=1) == "revoked"
        assert cache.get("key", MISSING, epoch=1) is MISSING
        assert cache.get_or_set("key", load_late, epoch=1) == "older"
        assert [cache.get("key", epoch=1), cache.get("key", epoch=2)] == [None, "newer"]

    def test_an_expired_value_stands_in_for_its_own_epoch_only(self, rig: Rig) -> None:
        """While a loader fails."""

        def fail() -> Any:
            raise ZeroDivisionError

        cache = rig.cache(lifetime=self.lifetime, stale_for=1_000 * self.lifetime)
        cache.set("key", "value", epoch=1)
        rig.clock.advance(self.lifetime)
        assert cache.get_or_set("key", fail, epoch=1) == "value"
        assert cache.get("key", epoch=1) == "value"
        assert cache.get("key", MISSING) is MISSING
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", fail, epoch=2)
        cache.set("key", "value", epoch=1)
        rig.clock.advance(self.lifetime)
        for named in (2, None):
            with pytest.raises(ZeroDivisionError):
                cache.get_or_set("key", fail, epoch=named)

    def test_asyncio_callers_name_epochs_too(self, cache: Cache) -> None:
        """By the same verbs."""

        async def verbs() -> None:
            aio = cache.aio
            await aio.set("key", 1)
            assert await aio.get("key") == await aio.get("key") == 1
            assert await aio.get("key", MISSING, epoch=1) is MISSING
            await aio.set_many({"key": 2}, epoch=1)
            assert await aio.get_many(["key"], epoch=1) == {"key": 2}
            assert await aio.get_many(["key"]) == {}
            assert await aio.add("key", 3, epoch=2) is True
            await aio.set("key", 4, epoch=3)
            assert await aio.get_or_set("key", lambda: 5, epoch=3) == 4
            assert await aio.get_or_set("key", lambda: 5, epoch=4) == 5
            assert await aio.get("key", epoch=4) == 5

            @cache.cached(key="key", epoch="{version}")
            async def load(version: int) -> int:
                return version

            assert [await load(6), await load(6), await load(7)] == [6, 6, 7]

        asyncio.run(verbs())

    def test_impossible_epochs_are_refused(self, cache: Cache) -> None:
        """By every verb that takes one; nothing is stored."""
        bad: list[Any] = [True, 1.0, ("a",), object(), "a" * 255, b"a" * 255, 2 ** (8 * 254), "\ud800", MISSING]
        for epoch in bad:
            for verb in (
                lambda epoch=epoch: cache.set("key", 1, epoch=epoch),
                lambda epoch=epoch: cache.set_many({"key": 1}, epoch=epoch),
                lambda epoch=epoch: cache.add("key", 1, epoch=epoch),
                lambda epoch=epoch: cache.get("key", epoch=epoch),
                lambda epoch=epoch: cache.get_many(["key"], epoch=epoch),
                lambda epoch=epoch: cache.get_or_set("key", lambda: 1, epoch=epoch),
            ):
                with pytest.raises(InvalidEpochError):
                    verb()
        assert cache.size() == 0

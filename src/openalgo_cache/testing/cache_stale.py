"""What a cache promises while a loader fails: the expired value, for a while, and never one that was revoked."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Sealing
from openalgo_cache.flight import RETRY_SECONDS
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing.rig import Contract, Rig

_SEALINGS = pytest.mark.parametrize("sealing", [Sealing.PLAIN, Sealing.SIGNED], ids=["plain", "signed"])


class CacheStale(Contract):
    """Expired values that stand in for what cannot be loaded."""

    def stale_cache(self, rig: Rig, sealing: Sealing = Sealing.SIGNED, **policy: Any) -> Cache:
        """Return a cache that serves expired values for long, and never retries within a test by itself."""
        return rig.cache(sealing=sealing, lifetime=self.lifetime, stale_for=1_000 * RETRY_SECONDS, **policy)

    @_SEALINGS
    def test_an_expired_value_stands_in_for_one_that_cannot_be_loaded(self, rig: Rig, sealing: Sealing) -> None:
        """And counts as a value for a moment, so that the loader is not asked at every call."""
        loader = Loader()
        cache = self.stale_cache(rig, sealing)
        assert cache.get_or_set("key", loader) == ["load 1"]
        rig.clock.advance(self.lifetime)
        loader.fails = True
        for _ in range(3):
            assert cache.get_or_set("key", loader) == ["load 1"]
        assert asyncio.run(_await(cache, loader)) == ["load 1"]
        assert cache.get("key") == ["load 1"]
        assert cache.ttl("key") == pytest.approx(RETRY_SECONDS, abs=0.5)
        assert [loader.calls, cache.stats()["stale"]] == [2, 1]

    @_SEALINGS
    def test_an_expired_value_is_absent_for_every_other_verb(self, rig: Rig, sealing: Sealing) -> None:
        """As if the cache did not keep it."""
        cache = self.stale_cache(rig, sealing)
        verbs: list[Callable[[], bool]] = [
            lambda: cache.get("key", MISSING) is MISSING,
            lambda: cache.get_many(["key"]) == {},
            lambda: "key" not in cache,
            lambda: not cache.touch("key"),
            lambda: cache.pop("key", MISSING) is MISSING,
            lambda: cache.add("key", "added") and cache.get("key") == "added",
            lambda: cache.incr("key", 5) == 5,
            lambda: cache.setdefault("key", 2) == 2,
            lambda: cache.get_or_set("key", lambda: "anew") == "anew",
        ]
        for number, is_absent in enumerate(verbs):
            cache.set("key", number)
            assert cache.get("key") == number
            rig.clock.advance(self.lifetime)
            assert is_absent()
        cache.set("key", 1)
        rig.clock.advance(self.lifetime)
        with pytest.raises(KeyError):
            cache.ttl("key")

    def test_it_ends_with_what_was_sealed(self, rig: Rig) -> None:
        """After ``stale_for`` the loader's error is the caller's, and nothing is kept."""
        loader = Loader()
        cache = rig.cache(lifetime=self.lifetime, stale_for=self.lifetime)
        cache.set("key", "value")
        loader.fails = True
        rig.clock.advance(self.lifetime)
        assert cache.get_or_set("key", loader) == "value"
        left = cache.ttl("key")
        assert left is not None
        assert left <= self.lifetime
        rig.clock.advance(self.lifetime)
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", loader)
        assert cache.get("key") is None
        assert cache.size() == 0

    def test_without_it_nothing_stands_in(self, rig: Rig) -> None:
        """A cache without ``stale_for``, or an entry that never was there."""
        loader = Loader()
        cache = rig.cache(lifetime=self.lifetime)
        cache.set("key", "value")
        rig.clock.advance(self.lifetime)
        loader.fails = True
        for failing in (cache, self.stale_cache(rig)):
            for key in ("key", "never there"):
                with pytest.raises(ZeroDivisionError):
                    failing.get_or_set(key, loader)

    def test_what_was_revoked_never_stands_in(self, rig: Rig) -> None:
        """Before the loader is called or while it runs."""
        loader = Loader()
        cache = self.stale_cache(rig)
        changes: list[Callable[[], object]] = [
            lambda: cache.delete("key"),
            cache.clear,
            lambda: cache.pop("key", None),
            lambda: cache.clear(tag="tag"),
        ]
        loader.fails = True
        for change in changes:
            for meanwhile in (False, True):
                cache.set("key", "revoked", tags=("tag",))
                rig.clock.advance(self.lifetime)
                if not meanwhile:
                    change()
                loader.before = change if meanwhile else None
                with pytest.raises(ZeroDivisionError):
                    cache.get_or_set("key", loader)
                assert cache.get("key") is None
                loader.before = None
                with pytest.raises(ZeroDivisionError):
                    cache.get_or_set("key", loader)

    def test_a_value_that_was_set_while_the_loader_failed_stays(self, rig: Rig) -> None:
        """The expired one does not replace it."""
        loader = Loader()
        cache = self.stale_cache(rig)
        cache.set("key", "old")
        rig.clock.advance(self.lifetime)
        loader.fails, loader.before = True, lambda: cache.set("key", "new")
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", loader)
        assert cache.get("key") == "new"

    def test_what_stands_in_keeps_its_tags(self, rig: Rig) -> None:
        """A tag that is cleared later ends it like any other entry."""
        loader = Loader()
        cache = self.stale_cache(rig)
        cache.set("key", "value", tags=("tag",))
        rig.clock.advance(self.lifetime)
        loader.fails = True
        assert cache.get_or_set("key", loader, tags=("another",)) == "value"
        cache.clear(tag="another")
        assert cache.get("key") == "value"
        cache.clear(tag="tag")
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", loader)


class Loader:
    """A loader that counts its calls, and fails when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False
        self.before: Callable[[], object] | None = None

    def __call__(self) -> Any:
        """Load."""
        self.calls += 1
        if self.before is not None:
            self.before()
        if self.fails:
            raise ZeroDivisionError
        return [f"load {self.calls}"]


async def _await(cache: Cache, loader: Loader) -> Any:
    @cache.cached(key="key")
    async def load() -> Any:
        return loader()

    return await load()

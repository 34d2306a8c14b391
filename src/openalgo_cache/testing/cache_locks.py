"""What a cache promises of locks: one holder at a time, rising fences, and no lock that outlives its time."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import CacheError, InvalidKeyError, InvalidLifetimeError, LockLostError, LockTimeoutError
from openalgo_cache.testing.rig import Contract, Rig

_LONG = 3_600.0
_PATIENCE = 60.0


class CacheLocks(Contract):
    """Locks."""

    def test_a_lock_has_one_holder(self, cache: Cache) -> None:
        """Who waits too long is told; who comes afterwards gets it; other names are other locks."""
        with cache.lock("name", ttl=_LONG) as fence:
            assert type(fence) is int
            for timeout in (0, 0.01):
                with pytest.raises(LockTimeoutError) as refused, cache.lock("name", timeout=timeout):
                    pytest.fail("two hold it")
                assert isinstance(refused.value, TimeoutError)
            with cache.lock("another", timeout=0), cache.lock(("name", 1), timeout=0):
                pass
        with cache.lock("name", timeout=0):
            pass

    def test_fences_rise(self, cache: Cache, rig: Rig) -> None:
        """Each time, also where the lock was never released; and never below the microseconds of the present."""
        fences = []
        for _ in range(3):
            with cache.lock("name", ttl=self.lifetime, timeout=0) as fence:
                fences.append(fence)
            lost = cache.lock("name", ttl=self.lifetime, timeout=0)
            fences.append(lost.__enter__())
            rig.clock.advance(self.lifetime)
        assert fences == sorted(set(fences))
        assert fences[0] >= (rig.clock() - 4 * self.lifetime) * 1e6 - 1e6

    def test_a_lock_that_was_lost_is_free_after_its_time(self, cache: Cache, rig: Rig) -> None:
        """Its former holder is told, changes nothing by leaving, and cannot prolong it."""
        former, other = (cache.lock("name", ttl=self.lifetime, timeout=0) for _ in range(2))
        for lock in (former, other):
            lock.__enter__()
            rig.clock.advance(self.lifetime)
        with cache.lock("name", ttl=_LONG, timeout=0):
            with pytest.raises(LockLostError):
                former.extend()
            with pytest.raises(LockLostError):
                former.__exit__(None, None, None)
            other.__exit__(ValueError, ValueError(), None)  # an error of the block is not hidden by ours
            with pytest.raises(LockTimeoutError), cache.lock("name", timeout=0):
                pytest.fail("who lost it released it")
        with cache.lock("name", timeout=0):
            pass

    def test_a_lock_that_is_late_and_that_nobody_took_is_still_ours(self, cache: Cache, rig: Rig) -> None:
        """Then nobody was in its block meanwhile, which is all that matters."""
        with cache.lock("name", ttl=self.lifetime):
            rig.clock.advance(self.lifetime)

    def test_extend_gives_more_time(self, cache: Cache, rig: Rig) -> None:
        """As much as the lock was taken for, or as much as is asked for."""
        lock = cache.lock("name", ttl=self.lifetime)
        with lock:
            rig.clock.advance(self.lifetime / 2)
            lock.extend()
            rig.clock.advance(self.lifetime / 2)
            with pytest.raises(LockTimeoutError), cache.lock("name", timeout=0):
                pytest.fail("two hold it")
            lock.extend(_LONG)
            rig.clock.advance(self.lifetime)
            with pytest.raises(LockTimeoutError), cache.lock("name", timeout=0):
                pytest.fail("two hold it")
        with pytest.raises(LockLostError):
            lock.extend()

    def test_a_lock_object_is_for_one_block_at_a_time(self, cache: Cache) -> None:
        """One after the other it may be used again."""
        lock = cache.lock("name", ttl=_LONG)
        with lock:
            with pytest.raises(CacheError), lock:
                pytest.fail("it was taken twice")
            with pytest.raises(LockTimeoutError), cache.lock("name", timeout=0):
                pytest.fail("that released it")
        with lock, pytest.raises(LockTimeoutError), cache.lock("name", timeout=0):
            pytest.fail("two hold it")

    def test_a_lock_is_released_by_an_error(self, cache: Cache) -> None:
        """Which goes on."""
        with pytest.raises(ZeroDivisionError), cache.lock("name", ttl=_LONG):
            raise ZeroDivisionError
        with cache.lock("name", timeout=0):
            pass

    def test_locks_and_entries_do_not_meet(self, cache: Cache) -> None:
        """A lock is no entry, for no verb, and no verb takes it away."""
        with cache.lock("name", ttl=_LONG):
            assert cache.get("name") is None
            assert cache.size() == 0
            cache.set("name", 1, tags=("name",))
            cache.clear(tag="name")
            cache.delete("name")
            cache.clear()
            with pytest.raises(LockTimeoutError), cache.lock("name", timeout=0):
                pytest.fail("two hold it")
        assert cache.clear() == 0

    def test_impossible_locks_are_refused(self, cache: Cache) -> None:
        """A name that could be no key, a time that is none."""
        for ttl in (None, 0, -1, float("nan"), float("inf"), True):
            with pytest.raises(InvalidLifetimeError):
                cache.lock("name", ttl)
        for name in ("a\n", "a" * 513, 1.5, None):
            with pytest.raises(InvalidKeyError), cache.lock(name, timeout=0):  # type: ignore[arg-type]
                pytest.fail("it has no name")

    def test_of_several_threads_one_is_inside(self, cache: Cache) -> None:
        """Each gets its turn, with a fence of its own, and nobody finds another one inside."""
        inside: list[int] = []
        fences: list[int] = []

        def work(thread: int) -> None:
            for _ in range(4):
                with cache.lock("name", ttl=_LONG, timeout=_PATIENCE) as fence:
                    inside.append(thread)
                    assert inside == [thread]
                    fences.append(fence)
                    inside.remove(thread)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert len(fences) == 16
        assert fences == sorted(set(fences))

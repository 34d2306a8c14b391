"""What every contract stands on: the one method that a backend's author writes, and the rig that the tests get."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Policy
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.keys import Keyspace
from openalgo_cache.settings import Settings
from openalgo_cache.stack import Ground, Stack, build_stack
from openalgo_cache.testing import sealings
from openalgo_cache.testing.clock import FakeClock, TurnableClock


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Return True as soon as ``condition`` holds; False if it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.001)
    return True


def _always(stored: str, record: bytes) -> bool:
    del stored, record
    return True


class Contract:
    """The root of all contracts: says how a backend is made.

    Attributes:
        lifetime: Seconds that an entry lives in tests that let it expire; short where the clock cannot be turned.
        lag: Seconds within which a cache sees what another has written.
    """

    lifetime: ClassVar[float] = 60.0
    lag: ClassVar[float] = 0.0

    def make_backend(self, request: Request) -> CacheBackend:
        """Return a backend for ``request``, as ``create`` does. The one method to write."""
        raise NotImplementedError(f"{type(self).__name__} has to say how its backend is made: def make_backend(...)")

    def make_clock(self) -> TurnableClock:
        """Return the clock of a test; a ``PatientClock`` where the store expires entries by its own time."""
        return FakeClock()

    def make_settings(self, folder: Path) -> Settings:
        """Return the settings of a test. The namespace is its own, so that tests can share a server.

        Args:
            folder: An empty folder.
        """
        return Settings(base_folder=folder, cache_namespace=f"suite-{secrets.token_hex(6)}")

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        """A rig of this contract's backend; what was made with it is cleared and closed afterwards."""
        rig = Rig(self, tmp_path)
        yield rig
        rig.close()

    @pytest.fixture(params=sealings.BY_NAME.keys())
    def sealing(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """Options for ``rig.cache``: each way of sealing in turn."""
        return sealings.BY_NAME[request.param]

    @pytest.fixture
    def cache(self, rig: Rig, sealing: dict[str, Any]) -> Cache:
        """An empty, unbounded cache without a lifetime of its own, sealed in each way in turn."""
        return rig.cache(**sealing)


class Rig:
    """Makes backends, and caches on them, that share one installation: settings, key ring and clock.

    Args:
        contract: Says how a backend is made.
        folder: An empty folder.
    """

    def __init__(self, contract: Contract, folder: Path) -> None:
        self.contract = contract
        self.clock = contract.make_clock()
        self.settings = contract.make_settings(folder)
        self.ring = KeyRing.generate()
        self._made: list[CacheBackend] = []
        self._names: set[str] = set()

    def prefix(self, cache: str) -> str:
        """Return what every stored key of a cache begins with."""
        return Keyspace(self.settings.redis_key_prefix, cache, self.settings.cache_namespace).prefix

    def backend(self, cache: str = "quotes", *, maxsize: int | None = None, durable: bool = False) -> CacheBackend:
        """Return a new backend of a cache; see ``Request``."""
        request = Request(
            cache=cache,
            namespace=self.settings.cache_namespace,
            prefix=self.prefix(cache),
            maxsize=maxsize,
            durable=durable,
            is_intact=_always,
            subkey=lambda purpose: self.ring.subkey(purpose, b""),
            settings=self.settings,
            clock=self.clock,
        )
        backend = self.contract.make_backend(request)
        self._made.append(backend)
        self._names.add(cache)
        return backend

    def cache(self, name: str = "quotes", *, backend: CacheBackend | None = None, **policy: Any) -> Cache:
        """Return a new cache.

        Args:
            name: The cache's name.
            backend: What it stands on; a new one if left out.
            **policy: Fields of ``Policy``; unlike there, ``maxsize`` is None by default.
        """
        chosen = Policy(**{"maxsize": None, **policy})

        def build() -> Stack:
            def create(request: Request) -> CacheBackend:
                if backend is not None and request.cache == name:
                    return backend
                return self.backend(request.cache, maxsize=request.maxsize)

            ground = Ground(self.settings, self.clock, lambda: LiveRing(self.ring), journals=True)
            return build_stack(name, chosen, self.contract.__class__.__name__, ground, create)

        return Cache(name, chosen, build, self.clock)

    def close(self) -> None:
        """Close every backend that was made, and leave nothing in the store."""
        for backend in self._made:
            backend.close()
        for name in self._names:
            last = self.backend(name)
            last.clear()
            last.close()

"""What a cache stands on while there is no key ring that can be used: a store that is away.

Nothing is read, written or deleted then, least of all without a seal. So reads are misses and writes do nothing,
counted and reported as in every outage, until the ring is back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from openalgo_cache.backends.base import CacheBackend, Entry, Request
from openalgo_cache.catalogue import Policy
from openalgo_cache.clock import Clock
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.errors import BackendUnavailableError, KeyRingError
from openalgo_cache.settings import Settings
from openalgo_cache.stack import Ground, Stack, build_stack


class KeylessStore(CacheBackend):
    """Fails whatever is asked of it, and looks each time whether the key ring is back.

    Args:
        load: Loads the ring, or raises KeyRingError.
        reopen: Called when that works; has the cache open its real store.
    """

    def __init__(self, load: Callable[[], object], reopen: Callable[[], None]) -> None:
        self._load = load
        self._reopen = reopen

    @classmethod
    def create(cls, request: Request) -> CacheBackend:  # noqa: D102  # no configuration asks for this
        raise NotImplementedError

    def get(self, key: str) -> Entry | None:  # noqa: ARG002, D102  # see CacheBackend; it fails whatever is asked
        self._fail()

    def set(self, key: str, entry: Entry) -> None:  # noqa: ARG002, D102  # likewise
        self._fail()

    def delete(self, key: str) -> bool:  # noqa: ARG002, D102  # likewise
        self._fail()

    def clear(self) -> int:  # noqa: D102  # likewise
        self._fail()

    def size(self) -> int:  # noqa: D102  # likewise
        self._fail()

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:  # noqa: ARG002, D102  # likewise
        self._fail()

    def _fail(self) -> NoReturn:
        try:
            self._load()
        except KeyRingError as error:
            raise BackendUnavailableError(str(error)) from None
        self._reopen()
        raise BackendUnavailableError("the key ring is back: what is asked next finds the store again")


def keyless_stack(  # noqa: PLR0913  # what a stack is made of, and what brings the real one back
    name: str,
    policy: Policy,
    settings: Settings,
    clock: Clock,
    load: Callable[[], object],
    reopen: Callable[[], None],
) -> Stack:
    """Put a cache on a store that is away; what it seals with is made up, and never stored."""
    made_up = LiveRing(KeyRing.generate())
    ground = Ground(settings, clock, lambda: made_up)
    return build_stack(name, policy, "none", ground, lambda _request: KeylessStore(load, reopen))

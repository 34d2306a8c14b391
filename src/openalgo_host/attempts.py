"""How often somebody tried to log in: counted by all instances together, and by each alone while the cache is away."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from openalgo_cache import BackendUnavailableError

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

_WINDOW: Final = 300
"""Seconds after which an address starts anew."""

_ADDRESSES: Final = 10_000


class LoginAttempts:
    """The attempts of each address within five minutes.

    Args:
        manager: Where the caches come from.
    """

    def __init__(self, manager: CacheManager) -> None:
        self._shared = manager.get_cache(
            "login_attempts", ttl=_WINDOW, maxsize=_ADDRESSES, encrypted=True, blinded=True, on_error="raise"
        )
        self._own = manager.get_cache("login_attempts_here", ttl=_WINDOW, maxsize=_ADDRESSES, local=True)

    def count(self, address: str) -> int:
        """Count one more, and return how many there were."""
        try:
            return self._shared.incr(address)
        except BackendUnavailableError:  # to lose the store must not lift the limit
            return self._own.incr(address)

    def forget(self, address: str) -> None:
        """Start anew: whoever it is knows the password."""
        self._own.delete(address)
        with suppress(BackendUnavailableError):  # the delete is noted, and done when the store is back
            self._shared.delete(address)

    def seconds_left(self, address: str) -> int:
        """Return in how many seconds an address starts anew."""
        return max(_seconds_left(self._shared, address), _seconds_left(self._own, address))


def _seconds_left(attempts: Cache, address: str) -> int:
    try:
        return int(attempts.ttl(address) or 0) + 1
    except (KeyError, BackendUnavailableError):
        return 1

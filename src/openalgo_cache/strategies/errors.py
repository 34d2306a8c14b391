"""What can go wrong with a strategy's state and orders."""

from __future__ import annotations

from openalgo_cache.errors import CacheError


class StaleStateError(CacheError):
    """The state was saved by somebody else since it was loaded; nothing was written."""


class RunReplacedError(CacheError):
    """Another run of the strategy has begun, or this one was stopped; nothing was written, and nothing will be."""


class HostUnavailableError(CacheError, ConnectionError):
    """The host does not answer, and has not for as long as we are willing to wait."""


class HostRefusedError(CacheError):
    """The host refuses what was asked of it; the message says why."""


class OrderRefusedError(CacheError):
    """An order was refused for good: sending it again would change nothing."""

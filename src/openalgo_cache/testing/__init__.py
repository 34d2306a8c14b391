"""For people who write backends, and for tests that need a clock to turn or a store that fails.

``FakeClock`` and ``ChaosBackend`` need nothing. The contracts need pytest: they are classes to inherit from, one for
what every backend promises and one for each capability that it may have (``docs/extending.md`` shows how)::

    class TestMyBackend(BackendContract, CacheContract):
        def make_backend(self, request):
            return MyBackend.create(request)

Or, for a backend that is registered, without a line of code: ``python -m openalgo_cache.testing NAME``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.testing.chaos import ChaosBackend
from openalgo_cache.testing.clock import FakeClock, PatientClock

if TYPE_CHECKING:
    from openalgo_cache.testing.backend_contract import BackendContract as BackendContract
    from openalgo_cache.testing.cache_contract import CacheContract as CacheContract
    from openalgo_cache.testing.capabilities import BoundContract as BoundContract
    from openalgo_cache.testing.capabilities import ChangeTokenContract as ChangeTokenContract
    from openalgo_cache.testing.capabilities import ScanContract as ScanContract
    from openalgo_cache.testing.capabilities import SharedContract as SharedContract
    from openalgo_cache.testing.invalidation import InvalidationContract as InvalidationContract
    from openalgo_cache.testing.rig import Contract as Contract
    from openalgo_cache.testing.rig import Rig as Rig

__all__ = [
    "BackendContract",
    "BoundContract",
    "CacheContract",
    "ChangeTokenContract",
    "ChaosBackend",
    "Contract",
    "FakeClock",
    "InvalidationContract",
    "PatientClock",
    "Rig",
    "ScanContract",
    "SharedContract",
]

_PLACE_OF: Final = {
    "BackendContract": "backend_contract",
    "BoundContract": "capabilities",
    "CacheContract": "cache_contract",
    "ChangeTokenContract": "capabilities",
    "Contract": "rig",
    "InvalidationContract": "invalidation",
    "Rig": "rig",
    "ScanContract": "capabilities",
    "SharedContract": "capabilities",
}
_WITH_ASSERTS: Final = {
    f"openalgo_cache.testing.{place}"
    for place in (
        "backend_contract",
        "cache_epochs",
        "cache_locks",
        "cache_stale",
        "cache_tags",
        "cache_times",
        "cache_values",
        "cache_verbs",
        "capabilities",
        "invalidation",
    )
}


def __getattr__(name: str) -> Any:
    place = _PLACE_OF.get(name)
    if place is None:
        raise AttributeError(f"module 'openalgo_cache.testing' has no attribute {name!r}")
    try:
        import pytest  # noqa: PLC0415  # a development dependency: only the contracts need it
    except ImportError:
        raise ImportError(f"openalgo_cache.testing.{name} needs pytest: install it beside openalgo-cache") from None
    from importlib import import_module  # noqa: PLC0415  # this is where names are loaded

    if not _WITH_ASSERTS & sys.modules.keys():
        pytest.register_assert_rewrite(*_WITH_ASSERTS)  # so that a failing assert shows what it compared
    value = getattr(import_module(f"openalgo_cache.testing.{place}"), name)
    globals()[name] = value
    return value

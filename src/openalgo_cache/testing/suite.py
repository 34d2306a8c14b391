"""The whole suite on one backend: the class that pytest collects when the suite is run by name."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from openalgo_cache.backends.base import CacheBackend
from openalgo_cache.settings import Settings
from openalgo_cache.testing.backend_contract import BackendContract
from openalgo_cache.testing.cache_contract import CacheContract
from openalgo_cache.testing.capabilities import BoundContract, ChangeTokenContract, ScanContract, SharedContract
from openalgo_cache.testing.clock import PatientClock
from openalgo_cache.testing.invalidation import InvalidationContract
from openalgo_cache.testing.rig import Contract

TestBackend: type[Contract]
"""Set by ``python -m openalgo_cache.testing`` before pytest looks for it."""


def suite(backend: type[CacheBackend], *, shared: bool, bounded: bool, own_clock: bool) -> type[Contract]:
    """Return a test class for ``backend``: the contracts of what it says it can do, and of what it is said to do.

    Args:
        backend: The class.
        shared: Whether its store is shared by every backend that is made for it.
        bounded: Whether it keeps to ``maxsize`` itself.
        own_clock: Whether its store expires entries by a clock of its own.
    """
    contracts: list[type[Contract]] = [BackendContract, CacheContract]
    contracts += [ScanContract] if hasattr(backend, "scan") else []
    contracts += [ChangeTokenContract] if hasattr(backend, "watch") else []
    contracts += [InvalidationContract] if hasattr(backend, "subscribe") else []
    contracts += [SharedContract] if shared else []
    contracts += [BoundContract] if bounded else []
    members: dict[str, Any] = {
        "__module__": __name__,
        "make_backend": lambda _, request: backend.create(request),
        "make_settings": lambda _, folder: _settings(folder),
    }
    if own_clock:
        members |= {"make_clock": lambda _: PatientClock(), "lifetime": 0.5}
    return type(f"Test{backend.__name__}", tuple(contracts), members)


def _settings(folder: Path) -> Settings:
    """Return what the environment says, of servers above all, with a folder and a namespace of the test's own."""
    return replace(
        Settings.from_environment(),
        sqlite_cache_path=folder / "db" / "cache",
        cache_namespace=f"suite-{secrets.token_hex(6)}",
        base_folder=folder,
    )

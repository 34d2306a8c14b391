"""A rig on files that can be made to fail, and whose verbs are counted: the fixture ``rig``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openalgo_cache.backends.base import Request
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.cache import Cache
from openalgo_cache.testing import ChaosBackend, Contract, Rig


class OnSQLite(Contract):
    """Chaos around SQLite."""

    def make_backend(self, request: Request) -> ChaosBackend:
        """Open the file."""
        return ChaosBackend(SQLiteBackend.create(request))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A rig on SQLite."""
    rig = Rig(OnSQLite(), tmp_path)
    yield rig
    rig.close()


def chaos(cache: Cache) -> ChaosBackend:
    """Return the store of a cache, which works until it is told not to."""
    store = cache.backend
    assert isinstance(store, ChaosBackend)
    return store

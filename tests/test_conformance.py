"""The public contracts, on every backend and every stack that we ship."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.settings import Settings
from openalgo_cache.testing import (
    BackendContract,
    BoundContract,
    CacheContract,
    ChangeTokenContract,
    ChaosBackend,
    InvalidationContract,
    ScanContract,
    SharedContract,
)


class TestMemory(BackendContract, CacheContract, ScanContract, BoundContract, ChangeTokenContract):
    """A dict in this process, with a near tier before it."""

    def make_backend(self, request: Request) -> CacheBackend:
        """Make a backend of its own memory."""
        return MemoryBackend.create(request)


class TestSQLite(BackendContract, CacheContract, ScanContract, BoundContract, ChangeTokenContract, SharedContract):
    """A file, with the near tier that the WAL index keeps coherent."""

    def make_backend(self, request: Request) -> CacheBackend:
        """Open the file of this test."""
        return SQLiteBackend.create(request)


class TestSQLiteWithoutNearTier(TestSQLite):
    """Every read goes to the file."""

    def make_settings(self, folder: Path) -> Settings:
        """Turn the near tier off, and use the default namespace."""
        return Settings(base_folder=folder, cache_near_enabled=False)


class TestSQLiteWithoutWal(TestSQLite):
    """A file with a rollback journal: ``data_version`` keeps the near tier coherent, as it does on Windows."""

    def make_settings(self, folder: Path) -> Settings:
        """Turn the write-ahead log off."""
        return replace(super().make_settings(folder), sqlite_wal_mode=False)


class TestChaos(TestMemory):
    """A backend that could fail, and was not told to, is like what it stands before."""

    def make_backend(self, request: Request) -> CacheBackend:
        """Put chaos around memory."""
        return ChaosBackend(MemoryBackend.create(request))


def test_no_test_of_a_contract_hides_another() -> None:
    """A class that inherits several contracts has all of their tests."""
    contracts: tuple[type, ...] = (BackendContract, CacheContract, ScanContract, BoundContract, SharedContract)
    contracts += (ChangeTokenContract, InvalidationContract)
    names = [name for contract in contracts for name in dir(contract) if name.startswith("test_")]
    assert len(names) > 60
    assert len(names) == len(set(names))

"""Masters to ask: a small one for each test, one of full size for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from openalgo_cache.symbols import SymbolMaster
from tests.symbols.samples import RING, ROWS, Hand


@pytest.fixture
def clock() -> Hand:
    """A clock that stands still."""
    return Hand()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Where the files of a master go."""
    return tmp_path / "db" / "cache"


@pytest.fixture
def master(base: Path, clock: Hand) -> SymbolMaster:
    """The small master, signed."""
    master = SymbolMaster(base, RING, clock)
    master.import_master(ROWS)
    return master

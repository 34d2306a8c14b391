"""What is done in the background: pages are read ahead, a file that changed is imported again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from openalgo_cache import CacheManager, Settings
from openalgo_cache.symbols import SymbolMaster
from openalgo_cache.symbols.upkeep import Upkeep, has_changed, is_due
from tests.symbols.samples import RING, ROWS, Hand, csv_of, row

DEADLINE = 10.0


def upkeep_of(master: SymbolMaster) -> Upkeep:
    """Look behind the curtain."""
    return master._upkeep


def wait_for(what: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A master contract."""
    path = tmp_path / "master.csv"
    path.write_text(csv_of([row("OLD")]), encoding="utf-8")
    return path


@pytest.fixture
def refreshed(base: Path, clock: Hand, contract: Path) -> SymbolMaster:
    """A master that looks every ten minutes whether its contract changed."""
    master = SymbolMaster(base, RING, clock, refresh_interval=600, background=False)
    master.import_master(contract)
    return master


def later(master: SymbolMaster, clock: Hand, seconds: float = 600) -> None:
    """Let time pass."""
    clock.now += seconds
    master.tick()
    clock.now += 2


def test_a_contract_that_changed_is_imported_again(refreshed: SymbolMaster, clock: Hand, contract: Path) -> None:
    """At the end of the interval, and once."""
    contract.write_text(csv_of([row("NEWER")]), encoding="utf-8")
    later(refreshed, clock, 590)
    assert refreshed.by_symbol("OLD", "NSE")
    later(refreshed, clock, 10)
    assert refreshed.by_symbol("NEWER", "NSE")
    version = refreshed.stats()["version"]
    for _ in range(3):
        later(refreshed, clock)
    assert refreshed.stats()["version"] == version


def test_a_contract_that_did_not_change_is_left_alone(refreshed: SymbolMaster, clock: Hand, contract: Path) -> None:
    """Nothing is read, and the version stays; so it does if the contract is gone, or was none of a file's."""
    version = refreshed.stats()["version"]
    later(refreshed, clock)
    contract.unlink()
    later(refreshed, clock)
    assert refreshed.stats()["version"] == version
    refreshed.import_master(ROWS)
    version = refreshed.stats()["version"]
    later(refreshed, clock)
    assert refreshed.stats()["version"] == version
    assert "refresh_problem" not in refreshed.stats()


def test_a_contract_that_cannot_be_imported(
    refreshed: SymbolMaster, clock: Hand, contract: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old master stays, it is reported, logged once, and over when the contract is mended."""
    contract.write_text(csv_of([row("BAD", lotsize="x")]), encoding="utf-8")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            later(refreshed, clock)
    assert len(caplog.records) == 1
    assert refreshed.by_symbol("OLD", "NSE")
    assert "cannot be imported" in refreshed.stats()["refresh_problem"]
    assert refreshed.problem is None
    contract.write_text(csv_of([row("MENDED")]), encoding="utf-8")
    later(refreshed, clock)
    assert refreshed.by_symbol("MENDED", "NSE")
    assert "refresh_problem" not in refreshed.stats()


def test_bad_rows_are_skipped_again_where_they_were_before(base: Path, clock: Hand, contract: Path) -> None:
    """A refresh imports as the import before it did."""
    master = SymbolMaster(base, RING, clock, refresh_interval=600, background=False)
    master.import_master(contract, skip_bad=True)
    contract.write_text(csv_of([row("GOOD"), row("BAD", lotsize="x")]), encoding="utf-8")
    later(master, clock)
    assert master.by_symbol("GOOD", "NSE")


def test_of_two_processes_one_imports(refreshed: SymbolMaster, base: Path, clock: Hand, contract: Path) -> None:
    """Whose turn comes second, although it saw the old version before, finds it done."""
    second = SymbolMaster(base, RING, Hand(), refresh_interval=600, background=False)
    before = second.header()
    assert before is not None
    contract.write_text(csv_of([row("NEW"), row("NEWER")]), encoding="utf-8")
    assert has_changed(before)
    later(refreshed, clock)
    assert second.import_if(contract, needed=lambda: is_due(second)) is None
    assert second.stats()["version"] == refreshed.stats()["version"]


def test_a_clock_that_is_set_back(refreshed: SymbolMaster, clock: Hand, contract: Path) -> None:
    """It does not keep a master old for years."""
    contract.write_text(csv_of([row("NEW")]), encoding="utf-8")
    later(refreshed, clock, -(10**8))
    assert refreshed.by_symbol("NEW", "NSE")


def test_a_version_is_read_ahead_once(base: Path, clock: Hand) -> None:
    """All of it, and again only when there is a new one."""
    master = SymbolMaster(base, RING, clock, preload=True, background=False)
    master.tick()
    assert upkeep_of(master).blocks_read == 0
    for count in (1, 2):
        master.import_master(ROWS)
        for _ in range(3):
            master.tick()
        assert upkeep_of(master).blocks_read == count


def test_reading_ahead_is_left_at_once(base: Path, clock: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the master is closed: after the block that is being read."""
    monkeypatch.setattr("openalgo_cache.symbols.upkeep._BLOCK", 4096)
    master = SymbolMaster(base, RING, clock, preload=True, background=False)
    master.import_master(ROWS)
    upkeep = upkeep_of(master)
    upkeep.tick(lambda: upkeep.blocks_read < 3)
    assert upkeep.blocks_read == 3


def test_the_thread(base: Path) -> None:
    """It starts with the first question, does its work, ends with the master's closing, and starts again."""
    master = SymbolMaster(base, RING, preload=True)
    upkeep = upkeep_of(master)
    assert not upkeep.is_started()
    master.import_master(ROWS)
    for count in (1, 2):
        assert master.count() == len(ROWS)
        assert upkeep.is_started()
        wait_for(lambda: upkeep._warmed is not None)
        assert upkeep.blocks_read == count
        master.close()
        assert not upkeep.is_started()
        upkeep._warmed = None


def test_a_master_with_nothing_to_do_has_no_thread(master: SymbolMaster) -> None:
    """Nor has one that is asked by a program that ends at once."""
    assert master.count()
    assert not upkeep_of(master).is_started()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_a_thread_of_its_own(base: Path) -> None:
    """The parent's stays with the parent."""
    script = """
import os, sys, time
from openalgo_cache.symbols import SymbolMaster
from tests.symbols.samples import RING, ROWS
master = SymbolMaster(sys.argv[1], RING, preload=True)
master.import_master(ROWS)
assert master.count()
child = os.fork()
master._upkeep._warmed = None
end = time.monotonic() + 10
before = master._upkeep.blocks_read
while child == 0 and master._upkeep.blocks_read == before and time.monotonic() < end:
    time.sleep(0.01)
    assert master.count()
if child == 0:
    os._exit(0 if master._upkeep.blocks_read > before else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", script, str(base)], check=True, timeout=60)


def test_the_settings_say_so(tmp_path: Path, clock: Hand) -> None:
    """SYMBOL_CACHE_PRELOAD and SYMBOL_CACHE_REFRESH_INTERVAL reach the master."""
    for preload, interval in ((True, None), (False, 60.0)):
        settings = Settings(
            sqlite_cache_path=tmp_path / "cache", cache_backend="sqlite", symbol_cache_preload=preload,
            symbol_cache_refresh_interval=interval,
        )  # fmt: skip
        manager = CacheManager(settings, clock)
        upkeep = upkeep_of(manager.symbols(background=False))
        assert (upkeep.preload, upkeep.interval) == (preload, interval)
        manager.close()

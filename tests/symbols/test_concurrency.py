"""Threads, processes and forks ask while masters are replaced under them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from openalgo_cache.symbols import SymbolMaster
from openalgo_cache.symbols.version import _IDLE_READERS, _inherited
from tests.symbols.samples import RING, ROWS, hurried, row

SYMBOLS = [f"S{n}" for n in range(40)]
PAIRS = [(symbol, "NSE") for symbol in SYMBOLS]

WATCH = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.symbols.samples import RING, hurried
from tests.symbols.test_concurrency import watch
from openalgo_cache.symbols import SymbolMaster

master = SymbolMaster(sys.argv[1], RING, hurried())
print("watching" if master.count() else "nothing there", flush=True)
print(*watch(master))
"""


def generation(name: str) -> list[dict[str, str]]:
    """Return a master whose every row says which one it is of."""
    return [row(symbol, token=f"{name}-{symbol}", name=f"of {name} generation") for symbol in SYMBOLS]


def watch(master: SymbolMaster) -> list[str]:
    """Ask until the last generation is there; return the generations seen, in their order.

    Raises:
        AssertionError: An answer was of two generations, or of none.
    """
    seen: list[str] = []
    while seen[-1:] != ["last"]:
        found = [one for one in master.many_by_symbol(PAIRS) if one is not None]
        assert len(found) == len(PAIRS), "half a master"
        assert len({one.name for one in found}) == 1, "two masters in one answer"
        searched = master.search("S1", limit=100)
        assert len(searched) == 11, "half a search"
        assert len({one.name for one in searched}) == 1, "two masters in one search"
        alone = master.by_symbol("S7", "NSE")
        assert alone is not None
        assert master.count() == len(SYMBOLS)
        for name in (found[0].name, searched[0].name, alone.name):
            if seen[-1:] != [name.split()[1]]:
                seen.append(name.split()[1])
    return seen


def test_threads_see_all_of_the_old_or_all_of_the_new(base: Path) -> None:
    """Four threads ask one object while a fifth replaces the master: no gap, no mixture, no way back."""
    names = ["first", "second", "third", "fourth", "fifth", "last"]
    importer = SymbolMaster(base, RING)
    importer.import_master(generation(names[0]))
    master = SymbolMaster(base, RING, hurried())
    seen: list[list[str]] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            seen.append(watch(master))
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for name in names[1:]:
        importer.import_master(generation(name))
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(seen) == 4
    for one in seen:
        assert [names.index(name) for name in one] == sorted({names.index(name) for name in one})
    version = master._current.lookups()
    assert version is not None
    assert len(version.version._idle) <= _IDLE_READERS


def test_another_process_sees_all_of_the_old_or_all_of_the_new(base: Path) -> None:
    """The same from a process of its own, whose files are removed under it."""
    importer = SymbolMaster(base, RING)
    importer.import_master(generation("first"))
    root = Path(__file__).resolve().parent.parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", WATCH, str(base), str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "watching\n"
        for name in ("second", "third", "fourth", "last"):
            importer.import_master(generation(name))
        out, errors = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, errors
    seen = out.split()
    assert seen == [name for name in ("first", "second", "third", "fourth", "last") if name in seen]


def test_a_version_may_vanish_between_pointer_and_file(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was slow reads the pointer again."""
    importer = SymbolMaster(base, RING)
    importer.import_master(generation("first"))
    reader = SymbolMaster(base, RING)
    current = reader._files.current

    def slow() -> str | None:
        number = current()
        if len(calls) < 2:
            calls.append(number)
            importer.import_master(generation("last"))
        return number

    calls: list[str | None] = []
    monkeypatch.setattr(reader._files, "current", slow)
    assert watch(reader) == ["last"]
    assert len(calls) == 2


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_forks(master: SymbolMaster) -> None:
    """A child opens connections of its own, leaves the parent's alone, and both go on."""
    if sys.platform == "win32":
        pytest.skip("no fork there")
    assert master.search("NIFTY")
    before = len(_inherited)
    for _ in range(5):
        child = os.fork()
        if child == 0:
            try:
                current = master._current.lookups()
                assert current is not None
                assert current.version._idle == []
                assert len(_inherited) > before
                assert master.by_symbol("M&M", "NSE") is not None
                assert len(master.search("NIFTY")) == 13
                master.import_master(ROWS)
                os._exit(0)
            except BaseException:  # noqa: BLE001  # whatever it is, the parent tells
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(master.search("NIFTY")) == 13
    assert len(_inherited) == before


def test_many_threads_keep_few_files_open(master: SymbolMaster) -> None:
    """Connections are as many as are in use at once, and a few of them are kept."""
    together = threading.Barrier(12)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            together.wait(30)
            for _ in range(50):
                assert len(master.search("NIFTY")) == 13
                assert master.by_token("27", "CRYPTO") is not None
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    current = master._current.lookups()
    assert current is not None
    assert 1 <= len(current.version._idle) <= _IDLE_READERS

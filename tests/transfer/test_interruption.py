"""Copies that are killed, that run beside each other, and that are larger than the memory they may take."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from openalgo_cache import Cache, CacheManager, copy_cache, export_caches, import_caches
from openalgo_cache.codec.codec import Contents
from tests.stacks import manager

COPY = """
import os, sys
from pathlib import Path
from openalgo_cache import CacheManager, Settings, copy_cache
folder, name = Path(sys.argv[1]), sys.argv[2]
source = CacheManager(Settings(base_folder=folder, cache_backend="sqlite"))
target = CacheManager(Settings(base_folder=folder, cache_backend="sqlite", cache_namespace="other"))
one, other = source.new_cache(name, maxsize=None), target.new_cache(name, maxsize=None)
report = copy_cache(one, other, progress=lambda report: os.write(1, b"%d\\n" % report.seen))
one.close()
other.close()
os.write(1, b"moved %d\\n" % report.moved)
"""


@pytest.fixture
def source_manager(tmp_path: Path) -> Iterator[CacheManager]:
    """Where caches are copied from."""
    made = manager(tmp_path)
    made.ring()
    yield made
    made.close()


@pytest.fixture
def target_manager(tmp_path: Path) -> Iterator[CacheManager]:
    """Where they are copied to."""
    made = manager(tmp_path, cache_namespace="other")
    yield made
    made.close()


def held(cache: Cache) -> dict[str, Contents | None]:
    """Return the contents of every entry, by the text of its key; each has to verify."""
    stack = cache._opened()
    prefix = stack.keyspace.prefix
    return {
        stored.removeprefix(prefix): stack.codec.contents_of(stored, entry.payload)
        for stored, entry in stack.backend.scan()  # type: ignore[attr-defined]  # SQLite lists
    }


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    """Begin a copy in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", COPY, str(folder), name], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("name, entries, kills", [("quotes", 1_000, 7), ("running_strategies", 200, 4)])
def test_killed_copies(
    source_manager: CacheManager, target_manager: CacheManager, tmp_path: Path, name: str, entries: int, kills: int
) -> None:
    """Killed wherever it may be, what is there is genuine each time; the last run does the rest, and all is equal."""
    source = source_manager.new_cache(name, maxsize=None)
    source.set_many({f"M&M|NSE {number}": {"padding": "x" * (number % 997)} for number in range(entries)}, ttl=9_999)
    target = target_manager.new_cache(name, maxsize=None)
    points = random.Random(entries)
    wanted = held(source)
    for _ in range(kills):
        goal = points.randrange(entries)
        process = start(tmp_path, name)
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("moved") and int(line) >= goal:
                break
        process.kill()
        process.wait()
        process.stdout.close()
        assert held(target).items() <= wanted.items()
    out, _ = start(tmp_path, name).communicate(timeout=60)
    assert out.splitlines()[-1].startswith("moved ")
    assert held(target) == wanted
    source.close()
    target.close()


def test_two_copies_at_once(source_manager: CacheManager, target_manager: CacheManager, tmp_path: Path) -> None:
    """They share the work: each entry is moved by one of them, and all arrive."""
    source = source_manager.new_cache("quotes", maxsize=None)
    source.set_many({f"k{number}": number for number in range(2_000)})
    both = [start(tmp_path, "quotes") for _ in range(2)]
    ends = [process.communicate(timeout=60)[0].splitlines()[-1] for process in both]
    assert sum(int(end.removeprefix("moved ")) for end in ends) == 2_000
    target = target_manager.new_cache("quotes", maxsize=None)
    assert held(target) == held(source)
    source.close()
    target.close()


def test_the_source_changes_meanwhile(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """An application that goes on writing and deleting disturbs nothing; a second copy brings what is new."""
    source = source_manager.new_cache("quotes", maxsize=None)
    target = target_manager.new_cache("quotes", maxsize=None)
    source.set_many({f"k{number:04}": number for number in range(600)})

    def change(report: object) -> None:
        seen: int = report.seen  # type: ignore[attr-defined]
        source.set(f"k{599 - seen:04}", "changed")
        source.delete(f"k{300 + seen % 100:04}")

    copy_cache(source, target, progress=change)
    copy_cache(source, target)
    assert held(source).items() <= held(target).items()
    source.close()
    target.close()


def peak(work: object) -> int:
    """Return the most memory that Python's objects took while something was done, in bytes."""
    tracemalloc.start()
    try:
        work()  # type: ignore[operator]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_large_values_are_not_gathered(
    source_manager: CacheManager, target_manager: CacheManager, tmp_path: Path
) -> None:
    """Thirty values of a megabyte take the memory of a few, on every way."""
    source = source_manager.new_cache("quotes", maxsize=None, encrypted=True)
    target = target_manager.new_cache("quotes", maxsize=None, encrypted=True)
    for number in range(30):
        source.set(f"k{number}", bytes([number]) * ((1 << 20) - 8))
    assert peak(lambda: copy_cache(source, target)) < 12 << 20
    file = tmp_path / "x"
    assert peak(lambda: export_caches(file, [source], manager=source_manager)) < 12 << 20
    target.clear()
    assert peak(lambda: import_caches(file, manager=target_manager, open_cache=lambda _: target)) < 12 << 20
    assert held(target) == held(source)
    source.close()
    target.close()


MOVE = """
import resource, sys
from pathlib import Path
from openalgo_cache import CacheManager, Settings, copy_cache, export_caches, import_caches
folder = Path(sys.argv[1])
def cache(namespace):
    manager = CacheManager(Settings(base_folder=folder, cache_backend="sqlite", cache_namespace=namespace))
    return manager, manager.new_cache("many", maxsize=None)
(here, one), (there, other), (elsewhere, third) = map(cache, ("here", "there", "elsewhere"))
def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
copied = copy_cache(one, other)
print(copied.moved, used())
print(export_caches(folder / "x", [other], manager=there, replace=True)[0].moved, used())
print(import_caches(folder / "x", manager=elsewhere, open_cache=lambda _: third)[0].moved, used())
for used_up in (one, other, third):
    used_up.close()
"""


@pytest.mark.soak
@pytest.mark.skipif(sys.platform == "win32", reason="asks the system for the largest memory used")
def test_a_hundred_thousand_entries(tmp_path: Path) -> None:
    """Copied, exported and imported with no more memory than a thousand take."""
    used = []
    for entries in (1_000, 100_000):
        folder = tmp_path / str(entries)
        made = manager(folder, cache_namespace="here")
        cache = made.new_cache("many", maxsize=None)
        for start_at in range(0, entries, 1_000):
            cache.set_many({f"k{number}": f"{number}" * 20 for number in range(start_at, start_at + 1_000)})
        made.close()
        cache.close()
        done = subprocess.run([sys.executable, "-c", MOVE, str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [list(map(int, line.split())) for line in done.stdout.splitlines()]
        assert [moved for moved, _ in lines] == [entries] * 3
        used.append(lines[-1][1])
    assert used[1] - used[0] < 32, f"megabytes: {used}"

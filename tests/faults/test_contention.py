"""Many processes, and many threads in each, on one cache file: no errors, no lost updates, nobody waits for long."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.contention_worker import CACHE, COUNTERS, MAXSIZE, value
from tests.stacks import manager

PROCESSES: Final = 8
THREADS: Final = 8
WORKER: Final = Path(__file__).with_name("contention_worker.py")


def work(
    folder: Path, task: str, operations: int, threads: int = 1, seconds: float = 0, patience: float = 100
) -> list[dict[str, Any]]:
    """Let eight processes begin at the same moment, and return what they report.

    Args:
        folder: Where the cache lies.
        task: What they do.
        operations: How much of it each thread does.
        threads: Threads a process.
        seconds: How long they go on at least.
        patience: Seconds after which they must have ended.
    """
    with ExitStack() as stack:
        arguments = [(folder, task, number, operations, threads, seconds) for number in range(PROCESSES)]
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(WORKER), *map(str, each)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for each in arguments
        ]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        reports = [json.loads(process.communicate(timeout=patience)[0]) for process in processes]
        assert [process.returncode for process in processes] == [0] * PROCESSES
    for report in reports:
        assert report["wrong"] == []
        assert (report["stats"]["errors"], report["stats"]["rejected"]) == (0, 0)
    return reports


def mixed(folder: Path, operations: int, seconds: float = 0, patience: float = 100) -> None:
    """Let them read, write, delete and count; check the counters and the bound."""
    reports = work(folder, "mix", operations, seconds=seconds, patience=patience)
    house = manager(folder)
    cache = house.get_cache(CACHE, maxsize=MAXSIZE, ttl=None)
    for nth in range(COUNTERS):
        sums = sorted(total for report in reports for total in report["sums"][f"counter{nth}"])
        assert sums == list(range(1, len(sums) + 1)), "two that counted at once got the same number"
        assert cache.get(f"counter{nth}") == len(sums)
    assert cache.size() <= MAXSIZE
    assert sum(report["stats"]["evictions"] for report in reports) > 0, "the bound was never reached"
    stats = cache.stats()
    assert (stats["errors"], stats["rejected"]) == (0, 0)
    house.close()
    done = sum(report["operations"] for report in reports)
    print(f"{done:,} operations of {PROCESSES} processes", file=sys.stderr)  # noqa: T201  # shown with -s, or on failure


def pressed(folder: Path, sets: int, seconds: float = 0, patience: float = 100) -> float:
    """Let all threads of all processes write; check what is there, and return the longest write's seconds."""
    reports = work(folder, "press", sets, THREADS, seconds, patience)
    house = manager(folder)
    cache = house.get_cache(CACHE, maxsize=MAXSIZE, ttl=None)
    for number, report in enumerate(reports):
        for thread, count in enumerate(report["written"]):
            for turn in range(count - 4, count):
                key = f"{number} {thread} {turn % 4}"
                assert cache.get(key) == value(key, number, turn)
    house.close()
    longest: float = max(report["longest"] for report in reports)
    done = sum(sum(report["written"]) for report in reports)
    print(  # noqa: T201  # shown with -s, or on failure
        f"{done:,} writes of {PROCESSES} x {THREADS} threads, the longest took {longest:.3f} s", file=sys.stderr
    )
    return longest


def test_eight_processes_mix_reads_writes_deletes_and_counting(tmp_path: Path) -> None:
    """No error, no wrong value, every count counted once, and no more entries than allowed."""
    mixed(tmp_path, operations=600)


def test_eight_processes_of_eight_threads_write_one_file(tmp_path: Path) -> None:
    """No error, the last write of every thread is there, and none of them was starved."""
    assert pressed(tmp_path, sets=30) < 30


@pytest.mark.soak
def test_eight_processes_mix_for_half_a_minute(tmp_path: Path) -> None:
    """The same, for long enough that checkpoints and upkeep come in between."""
    mixed(tmp_path, operations=0, seconds=30)


@pytest.mark.soak
def test_the_longest_wait_of_eight_times_eight_threads(tmp_path: Path) -> None:
    """The figure to reach is one second, at full load for half a minute."""
    assert pressed(tmp_path, sets=10, seconds=30) <= 1

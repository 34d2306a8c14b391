"""Processes that write one file as fast as they can: how much they get done, and how long one of them waits.

The processes stay, and are told which cache to write next, so that two caches can take turns.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final, NamedTuple

import diskcache

from benchmarks import caches, values
from benchmarks.lines import Line
from openalgo_cache import CacheManager

_ENTRIES: Final = 1000
_START_WITHIN: Final = 60.0
"""Seconds."""


class Turn(NamedTuple):
    """What was written in one turn: how many entries a second, and the longest wait for one write, in seconds."""

    rate: float
    longest: float


class Crew:
    """Writing processes.

    Args:
        pipes: One to each of them (a Connection; of another class on Windows).
    """

    def __init__(self, pipes: Sequence[Any]) -> None:
        self._pipes = pipes
        self._turns: dict[str, list[Turn]] = {}

    def write(self, kind: str, seconds: float) -> None:
        """Let all of them write ``kind``, ``ours`` or ``diskcache``, for some seconds."""
        for pipe in self._pipes:
            pipe.send((kind, seconds))
        done = [pipe.recv() for pipe in self._pipes]
        turn = Turn(sum(turn.rate for turn in done), max(turn.longest for turn in done))
        self._turns.setdefault(kind, []).append(turn)

    def result(self, kind: str) -> Turn:
        """Return the mean rate of all turns, and the longest wait in any of them."""
        turns = self._turns[kind]
        return Turn(fmean(turn.rate for turn in turns), max(turn.longest for turn in turns))


def run(*, quick: bool = False) -> list[Line]:
    """Measure eight processes with eight threads each."""
    processes, threads = (2, 2) if quick else (8, 8)
    with crew(processes, threads) as writing:
        for _ in range(1 if quick else 3):
            writing.write("ours", 0.1 if quick else 2.0)
        rate, longest = writing.result("ours")
    who = f"{processes} x {threads} threads that write one file"
    return [
        Line(what=f"{who}, longest wait", value=longest * 1000, unit="ms", target=1000.0, best="low"),
        Line(what=f"{who}, in all", value=rate, unit="writes/s"),
    ]


@contextmanager
def crew(processes: int, threads: int) -> Iterator[Crew]:
    """Start writing processes on an empty folder, and end them.

    Args:
        processes: How many.
        threads: How many threads write in each.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with TemporaryDirectory(prefix="openalgo-cache-bench-") as folder:
        pairs = [context.Pipe() for _ in range(processes)]
        workers = [
            context.Process(target=_work, args=(theirs, barrier, Path(folder), threads), daemon=True)
            for _, theirs in pairs
        ]
        for worker, (_, theirs) in zip(workers, pairs, strict=True):
            worker.start()
            theirs.close()  # so that a worker's end is seen at this end of its pipe
        pipes = [ours for ours, _ in pairs]
        try:
            yield Crew(pipes)
        finally:
            for pipe, worker in zip(pipes, workers, strict=True):
                with suppress(OSError):
                    pipe.send(None)
                worker.join(_START_WITHIN)


def _work(pipe: Any, barrier: Barrier, folder: Path, threads: int) -> None:
    manager = CacheManager(caches.settings(folder))
    ours, theirs = manager.get_cache("quotes"), diskcache.Cache(str(folder / "diskcache"))
    while (order := pipe.recv()) is not None:
        kind, seconds = order
        write = ours.set if kind == "ours" else theirs.set
        write(values.keys(1)[0], values.FLAT)  # opens the file
        barrier.wait(_START_WITHIN)
        pipe.send(_in_threads(write, seconds, threads))
    theirs.close()
    manager.close()


def _in_threads(write: Callable[[str, Any], object], seconds: float, threads: int) -> Turn:
    turns: list[Turn] = []

    def turn() -> None:
        turns.append(_turn(write, seconds))

    others = [threading.Thread(target=turn) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    turn()
    for thread in others:
        thread.join()
    return Turn(sum(turn.rate for turn in turns), max(turn.longest for turn in turns))


def _turn(write: Callable[[str, Any], object], seconds: float) -> Turn:
    stored = values.keys(_ENTRIES)
    random.shuffle(stored)
    longest, count = 0.0, 0
    started = ended = perf_counter()
    while ended < started + seconds:
        before = ended
        write(stored[count % _ENTRIES], values.FLAT)
        ended = perf_counter()
        longest = max(longest, ended - before)
        count += 1
    return Turn(count / (ended - started), longest)

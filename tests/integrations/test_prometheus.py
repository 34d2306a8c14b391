"""The figures for Prometheus: of one process, of several that share counters, and whatever caches are called."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from openalgo_cache import CacheManager
from openalgo_cache.integrations.prometheus import WorkersCollector, register
from openalgo_cache.testing.rig import eventually
from tests.stacks import manager

Samples = dict[tuple[str, str], float]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CacheManager]:
    """The caches of a process."""
    with closing(manager(tmp_path)) as made:
        yield made


def read(text: str) -> Samples:
    """Return what prometheus-client's own parser finds, by name and cache."""
    families = text_string_to_metric_families(text)
    return {(one.name, one.labels["cache"]): one.value for family in families for one in family.samples}


def scrape(manager: CacheManager) -> Samples:
    """Return what a registry of its own shows of a manager's caches."""
    registry = CollectorRegistry()
    register(manager, registry)
    return read(generate_latest(registry).decode())


def test_the_figures_of_a_process(house: CacheManager) -> None:
    """Counters, and the three of the proposal, whose labels are its own."""
    cache = house.get_cache("quotes")
    cache.set("a", 1)
    cache.get_many(["a", "b"])
    cache.get("a")
    seen = scrape(house)
    assert seen["openalgo_cache_hits_total", "quotes"] == 2
    assert seen["openalgo_cache_near_hits_total", "quotes"] == 1
    assert seen["openalgo_cache_misses_total", "quotes"] == 1
    assert seen["cache_hit_rate", "quotes"] == pytest.approx(2 / 3)
    assert seen["cache_size_entries", "quotes"] == 1
    assert seen["openalgo_cache_memory_bytes", "quotes"] > 0
    assert seen["openalgo_cache_available", "quotes"] == 1
    registry = CollectorRegistry()
    register(house, registry)
    text = generate_latest(registry).decode()
    assert '\ncache_hit_rate{backend="sqlite",cache="quotes"} 0.66' in text
    assert '\ncache_latency_ms{cache="quotes",operation="get"} ' in text
    assert '\ncache_size_entries{cache="quotes"} 1.0' in text


def test_a_scrape_opens_nothing(house: CacheManager, tmp_path: Path) -> None:
    """A cache that was only asked for has counters, and no file; one that was never read has no rate."""
    house.get_cache("running_strategies")
    seen = scrape(house)
    assert seen["openalgo_cache_hits_total", "running_strategies"] == 0
    assert ("cache_hit_rate", "running_strategies") not in seen
    assert not list(tmp_path.rglob("*running_strategies*"))


def test_counters_survive_a_close(house: CacheManager) -> None:
    """What a cache counted is not forgotten when its store is let go of."""
    cache = house.get_cache("quotes")
    cache.set("a", 1)
    for _ in range(3):
        cache.get("a")
    house.close()
    assert scrape(house)["openalgo_cache_hits_total", "quotes"] == 3


def test_without_counts(tmp_path: Path) -> None:
    """CACHE_STATS_ENABLED=false: sizes, and nothing that is counted, of the symbol master neither."""
    with closing(manager(tmp_path, cache_stats_enabled=False)) as house:
        house.get_cache("quotes").set("a", 1)
        assert house.symbols(background=False).by_symbol("RELIANCE", "NSE") is None
        seen = scrape(house)
        assert not {"hits", "misses", "hit_rate", "latency"} & house.get_cache("symbols").stats().keys()
    assert seen["cache_size_entries", "quotes"] == 1
    assert ("cache_size_entries", "symbols") in seen
    assert not [name for name, _ in seen if name.endswith("_total") or name == "cache_hit_rate"]


def test_a_process_that_has_just_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is empty for a moment, and the others' figures are shown all the same."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    (tmp_path / "counter_1.db").touch()
    registry = CollectorRegistry()
    collector = WorkersCollector(registry)
    assert generate_latest(registry) == b""
    with pytest.raises(struct.error):  # no longer so: prometheus-client's own is good enough
        super(WorkersCollector, collector).collect()  # type: ignore[no-untyped-call]  # it has no types


def test_odd_names_are_escaped() -> None:
    """A name that no cache may have, from whoever makes one all the same, stays one label."""
    odd = 'a"} 1\nforged{cache="b\\'

    class Odd:
        def get_stats(self, **_options: object) -> dict[str, dict[str, Any]]:
            return {odd: {"size": 7, "backend": odd, "memory_bytes": 0, "pending_deletes": 0, "hits": 1, "misses": 0}}

        def health(self) -> dict[str, Any]:
            return {"caches": {}}

    seen = scrape(cast("CacheManager", Odd()))
    assert seen["cache_size_entries", odd] == 7
    assert seen["cache_hit_rate", odd] == 1
    assert {cache for _, cache in seen} == {odd}


WORKER = """
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from openalgo_cache.integrations.prometheus import register
from tests.stacks import manager

house = manager(Path(sys.argv[1]))
cache = house.get_cache("quotes")


def begin():
    registry = CollectorRegistry()
    register(house, registry)
    MultiProcessCollector(registry)
    return registry


def obey(registry):
    for line in sys.stdin:
        verb, _, number = line.strip().partition(" ")
        if verb == "scrape":
            print(generate_latest(registry).decode() + "# EOF", flush=True)
        elif verb == "read":
            for _ in range(int(number)):
                cache.get("key")
            print("# EOF", flush=True)


if __name__ == "__main__":
    cache.set("key", "value")
    obey(begin())
    house.close()
"""

FORKING = (
    WORKER.partition("if __name__")[0]
    + """
import os

registry = begin()
cache.set("key", "value")
for _ in range(5):
    cache.get("key")
child = os.fork()
if child == 0:
    for _ in range(7):
        cache.get("key")
    sys.exit(0)  # writes what is left
os.waitpid(child, 0)
obey(registry)
"""
)


class Worker:
    """A process that shares its counters with others.

    Args:
        folder: Where the caches are.
        shared: PROMETHEUS_MULTIPROC_DIR.
        code: What it runs.
    """

    def __init__(self, folder: Path, shared: Path, code: str) -> None:
        shared.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> str:
        """Return what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        lines: list[str] = []
        while (answer := self.process.stdout.readline()) != "# EOF\n":
            assert answer, "it ended"
            lines.append(answer)
        return "".join(lines)

    def end(self, number: int | None = None) -> None:
        """Let it end, as its input does, or kill it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if number is not None:
            self.process.send_signal(number)
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start workers; they are killed when the test ends."""
    started: list[Worker] = []

    def run(code: str = WORKER) -> Worker:
        started.append(Worker(tmp_path, tmp_path / "shared", code))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)


def hits(worker: Worker) -> float:
    """Return the hits that a scrape of a worker shows."""
    return read(worker.ask("scrape"))["openalgo_cache_hits_total", "quotes"]


def test_workers_add_up(start: Start) -> None:
    """Whichever is scraped shows the sum, also of those that ended or were killed: a counter never goes back."""
    workers = [start() for _ in range(3)]
    for number, worker in enumerate(workers, start=1):
        worker.ask(f"read {number}")
    for worker in workers:
        assert eventually(lambda worker=worker: hits(worker) == 6, 10)  # type: ignore[misc]  # bound as it is now
    seen = read(workers[0].ask("scrape"))
    assert seen["cache_hit_rate", "quotes"] == 1
    assert seen["cache_size_entries", "quotes"] == 1
    assert seen["openalgo_cache_sets_total", "quotes"] == 3
    workers[2].end()
    workers[1].end(getattr(signal, "SIGKILL", signal.SIGTERM))
    assert hits(workers[0]) == 6
    successor = start()
    successor.ask("read 10")
    assert eventually(lambda: hits(workers[0]) == 16, 10)
    workers[0].end()
    assert hits(successor) == 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_what_a_fork_inherits_is_counted_once(start: Start) -> None:
    """An application that is loaded before its workers are forked: they add what they count themselves."""
    parent = start(FORKING)
    assert hits(parent) == 12
    assert read(parent.ask("scrape"))["openalgo_cache_sets_total", "quotes"] == 1

"""The caches' figures for Prometheus, right under several worker processes, too (extra ``prometheus``).

One line for any application that shows a registry of prometheus-client::

    register(manager)

Counters are ``openalgo_cache_..._total``. Beside them stand three figures that are computed for people:
``cache_hit_rate``, ``cache_latency_ms`` and ``cache_size_entries``.

Where PROMETHEUS_MULTIPROC_DIR is set, prometheus-client lets every process write its counters to a file there, and a
scrape of any of them shows the sum, of processes that ended as well. A process writes its own once a second.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache as remembered
from pathlib import Path
from typing import Any, Final

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from openalgo_cache.manager import CacheManager
from openalgo_cache.process import default_manager

_COUNTS: Final = {
    "hits": "Reads that found a value.",
    "near_hits": "Reads that this process's own copies answered; hits as well.",
    "misses": "Reads that found none.",
    "sets": "Entries written.",
    "deletes": "Entries removed.",
    "evictions": "Entries let go for want of room.",
    "errors": "Operations that the store failed.",
    "rejected": "Records that could not be verified or read.",
    "stale": "Expired values that stood in, since their loader failed.",
    "denied": "Calls that the access rules refused.",
}
_TIMED: Final = {
    "store_answers": "Answers of the store that were timed.",
    "store_seconds": "Seconds that the timed answers of the store took.",
}
_OF_CACHE: Final = ("cache",)
_OF_OPERATION: Final = ("cache", "operation")
_MEMORY: Final = ("openalgo_cache_memory_bytes", "About how many bytes of the processes' memory the entries take.")

_FRESH: Final = 10.0
"""Seconds for which a size is good enough."""

_PERIOD: Final = 1.0
"""Seconds after which a process writes its counters, where several share them."""

_Totals = dict[tuple[str, tuple[str, ...]], float]
"""Counts by figure (``hits``) and the values of its labels."""

_Stats = dict[str, dict[str, Any]]


def register(manager: CacheManager | None = None, registry: CollectorRegistry = REGISTRY) -> CacheCollector:
    """Let a registry show the figures of a manager's caches.

    With PROMETHEUS_MULTIPROC_DIR the registry needs a :class:`WorkersCollector` as well, or a ``MultiProcessCollector``
    of prometheus-client, as for any other counter.

    Args:
        manager: The manager; left out, the one that ``get_cache`` uses.
        registry: The registry.
    """
    collector = CacheCollector(default_manager() if manager is None else manager)
    registry.register(collector)
    return collector


class CacheCollector(Collector):
    """Collects the figures of a manager's caches.

    Args:
        manager: The manager.
    """

    def __init__(self, manager: CacheManager) -> None:
        self._manager = manager
        self._share = _Share(manager) if os.environ.get("PROMETHEUS_MULTIPROC_DIR") else None

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: to register asks no store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield what is shown."""
        stats = self._manager.get_stats(size_max_age=_FRESH, open_unused=False)
        if self._share is None:
            totals = _totals_of(stats)
            yield from _counters(totals)
            yield _family(*_MEMORY, {name: one["memory_bytes"] for name, one in stats.items()})
        else:  # the counters are shown by whoever shows all others of the processes
            self._share.write()
            totals = _Share.totals()
        yield _hit_rates(stats, totals)
        yield _latencies(totals)
        sizes = {name: one["size"] for name, one in stats.items() if one["size"] is not None}
        yield _family("cache_size_entries", "Entries in the store.", sizes)
        pending = {name: one["pending_deletes"] for name, one in stats.items()}
        yield _family("openalgo_cache_pending_deletes", "Deletes that failed and are yet to be carried out.", pending)
        healths = self._manager.health()["caches"]
        yield _family(
            "openalgo_cache_available",
            "1 if the store answers this process, 0 if it fails.",
            {name: float(health["status"] != "unavailable") for name, health in healths.items()},
        )


class WorkersCollector(MultiProcessCollector):
    """prometheus-client's collector of what several processes count, which does not fail where one of them begins.

    A process's file is empty for a moment after it was made, which the other one takes for an error.

    Args:
        registry: Shows it; None for nobody.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        super().__init__(registry)  # type: ignore[no-untyped-call]  # it has no types

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, each summed up over the processes."""
        begun = [str(file) for file in Path(self._path).glob("*.db") if _has_content(file)]
        merged: Iterable[Metric] = self.merge(begun)  # type: ignore[no-untyped-call]  # likewise
        return merged


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # of a process that has ended since
        return False


class _Share:
    """What this process adds to the counters that several processes share.

    Args:
        manager: Whose caches are counted.
    """

    def __init__(self, manager: CacheManager) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._written: _Totals = {}
        _shares.append(self)
        self._start()

    def write(self) -> None:
        """Add what was counted since the last time."""
        with self._lock:
            self._write()

    def before_fork(self) -> None:
        """Write what is this process's own, and let no thread be in the middle of it."""
        self._lock.acquire()
        self._write()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: what was counted so far is the parent's, who has written it."""
        self._lock.release()
        self._start()

    @staticmethod
    def totals() -> _Totals:
        """Return what all processes have written."""
        totals: _Totals = {}
        for metric in WorkersCollector(None).collect():
            figure = metric.name.removeprefix("openalgo_cache_")
            if figure in _COUNTS or figure in _TIMED:
                labels = _OF_CACHE if figure in _COUNTS else _OF_OPERATION
                for sample in metric.samples:
                    totals[figure, tuple(sample.labels[label] for label in labels)] = sample.value
        return totals

    def _write(self) -> None:
        stats = self._manager.get_stats(size_max_age=None)
        for key, total in _totals_of(stats).items():
            (figure, labels), before = key, self._written.get(key)
            if before is None or total != before:
                # Less than before where a store that counts itself was opened anew.
                _counter(figure).labels(*labels).inc(max(0.0, total - (before or 0.0)))
                self._written[key] = total
        for name, one in stats.items():
            _memory().labels(name).set(one["memory_bytes"])

    def _start(self) -> None:
        # Not one of the system's own threads where eventlet or gevent runs: prometheus-client's locks are theirs.
        threading.Thread(target=self._keep_writing, daemon=True, name="cache metrics").start()

    def _keep_writing(self) -> None:
        pause = threading.Event()
        while True:
            self.write()
            pause.wait(_PERIOD)


_shares: Final[list[_Share]] = []


def _each(step: Callable[[_Share], None]) -> None:
    for share in _shares:
        step(share)


atexit.register(_each, _Share.write)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _each(_Share.before_fork),
        after_in_parent=lambda: _each(_Share.after_fork_in_parent),
        after_in_child=lambda: _each(_Share.after_fork_in_child),
    )


@remembered  # one for all managers of the process: two would overwrite each other
def _counter(figure: str) -> Counter:
    name, what, labels = _described(figure)
    return Counter(name, what, labels, registry=None)


@remembered
def _memory() -> Gauge:
    return Gauge(*_MEMORY, _OF_CACHE, registry=None, multiprocess_mode="livesum")


def _described(figure: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the name, the help and the labels of a counter."""
    what = _COUNTS.get(figure) or _TIMED[figure]
    return f"openalgo_cache_{figure}", what, _OF_CACHE if figure in _COUNTS else _OF_OPERATION


def _totals_of(stats: _Stats) -> _Totals:
    """Return what this process has counted; nothing of caches that show no counts."""
    totals: _Totals = {}
    for name, one in stats.items():
        totals |= {(figure, (name,)): float(one[figure]) for figure in _COUNTS if figure in one}
        for operation, timing in one.get("latency", {}).items():
            totals["store_answers", (name, operation)] = float(timing["count"])
            totals["store_seconds", (name, operation)] = timing["seconds"]
    return totals


def _counters(totals: _Totals) -> Iterator[Metric]:
    for figure in (*_COUNTS, *_TIMED):
        name, what, of = _described(figure)
        family = CounterMetricFamily(name, what, labels=of)
        for (counted, labels), total in totals.items():
            if counted == figure:
                family.add_metric(labels, total)
        yield family


def _hit_rates(stats: _Stats, totals: _Totals) -> Metric:
    family = GaugeMetricFamily("cache_hit_rate", "Hits among all reads, 0 to 1.", labels=("cache", "backend"))
    for name, one in stats.items():
        hits, misses = totals.get(("hits", (name,)), 0.0), totals.get(("misses", (name,)), 0.0)
        if hits + misses:
            family.add_metric((name, one["backend"] or ""), hits / (hits + misses))
    return family


def _latencies(totals: _Totals) -> Metric:
    family = GaugeMetricFamily("cache_latency_ms", "How long the store takes on average.", labels=_OF_OPERATION)
    for (figure, labels), seconds in totals.items():
        answers = totals.get(("store_answers", labels))
        if figure == "store_seconds" and answers:
            family.add_metric(labels, 1000 * seconds / answers)
    return family


def _family(name: str, what: str, values: dict[str, Any]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=_OF_CACHE)
    for cache, value in values.items():
        family.add_metric((cache,), value)
    return family

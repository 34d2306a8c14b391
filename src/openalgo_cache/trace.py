"""Traces: which storey answered which read, while a ``with`` block runs.

While a trace runs anywhere in the process, caches are of a class that takes notes for whoever asked for them. Without
one they are what they always are, so that a trace that is not asked for costs nothing, not even a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache as remembered
from time import perf_counter_ns
from typing import Any, Final, Literal, NamedTuple, TypeVar

from openalgo_cache.cache import Cache
from openalgo_cache.course import LOAD, Course
from openalgo_cache.epochs import Epoch
from openalgo_cache.handles import HANDLES
from openalgo_cache.keys import Key
from openalgo_cache.locks import make_lock
from openalgo_cache.sentinels import MISSING, Ttl

Answer = Literal["near", "store", "miss", "loader", "waited", "stale"]

K = TypeVar("K", bound=Key)


class Step(NamedTuple):
    """What answered once.

    Attributes:
        answer: ``near`` or ``store``: where the value was found; ``miss``: nowhere. After a miss, ``loader``: it was
            loaded; ``waited``: somebody else loaded it; ``stale``: the loader failed, and the expired value stood in.
        cache: The cache's name.
        key: The key as it may be shown: blinded where the store has it blinded.
        microseconds: How long it took; of a bulk read, all of it.
    """

    answer: Answer
    cache: str
    key: str
    microseconds: float

    def __str__(self) -> str:
        return f"{self.microseconds:>10.1f} µs  {self.answer:<6}  {self.cache}  {self.key}"


class Trace:
    """The steps of a trace so far, in the order in which they ended; no value is in them."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def add(self, step: Step) -> None:
        """Take a note."""
        self._steps.append(step)

    def __iter__(self) -> Iterator[Step]:
        return iter(tuple(self._steps))

    def __len__(self) -> int:
        return len(self._steps)

    def __str__(self) -> str:
        return "\n".join(map(str, self._steps))

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} steps>"


_running: ContextVar[tuple[Trace, ...]] = ContextVar("openalgo_cache_traces", default=())
_lock: Final = make_lock()
_count: Final = [0]


@contextmanager
def cache_trace() -> Iterator[Trace]:
    """Note which storey answers every read that this thread or task makes inside the block.

    ``with cache_trace() as trace:`` gives what can be iterated over and printed. It covers ``get``, ``get_many``, what
    stands on them, and ``get_or_set`` and ``cached``. Threads that are started inside have traces of their own.
    """
    trace = Trace()
    token = _running.set((*_running.get(), trace))
    _watch(1)
    try:
        yield trace
    finally:
        _watch(-1)
        _running.reset(token)


def _watch(more: int) -> None:
    with _lock:
        _count[0] += more
        if more > 0 and _count[0] == 1:
            HANDLES.change(_noting, _noting)
        elif _count[0] == 0:
            HANDLES.change(_plain)


class _Noting(Cache):
    """A cache that takes notes for the traces of whoever calls it."""

    __slots__ = ()

    def get(self, key: Key, default: Any = None, epoch: Epoch | None = None) -> Any:
        if not _running.get():
            return super().get(key, default, epoch)
        value = self._peek(key) if epoch is None else MISSING
        if value is MISSING:
            started = perf_counter_ns()
            value = super().get(key, MISSING, epoch)
            self._note("miss" if value is MISSING else "store", key, started)
        return default if value is MISSING else value

    def _peek(self, key: Key) -> Any:
        started = perf_counter_ns()
        value = super()._peek(key)
        if value is not MISSING:
            self._note("near", key, started)
        return value

    def _read_many(self, missing: dict[str, K], epoch: bytes | None) -> dict[K, Any]:
        started = perf_counter_ns()
        found = super()._read_many(missing, epoch)
        for key in missing.values():
            self._note("store" if key in found else "miss", key, started)
        return found

    def _course(
        self, key: Key, ttl: Ttl, tags: Iterable[str], epoch: Epoch | None, loop: object | None = None
    ) -> Course[Any]:
        """Follow a course from outside, and note how long it loads, or that it only waits."""
        steps = super()._course(key, ttl, tags, epoch, loop)
        started, loaded = perf_counter_ns(), False
        came: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = steps.send(came) if error is None else steps.throw(error)
            except StopIteration as end:
                if not loaded:
                    self._note("waited", key, started)
                return end.value
            begun, came, error = perf_counter_ns(), None, None
            try:
                came = yield step
            except BaseException as raised:  # noqa: BLE001  # the course's own to deal with
                error = raised
            if step == LOAD:
                loaded = True
                self._note("loader", key, begun)

    def _served_stale(self, key: Key, stored: str, error: Exception) -> None:
        started = perf_counter_ns()
        super()._served_stale(key, stored, error)
        self._note("stale", key, started)

    def _note(self, answer: Answer, key: Key, started: int) -> None:
        if traces := _running.get():
            step = Step(answer, self.name, self.shown(key), (perf_counter_ns() - started) / 1_000)
            for trace in traces:
                trace.add(step)


@remembered
def _noting(kind: type) -> type:
    """Return the class that takes notes in place of a class of caches."""
    if not issubclass(kind, Cache) or issubclass(kind, _Noting):
        return kind
    return type(kind.__name__, (_Noting, kind), {"__slots__": (), "__module__": kind.__module__})


def _plain(kind: type) -> type:
    """Return the class in whose place one takes notes."""
    return kind.__bases__[-1] if issubclass(kind, _Noting) else kind

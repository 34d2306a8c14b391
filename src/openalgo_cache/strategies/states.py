"""The states of strategies, as a host keeps them: versioned, and closed to whoever was overtaken.

A strategy's run may be paused for any time, and wake up when another one has taken its place. So each run has a number
that rises from run to run, its fence (see M. Kleppmann, "How to do distributed locking", 2016). A record remembers the
highest one that it has seen, and takes nothing from a lower one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from openalgo_cache.steps import Found, Keep, Put
from openalgo_cache.strategies.errors import RunReplacedError, StaleStateError

if TYPE_CHECKING:
    from openalgo_cache.cache import Cache

Data = dict[str, Any]


class State(NamedTuple):
    """What is kept for one strategy.

    Attributes:
        version: How often it was saved.
        data: What was saved last.
    """

    version: int
    data: Data


class StrategyStates:
    """Keeps a record for each of many strategies.

    Every change is one atomic step in the store, so writers in several threads, processes and hosts need no lock.

    Args:
        cache: Where they lie: one that holds state, such as ``get_cache("strategy_state")``.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def load(self, name: str) -> State:
        """Return what was saved last; version 0 with nothing in it if nothing ever was."""
        return _state(self._cache.get(name))

    def load_many(self, names: list[str]) -> dict[str, State]:
        """Return those of several that were ever saved, or begun."""
        return {name: _state(record) for name, record in self._cache.get_many(names).items()}

    def begin(self, name: str, fence: int) -> State:
        """Let a new run begin: from here on, whoever has a lower fence saves nothing.

        Args:
            name: Of the strategy.
            fence: The run's.

        Returns:
            What the runs before it have saved.

        Raises:
            RunReplacedError: A later run has begun already.
        """
        if self._cache.add(name, _record(_state(None), fence)):
            return _state(None)

        def decide(record: Data | None) -> tuple[State, bool]:
            return _state(record), record is None or record["fence"] < fence

        return self._step(name, fence, decide)

    def save(self, name: str, data: Data, version: int, fence: int) -> int:
        """Save a state in place of the version that its writer has seen.

        Sent again, since its answer was lost, it is saved once.

        Args:
            name: Of the strategy.
            data: Any values that a cache takes.
            version: Which version was loaded, or saved last.
            fence: The run's.

        Returns:
            The new version.

        Raises:
            RunReplacedError: A later run has begun.
            StaleStateError: Another version is there, or none.
        """

        def decide(record: Data | None) -> tuple[State, bool]:
            there = _state(record)
            if record is not None and there == (version + 1, data) and record["fence"] == fence:
                return there, False
            if there.version != version:
                raise StaleStateError(
                    f"version {version} of the state was to be replaced, and version {there.version} is there: "
                    "load it, and decide anew"
                )
            return State(version + 1, data), True

        if version == 0 and self._cache.add(name, _record(State(1, data), fence)):
            return 1
        return self._step(name, fence, decide).version

    def remove(self, name: str) -> None:
        """Forget a strategy's state."""
        self._cache.delete(name)

    def _step(self, name: str, fence: int, decide: Callable[[Data | None], tuple[State, bool]]) -> State:
        """Take one atomic step on a record that no later run has seen; return the state that is there then."""

        def step(found: Found | None) -> Keep | Put:
            record: Data | None = None if found is None else found.value
            if record is not None and record["fence"] > fence:
                raise RunReplacedError("a later run of this strategy has begun: nothing was saved")
            state, writes = decide(record)
            return Put(_record(state, fence), None, state) if writes else Keep(state)

        result: State = self._cache._exchange(name, step, None)  # noqa: SLF001  # no single verb compares two numbers
        return result


def _record(state: State, fence: int) -> Data:
    return {"version": state.version, "fence": fence, "data": state.data}


def _state(record: Data | None) -> State:
    return State(0, {}) if record is None else State(record["version"], record["data"])

"""The states of strategies: saved once, in order, and closed to whoever was overtaken."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openalgo_cache import AccessDeniedError, CacheManager, Settings, UnsupportedValueError
from openalgo_cache.strategies import RunReplacedError, StaleStateError
from openalgo_cache.strategies.states import State, StrategyStates


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[CacheManager]:
    """The caches of an empty folder."""
    made = CacheManager(Settings(base_folder=tmp_path, cache_auto_configure=False))
    yield made
    made.close()


@pytest.fixture
def states(manager: CacheManager) -> StrategyStates:
    """Their states."""
    return StrategyStates(manager.get_cache("strategy_state"))


def test_what_was_saved_is_there(states: StrategyStates, manager: CacheManager) -> None:
    """Version by version, with types, also for a process that starts later."""
    assert states.load("one") == State(0, {})
    assert states.begin("one", 1) == State(0, {})
    assert states.save("one", {"held": (1, 2)}, 0, 1) == 1
    assert states.save("one", {"held": (1, 2, 3)}, 1, 1) == 2
    later = CacheManager(manager.settings)
    assert StrategyStates(later.get_cache("strategy_state")).load("one") == State(2, {"held": (1, 2, 3)})
    later.close()
    assert states.load_many(["one", "two"]) == {"one": State(2, {"held": (1, 2, 3)})}
    states.remove("one")
    assert states.load("one") == State(0, {})


def test_a_save_that_is_sent_again_is_saved_once(states: StrategyStates) -> None:
    """Its answer was lost: it is answered as the first time. Another content under the same version is refused."""
    states.begin("one", 1)
    assert [states.save("one", {"n": 1}, 0, 1) for _ in range(2)] == [1, 1]
    with pytest.raises(StaleStateError, match="version 1 is there"):
        states.save("one", {"n": 2}, 0, 1)
    with pytest.raises(StaleStateError):
        states.save("one", {"n": 1}, 5, 1)


def test_a_run_that_was_overtaken_saves_nothing(states: StrategyStates) -> None:
    """From the moment at which the next one begins; and it cannot begin again."""
    states.begin("one", 3)
    states.save("one", {"n": 1}, 0, 3)
    assert states.begin("one", 4) == State(1, {"n": 1})
    with pytest.raises(RunReplacedError):
        states.save("one", {"n": 2}, 1, 3)
    with pytest.raises(RunReplacedError):
        states.begin("one", 3)
    assert states.begin("one", 4) == State(1, {"n": 1})
    assert states.save("one", {"n": 2}, 1, 4) == 2


def test_a_state_that_was_removed_does_not_come_back(states: StrategyStates) -> None:
    """A late save of what was loaded before finds another version: none."""
    states.begin("one", 1)
    states.save("one", {"n": 1}, 0, 1)
    states.remove("one")
    with pytest.raises(StaleStateError):
        states.save("one", {"n": 2}, 1, 1)


def test_of_many_writers_one_is_first(states: StrategyStates) -> None:
    """Each version is written by one of them, whoever tries."""
    states.begin("one", 1)

    def count(writer: int) -> int:
        saved = 0
        while (there := states.load("one")).version < 40:
            try:
                states.save("one", {"by": [*there.data.get("by", []), writer]}, there.version, 1)
                saved += 1
            except StaleStateError:
                continue
        return saved

    with ThreadPoolExecutor(4) as pool:
        saved = list(pool.map(count, range(4)))
    version, data = states.load("one")
    assert version == sum(saved) == len(data["by"])
    assert [data["by"].count(writer) for writer in range(4)] == saved


def test_what_cannot_be_kept_is_refused(states: StrategyStates) -> None:
    """And the state stays as it was."""
    states.begin("one", 1)
    with pytest.raises(UnsupportedValueError):
        states.save("one", {"n": object()}, 0, 1)
    assert states.load("one") == State(0, {})


def test_access_rules_count(tmp_path: Path) -> None:
    """A module that may not use the cache can neither begin nor load."""
    rules = tmp_path / "rules.toml"
    rules.write_text('default = ["somebody.else"]\n')
    rules.chmod(0o600)
    manager = CacheManager(Settings(base_folder=tmp_path, cache_auto_configure=False, cache_access_rules=rules))
    states = StrategyStates(manager.get_cache("strategy_state"))
    with pytest.raises(AccessDeniedError):
        states.load("one")
    with pytest.raises(AccessDeniedError):
        states.begin("one", 1)
    manager.close()

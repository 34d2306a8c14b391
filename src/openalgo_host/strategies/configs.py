"""What the users want to run: the configurations of strategies, in the cache ``strategy_configs``, which holds state.

The record ``ids`` lists them all. Each has a small record under its number, which instances read every second, and
its source beside that.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from openalgo_host.strategies.errors import RefusedStrategyError, UnknownStrategyError
from openalgo_host.strategies.records import readable
from openalgo_host.strategies.schedule import Schedule, is_due

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openalgo_cache import Cache, CacheManager

LARGEST_SOURCE: Final = 48 * 1024
"""Bytes."""
LONGEST_NAME: Final = 100
_MOST: Final = 50
"""Strategies of one user."""
_IDS: Final = "ids"
_WAIT: Final = 10.0
"""Seconds to wait for another one's change."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a user wants to run.

    Attributes:
        id: Its number: random, and of letters and digits only.
        user_id: Whose it is.
        name: What the user calls it.
        schedule: When it runs; None for always.
        wanted_since: Since when it is to run, in seconds since the epoch; None if it is not.
    """

    id: str
    user_id: int
    name: str
    schedule: Schedule | None = None
    wanted_since: float | None = None

    def is_to_run(self, now: float) -> bool:
        """Return whether it is to run now, by what its user wants and by its schedule."""
        return self.wanted_since is not None and is_due(self.schedule, now)


class Configs:
    """The configurations of all users.

    Args:
        manager: Where the cache comes from.
    """

    def __init__(self, manager: CacheManager) -> None:
        self._cache: Cache = manager.get_cache("strategy_configs")

    def all(self) -> list[Config]:
        """Return all of them that can be read, the oldest first."""
        ids = self._ids()
        found = readable(self._cache.get_many, ids)
        return [_config(found[one]) for one in ids if one in found]

    def get(self, user_id: int, strategy_id: str) -> Config:
        """Return one of a user's.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        record = self._cache.get(strategy_id) if _is_id(strategy_id) else None
        if record is None or record["user_id"] != user_id:
            raise UnknownStrategyError
        return _config(record)

    def source(self, strategy_id: str) -> str:
        """Return the source of one that there is."""
        source: str = self._cache.get(_source_of(strategy_id), "")
        return source

    def add(self, user_id: int, name: str, source: str, schedule: Schedule | None) -> Config:
        """Add one, which is not to run yet.

        Raises:
            RefusedStrategyError: It cannot be like that.
        """
        _check_source(source)
        with self._cache.lock(_IDS, timeout=_WAIT):
            others = self.all()
            if sum(one.user_id == user_id for one in others) >= _MOST:
                raise RefusedStrategyError(f"There are {_MOST} strategies already: remove one first")
            config = Config(secrets.token_hex(8), user_id, _checked_name(name, user_id, others), schedule)
            self._cache.set(_source_of(config.id), source)
            self._put(config)
            self._cache.set(_IDS, [*self._ids(), config.id])
        return config

    def change(self, user_id: int, strategy_id: str, changes: Mapping[str, Any], source: str | None = None) -> Config:
        """Change fields of one of a user's, or its source, which counts from its next run on.

        Raises:
            RefusedStrategyError: It cannot be like that.
            UnknownStrategyError: The user has none with this number.
        """
        with self._cache.lock(_IDS, timeout=_WAIT):
            config = self.get(user_id, strategy_id)
            if "name" in changes:
                others = [one for one in self.all() if one.id != strategy_id]
                changes = {**changes, "name": _checked_name(changes["name"], user_id, others)}
            if source is not None:
                _check_source(source)
                self._cache.set(_source_of(strategy_id), source)
            config = replace(config, **changes)
            self._put(config)
        return config

    def remove(self, user_id: int, strategy_id: str) -> None:
        """Remove one of a user's.

        Raises:
            UnknownStrategyError: The user has none with this number.
        """
        with self._cache.lock(_IDS, timeout=_WAIT):
            self.get(user_id, strategy_id)
            self._cache.set(_IDS, [one for one in self._ids() if one != strategy_id])
            self._cache.delete_many((strategy_id, _source_of(strategy_id)))

    def _ids(self) -> list[str]:
        ids: list[str] = self._cache.get(_IDS, [])
        return ids

    def _put(self, config: Config) -> None:
        schedule = None if config.schedule is None else config.schedule.fields()
        self._cache.set(config.id, {**asdict(config), "schedule": schedule})


def _config(record: Mapping[str, Any]) -> Config:
    schedule = record["schedule"]
    return Config(**{**record, "schedule": None if schedule is None else Schedule.parse(schedule)})


def _is_id(text: str) -> bool:
    return len(text) == 16 and text.isascii() and text.isalnum()


def _source_of(strategy_id: str) -> str:
    return f"{strategy_id}/source"


def _checked_name(name: str, user_id: int, others: Iterable[Config]) -> str:
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise RefusedStrategyError(f"A strategy's name has 1 to {LONGEST_NAME} characters that can be printed")
    if any((one.user_id, one.name) == (user_id, name) for one in others):
        raise RefusedStrategyError("There is a strategy of this name already")
    return name


def _check_source(source: str) -> None:
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        raise RefusedStrategyError("A strategy's source is text in UTF-8") from None
    if not source.strip() or "\0" in source or size > LARGEST_SOURCE:
        raise RefusedStrategyError(
            f"A strategy's source is Python, up to {LARGEST_SOURCE // 1024} KiB (a request may carry 64 KiB in all)"
        )

"""Reading what is kept of many strategies, of which one may be damaged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from openalgo_cache import UnreadableRecordError

T = TypeVar("T")

_log = logging.getLogger("openalgo_host")


def readable(read: Callable[[list[str]], dict[str, T]], names: list[str]) -> dict[str, T]:
    """Return the records of strategies that can be read: one that cannot must not end those of everybody else.

    Args:
        read: Returns the records under some names, or raises UnreadableRecordError if one cannot be read.
        names: Of the strategies.
    """
    try:
        return read(names)
    except UnreadableRecordError:
        return {name: found for name in names for found in _readable(read, name)}


def _readable(read: Callable[[list[str]], dict[str, T]], name: str) -> list[T]:
    try:
        return list(read([name]).values())
    except UnreadableRecordError:
        _tell(name)
        return []


@lru_cache(maxsize=1000)  # once for each
def _tell(name: str) -> None:
    _log.error("strategy %s: what is kept of it cannot be read: the others go on, and it waits for its backup", name)

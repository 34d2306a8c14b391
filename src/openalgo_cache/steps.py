"""An atomic step on one entry: what it finds, and what it decides to do (see ``Handle._exchange``)."""

from __future__ import annotations

from typing import Any, NamedTuple


class Found(NamedTuple):
    """A readable value that an atomic step found, and when it expires (None for never)."""

    value: Any
    expires_at: float | None


class Keep(NamedTuple):
    """A decision of an atomic step: leave the entry as it is."""

    result: Any


class Put(NamedTuple):
    """A decision of an atomic step: store this value, with this absolute expiry."""

    value: Any
    expires_at: float | None
    result: Any


class Remove(NamedTuple):
    """A decision of an atomic step: remove the entry."""

    result: Any

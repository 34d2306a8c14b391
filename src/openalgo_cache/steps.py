"""An atomic step on one entry: what it finds, and what it decides to do (see ``Writer._exchange``)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from openalgo_cache.codec.envelope import TagsOfRecord


class Found(NamedTuple):
    """A readable value that an atomic step found.

    Attributes:
        value: The value.
        expires_at: When it expires, seconds since the epoch; None for never.
        tags: The tags that it carries.
        epoch: The epoch that it was stored with, as it stands in the record.
        stale_until: Until when it may stand in for a value that cannot be loaded; None for no longer than it lives.
    """

    value: Any
    expires_at: float | None
    tags: TagsOfRecord = ()
    epoch: bytes | None = None
    stale_until: float | None = None


class Seen(NamedTuple):
    """What is under a key.

    Attributes:
        payload: The record in the store; None if there is none.
        value: The value in force.
        stale: An expired value that may stand in for one that cannot be loaded.
        leased: Whether somebody is loading the value.
    """

    payload: bytes | None
    value: Found | None = None
    stale: Found | None = None
    leased: bool = False


NOTHING: Final = Seen(None)
"""What is seen where no record is."""


class Keep(NamedTuple):
    """A decision of an atomic step: leave the entry as it is."""

    result: Any


class Put(NamedTuple):
    """A decision of an atomic step: store this value, with this absolute expiry, these tags and this epoch."""

    value: Any
    expires_at: float | None
    result: Any
    tags: TagsOfRecord = ()
    epoch: bytes | None = None


class Remove(NamedTuple):
    """A decision of an atomic step: remove the entry."""

    result: Any

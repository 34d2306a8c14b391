"""What happened: the part of a line of the audit log that whoever records it knows."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One operation on a cache, or on the keys.

    Attributes:
        cache: The cache's name; None where it concerns none, or all.
        operation: What was done, in capitals: ``GET``, ``DENIED``, ``CLEAR``.
        key: The key in the form that may be shown, so blinded where the cache blinds its keys; None for none.
        caller: The module that did it.
        hit: Whether there was an entry; None where that is no question.
        detail: What else there is to say. Never a value.
    """

    cache: str | None
    operation: str
    key: str | None
    caller: str | None
    hit: bool | None = None
    detail: str | None = None

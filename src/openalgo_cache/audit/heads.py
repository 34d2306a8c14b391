"""Where each chain ends, kept outside of the files: so a chain that was cut, or a file that is gone, shows.

The heads lie in a sealed state cache, ``audit_heads``: beside the files, or on the server that instances share. What
was anchored cannot be cut off unseen by somebody who can change the files alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol


class Anchor(NamedTuple):
    """How far a chain is known to go.

    Attributes:
        sequence: The number of its last line that is known.
        mac: That line's MAC.
        day: The day whose file has it.
        closed: Whether the chain ended there, in an orderly way.
        instance: The instance that wrote it.
        log: The path of that instance's log.
    """

    sequence: int
    mac: str
    day: str
    closed: bool
    instance: str
    log: str


class HeadStore(Protocol):
    """What is needed of a cache."""

    def set(self, key: str, value: Any, ttl: None = None) -> None:
        """Store a value."""
        ...

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return all keys with their values."""
        ...

    def delete(self, key: str) -> bool:
        """Remove a key."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...


def anchor(store: HeadStore, anchors: dict[str, Anchor]) -> None:
    """Store how far chains go, by their writers."""
    for writer, one in anchors.items():
        store.set(writer, one._asdict(), ttl=None)


def anchors_in(store: HeadStore) -> Iterator[tuple[str, Anchor]]:
    """Yield writers, and how far their chains are known to go."""
    for writer, value in store.items():
        yield str(writer), Anchor(**value)

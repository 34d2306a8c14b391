"""The seam to a store: bytes and an absolute expiry, nothing else.

Whoever writes a backend implements :class:`CacheBackend` and runs ``openalgo_cache.testing`` on it. The optional
capabilities are separate, small protocols; a backend that lacks one is slower or offers less, never wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeGuard, TypeVar, runtime_checkable

from openalgo_cache.clock import Clock
from openalgo_cache.settings import Settings

T = TypeVar("T")


class Entry(NamedTuple):
    """What a backend stores under a key.

    Attributes:
        payload: The record, opaque to the backend.
        expires_at: Seconds since the epoch from which on the entry is gone; None for never.
    """

    payload: bytes
    expires_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a cache asks of its store.

    Attributes:
        cache: The cache's name.
        namespace: CACHE_NAMESPACE where it is set.
        prefix: What every stored key of this cache begins with.
        maxsize: The most entries to keep; None for no bound.
        durable: Whether entries are the only copy: a write is safe when it returns, and nothing is ever evicted.
        is_intact: Tells whether a record, under its stored key, is as it was written.
        subkey: Returns a key of this installation, the same in all its processes, for a purpose.
        settings: The settings in effect.
        clock: Where the time comes from.
    """

    cache: str
    namespace: str | None
    prefix: str
    maxsize: int | None
    durable: bool
    is_intact: Callable[[str, bytes], bool]
    subkey: Callable[[str], bytes]
    settings: Settings
    clock: Clock


class CacheBackend(ABC):
    """One cache in one store. Keys are finished texts (see ``keys.py``); entries past their expiry are absent.

    Every verb is atomic and safe to call from several threads. Failures of the store are raised as
    ``BackendUnavailableError`` or ``BackendMisconfiguredError``; a verb never pretends to have succeeded.
    """

    @classmethod
    @abstractmethod
    def create(cls, request: Request) -> CacheBackend:
        """Make the backend of one cache. Connects to nothing yet, and raises for no server that is down."""

    @abstractmethod
    def get(self, key: str) -> Entry | None:
        """Return the live entry under ``key``, or None."""

    @abstractmethod
    def set(self, key: str, entry: Entry) -> None:
        """Store ``entry`` under ``key``, replacing what is there."""

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Remove ``key``; return whether a live entry was there."""

    @abstractmethod
    def clear(self) -> int:
        """Remove every entry of this cache and of no other; return how many there were."""

    @abstractmethod
    def size(self) -> int:
        """Return the number of live entries."""

    @abstractmethod
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        """Replace the payload under ``key`` in one atomic step, if it is what the caller saw.

        Args:
            key: The stored key.
            expected: The payload that must be there; None if no live entry may be there.
            new: The entry to store; None to remove the key.

        Returns:
            Whether the payload was as expected and the step was taken.
        """

    def look(self, key: str) -> tuple[bytes, float | None] | None:
        """Do as :meth:`get` does, where a plain tuple will do: a fast store need not make an Entry of what it found."""
        return self.get(key)

    def exists(self, key: str) -> bool:
        """Return whether a live entry is under ``key``."""
        return self.get(key) is not None

    def get_many(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Return the live entries among ``keys``."""
        found = {}
        for key in keys:
            entry = self.get(key)
            if entry is not None:
                found[key] = entry
        return found

    def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store all of ``entries``; a store with transactions stores all or none."""
        for key, entry in entries.items():
            self.set(key, entry)

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove ``keys``; return how many live entries were among them."""
        return sum(self.delete(key) for key in keys)

    def close(self) -> None:
        """Release what this backend opened. Closing twice is allowed."""
        return


@runtime_checkable
class SupportsScan(Protocol):
    """A backend that can list what it holds: ``keys``, ``items`` and iteration need it."""

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield the live entries whose stored key begins with ``prefix``, once each, holding no lock in between."""
        ...


@runtime_checkable
class SupportsAsyncio(Protocol):
    """A backend that asyncio callers need no worker thread for, since it waits for nothing, or waits on their loop."""

    async def on_loop(self, verb: Callable[..., T], *arguments: Any) -> T:
        """Call ``verb``, which calls this backend, without keeping the running loop from running."""
        ...


class TokenListener(Protocol):
    """Somebody who trusts copies of entries only while the change token stands still."""

    def advance(self, before: int, after: int) -> None:
        """Learn that the token went from ``before`` to ``after`` by our own write alone."""
        ...

    def lose(self) -> None:
        """Learn that the token at hand will not move any more: ask for ``change_token`` again."""
        ...


@runtime_checkable
class SupportsChangeToken(Protocol):
    """A backend whose first word of ``change_token`` changes with every change of the store, whoever makes it."""

    @property
    def change_token(self) -> Sequence[int]:
        """What to look at: element 0, read before an entry is read, dates that entry."""
        ...

    def watch(self, listener: TokenListener) -> None:
        """Tell ``listener``, from within this backend's own writes, what they did to the token."""
        ...


def has_change_token(backend: CacheBackend) -> TypeGuard[SupportsChangeToken]:
    """Return whether a backend has a change token, without looking at it: looking may open the store."""
    return hasattr(backend, "watch")


class InvalidationListener(Protocol):
    """Somebody who trusts copies of entries until he hears that they changed."""

    def drop(self, stored: Iterable[str]) -> None:
        """Learn that what is under these stored keys changed, or went."""
        ...

    def drop_all(self) -> None:
        """Learn that everything changed."""
        ...

    def suspend(self) -> None:
        """Learn that changes may go unheard from now on."""
        ...

    def resume(self) -> None:
        """Learn that no change goes unheard from now on; some may have before."""
        ...


@runtime_checkable
class SupportsInvalidation(Protocol):
    """A backend that tells which keys changed in its store, soon after, whoever changes them."""

    def subscribe(self, listener: InvalidationListener) -> None:
        """Tell ``listener`` of every change in this cache, and no other; begin with its ``resume``.

        Called again whenever somebody reads while the listener is suspended, so this neither waits nor raises for a
        store that is down, and to be subscribed already costs next to nothing. Closing the backend ends it.
        """
        ...

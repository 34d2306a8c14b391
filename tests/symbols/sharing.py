"""Instances that share a server, without a network: each has its own folder, its own handle, the same store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openalgo_cache.backends.base import CacheBackend, Entry, Request
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import MAC
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.keys import Keyspace
from openalgo_cache.settings import Settings
from openalgo_cache.symbols import SymbolMaster
from openalgo_cache.symbols.shelf import Shelf
from tests.symbols.samples import RING, Hand

KEYSPACE = Keyspace("openalgo", "symbols")
RECORD = KEYSPACE.stored("snapshot")


def codec_of(ring: KeyRing = RING) -> Codec:
    """What seals the records of the cache ``symbols``."""
    return Codec(RingSeal(ring, ring.id, "symbols", MAC), compress=True)


def store_in(folder: Path, clock: Hand) -> SQLiteBackend:
    """A store that several handles and processes share."""
    return SQLiteBackend.create(
        Request(
            cache="symbols", namespace=None, prefix=KEYSPACE.prefix, maxsize=None, durable=False,
            is_intact=lambda _stored, _record: True, subkey=lambda purpose: RING.subkey(purpose, b""),
            settings=Settings(sqlite_cache_path=folder / "server"), clock=clock,
        )
    )  # fmt: skip


class Link(CacheBackend):
    """The way to a store, which can be cut, and on which somebody can do something at any step.

    Args:
        store: The store.
    """

    def __init__(self, store: CacheBackend) -> None:
        self.store = store
        self.is_cut = False
        self.steps: list[tuple[str, str]] = []
        self.before: Any = None

    @classmethod
    def create(cls, request: Request) -> Link:
        """See CacheBackend."""
        raise NotImplementedError

    def _step(self, verb: str, key: str) -> None:
        if self.is_cut:
            raise BackendUnavailableError("the server does not answer")
        self.steps.append((verb, key))
        if self.before is not None:
            self.before(verb, key)

    def get(self, key: str) -> Entry | None:  # noqa: D102  # see CacheBackend
        self._step("get", key)
        return self.store.get(key)

    def set(self, key: str, entry: Entry) -> None:  # noqa: D102  # see CacheBackend
        self._step("set", key)
        self.store.set(key, entry)

    def delete(self, key: str) -> bool:  # noqa: D102  # see CacheBackend
        self._step("delete", key)
        return self.store.delete(key)

    def clear(self) -> int:  # noqa: D102  # see CacheBackend
        return self.store.clear()

    def size(self) -> int:  # noqa: D102  # see CacheBackend
        return self.store.size()

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:  # noqa: D102  # see CacheBackend
        self._step("compare_and_set", key)
        return self.store.compare_and_set(key, expected, new)


class Instance:
    """One of several: its master, its way to the store.

    Args:
        folder: Where its files are.
        store: The shared store.
        clock: Its clock.
        name: Its name.
        ring: Its key ring.
    """

    def __init__(self, folder: Path, store: CacheBackend, clock: Hand, name: str, ring: KeyRing = RING) -> None:
        self.base = folder / name / "cache"
        self.clock = clock
        self.link = Link(store)
        self.shelf = Shelf(self.link, KEYSPACE, codec_of(ring), clock, name)
        self.master = SymbolMaster(self.base, ring, clock, open_shelf=lambda: self.shelf, background=False)

    def pass_time(self, seconds: float = 20.0) -> None:
        """Let so much time pass, and what is to be done then be done."""
        self.clock.now += seconds
        self.master.tick()
        self.clock.now += 2

    @property
    def symbols(self) -> set[str]:
        """What it serves."""
        return {one.symbol for one in self.master.search("S", limit=100)}

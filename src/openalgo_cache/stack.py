"""How a cache is put together: the storeys, from the bottom up, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from openalgo_cache.backends import registry
from openalgo_cache.backends.base import CacheBackend, Request, SupportsInvalidation, has_change_token
from openalgo_cache.catalogue import Durability, Policy, Sealing, policy_of_locks
from openalgo_cache.clock import Clock
from openalgo_cache.codec.codec import Codec
from openalgo_cache.codec.envelope import AEAD, MAC
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.codec.sealing import RingSeal, Seal, Unsealed
from openalgo_cache.coherence.dated import DatedTier
from openalgo_cache.coherence.near import NearTier, NoNearTier
from openalgo_cache.coherence.streamed import StreamedTier
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.journal import Journal
from openalgo_cache.keys import OF_LOCKS, BlindedKeyspace, Keyspace
from openalgo_cache.lasting import LastingSeals, LastingStore, lasting
from openalgo_cache.lost import LostDeletes
from openalgo_cache.settings import Settings
from openalgo_cache.tags import Tags

_NEAR_MOST = 4096
"""Entries; a larger cache keeps only its most used ones near."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What a handle stands on, from the top down, and the keys.

    ``lock_stack`` makes what its locks stand on; ``epoch_secret`` returns what epochs are hashed with.
    """

    keyspace: Keyspace
    near: NearTier
    codec: Codec
    backend: CacheBackend
    backend_name: str
    tags: Tags
    lost: LostDeletes | None
    ring: LiveRing | None
    lock_stack: Callable[[], Stack]
    epoch_secret: Callable[[], bytes]

    def generation(self) -> int:
        """Return what changes whenever a delete is lost, or a lost one carried out."""
        return 0 if self.lost is None else self.lost.journal.words[0]

    def pending_deletes(self) -> int:
        """Return how many lost deletes are still to be carried out."""
        return 0 if self.lost is None else self.lost.pending()

    def withholds(self, stored: str) -> bool:
        """Return whether a key must not be served, since a delete of it was lost."""
        return self.lost is not None and self.lost.withholds(stored)


@dataclass(frozen=True, slots=True)
class Ground:
    """What all caches of a manager stand on.

    Attributes:
        settings: The settings.
        clock: Where the time comes from.
        ring: Where the key ring comes from; not asked before one is needed.
        journals: Whether deletes that an encrypted cache loses are noted in the cache folder. A store that does not
            outlive its process needs none.
    """

    settings: Settings
    clock: Clock
    ring: Callable[[], LiveRing]
    journals: bool = False


def build_stack(
    name: str,
    policy: Policy,
    backend_name: str,
    ground: Ground,
    create: Callable[[Request], CacheBackend] | None = None,
) -> Stack:
    """Put the storeys of one cache together.

    Args:
        name: The cache's name.
        policy: What it is like.
        backend_name: Which backend it gets, unless it is local.
        ground: What it stands on.
        create: Makes the backend, in place of the one by name.
    """
    settings = ground.settings
    if policy.durability is Durability.LOCAL:
        backend_name = "memory"
    keyspace, seal = _keyspace_and_seal(name, policy, ground, backend_name)
    codec = Codec(
        seal, compress=policy.sealing is not Sealing.ENCRYPTED, max_value_bytes=settings.cache_max_value_bytes
    )
    is_only_copy = policy.durability is Durability.STATE
    backend = (create or _class_of(backend_name, lasts=is_only_copy).create)(
        Request(
            cache=name,
            namespace=settings.cache_namespace,
            prefix=keyspace.prefix,
            maxsize=policy.maxsize,
            durable=is_only_copy,
            is_intact=codec.verifies,
            subkey=lambda purpose: ground.ring().now.subkey(purpose, b""),
            settings=settings,
            clock=ground.clock,
        )
    )
    if isinstance(backend, LastingStore):
        backend.seals = LastingSeals(ground.ring())
    near = _near_tier(policy, backend, settings)
    lost = None
    if policy.sealing is Sealing.ENCRYPTED and ground.journals:
        # One a backend: what SQLite could not delete is of no concern to a server, and must not be forgotten for it.
        path = settings.cache_file(name, f".{backend_name}.deletes")
        journal = Journal(path, ground.ring().now, keyspace.prefix, collapses=not is_only_copy)
        lost = LostDeletes(name, journal, backend, near, codec, keeps_newer=is_only_copy)
    is_sealed = policy.sealing is not Sealing.PLAIN

    def secret(purpose: str) -> bytes:
        return ground.ring().now.subkey(purpose, name.encode()) if is_sealed else b""

    tags = Tags(keyspace, codec, backend, ground.clock, partial(secret, "tag"), lost, strict=is_only_copy)
    for_locks = replace(ground, journals=False)  # a lock that could not be released ends by itself
    lock_stack = partial(build_stack, name + OF_LOCKS, policy_of_locks(policy), backend_name, for_locks, create)
    ring = ground.ring() if is_sealed else None
    return Stack(keyspace, near, codec, backend, backend_name, tags, lost, ring, lock_stack, partial(secret, "epoch"))


def _class_of(backend_name: str, *, lasts: bool) -> type[CacheBackend]:
    kind = registry.load(backend_name)
    return lasting(kind) if lasts else kind


def prefix_of(backend_name: str, settings: Settings) -> str:
    """Return what the stored keys of all caches begin with on a backend."""
    return settings.server("valkey").key_prefix if backend_name == "valkey" else settings.redis_key_prefix


def _keyspace_and_seal(name: str, policy: Policy, ground: Ground, backend_name: str) -> tuple[Keyspace, Seal]:
    prefix, namespace = prefix_of(backend_name, ground.settings), ground.settings.cache_namespace
    largest = ground.settings.cache_max_value_bytes
    seal: Seal = Unsealed(largest)
    if policy.sealing is not Sealing.PLAIN:
        ring = ground.ring()
        mode, accept = MAC, frozenset({MAC})
        if policy.sealing is Sealing.ENCRYPTED:
            # With encryption turned off, what was encrypted before can still be read; the other way round, nothing that
            # is merely signed is believed.
            on = ground.settings.cache_encryption_enabled
            mode, accept = (AEAD, frozenset({AEAD})) if on else (MAC, frozenset({AEAD, MAC}))
        seal = RingSeal(ring, namespace or ring.now.id, name, mode, accept, largest)
    if not policy.blinded:
        return Keyspace(prefix, name, namespace), seal
    if policy.sealing is Sealing.PLAIN:
        raise ConfigurationError(f"cache {name!r}: blinded keys need a sealed cache (signed or encrypted)")
    return BlindedKeyspace(prefix, name, namespace, ground.ring().now.subkey("blind", name.encode())), seal


def _near_tier(policy: Policy, backend: CacheBackend, settings: Settings) -> NearTier:
    # With CACHE_METRICS_ENABLED every read is logged, so every read has to come down here.
    if policy.durability is Durability.STATE or not settings.cache_near_enabled or settings.cache_metrics_enabled:
        return NoNearTier()
    capacity, max_staleness = min(policy.maxsize or _NEAR_MOST, _NEAR_MOST), settings.cache_near_max_staleness
    if has_change_token(backend):
        dated = DatedTier(capacity, max_staleness, lambda: backend.change_token)
        backend.watch(dated)
        return dated
    if isinstance(backend, SupportsInvalidation):
        return StreamedTier(capacity, max_staleness, backend.subscribe)
    return NoNearTier()

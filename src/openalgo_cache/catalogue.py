"""The caches of the application: for each its lifetime, size, sealing and durability."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from openalgo_cache.errors import ConfigurationError
from openalgo_cache.expiry import Lifetime, describe, earliest, until
from openalgo_cache.keys import check_cache_name
from openalgo_cache.settings import Settings
from openalgo_cache.settings.parsers import ALL_CACHES

AUDIT_HEADS: Final = "audit_heads"
"""The cache that says where the chains of the audit log end."""
SYMBOLS: Final = "symbols"
"""The cache that is a view of the symbol master, and that instances share their master in."""
MAXSIZE: Final = 1024
"""The bound of caches that neither the catalogue nor the caller gives one."""
LONGEST_LOAD: Final = 30.0
"""Seconds for which others wait for a loader before one of them loads, unless the cache says less."""
_FROM_THE_DATABASE: Final = 5.0
"""Likewise, for what the application loads from its own database."""
_WITH_A_SLOW_HASH: Final = 10.0
"""Likewise, where it computes a hash that is slow on purpose: many at once take seconds on a small machine."""

SECRET_FAMILIES: Final = frozenset({"api_keys", "telegram", "tokens", "whatsapp"})
"""Names, and beginnings of names, of caches outside the catalogue that hold credentials and are often keyed by some."""


class Sealing(Enum):
    """How records are protected in the store."""

    PLAIN = "plain"
    SIGNED = "signed"
    ENCRYPTED = "encrypted"


class Durability(Enum):
    """What may be lost.

    ``CACHE`` can be evicted or rebuilt, and what cannot be verified is a miss. ``LOCAL`` never leaves this process.
    ``STATE`` is the only copy: on the disk before ``set`` returns, never evicted, and an unreadable record raises and
    is kept. ``SNAPSHOT`` is replaced as a whole.
    """

    CACHE = "cache"
    LOCAL = "local"
    STATE = "state"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one cache is like.

    Attributes:
        lifetime: Of entries that are set without one.
        limit: What no entry outlives, whatever lifetime it is set with.
        maxsize: The most entries; None for no bound.
        sealing: How records are protected.
        blinded: Whether the store gets keyed hashes in place of keys.
        durability: What may be lost.
        raises: Whether a failing store raises; otherwise a read is a miss and a write does nothing.
        stale_for: Seconds past its expiry for which a value may stand in while its loader fails; None for none.
        load_within: Seconds for which others wait for a loader, in case its process is paused or dead.
    """

    lifetime: Lifetime = None
    limit: Lifetime = None
    maxsize: int | None = MAXSIZE
    sealing: Sealing = Sealing.SIGNED
    blinded: bool = False
    durability: Durability = Durability.CACHE
    raises: bool = False
    stale_for: float | None = None
    load_within: float = LONGEST_LOAD

    def describe(self) -> dict[str, object]:
        """Return the policy in words, for diagnostics and error messages."""
        return {
            "lifetime": describe(earliest(self.lifetime, self.limit)),
            "maxsize": self.maxsize,
            "sealing": self.sealing.value,
            "blinded keys": self.blinded,
            "durability": self.durability.value,
            "on_error": "raise" if self.raises else "miss",
            "stale for": "never" if self.stale_for is None else f"{self.stale_for:g} s",
            "load within": f"{self.load_within:g} s",
        }


def catalogue(settings: Settings) -> dict[str, Policy]:
    """Return the policies of the application's own caches, as ``settings`` make them."""
    session_end = until(settings.session_expiry_time)
    loaded = Policy(load_within=_FROM_THE_DATABASE)
    secret = replace(loaded, sealing=Sealing.ENCRYPTED, blinded=True)
    session = replace(secret, lifetime=settings.auth_cache_ttl, limit=session_end)
    state = Policy(maxsize=None, sealing=Sealing.ENCRYPTED, durability=Durability.STATE, raises=True)
    return {
        "auth": session,
        "feed_token": session,
        "broker": replace(secret, lifetime=settings.broker_cache_ttl),
        "api_keys_verified": replace(
            secret, lifetime=settings.api_key_cache_ttl, limit=session_end, load_within=_WITH_A_SLOW_HASH
        ),
        "api_keys_invalid": Policy(lifetime=300, maxsize=512, sealing=Sealing.PLAIN, durability=Durability.LOCAL),
        "settings": replace(loaded, lifetime=settings.settings_cache_ttl, maxsize=10),
        "strategy_webhook": replace(secret, lifetime=earliest(300, settings.strategy_cache_ttl), maxsize=5000),
        "user_strategies": replace(
            loaded, lifetime=settings.strategy_cache_ttl, maxsize=1000, sealing=Sealing.ENCRYPTED
        ),
        SYMBOLS: Policy(lifetime=settings.symbol_cache_ttl, maxsize=None, durability=Durability.SNAPSHOT),
        "running_strategies": state,
        "strategy_configs": state,
        "strategy_state": state,
        AUDIT_HEADS: replace(state, sealing=Sealing.SIGNED),
    }


def policy_of(name: str, settings: Settings) -> Policy:
    """Return the policy of a cache, in the catalogue or not, before a caller's own options.

    Raises:
        ConfigurationError: The name cannot name a cache.
    """
    check_cache_name(name)
    policy = catalogue(settings).get(name)
    if policy is None:
        policy = Policy(lifetime=settings.sqlite_default_ttl)
        if _is_listed(name, SECRET_FAMILIES):
            policy = replace(policy, sealing=Sealing.ENCRYPTED, blinded=True)
    if policy.sealing is Sealing.SIGNED and _is_listed(name, settings.cache_encrypted_names):
        policy = replace(policy, sealing=Sealing.ENCRYPTED)
    if policy.sealing is not Sealing.PLAIN and not policy.blinded and _is_listed(name, settings.cache_blinded_names):
        if policy.durability is not Durability.CACHE:
            raise ConfigurationError(
                f"CACHE_BLINDED_NAMES: the cache {name!r} is kept as {policy.durability.value}; its application lists "
                "its keys: name the others one by one"
            )
        policy = replace(policy, blinded=True)
    return policy


def policy_of_locks(policy: Policy) -> Policy:
    """Return what the records of a cache's locks are like: as safe as its own, never evicted; every failure raises."""
    local = policy.durability is Durability.LOCAL
    return Policy(
        maxsize=None,
        sealing=policy.sealing,
        blinded=policy.blinded,
        durability=Durability.LOCAL if local else Durability.CACHE,
        raises=True,
    )


def is_audited(name: str, policy: Policy, settings: Settings) -> bool:
    """Return whether every get, set and delete of a cache goes to the audit log (other things do in any case).

    Never those of the cache that the audit log itself writes to.
    """
    if not settings.cache_audit_enabled or name == AUDIT_HEADS:
        return False
    if settings.cache_audit_caches is None:
        return policy.sealing is Sealing.ENCRYPTED or policy.blinded
    return settings.cache_audit_caches == ALL_CACHES or name in settings.cache_audit_caches


def is_reported(name: str, policy: Policy, backend: str | None, settings: Settings) -> bool:
    """Return whether what a cache tells unasked, such as a clear, goes to the audit log.

    Not so the cache that the log itself writes to, nor what is in this process alone: that would leave files where
    nobody expects any, unless the cache is audited anyway.
    """
    if name == AUDIT_HEADS:
        return False
    is_kept = policy.durability is not Durability.LOCAL and backend != "memory"
    return is_kept or is_audited(name, policy, settings)


def _is_listed(name: str, listed: frozenset[str]) -> bool:
    """Return whether a name, or a prefix of it that ends at an underscore, is in the list."""
    return any(re.match(rf"{re.escape(one)}(_|$)", name) for one in listed)

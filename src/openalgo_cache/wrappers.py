"""The proposal's two wrappers, kept for code that was written against it: a cache around a cache."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Policy, Sealing
from openalgo_cache.clock import system_clock
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.epochs import Epoch
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.keys import Key
from openalgo_cache.sentinels import DEFAULT, MISSING, Ttl
from openalgo_cache.settings import current_settings
from openalgo_cache.stack import Ground, Stack, build_stack

_audit_log = logging.getLogger("openalgo_cache.audit")


class EncryptedCacheWrapper(Cache):
    """A cache that keeps everything encrypted in the store of another one (proposal, "Security Wrappers").

    Args:
        backend: A cache, whose store is used, or a backend.
        cipher: The key ring, or a single key of 32 bytes in URL-safe base64, as ``Fernet.generate_key()`` makes.
        cache_name: The cache's name, which every record is bound to.

    Raises:
        ConfigurationError: The cipher is neither.
    """

    __slots__ = ()

    def __init__(self, backend: Cache | CacheBackend, cipher: KeyRing | bytes | str, cache_name: str) -> None:
        if not isinstance(cipher, KeyRing | bytes | str):
            raise ConfigurationError(
                f"EncryptedCacheWrapper takes a key ring or the key itself, not a {type(cipher).__name__}: "
                "give what you would have made the Fernet object of"
            )
        ring = LiveRing(cipher if isinstance(cipher, KeyRing) else KeyRing.of_one(cipher))
        policy = replace(backend.policy if isinstance(backend, Cache) else Policy(), sealing=Sealing.ENCRYPTED)

        def build() -> Stack:
            store = backend.backend if isinstance(backend, Cache) else backend

            def create(request: Request) -> CacheBackend:
                return store if request.cache == cache_name else type(store).create(request)

            ground = Ground(current_settings(), system_clock, lambda: ring)
            return build_stack(cache_name, policy, type(store).__name__, ground, create)

        super().__init__(cache_name, policy, build, system_clock)


class AuditCacheWrapper:
    """A cache whose reads and writes are logged, one JSON line each (proposal, "Audit Logging").

    The lines go to the logger ``openalgo_cache.audit`` at level INFO. They never hold a value; of a cache with
    blinded keys they show the stored hash.

    Args:
        backend: The cache.
        cache_name: What the lines call it.
    """

    def __init__(self, backend: Cache, cache_name: str) -> None:
        self._cache = backend
        self._name = cache_name

    def get(self, key: Key, default: Any = None, epoch: Epoch | None = None) -> Any:
        """See Cache."""
        value = self._cache.get(key, MISSING, epoch)
        self._log_access("GET", key, hit=value is not MISSING)
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[Key], epoch: Epoch | None = None) -> dict[Key, Any]:
        """See Cache."""
        wanted = list(keys)
        found = self._cache.get_many(wanted, epoch)
        for key in wanted:
            self._log_access("GET", key, hit=key in found)
        return found

    def exists(self, key: Key) -> bool:
        """See Cache."""
        hit = self._cache.exists(key)
        self._log_access("EXISTS", key, hit=hit)
        return hit

    def set(
        self, key: Key, value: Any, ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> None:
        """See Cache."""
        self._cache.set(key, value, ttl, tags=tags, epoch=epoch)
        self._log_access("SET", key)

    def set_many(
        self, items: Mapping[Key, Any], ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> None:
        """See Cache."""
        self._cache.set_many(items, ttl, tags=tags, epoch=epoch)
        for key in items:
            self._log_access("SET", key)

    def delete(self, key: Key) -> bool:
        """See Cache."""
        there = self._cache.delete(key)
        self._log_access("DELETE", key, hit=there)
        return there

    def clear(self, *, tag: str | None = None) -> int:
        """See Cache. A tag is not logged: it may name a user."""
        count = self._cache.clear(tag=tag)
        self._log_access("CLEAR", None)
        return count

    def size(self) -> int:
        """See Cache."""
        return self._cache.size()

    def _log_access(self, operation: str, key: Key | None, *, hit: bool | None = None) -> None:
        if not _audit_log.isEnabledFor(logging.INFO):
            return
        caller = sys._getframe(2)  # noqa: SLF001  # the only way to the caller, and documented for this use
        line = {
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "cache": self._name,
            "operation": operation,
            "key": None if key is None else self._cache.shown(key),
            "caller": f"{caller.f_globals.get('__name__', '?')}.{caller.f_code.co_qualname}",
            "hit": hit,
            "instance_id": current_settings().instance_id,
        }
        _audit_log.info("%s", json.dumps(line))

"""The manager of named caches: "Cache Manager (Security Layer)"."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.security.proposal.backends import RedisBackend, SQLiteBackend
from tests.security.proposal.configuration import auto_detect_backend
from tests.security.proposal.wrappers import AuditCacheWrapper, EncryptedCacheWrapper

logger = logging.getLogger("proposal")


class SecureCacheManager:
    """Makes caches, and wraps those that it takes for sensitive.

    Args:
        folder: What the proposal calls ``db``.
        environment: What it reads from ``os.environ``.
        now: Where the time comes from.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str] | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._environment = {} if environment is None else environment
        self._now = now
        self._caches: dict[str, Any] = {}
        self.backend_type = self._environment.get("CACHE_BACKEND")
        self._encryption_key = self._load_encryption_key()
        self._cipher = Fernet(self._encryption_key) if self._encryption_key else None
        self._encrypted_caches = {"auth", "api_keys", "tokens"}
        self._audit_enabled = self._environment.get("CACHE_AUDIT_ENABLED", "false").lower() == "true"

    def get_cache(self, name: str, maxsize: int = 1024, ttl: float = 3600, encrypted: bool | None = None) -> Any:
        if name not in self._caches:
            if encrypted is None:
                encrypted = name in self._encrypted_caches
            backend: Any = self._backend(name, ttl)  # maxsize is for the memory backend
            if encrypted and self._cipher:
                backend = EncryptedCacheWrapper(backend, self._cipher, name)
            if self._audit_enabled:
                backend = AuditCacheWrapper(backend, name)
            self._caches[name] = backend
            logger.info("Created cache '%s' (backend=%s, encrypted=%s)", name, self.backend_type, encrypted)
        return self._caches[name]

    def close(self) -> None:
        for cache in self._caches.values():
            cache.close()

    def _backend(self, name: str, ttl: float) -> Any:
        config: dict[str, Any] = {"default_ttl": ttl}
        if self.backend_type in {"redis", "valkey"}:
            config["prefix"] = f"openalgo:{name}:"
            config["host"] = self._environment.get("REDIS_HOST", "localhost")
            config["port"] = int(self._environment.get("REDIS_PORT", "6379"))
            config["password"] = self._environment.get("REDIS_PASSWORD")
        elif self.backend_type == "sqlite":
            config["db_path"] = f"{self._folder}/cache_{name}.db"
        if (self.backend_type or auto_detect_backend(self._environment)) == "sqlite":
            return SQLiteBackend(**{"db_path": f"{self._folder}/cache.db", "now": self._now, **config})
        return RedisBackend(**{"prefix": "", "host": "localhost", "port": 6379, **config})

    def _load_encryption_key(self) -> bytes:
        key_file = f"{self._folder}/.cache_key"
        if os.path.exists(key_file):
            with open(key_file, "rb") as f:
                return f.read()
        key = Fernet.generate_key()
        with open(key_file, "wb") as f:
            f.write(key)
        os.chmod(key_file, 0o600)
        return key

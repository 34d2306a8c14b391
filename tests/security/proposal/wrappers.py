"""What is wrapped around a store: "Security Wrappers", "Cache Poisoning Prevention", "Access Control"."""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import logging
import pickle
import re
from typing import Any, ClassVar

from cryptography.fernet import Fernet

from tests.security.proposal.backends import CacheBackend

logger = logging.getLogger("proposal")


class Wrapper:
    """Passes on what a wrapper does not change."""

    def __init__(self, backend: CacheBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class EncryptedCacheWrapper(Wrapper):
    """Encrypts pickled values with Fernet."""

    def __init__(self, backend: CacheBackend, cipher: Fernet, cache_name: str) -> None:
        super().__init__(backend)
        self._cipher = cipher
        self._cache_name = cache_name

    def get(self, key: str) -> Any:
        encrypted_value = self._backend.get(key)
        if encrypted_value is None:
            return None
        try:
            return pickle.loads(self._cipher.decrypt(encrypted_value))
        except Exception as error:
            logger.error("Decryption failed for %s:%s: %s", self._cache_name, key, error)
            return None

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        self._backend.set(key, self._cipher.encrypt(pickle.dumps(value)), ttl)


class AuditCacheWrapper(Wrapper):
    """Logs at level DEBUG who may know what."""

    def __init__(self, backend: CacheBackend, cache_name: str) -> None:
        super().__init__(backend)
        self._cache_name = cache_name

    def get(self, key: str) -> Any:
        result = self._backend.get(key)
        self._log_access("GET", key, hit=result is not None)
        return result

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        self._backend.set(key, value, ttl)
        self._log_access("SET", key)

    def delete(self, key: str) -> None:
        self._backend.delete(key)
        self._log_access("DELETE", key)

    def _log_access(self, operation: str, key: str, hit: bool | None = None) -> None:
        logger.debug("CACHE_AUDIT: %s %s:%s hit=%s", operation, self._cache_name, key, hit)


class ValidatedCache(Wrapper):
    """Looks at keys and values: "Input Validation"."""

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        if not re.match(r"^[a-zA-Z0-9_\-:]+$", key):
            raise ValueError("Invalid cache key")
        if not isinstance(value, (str, int, float, dict, list, tuple)):
            raise ValueError("Invalid cache value type")
        self._backend.set(key, value, ttl)


class SignedCache(Wrapper):
    """Signs what pickle makes of a value: "Signature Verification"."""

    def __init__(self, backend: CacheBackend, secret: bytes) -> None:
        super().__init__(backend)
        self._secret = secret

    def get(self, key: str) -> Any:
        cached = self._backend.get(key)
        if not cached:
            return None
        if not hmac.compare_digest(cached["signature"], self._sign(cached["data"])):
            logger.error("Cache signature mismatch for %s", key)
            self._backend.delete(key)
            return None
        return cached["data"]

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        self._backend.set(key, {"data": value, "signature": self._sign(value)}, ttl)

    def _sign(self, value: Any) -> bytes:
        return hmac.new(self._secret, pickle.dumps(value), hashlib.sha256).digest()


class CacheAccessControl:
    """Rules under names that no cache has; nothing calls it."""

    ACCESS_RULES: ClassVar[dict[str, list[str]]] = {
        "auth_cache": ["database.auth_db", "blueprints.auth"],
        "symbol_cache": ["database.token_db_enhanced", "services.*"],
        "api_keys_cache": ["database.auth_db", "restx_api.*"],
    }

    @staticmethod
    def check_access(cache_name: str, caller_module: str) -> bool:
        allowed = CacheAccessControl.ACCESS_RULES.get(cache_name, ["*"])
        if "*" in allowed:
            return True
        return any(fnmatch.fnmatch(caller_module, pattern) for pattern in allowed)

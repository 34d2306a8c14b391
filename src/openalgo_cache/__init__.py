"""A pluggable, sealed cache for OpenAlgo and any other Python application.

    from openalgo_cache import get_cache

    auth = get_cache("auth")
    auth.set("user_123", token)
    auth.get("user_123")

Names are loaded when they are first used, so that importing this package stays quick and needs no extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openalgo_cache.backends.base import CacheBackend as CacheBackend
    from openalgo_cache.backends.base import Entry as Entry
    from openalgo_cache.backends.memory import MemoryBackend as MemoryBackend
    from openalgo_cache.backends.redis import RedisBackend as RedisBackend
    from openalgo_cache.backends.sqlite import SQLiteBackend as SQLiteBackend
    from openalgo_cache.backends.valkey import ValkeyBackend as ValkeyBackend
    from openalgo_cache.cache import Cache as Cache
    from openalgo_cache.codec.serializers import register as register
    from openalgo_cache.errors import AccessDeniedError as AccessDeniedError
    from openalgo_cache.errors import AuditUnavailableError as AuditUnavailableError
    from openalgo_cache.errors import BackendMisconfiguredError as BackendMisconfiguredError
    from openalgo_cache.errors import BackendUnavailableError as BackendUnavailableError
    from openalgo_cache.errors import BlindedKeysError as BlindedKeysError
    from openalgo_cache.errors import CacheError as CacheError
    from openalgo_cache.errors import ConfigurationError as ConfigurationError
    from openalgo_cache.errors import InvalidEpochError as InvalidEpochError
    from openalgo_cache.errors import InvalidKeyError as InvalidKeyError
    from openalgo_cache.errors import InvalidLifetimeError as InvalidLifetimeError
    from openalgo_cache.errors import KeyRingError as KeyRingError
    from openalgo_cache.errors import LockLostError as LockLostError
    from openalgo_cache.errors import LockTimeoutError as LockTimeoutError
    from openalgo_cache.errors import ReadOnlyCacheError as ReadOnlyCacheError
    from openalgo_cache.errors import SymbolImportError as SymbolImportError
    from openalgo_cache.errors import UnreadableExportError as UnreadableExportError
    from openalgo_cache.errors import UnreadableRecordError as UnreadableRecordError
    from openalgo_cache.errors import UnsupportedValueError as UnsupportedValueError
    from openalgo_cache.errors import ValueTooLargeError as ValueTooLargeError
    from openalgo_cache.expiry import earliest as earliest
    from openalgo_cache.expiry import until as until
    from openalgo_cache.lock import Lock as Lock
    from openalgo_cache.manager import CacheManager as CacheManager
    from openalgo_cache.manager import SecureCacheManager as SecureCacheManager
    from openalgo_cache.policy.access import CacheAccessControl as CacheAccessControl
    from openalgo_cache.policy.callers import on_behalf_of as on_behalf_of
    from openalgo_cache.process import get_cache as get_cache
    from openalgo_cache.process import get_cache_backend as get_cache_backend
    from openalgo_cache.process import get_cache_stats as get_cache_stats
    from openalgo_cache.selection import auto_detect_backend as auto_detect_backend
    from openalgo_cache.selection import is_redis_available as is_redis_available
    from openalgo_cache.sentinels import MISSING as MISSING
    from openalgo_cache.settings import Settings as Settings
    from openalgo_cache.settings import configure_cache_environment as configure_cache_environment
    from openalgo_cache.settings import validate_cache_configuration as validate_cache_configuration
    from openalgo_cache.trace import Trace as Trace
    from openalgo_cache.trace import cache_trace as cache_trace
    from openalgo_cache.transfer import Existing as Existing
    from openalgo_cache.transfer import TransferReport as TransferReport
    from openalgo_cache.transfer import copy_cache as copy_cache
    from openalgo_cache.transfer import export_caches as export_caches
    from openalgo_cache.transfer import import_caches as import_caches
    from openalgo_cache.transfer import verify_export as verify_export
    from openalgo_cache.wrappers import AuditCacheWrapper as AuditCacheWrapper
    from openalgo_cache.wrappers import EncryptedCacheWrapper as EncryptedCacheWrapper

_PLACES = {
    "cache": ("Cache",),
    "manager": ("CacheManager",),
    "process": ("get_cache", "get_cache_backend", "get_cache_stats"),
    "sentinels": ("MISSING",),
    "lock": ("Lock",),
    "expiry": ("earliest", "until"),
    "settings": ("Settings", "configure_cache_environment", "validate_cache_configuration"),
    "selection": ("auto_detect_backend", "is_redis_available"),
    "trace": ("Trace", "cache_trace"),
    "transfer": (
        "Existing",
        "TransferReport",
        "copy_cache",
        "export_caches",
        "import_caches",
        "verify_export",
    ),
    "wrappers": ("AuditCacheWrapper", "EncryptedCacheWrapper"),
    "policy.access": ("CacheAccessControl",),
    "policy.callers": ("on_behalf_of",),
    "codec.serializers": ("register",),
    "backends.base": ("CacheBackend", "Entry"),
    "backends.memory": ("MemoryBackend",),
    "backends.redis": ("RedisBackend",),
    "backends.sqlite": ("SQLiteBackend",),
    "backends.valkey": ("ValkeyBackend",),
    "errors": (
        "AccessDeniedError",
        "AuditUnavailableError",
        "BackendMisconfiguredError",
        "BackendUnavailableError",
        "BlindedKeysError",
        "CacheError",
        "ConfigurationError",
        "InvalidEpochError",
        "InvalidKeyError",
        "InvalidLifetimeError",
        "KeyRingError",
        "LockLostError",
        "LockTimeoutError",
        "ReadOnlyCacheError",
        "SymbolImportError",
        "UnreadableExportError",
        "UnreadableRecordError",
        "UnsupportedValueError",
        "ValueTooLargeError",
    ),
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names} | {"SecureCacheManager": "manager"}

# ``import *`` must not fail for an extra that is not installed: its backends are asked for by name.
__all__ = sorted(set(_PLACE_OF) - {"RedisBackend", "ValkeyBackend"})  # noqa: PLE0605  # the same names, once


def __getattr__(name: str) -> Any:
    module = _PLACE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'openalgo_cache' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # this is where names are loaded

    value = getattr(import_module(f"openalgo_cache.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *globals()]

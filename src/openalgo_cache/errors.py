"""Every error that this library raises, in one tree.

A class also inherits the builtin that a caller would reach for, so that ``except KeyError`` and ``except ValueError``
keep working where a plain dictionary or a ``TTLCache`` stood before. No message carries a cached value or a secret.
"""

from __future__ import annotations


class CacheError(Exception):
    """The root of the tree: catch it to catch everything that comes from this library."""


class ConfigurationError(CacheError, ValueError):
    """The settings, or the options of one cache, contradict each other or cannot work; the message names the fix."""


class InvalidKeyError(CacheError, ValueError):
    """A key is of a type, a length or a content that no backend could store faithfully."""


class InvalidEpochError(CacheError, ValueError):
    """An epoch is of a type or a length that a record could not carry faithfully."""


class InvalidLifetimeError(CacheError, ValueError):
    """A lifetime is zero, negative, not a number, infinite, or of the wrong type."""


class UnsupportedValueError(CacheError, TypeError):
    """A value, or a part of it, would not come back equal and of the same type; the message gives the path to it."""


class ValueTooLargeError(CacheError, ValueError):
    """A value is larger than the cache allows."""


class ReadOnlyCacheError(CacheError, TypeError):
    """A verb that writes was called on a read-only view."""


class BlindedKeysError(CacheError, TypeError):
    """A verb needs the original keys of a cache that stores only keyed hashes of them."""


class LockTimeoutError(CacheError, TimeoutError):
    """Others held a lock for as long as the caller was willing to wait."""


class LockLostError(CacheError):
    """A lock was held longer than its time, and somebody else took it, or its record was lost."""


class AccessDeniedError(CacheError, PermissionError):
    """A module used a cache that the access rules do not open to it.

    Attributes:
        module: The module.
        cache: The cache's name.
        verb: What it was about to do.
    """

    def __init__(self, message: str, module: str = "", cache: str = "", verb: str = "") -> None:
        super().__init__(message)
        self.module = module
        self.cache = cache
        self.verb = verb


class KeyRingError(CacheError):
    """The key ring is missing, empty, damaged, or readable by others; nothing sealed can be read or written."""


class UnreadableRecordError(CacheError):
    """A record is damaged, moved, prolonged, unsealed, or sealed with a key that is not in the ring.

    Only *state* caches raise it, and they keep the record: it may be readable again with the right key ring. In every
    other cache such a record is a miss.
    """


class UnreadableExportError(CacheError, ValueError):
    """A file is no export, or not a whole one as it was written: nothing of it was imported."""


class AuditUnavailableError(CacheError):
    """The audit log cannot be written, and as many events wait as may; what was asked for must not happen unseen."""


class BackendUnavailableError(CacheError, ConnectionError):
    """The store behind a cache cannot be reached, is full, is locked for too long, or refuses to write.

    Attributes:
        reported: Whether the store has logged the outage that this belongs to, once for all its caches.
    """

    reported = False


class BackendMisconfiguredError(CacheError):
    """The store answers and refuses us: a wrong password, a wrong certificate, a file that belongs to somebody else."""


class SymbolImportError(CacheError, ValueError):
    """A master contract has rows that cannot be imported; ``problems`` lists them as (row number, what is wrong)."""

    def __init__(self, message: str, problems: list[tuple[int, str]] | None = None) -> None:
        super().__init__(message)
        self.problems: list[tuple[int, str]] = problems or []

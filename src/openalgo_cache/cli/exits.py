"""What the exit codes mean, and which error leads to which."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from openalgo_cache import errors


class Code(IntEnum):
    """The exit codes; they stay what they are."""

    OK = 0
    NO = 1
    USAGE = 2
    CONFIGURATION = 3
    UNAVAILABLE = 4
    FINDINGS = 5
    DATA = 6
    BUG = 70
    INTERRUPTED = 130


MEANINGS: Final = {
    Code.OK: "It is done, or the answer is yes.",
    Code.NO: "The answer is no: there is no such key, symbol, line or cache file, the audit log is not intact, or the "
    "question was declined.",
    Code.USAGE: "The command line is wrong, or asks of a cache what it cannot do.",
    Code.CONFIGURATION: "The settings or the key ring cannot be used, or the store refuses them.",
    Code.UNAVAILABLE: "The store, or a file, cannot be reached, read or written.",
    Code.FINDINGS: "The doctor found errors.",
    Code.DATA: "The data is no good: a master contract with bad rows, a record or an export that cannot be verified.",
    Code.BUG: "Something happened that this program did not foresee; please report the traceback.",
    Code.INTERRUPTED: "Ctrl-C.",
}

_CODES: Final = (
    (errors.InvalidKeyError, Code.USAGE),
    (errors.InvalidLifetimeError, Code.USAGE),
    (errors.InvalidEpochError, Code.USAGE),
    (errors.UnsupportedValueError, Code.USAGE),
    (errors.ValueTooLargeError, Code.USAGE),
    (errors.ReadOnlyCacheError, Code.USAGE),
    (errors.BlindedKeysError, Code.USAGE),
    (errors.ConfigurationError, Code.CONFIGURATION),
    (errors.BackendMisconfiguredError, Code.CONFIGURATION),
    (errors.KeyRingError, Code.CONFIGURATION),
    (errors.AccessDeniedError, Code.CONFIGURATION),
    (errors.BackendUnavailableError, Code.UNAVAILABLE),
    (errors.SymbolImportError, Code.DATA),
    (errors.UnreadableRecordError, Code.DATA),
    (errors.UnreadableExportError, Code.DATA),
    (errors.CacheError, Code.UNAVAILABLE),
    (OSError, Code.UNAVAILABLE),
)


def code_of(error: Exception) -> Code:
    """Return the exit code of an error that has reached the top."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Code.BUG)

"""SQLite's errors, translated at the seam: one table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError, CacheError

DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)
"""The file is not what SQLite wrote."""

FAILURES: Final = (apsw.Error, OSError, UnicodeDecodeError)
"""What comes out of SQLite and of the system; the last, where a damaged file has a text that is none."""

_SUSPICIOUS: Final = (
    *DAMAGED,
    apsw.ConstraintError,
    apsw.FormatError,
    apsw.MismatchError,
    apsw.SchemaChangeError,
    apsw.SQLError,
    apsw.TooBigError,
    UnicodeDecodeError,
)
_CUT_SHORT: Final = frozenset({apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS})

_TABLE: Final[tuple[tuple[type[Exception], type[CacheError], str], ...]] = (
    (apsw.FullError, BackendUnavailableError, "the disk is full"),
    (apsw.BusyError, BackendUnavailableError, "another program has it locked"),
    (apsw.LockedError, BackendUnavailableError, "another program has it locked"),
    (
        apsw.ReadOnlyError,
        BackendUnavailableError,
        "it cannot be written: check the owner and mode of the file and its folder",
    ),
    (apsw.CantOpenError, BackendUnavailableError, "it cannot be opened: check that its folder exists and is ours"),
    (apsw.PermissionsError, BackendMisconfiguredError, "we may not use it: check its owner and mode"),
    (apsw.AuthError, BackendMisconfiguredError, "we may not use it: check its owner and mode"),
    (apsw.IOError, BackendUnavailableError, "reading or writing it failed"),
    (apsw.CorruptError, BackendUnavailableError, "it is damaged, and rebuilding it failed"),
    (apsw.NotADBError, BackendUnavailableError, "it is damaged, and rebuilding it failed"),
    (UnicodeDecodeError, BackendUnavailableError, "it is damaged, and rebuilding it failed"),
)


def may_be_damage(error: BaseException) -> bool:
    """Return whether an error calls for a look at the whole file.

    Damage shows in many ways: as such, as a table that is not there, as a text that is none. Everything that the
    circumstances can explain, such as a full disk or a lock, is left out.
    """
    if isinstance(error, apsw.IOError):
        return error.extendedresult in _CUT_SHORT  # type: ignore[attr-defined]  # apsw's stubs leave it out
    return isinstance(error, _SUSPICIOUS)


def translated(error: apsw.Error | OSError | UnicodeDecodeError, path: Path) -> CacheError:
    """Return our error for one of SQLite's or of the system's."""
    for theirs, ours, what in _TABLE:
        if isinstance(error, theirs):
            return ours(f"the cache file {path}: {what} ({type(error).__name__})")
    if isinstance(error, OSError):
        return BackendUnavailableError(f"the cache file {path}: {error.strerror or type(error).__name__}")
    return BackendUnavailableError(f"the cache file {path}: SQLite refused the operation ({type(error).__name__})")

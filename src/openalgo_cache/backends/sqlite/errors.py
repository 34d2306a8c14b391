"""SQLite's errors, translated at the seam: one table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError, CacheError

DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)
"""The file is not what SQLite wrote: it is set aside and rebuilt, not reported upwards."""

_TABLE: Final[tuple[tuple[type[apsw.Error], type[CacheError], str], ...]] = (
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
)


def translated(error: apsw.Error | OSError, path: Path) -> CacheError:
    """Return our error for one of SQLite's or of the system's."""
    for theirs, ours, what in _TABLE:
        if isinstance(error, theirs):
            return ours(f"the cache file {path}: {what} ({type(error).__name__})")
    if isinstance(error, OSError):
        return BackendUnavailableError(f"the cache file {path}: {error.strerror or type(error).__name__}")
    return BackendUnavailableError(f"the cache file {path}: SQLite refused the operation ({type(error).__name__})")

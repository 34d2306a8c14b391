"""The record of the chosen backend: a small file beside the key ring, on which all processes agree.

Without it, a Redis that appears on the machine tomorrow would hide what yesterday's SQLite files hold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from openalgo_cache import files
from openalgo_cache.keys import check_cache_name

RECORD_NAME: Final = ".cache_backend"
"""The record's file name, in the folder of the key ring."""

_FORMAT = 1


class DamagedRecordError(Exception):
    """The record is there, and does not say which backend was chosen."""


def read_record(folder: Path) -> str | None:
    """Return the recorded backend, or None if none was recorded.

    Raises:
        DamagedRecordError: The record cannot be read or understood.
    """
    try:
        raw = (folder / RECORD_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedRecordError(f"cannot be read ({error.strerror})") from error
    try:
        record = json.loads(raw)
        if record["format"] != _FORMAT:
            raise DamagedRecordError("has a format of another version")
        return check_cache_name(record["backend"])  # backends and caches are named by the same rule
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedRecordError("does not name a backend") from error


def record_first(folder: Path, backend: str) -> str:
    """Record ``backend`` unless another process was first; return the recorded one.

    Raises:
        OSError: The folder cannot be created or written.
        DamagedRecordError: Another process's record cannot be understood.
    """
    files.ensure_folder(folder)
    if files.write_private_new(folder / RECORD_NAME, _encode(backend)):
        return backend
    return read_record(folder) or backend


def record_choice(folder: Path, backend: str) -> None:
    """Record ``backend`` in place of whatever is recorded, as ``openalgo-cache use`` does.

    Whether such a backend exists is the caller's question. Processes that run keep the backend they have.

    Args:
        folder: The folder of the key ring; created if it is missing.
        backend: The backend's name.

    Raises:
        OSError: The folder cannot be created or written.
    """
    files.ensure_folder(folder)
    files.replace_private(folder / RECORD_NAME, _encode(backend))


def _encode(backend: str) -> bytes:
    return json.dumps({"format": _FORMAT, "backend": backend}).encode() + b"\n"

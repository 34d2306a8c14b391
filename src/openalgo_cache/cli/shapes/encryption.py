"""What ``encrypt-files`` prints with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Rewritten(TypedDict):
    """One file."""

    file: Annotated[str, "the file"]
    rows: Annotated[int | None, "how many it has; null if it was so already, or is empty"]


class Encrypted(TypedDict):
    """What `encrypt-files` prints."""

    encrypted: Annotated[bool, "whether the files are encrypted now"]
    files: Annotated[list[Rewritten], "the files of the caches, of their locks, and the backups of state"]
    damaged_copies: Annotated[list[str], "copies of files that were found damaged; they stay as they are"]
    setting: Annotated[bool, "SQLITE_FILE_ENCRYPTION"]

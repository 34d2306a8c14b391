"""A database's bytes as they lie on the disk, read and written through SQLite's own way to files.

To close a descriptor of our own would drop the locks that SQLite holds on the file in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw


@contextmanager
def raw(path: Path, kind: int, access: int = apsw.SQLITE_OPEN_READWRITE) -> Iterator[apsw.VFSFile]:
    """Open a file's bytes.

    Args:
        path: The file.
        kind: What it is to SQLite, such as ``SQLITE_OPEN_MAIN_DB``.
        access: How it is opened.

    Raises:
        apsw.Error: It cannot be opened.
    """
    file = apsw.VFSFile("", str(path), [kind | access, 0])
    try:
        yield file
    finally:
        file.xClose()

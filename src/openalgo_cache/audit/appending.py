"""Appending to a file of the audit log: whole lines or nothing, whichever process is first.

The caller holds the log's file lock, so that this holds on systems without an append of their own as well. A file is
0600 from its first byte. It is opened for each batch and closed again: nobody then stands in the way of whoever
deletes it, and no forked child has it open.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final, NamedTuple

from openalgo_cache.audit import line

_FLAGS: Final = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class End(NamedTuple):
    """How a file ends.

    Attributes:
        size: Its size in bytes.
        last: The MAC that its last whole line claims; empty if there is none.
        torn: What follows the last newline: a line whose writer died, or whose disk lost power, in the middle.
    """

    size: int
    last: str
    torn: bytes


def open_file(path: Path) -> int:
    """Open a file of the log for appending; make it where it is missing. Returns its descriptor."""
    return os.open(path, _FLAGS, 0o600)


def end_of(descriptor: int) -> End:
    """Return how an open file ends."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - 2 * line.LONGEST)
    os.lseek(descriptor, start, os.SEEK_SET)
    content = b""
    while chunk := os.read(descriptor, size - start - len(content)):
        content += chunk
    whole, _, torn = content.rpartition(b"\n")
    last = line.read(whole.rpartition(b"\n")[2])
    return End(size, "" if last is None else last.head.mac, torn)


def is_torn(descriptor: int) -> bool:
    """Return whether an open file ends in the middle of a line."""
    size = os.fstat(descriptor).st_size
    if not size:
        return False
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) != b"\n"


def append(descriptor: int, lines: bytes) -> None:
    """Write lines at the end of an open file, all of them or none.

    Raises:
        OSError: There is no space, or the disk fails. What was written of them was cut off again.
    """
    size = os.fstat(descriptor).st_size
    written = 0
    try:
        written = os.write(descriptor, lines)
    finally:
        if written != len(lines):
            os.ftruncate(descriptor, size)
    if written != len(lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

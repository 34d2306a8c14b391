"""Where the versions of a master lie, and the pointer that says which one is current."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from openalgo_cache import files
from openalgo_cache.errors import BackendUnavailableError

APPLICATION_ID: Final = int.from_bytes(b"OASM", "big")
"""Written into a version's file as the last thing: SQLite keeps it at byte 68."""

_POINTER: Final = re.compile(rb"[0-9a-f]{32}\s*")


class MasterFiles:
    """The files of one master: ``{base}_symbols-{number}.db``, one a version, the pointer and the lock of imports.

    Args:
        base: The path that all names begin with; ``db/cache`` makes ``db/cache_symbols.current``.

    Attributes:
        folder: Where they are.
        lock: Held by whoever makes a version.
        seen: What the instance knows of the shared master.
    """

    def __init__(self, base: str | os.PathLike[str]) -> None:
        base = Path(base)
        self.folder = base.parent
        self._stem = f"{base.name}_symbols"
        self._pointer = self.folder / f"{self._stem}.current"
        self.seen = self.folder / f"{self._stem}.seen"
        self.lock = self.folder / f"{self._stem}.lock"

    def path_of(self, number: str) -> Path:
        """Return the path of a version."""
        return self.folder / f"{self._stem}-{number}.db"

    def current(self) -> str | None:
        """Return the number of the current version; None if there is none.

        Raises:
            BackendUnavailableError: The pointer is there and cannot be read, or says nothing of use.
        """
        try:
            content = self._pointer.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackendUnavailableError(f"the symbol master's {self._pointer} cannot be read: {error}") from None
        if not _POINTER.fullmatch(content):  # it becomes part of a path
            raise BackendUnavailableError(f"the symbol master's {self._pointer} is damaged: import it again")
        return content[:32].decode()

    def create(self, number: str | None = None) -> str:
        """Create the empty file of a new version, 0600, and return its number: a random one, if none is given.

        Raises:
            OSError: The folder is missing, full or read-only, or there is a file of that number.
        """
        number = number or secrets.token_hex(16)
        path = self.path_of(number)
        if not files.write_private_new(path, b""):
            raise FileExistsError(errno.EEXIST, "a version of that number is in use", str(path))
        return number

    def switch(self, number: str) -> None:
        """Make a finished version the current one, in one atomic step.

        Raises:
            OSError: The folder is full or read-only.
        """
        files.replace_private(self._pointer, f"{number}\n".encode())

    def all_versions(self) -> Iterator[str]:
        """Yield the numbers of all versions that have a file, finished or not."""
        pattern = re.compile(re.escape(self._stem) + r"-([0-9a-f]{32})\.db")
        for path in sorted(self.folder.iterdir()):
            if match := pattern.fullmatch(path.name):
                yield match[1]

    def remove_temporaries(self) -> None:
        """Remove what a process that was killed while it created a file left beside it; only under the lock."""
        pattern = re.compile(rf"\.{re.escape(self._stem)}(-[0-9a-f]{{32}}\.db|\.current|\.seen)\..+\.tmp")
        for path in list(self.folder.iterdir()):
            if pattern.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def is_finished(self, number: str) -> bool:
        """Return whether an import came to its end with this version's file."""
        with self.path_of(number).open("rb") as file:
            return file.read(72)[68:] == APPLICATION_ID.to_bytes(4, "big")

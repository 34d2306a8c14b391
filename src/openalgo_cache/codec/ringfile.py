"""The file of the key ring (``.cache_key``): private, made once, and changed so that no key is ever lost.

A change is made under a lock file beside it, on what the file holds at that moment, and becomes the file in one atomic
step when it is on the disk. So whatever happens in the middle, the file is the old ring or the new one. The old one is
not kept: a copy beside the file would bring back a key that was taken out because it had leaked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openalgo_cache import files
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import KeyRingError
from openalgo_cache.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_NAME: Final = ".cache_key"


class RingFile:
    """The file of a key ring.

    Args:
        path: Where it is.
        allow_root_owner: Whether root may own it, as secret managers arrange it. Then it can be read here, not changed.
    """

    __slots__ = ("_allow_root_owner", "path")

    def __init__(self, path: Path, *, allow_root_owner: bool = False) -> None:
        self.path = path
        self._allow_root_owner = allow_root_owner

    def load(self) -> KeyRing:
        """Read the ring.

        Raises:
            KeyRingError: The file is missing, empty, damaged, or open to others.
        """
        try:
            content = self.path.read_bytes()
            problem = files.check_private(self.path, allow_root_owner=self._allow_root_owner)
        except OSError as error:
            raise KeyRingError(f"the key ring {self.path} cannot be read: {error.strerror}") from None
        if problem is not None:
            raise KeyRingError(f"the key ring {self.path} is not safe to use: {problem}")
        if not content.strip():
            raise KeyRingError(
                f"the key ring {self.path} is empty: restore it from a backup (or delete it if nothing sealed is "
                "needed)"
            )
        try:
            return KeyRing.parse(content)
        except KeyRingError as error:
            raise KeyRingError(f"the key ring {self.path} cannot be used: {error}") from None

    def load_or_create(self) -> KeyRing:
        """Read the ring, or make it; of several processes that start at once exactly one makes it.

        Raises:
            KeyRingError: It cannot be read, or it cannot be created: nothing is ever stored without a usable key.
        """
        try:
            if not self.path.exists():
                files.ensure_folder(self.path.parent)
                files.write_private_new(self.path, KeyRing.generate().to_json())
        except OSError as error:
            raise KeyRingError(f"the key ring {self.path} cannot be created: {error.strerror or error}") from None
        return self.load()

    def update(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Put a changed ring in the file, and return it. Of several processes each changes what the one before it left.

        Args:
            change: Makes the new ring of the present one; what it raises leaves the file as it is.

        Raises:
            KeyRingError: The file is not ours alone, cannot be read, or cannot be written.
        """
        with self._changing() as path:
            ring = change(self.load())
            files.remove_left_temporaries(path)  # of processes that were killed; they hold keys, too
            files.replace_private(path, ring.to_json())
        return ring

    @contextmanager
    def _changing(self) -> Iterator[Path]:
        """Hold the lock of the file, which is not a link's but its target's; yield its path."""
        path = Path(os.path.realpath(self.path))
        lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            if (problem := files.check_private(path)) is not None:
                raise KeyRingError(f"the key ring {self.path} cannot be changed here: {problem}")
            try:
                with lock:
                    yield path
            finally:
                lock.close()
        except OSError as error:
            raise KeyRingError(f"the key ring {self.path} cannot be changed here: {error.strerror or error}") from None

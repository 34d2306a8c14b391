"""Disks that fill up, and disks whose power goes: ways of SQLite's to its files that behave as those do."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import apsw

ENCRYPTS: Final = hasattr(apsw, "mc_version")
"""Whether this SQLite encrypts files: in a layer of its own, which has to lie above ours to be tested."""

_all: Final[list[apsw.VFS]] = []
"""That layer knows ours for ever, so ours must not go."""
_numbers: Final = itertools.count()
_SECTOR: Final = 512
_SHARED_INDEX: Final = "-shm"


def name_of(name: str | apsw.URIFilename | None) -> str:
    """Return a file's name; temporary files have none."""
    if name is None:
        return ""
    return name if isinstance(name, str) else name.filename()


class Disk(apsw.VFS):
    """SQLite's way to all files that are opened while it is entered; closing it asks that those were closed.

    Args:
        folder: The folder whose files lie on this disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.default = apsw.vfs_names()[0]
        self.below = self.default.removeprefix("multipleciphers-")
        name = f"disk {next(_numbers)}"
        super().__init__(name, self.below, makedefault=not ENCRYPTS)
        if ENCRYPTS:
            _all.append(self)
            apsw.Connection("", vfs=f"multipleciphers-{name}").close()  # which makes it
            apsw.set_default_vfs(f"multipleciphers-{name}")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        """Open a file; those elsewhere are none of ours."""
        path = Path(name_of(name))
        return self.open(path, name, flags) if path.parent == self.folder else apsw.VFSFile(self.below, name, flags)

    def open(self, path: Path, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """Open a file of ours."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if ENCRYPTS:
            apsw.set_default_vfs(self.default)
        self.unregister()


# A disk that fills up


class FullableFile(apsw.VFSFile):
    """A file that cannot grow while its disk is full."""

    def __init__(self, disk: FullableDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(disk.below, name, flags)
        self._disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        """Write, if no more space is needed than is there."""
        if self._disk.is_full and offset + len(data) > self.xFileSize():
            raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)


class FullableDisk(Disk):
    """A disk that is said to be full, or not."""

    is_full = False

    def open(self, path: Path, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """Open a file of ours."""
        del path
        return FullableFile(self, name, flags)

    def fill(self) -> None:
        """Leave no space."""
        self.is_full = True

    def free(self) -> None:
        """Make space again."""
        self.is_full = False


class SmallDisk:
    """A file system of a few megabytes of its own, and a file that takes up what is left of it.

    Args:
        folder: The folder that it is mounted on.

    Raises:
        OSError: It may not be mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:
            raise OSError("only root can mount a small file system")
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no space."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        """Make space again."""
        self._ballast.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


# A disk whose power goes

Content = bytearray | None
"""None where there is no file."""

Change = Callable[[Content, random.Random | None], Content]
"""Does to a content what was asked for; with a generator of chances as far as it came before the power went."""


class Cached:
    """A file's content on the platters, and what is still in the disk's cache."""

    def __init__(self, content: Content) -> None:
        self.durable = content
        self.pending: list[Change] = []

    def sync(self) -> None:
        """Empty the cache."""
        for change in self.pending:
            self.durable = change(self.durable, None)
        self.pending.clear()

    def sync_deletion(self) -> None:
        """Empty the cache up to where the file was deleted, if it was."""
        if _deleted in self.pending:
            last = len(self.pending) - self.pending[::-1].index(_deleted)
            self.durable, self.pending = None, self.pending[last:]

    def left(self, chance: random.Random) -> Content:
        """Return what is there after the power went: any part of what was not synced yet, in any order of sectors.

        A file that was deleted and made anew is another file: what was written to it can't be found in the old one.
        """
        content = None if self.durable is None else bytearray(self.durable)
        deletions = [number for number, change in enumerate(self.pending) if change is _deleted]
        begin = 0
        if deletions and (done := chance.randrange(len(deletions) + 1)):
            content, begin = None, deletions[done - 1] + 1
        kept = chance.choice([0.0, chance.random(), 1.0])
        for change in self.pending[begin:]:
            if change is _deleted:
                break
            if chance.random() < kept:
                content = change(content, chance if chance.random() < 0.5 else None)
        return content


def _created(content: Content, _: random.Random | None) -> Content:
    return bytearray() if content is None else content


def _deleted(_content: Content, _chance: random.Random | None) -> Content:
    return None


def _truncated(size: int) -> Change:
    def change(content: Content, _: random.Random | None) -> Content:
        return (content or bytearray())[:size]

    return change


def _written(data: bytes, offset: int) -> Change:
    def change(content: Content, chance: random.Random | None) -> Content:
        content = content or bytearray()
        if len(content) < offset + len(data):
            content.extend(bytes(offset + len(data) - len(content)))
        for start in range(0, len(data), _SECTOR):
            if chance is None or chance.random() < 0.5:
                part = data[start : start + _SECTOR]
                content[offset + start : offset + start + len(part)] = part
        return content

    return change


class CachedFile(apsw.VFSFile):
    """A file whose changes are on the platters when it was synced."""

    def __init__(
        self, disk: PoweredDisk, name: str | apsw.URIFilename | None, flags: list[int], cached: Cached
    ) -> None:
        super().__init__(disk.below, name, flags)
        self._disk = disk
        self._cached = cached
        self._is_new = _created in cached.pending

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        """Write to the cache."""
        self._cached.pending.append(_written(bytes(data), offset))
        self._disk.go_on()
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # SQLite's name
        """Truncate in the cache."""
        self._cached.pending.append(_truncated(newsize))
        self._disk.go_on()
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's name
        """Bring the cache to the platters; the test need not wait for a real disk."""
        del flags
        self._disk.go_on()
        self._cached.sync()
        if self._is_new:  # then SQLite syncs the folder, too
            self._is_new = False
            self._disk.sync_folder()


class PoweredDisk(Disk):
    """A disk with a cache, whose power goes after a number of changes; whatever is asked of it then fails.

    Args:
        folder: The folder whose files lie on this disk.
        changes: How many there will be.
    """

    def __init__(self, folder: Path, changes: int) -> None:
        super().__init__(folder)
        self._left = changes
        self._files: dict[str, Cached] = {}
        self._image: dict[str, Content] | None = None
        self._chance = random.Random(changes)

    def open(self, path: Path, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """Open a file of ours."""
        cached = self._files.get(path.name)
        if cached is None:
            cached = self._files[path.name] = Cached(bytearray(path.read_bytes()) if path.exists() else None)
        if not path.exists():
            cached.pending.append(_created)
            self.go_on()
        return CachedFile(self, name, flags, cached)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  # SQLite's name
        """Delete a file, for good if the folder is synced, too."""
        if Path(filename).parent == self.folder and not filename.endswith(_SHARED_INDEX):
            if Path(filename).exists():
                self._files[Path(filename).name].pending.append(_deleted)
            self.go_on()
            if syncdir:
                self.sync_folder()
        super().xDelete(filename, syncdir)

    def sync_folder(self) -> None:
        """Let what was deleted be gone for good."""
        for cached in self._files.values():
            cached.sync_deletion()

    @property
    def is_off(self) -> bool:
        """Whether the power went."""
        return self._image is not None

    def go_on(self) -> None:
        """Count a change.

        Raises:
            apsw.IOError: The power went.
        """
        self._left -= 1
        if self._left <= 0:
            self.switch_off()
            error = apsw.IOError("the power went")
            error.extendedresult = apsw.SQLITE_IOERR_WRITE  # type: ignore[attr-defined]  # apsw's stubs leave it out
            raise error

    def switch_off(self) -> None:
        """Let the power go now."""
        if self._image is None:
            self._image = {name: cached.left(self._chance) for name, cached in self._files.items()}

    def write_image(self, folder: Path) -> None:
        """Put in a folder what is on the disk when the power is back."""
        assert self._image is not None
        for name, content in self._image.items():
            if content is not None:
                descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)

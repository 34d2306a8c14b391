"""Private files: readable by their owner alone from the first byte, whole or absent, and there after a power cut.

The key ring, the record of the chosen backend and whatever else several processes must agree on at first start are
written here. Failures of the file system are raised as the ``OSError`` they are: the caller knows what the file meant.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NO_HARD_LINKS = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.ENOSYS,
        errno.EINVAL,
        getattr(errno, "ENOTSUP", -1),
        getattr(errno, "EOPNOTSUPP", -1),
    }
)
_FOLDER_SYNC_UNSUPPORTED = frozenset({errno.EINVAL, getattr(errno, "ENOTSUP", -1), getattr(errno, "EOPNOTSUPP", -1)})
_NOBODY_WRITES_SO_LONG = 60.0
_WINDOWS_REPLACE_ATTEMPTS = 50
_WINDOWS_REPLACE_PAUSE = 0.02


def ensure_folder(path: Path) -> None:
    """Make sure that the folder ``path`` exists; whatever has to be created is 0700, whatever exists is left alone.

    Args:
        path: The folder; missing parents are created in the same way.

    Raises:
        NotADirectoryError: Something that is not a folder stands at ``path``.
        OSError: The folder cannot be created, or, on Windows, not be closed to others.
    """
    missing: list[Path] = []
    folder = path.absolute()
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            # Either another process was first, or a file (or a link that leads nowhere) is in the way.
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder)) from None
        else:
            _close(folder)
            sync_folder(folder.parent)


def _close(folder: Path) -> None:
    """Close a new folder to others where modes do not; it goes again if it can't be."""
    if sys.platform != "win32":
        return
    from openalgo_cache import accesslist  # noqa: PLC0415  # only there

    try:
        accesslist.close(folder)
    except OSError:
        folder.rmdir()
        raise


def write_private_new(path: Path, data: bytes) -> bool:
    """Create the file ``path`` with ``data``, unless it exists; of several processes exactly one succeeds.

    The file is 0600 from its first byte, appears with its whole content or not at all, and is on the disk when this
    returns. A process that is killed in the middle leaves at most a temporary file (``.name.….tmp``, 0600) that nothing
    reads.

    Args:
        path: The file to create; its folder must exist.
        data: The whole content.

    Returns:
        True if this call created the file; False if it was there already, untouched (a dangling link counts as there).

    Raises:
        OSError: The folder is missing, full or read-only.
    """
    temporary = _write_temporary(path, data)
    try:
        created = _publish_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    # Also after losing the race: the loser will rely on the winner's file, which may not be in the folder's blocks yet.
    sync_folder(path.parent)
    return created


def replace_private(path: Path, data: bytes) -> None:
    """Put ``data`` in the file ``path`` in one atomic step, whether or not it exists; the new file is 0600.

    Readers see all of the old or all of the new. The content is on the disk when this returns.

    Args:
        path: The file; its folder must exist.
        data: The whole content.

    Raises:
        OSError: The folder is missing, full or read-only.
    """
    temporary = _write_temporary(path, data)
    try:
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_left_temporaries(path: Path) -> None:
    """Remove what processes left beside ``path`` that were killed while they wrote it, once that is a minute ago.

    Args:
        path: The file; its folder must exist.

    Raises:
        OSError: The folder cannot be read or written.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        try:
            if time.time() - left.stat().st_mtime > _NOBODY_WRITES_SO_LONG:
                left.unlink()
        except FileNotFoundError:  # it was not left after all
            continue


def take_place(finished: Path, path: Path) -> None:
    """Let a finished private file, whose content is on the disk, take the place of another in one atomic step.

    Args:
        finished: The file; in the same folder.
        path: The name it gets, whether or not it is taken.

    Raises:
        OSError: The folder is read-only.
    """
    _replace(finished, path)
    sync_folder(path.parent)


@contextmanager
def writing_private(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Open a new 0600 file for writing, which gets the name ``path`` when the block ends well, and vanishes else.

    Args:
        path: The file; its folder must exist.
        replace: Whether it may exist; then it is replaced in one atomic step.

    Raises:
        FileExistsError: It exists, and is not to be replaced.
        OSError: The folder is missing, full or read-only.
    """
    if not replace and os.path.lexists(path):
        raise _exists(path)
    temporary, descriptor = _create_temporary(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        if replace:
            _replace(temporary, path)
        elif not _publish_new(temporary, path):
            raise _exists(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "there is such a file already", str(path))


def check_private(path: Path, *, allow_root_owner: bool = False) -> str | None:
    """Say what is wrong with the owner or the mode of a file or folder that should be ours alone.

    On Windows there is no mode to look at, and the answer is always None.

    Args:
        path: An existing file or folder; a link is followed.
        allow_root_owner: Accept a file of root's, as secret managers mount them, and that its group may read it.

    Returns:
        One line that names the path, the fault and the fix; None if all is well.

    Raises:
        OSError: The path does not exist or cannot be examined.
    """
    if not hasattr(os, "geteuid"):
        return None
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    own_user = os.geteuid()
    allowed = 0o740 if allow_root_owner and status.st_uid == 0 else 0o700
    if status.st_uid != own_user and allowed == 0o700:
        return (
            f"{path} belongs to user id {status.st_uid}, but this process runs as user id {own_user}: "
            f"run it as the owner, or give the file to user id {own_user} with chown"
        )
    if mode & 0o777 & ~allowed:
        fix = "700" if stat.S_ISDIR(status.st_mode) else "600" if allowed == 0o700 else "440"
        return f"{path} is open to other users (mode {mode:04o}): run chmod {fix} {path}"
    return None


def check_unwritable(path: Path, status: os.stat_result) -> str | None:
    """Say what is wrong where others than its owner could change a file, or put another one in a folder.

    On Windows there is no mode to look at, and the answer is always None.

    Args:
        path: The file or folder, for the message.
        status: What ``stat`` says of it.

    Returns:
        One line that names the path, the fault and the fix; None if all is well.
    """
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid not in {0, os.geteuid()}:
        return f"{path} belongs to user id {status.st_uid}: give it to user id {os.geteuid()} with chown"
    mode = stat.S_IMODE(status.st_mode)
    sticky_folder = stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX  # others can add to it, but replace nothing
    if mode & 0o022 and not sticky_folder:
        return f"{path} can be changed by others (mode {mode:04o}): run chmod go-w {path}"
    return None


def _create_temporary(path: Path) -> tuple[Path, int]:
    """Create an empty 0600 file beside ``path``, and return its path and a descriptor to write to."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.{os.urandom(8).hex()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    return temporary, os.open(temporary, flags, 0o600)


def _write_temporary(path: Path, data: bytes) -> Path:
    """Write ``data`` to a new 0600 file beside ``path``, flush it to the disk and return its path."""
    temporary, descriptor = _create_temporary(path)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


if sys.platform == "win32":

    def _publish_new(temporary: Path, path: Path) -> bool:
        """Give ``temporary`` the name ``path`` unless that is taken; return whether it got it."""
        try:
            temporary.rename(path)  # refuses an existing target on Windows, and works where hard links do not
        except FileExistsError:
            return False
        return True

else:
    import fcntl

    def _publish_new(temporary: Path, path: Path) -> bool:
        """Give ``temporary`` the name ``path`` unless that is taken; return whether it got it."""
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            return _publish_new_without_links(temporary, path)
        return True

    def _publish_new_without_links(temporary: Path, path: Path) -> bool:
        """Do the same on FAT, exFAT and some network mounts: look and rename under a lock on the folder."""
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if os.path.lexists(path):
                return False
            temporary.rename(path)
            return True
        finally:
            os.close(folder)


def _replace(temporary: Path, path: Path) -> None:
    """Rename over ``path``; on Windows wait a second for readers, which keep a file from being replaced there."""
    if sys.platform == "win32":
        for _ in range(_WINDOWS_REPLACE_ATTEMPTS - 1):
            try:
                temporary.replace(path)
            except PermissionError:
                time.sleep(_WINDOWS_REPLACE_PAUSE)
            else:
                return
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, where the system can (Windows cannot open a folder)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FOLDER_SYNC_UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)

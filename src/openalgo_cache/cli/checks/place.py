"""Checks of the place where the files lie: folder, owners and modes, file system, space."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from openalgo_cache import accesslist, files
from openalgo_cache.cli.checks.finding import error, ok, warning
from openalgo_cache.cli.output import count, size
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.doctor import Check

LITTLE_SPACE: Final = 512 << 20
NO_SPACE: Final = 64 << 20
"""Bytes; a new symbol master needs about 50 MB beside the old one."""

_HAS_MODES: Final = hasattr(os, "geteuid")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "glusterfs", "lustre", "ncpfs", "fuse.sshfs"}
)
_FORGETFUL: Final = frozenset({"tmpfs", "ramfs"})
_SERVED: Final = frozenset({"htdocs", "public_html", "static", "webroot", "www", "wwwroot"})
_SYNCHRONISED: Final = ("onedrive", "dropbox", "google drive", "googledrive", "icloud", "mobile documents", "nextcloud")


def check_folder(session: Session) -> Iterator[Check]:
    """Look at the folder: is it there, is it ours, can it be written?"""
    folder = session.folder
    if not folder.exists():
        yield ok("folder", f"{folder} is not there yet; the first use makes it, for its owner alone")
        return
    if not folder.is_dir():
        yield error("folder", f"{folder} is not a folder", "Move it away, or set SQLITE_CACHE_PATH to another place")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield error("folder", f"{folder} cannot be written", "Run as its owner, or set SQLITE_CACHE_PATH elsewhere")
    if not _HAS_MODES:
        yield from _rights_on_windows(folder)
        return
    problem = files.check_private(folder)
    if problem is not None:
        what, _, fix = problem.rpartition(": ")
        yield warning("folder", what, _sentence(fix))
    else:
        yield ok("folder", f"{folder} is closed to others")


def check_way(session: Session) -> Iterator[Check]:
    """Look at the folders above: who may write there can put another folder in the place of ours."""
    folder = _existing(session.folder).resolve()
    served = next((part for part in folder.parts if part.lower() in _SERVED), None)
    if served is not None:
        yield warning(
            "folder",
            f"{folder} looks like a folder that a web server hands out ({served})",
            "Set SQLITE_CACHE_PATH to a folder that is not below one",
        )
    if not hasattr(os, "geteuid"):
        return
    for above in folder.parents:
        status = above.stat()
        is_theirs = status.st_uid not in {0, os.geteuid()}
        is_open = bool(status.st_mode & stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        if is_theirs or is_open:
            who = (
                f"user id {status.st_uid}, who owns {above}," if is_theirs else f"everybody, for whom {above} is open,"
            )
            fix = f"chown {os.geteuid()} {above}" if is_theirs else f"chmod o-w {above}"
            yield warning("folder", f"{who} can put another folder in the place of {folder}", f"Run {fix}")


def check_files(session: Session) -> Iterator[Check]:
    """Look at the owner and the mode of every file of ours."""
    if not session.folder.is_dir() or not _HAS_MODES:
        return
    sound = 0
    for path in _ours(session):
        if path.is_symlink():
            fix = "Put the file itself there: whoever owns what a link leads to decides what we read"
            yield warning("files", f"{path} is a link to {path.readlink()}", fix)
            continue
        try:
            problem = files.check_private(path)
        except FileNotFoundError:  # a log that was closed meanwhile
            continue
        if problem is None:
            sound += 1
            continue
        what, _, fix = problem.rpartition(": ")
        yield warning("files", what, _sentence(fix))
    if sound:
        yield ok("files", f"{count(sound, 'file')} closed to others")


def check_file_system(session: Session) -> Iterator[Check]:
    """Look at what the folder lies on: locks and shared memory must work, and it must outlive a restart."""
    folder = _existing(session.folder)
    lowered = folder.as_posix().lower()
    cloud = next((name for name in _SYNCHRONISED if name in lowered), None)
    if cloud is not None:
        yield warning(
            "file system",
            f"{folder} looks like a folder that a program synchronises ({cloud}), which copies files in mid-write",
            "Set SQLITE_CACHE_PATH to a folder that stays on this machine",
        )
    kind = _file_system_of(folder)
    if kind in _NETWORK:
        yield error(
            "file system",
            f"{folder} is on a network file system ({kind}), where SQLite's locks and its log do not work",
            "Set SQLITE_CACHE_PATH to a folder on a disk of this machine",
        )
    elif kind in _FORGETFUL:
        yield warning(
            "file system",
            f"{folder} is in memory ({kind}) and is empty after a restart of the machine",
            "Set SQLITE_CACHE_PATH to a folder on a disk",
        )
    elif cloud is None:
        yield ok("file system", f"a write-ahead log works on {kind}" if kind else f"{folder} is on this machine")


def check_space(session: Session) -> Iterator[Check]:
    """Look at how much space is left."""
    free = shutil.disk_usage(_existing(session.folder)).free
    fix = "Free some: on a full disk nothing can be stored, and deletions from encrypted caches fail"
    if free < NO_SPACE:
        yield error("disk space", f"{size(free)} are free", fix)
    elif free < LITTLE_SPACE:
        yield warning("disk space", f"{size(free)} are free", fix)
    else:
        yield ok("disk space", f"{size(free)} are free")


def _rights_on_windows(folder: Path) -> Iterator[Check]:
    try:
        strangers = accesslist.read(folder)
    except OSError as problem:
        yield warning(
            "folder",
            f"{folder}: {problem.strerror}",
            "Look at its rights: only its user should be there, besides the system",
        )
        return
    if strangers:
        fix = "Take it out of the rights of the folder above; docs/hardening.md has the line"
        yield warning("folder", f"{folder} is open to others ({', '.join(strangers)})", fix)
    else:
        yield ok("folder", f"{folder} is closed to others")


def _ours(session: Session) -> list[Path]:
    """Return all files of ours, the audit logs included, wherever they lie."""
    settings = session.settings
    base, audit = settings.sqlite_cache_path, settings.audit_log_path
    found = {
        path for start in (f"{base.name}_", f".{base.name}_", ".cache_") for path in _beginning(base.parent, start)
    }
    found |= _beginning(audit.parent, audit.stem)
    return sorted(found)


def _beginning(folder: Path, start: str) -> set[Path]:
    if not folder.is_dir():
        return set()
    return {path for path in folder.iterdir() if path.name.startswith(start) and (path.is_symlink() or path.is_file())}


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _file_system_of(folder: Path) -> str | None:
    """Return the kind of file system that a folder is on; None where it cannot be told."""
    if sys.platform == "win32":
        return "cifs" if folder.drive.startswith("\\\\") else None
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, best, kind = folder.resolve(), -1, None
    for line in lines:
        left, _, right = line.partition(" - ")
        mounted = Path(left.split()[4].replace("\\040", " "))
        # Of two mounts at one place the later one is seen.
        if place.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), right.split()[0]
    return kind


def _sentence(fix: str) -> str:
    return fix[:1].upper() + fix[1:]

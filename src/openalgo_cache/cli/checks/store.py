"""Checks of the cache files: SQLite's version, soundness, damaged copies, backups of state."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw

from openalgo_cache.backends.sqlite.backup import Backups
from openalgo_cache.backends.sqlite.inspection import Inspection, inspect
from openalgo_cache.catalogue import Durability, policy_of
from openalgo_cache.cli.checks.finding import error, ok, warning
from openalgo_cache.cli.output import ago, count
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.doctor import Check
from openalgo_cache.errors import CacheError
from openalgo_cache.symbols.version import MasterVersion

_CORRUPTS_FROM: Final = (3, 7, 0)
_MENDED: Final = (3, 51, 3)
_MENDED_BRANCHES: Final[dict[tuple[int, ...], int]] = {(3, 50): 7, (3, 44): 6}
_BACKUP_LASTS: Final = 2 * 86_400.0
_IMPORT: Final = "Import it again: openalgo-cache symbols import FILE"
_CLOCK_SLACK: Final = 300.0
"""Seconds by which the clocks of two machines may differ without harm."""


def check_sqlite(session: Session) -> Iterator[Check]:
    """Look at SQLite's version: before 3.51.3 writers and checkpoints that coincide can corrupt a file."""
    del session
    written = apsw.sqlite_lib_version()
    version = tuple(int(part) for part in written.split("."))
    mended = version >= _MENDED or version[2] >= _MENDED_BRANCHES.get(version[:2], 1 << 30)
    if mended or version < _CORRUPTS_FROM:
        yield ok("sqlite", f"SQLite {written}")
    else:
        yield error(
            "sqlite",
            f"SQLite {written} can corrupt a file when one process writes while another one checkpoints",
            "Install a newer apsw: pip install --upgrade apsw",
        )


def check_soundness(session: Session) -> Iterator[Check]:
    """Walk through every cache file; look for times from the future; look at the backups of state."""
    sound = 0
    now = session.now()
    for name in session.caches_on_disk():
        try:
            seen = inspect(session.cache_file(name), now, check=True, cipher=session.cipher(name))
        except CacheError as problem:
            yield error("cache files", str(problem), "Do what it says, or run as the owner; then look again")
            continue
        if seen is None:
            continue
        if seen.problems:
            yield _damaged(session, name, seen)
            continue
        sound += 1
        if seen.newest_at is not None and seen.newest_at > now + _CLOCK_SLACK:
            yield warning(
                "clock",
                f"{name} has an entry that was written {ago(seen.newest_at, now)}",
                "Set the clock: it was ahead then, or it is behind now",
            )
        if seen.entries and policy_of(name, session.settings).durability is Durability.STATE:
            yield _backup(seen, name, now)
    if sound:
        yield ok("cache files", f"{count(sound, 'file')} sound")


def check_damaged_copies(session: Session) -> Iterator[Check]:
    """Look for copies of files that were found damaged and rebuilt."""
    copies = sorted(session.folder.glob("*.damaged-*.db")) if session.folder.is_dir() else []
    if copies:
        names = ", ".join(path.name for path in copies)
        yield warning(
            "damaged copies",
            f"files were damaged and rebuilt; what they held is in {names}",
            "Find out why (the disk, a kill of the machine, a copied file), then delete the copies",
        )


def check_lost_deletes(session: Session) -> Iterator[Check]:
    """Look into the journals of what could not be deleted."""
    if not session.has_ring():
        return
    sound = 0
    for notes in session.journals():
        name, path = notes.cache, notes.path
        try:
            seen = session.look_into(notes)
        except CacheError as problem:
            yield error("lost deletes", str(problem), "Restore the key ring from a backup")
            return
        if seen is None:
            continue
        is_only_copy = policy_of(name, session.settings).durability is Durability.STATE
        if seen.damaged:
            what = f"{path} is damaged: something that had to be deleted from {name} may be forgotten"
            if is_only_copy:
                yield error("lost deletes", what, f"Look through {name} for what should be gone; then delete the file")
            else:
                yield warning("lost deletes", what, f"The next use of {name} clears it, to be on the safe side")
        elif not os.access(path, os.W_OK):
            yield error("lost deletes", f"{path} cannot be written", "Run as the owner of the files")
        elif seen.pending:
            what = (
                f"{count(seen.pending, 'delete')} of {name} failed and must be carried out; nobody is served these keys"
            )
            yield warning("lost deletes", what, "See that the store can be written; the next use of the cache does it")
        else:
            sound += 1
    if sound:
        yield ok("lost deletes", f"none in {count(sound, 'journal')}")


def check_master(session: Session) -> Iterator[Check]:
    """Read the whole symbol master: is it as it was written, and by us?"""
    try:
        if not session.has_master():
            return
        seen = session.manager.symbols(background=False).stats()
        if seen["problem"] is None:
            with closing(MasterVersion(Path(seen["file"]), seen["version"], session.manager.ring())) as version:
                version.check()
    except CacheError as problem:
        yield error("symbol master", str(problem), _IMPORT)
        return
    if seen["problem"] is not None:
        yield error("symbol master", seen["problem"], _IMPORT)
    else:
        when = ago(seen["imported_at"], session.now())
        yield ok("symbol master", f"{count(seen['total_symbols'], 'instrument')}, imported {when}")


def _damaged(session: Session, name: str, seen: Inspection) -> Check:
    fix = "The next use sets a copy aside and begins anew; a cache fills itself again"
    if policy_of(name, session.settings).durability is Durability.STATE:
        fix = "Copy the folder away first. The next use sets a copy aside and restores what it can from the last backup"
    return error("cache files", f"{seen.path}: {seen.problems[0]}", fix)


def _backup(seen: Inspection, name: str, now: float) -> Check:
    backups = Backups(seen.path, lambda _stored, _record: True).existing()
    fix = "A process that has written to the cache makes one each day: keep the application running"
    if not backups and now - (seen.oldest_at or now) < _BACKUP_LASTS:
        return ok("backups", f"{name} is new; the application makes its first backup while it runs")
    if not backups:
        return warning("backups", f"{name} holds the only copy of its entries, and has no backup", fix)
    digits = re.findall(r"[0-9]{8}", backups[0].name)[-1]
    made = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).timestamp()
    if now - made > _BACKUP_LASTS:
        return warning("backups", f"the last backup of {name} is of {ago(made, now)}", fix)
    return ok("backups", f"{name} was backed up on {digits[:4]}-{digits[4:6]}-{digits[6:]}")

"""The journal of lost deletes: what a cache's store failed to delete, written down until it is deleted.

A revoked token must not be served because the disk was full, or the server down, when it was revoked. So there is a
small file a cache, in the cache folder, made before it is needed and with all of its blocks: what is full or cannot be
reached then is the store, not this. Every process of the folder has the file's first words in its memory and compares
one of them at every read: that costs no system call.

    ======  ====  ==========================================================================
    offset  size  field
    ======  ====  ==========================================================================
    0       8     magic and version, ``OACLOST1``
    8       8     the generation: goes up with every change (native byte order: it stays on its machine)
    4096    576   the first of 64 slots; all zero is free
    ======  ====  ==========================================================================

What a slot holds is in ``slots.py``. One that is damaged means that some key's deletion is forgotten, so then the whole
cache counts as lost.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import secrets
import struct
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from openalgo_cache import files
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.locks import FileLock, make_lock
from openalgo_cache.slots import FREE, SLOT, UNREADABLE, LostDelete, Slots

SLOTS: Final = 64
_MAGIC: Final = b"OACLOST1"
_HEADER: Final = 4096
SIZE: Final = _HEADER + SLOTS * SLOT
_GENERATION: Final = struct.Struct("=Q")


class Lookout(NamedTuple):
    """What a journal says to somebody who only looks.

    Attributes:
        pending: How many lost deletes are to be carried out.
        damaged: How many slots cannot be read; -1 if the file is not what it was made as.
    """

    pending: int
    damaged: int


def look(path: Path, ring: KeyRing, prefix: str) -> Lookout | None:
    """Look into a journal and change nothing; return None if there is none.

    Args:
        path: Its file.
        ring: Seals what is in it.
        prefix: What every stored key of the cache begins with.

    Raises:
        OSError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if not _is_whole(content):
        return Lookout(0, -1)
    found, damaged = Slots(ring, prefix).read(_slots_of(content))
    return Lookout(len(found), len(damaged))


class Journal:
    """The lost deletes of one cache, shared by all processes that use its folder.

    Args:
        path: The file. It is made, 0600 and with all of its blocks, if it is not there.
        ring: Seals what is in it, and is told by it.
        prefix: What every stored key of the cache begins with.
        collapses: Whether the whole cache counts as lost where a key's deletion was forgotten, or found no slot; else
            that is only reported.

    Attributes:
        words: Element 0 is the generation now.
        seen: The generation that ``entries`` are of, if there are none; None, which equals no generation, if there are.
        entries: What is still to be deleted.
        damaged: How many slots cannot be read.
        problem: Why the file cannot be used, in words; None if it can.
    """

    __slots__ = (
        "_collapses",
        "_everything",
        "_file_lock",
        "_keys",
        "_map",
        "_mutex",
        "_place",
        "_read_at",
        "_settled",
        "_slots",
        "_unwritten",
        "_was_unreadable",
        "damaged",
        "entries",
        "path",
        "problem",
        "seen",
        "words",
    )

    def __init__(self, path: Path, ring: KeyRing, prefix: str, *, collapses: bool) -> None:
        self.path = path
        self._slots = Slots(ring, prefix)
        self._collapses = collapses
        self._mutex = make_lock()
        self._file_lock = FileLock(path.with_name(path.name + ".lock"))
        self._place: tuple[int, int] | None = None
        self._map: Sequence[int] | None = None
        self._was_unreadable = False
        self._unwritten: list[LostDelete] = []
        self._settled: set[bytes] = set()
        self._keys: frozenset[str] = frozenset()
        self._everything = False
        self._read_at: int | None = None
        self.words: Sequence[int] = _own_words()
        self.seen: int | None = None
        self.entries: tuple[LostDelete, ...] = ()
        self.damaged = 0
        self.problem: str | None = None
        with self._mutex:
            self._refresh()

    def withholds(self, stored: str) -> bool:
        """Return whether a key must not be served."""
        return self._everything or stored in self._keys

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self.words[0] != self._read_at:
            with self._mutex:
                self._refresh()

    def add(self, stored: Iterable[str] | None, lost_at: float) -> bool:
        """Write down that ``stored`` (None: the whole cache) could not be deleted.

        Returns:
            Whether it is on the disk. If not, this process knows of it all the same, as long as it lives.
        """
        lost = [LostDelete(None, lost_at)] if stored is None else [LostDelete(key, lost_at) for key in set(stored)]
        again = {one.stored for one in lost}
        with self._mutex:
            self._unwritten = lost + [one for one in self._unwritten if one.stored not in again]
            self._refresh()
            return not self._unwritten

    def stands(self, entry: LostDelete) -> bool:
        """Return whether an entry is still to be deleted: nobody was first."""
        if entry.slot < 0:
            return entry in self._unwritten
        if entry.written in self._settled:
            return False
        try:
            return _slots_of(self.path.read_bytes())[entry.slot] == entry.written
        except OSError:  # the file is gone; what it said still goes
            return True

    def settle(self, entries: Collection[LostDelete]) -> None:
        """Strike out entries that were carried out."""
        with self._mutex:
            self._unwritten = [one for one in self._unwritten if one not in entries]
            try:
                with self._file_lock:
                    slots = _slots_of(self.path.read_bytes())
                    self._put({one.slot: FREE for one in entries if one.slot >= 0 and slots[one.slot] == one.written})
            except OSError:
                self._settled |= {one.written for one in entries}  # not again by this process, at least
            finally:
                self._file_lock.close()
            self._refresh()

    # --- under the mutex ---------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Write what could not be written before, and read what is there."""
        try:
            generation, found = self._read_and_write()
            self.problem = None
        except OSError as error:  # what was read before still goes
            self.problem = f"{self.path}: {error.strerror or type(error).__name__}"
            generation, found = None, [one for one in self.entries if one.written not in self._settled | {b""}]
            if self._map is None and self._collapses and not self._was_unreadable and self.path.exists():
                self._was_unreadable = True
                self._unwritten.append(LostDelete(None, math.inf))
        finally:
            self._file_lock.close()
        self.entries = (*found, *self._unwritten)
        self._keys = frozenset(one.stored for one in self.entries if one.stored is not None)
        self._everything = any(one.stored is None for one in self.entries)
        if self._map is None or self._unwritten:  # nobody else knows: whatever was read before is out of date here
            self.words = _own_words()
            generation = self.words[0]
        else:
            self.words = self._map
        self._read_at = generation
        self.seen = None if self.entries else generation

    def _read_and_write(self) -> tuple[int, list[LostDelete]]:
        """Return the generation, and what is written in it or later."""
        words = self._map = self._mapped()
        if self._unwritten:
            with self._file_lock:
                self._write(self._unwritten)
            self._unwritten = []
        generation = words[0]
        content = self.path.read_bytes()
        if content.count(0, _HEADER) == SIZE - _HEADER:
            self.damaged = 0
            return generation, []
        found = self._parse(_slots_of(content))
        if self.damaged:  # or somebody is writing it just now
            with suppress(OSError), self._file_lock:
                found = self._parse(_slots_of(self.path.read_bytes()))
        return generation, found

    def _mapped(self) -> Sequence[int]:
        """Return the file's generation in memory; make the file, or mend its size and beginning, where needed."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            files.ensure_folder(self.path.parent)
            files.write_private_new(self.path, _new_header().ljust(SIZE, b"\0"))
            status = self.path.stat()
        place = (status.st_dev, status.st_ino)
        if place == self._place and status.st_size == SIZE and self._map is not None:
            return self._map
        with self.path.open("rb") as file:
            if status.st_size != SIZE or file.read(len(_MAGIC)) != _MAGIC:
                self._mend()
            mapped = mmap.mmap(file.fileno(), _HEADER, access=mmap.ACCESS_READ)
        if place != self._place:  # the file that said so is gone
            self._unwritten += [one._replace(slot=-1, written=b"") for one in self.entries if one.slot >= 0]
            self._place = place
        return memoryview(mapped).cast("Q")[1:2]

    def _mend(self) -> None:
        """Give a file that was cut or overwritten its size again, and say in it that something was forgotten."""
        with self._file_lock, self.path.open("r+b", buffering=0) as file:
            content = file.read()
            if _is_whole(content):
                return  # somebody else was first
            slots = _slots_of(content.ljust(SIZE, b"\0"))
            slots[slots.index(FREE) if FREE in slots else 0] = UNREADABLE
            file.seek(0)
            file.write(_new_header().ljust(_HEADER, b"\0") + b"".join(slots))
            file.truncate(SIZE)
            os.fsync(file.fileno())

    def _write(self, lost: list[LostDelete]) -> None:
        """Write entries into free slots, or into those that have the same key, under the file lock."""
        slots = _slots_of(self.path.read_bytes())
        written = {one.stored: one.slot for one in self._parse(slots)}
        if self._collapses and None in written:
            return
        free = [number for number, slot in enumerate(slots) if slot == FREE]
        new = [one for one in lost if one.stored not in written]
        if len(new) > len(free):
            if not self._collapses:
                raise OSError(errno.ENOSPC, "it is full")
            ours = next(iter(written.values()), free[0] if free else None)
            if ours is None:
                raise OSError(errno.ENOSPC, "it is full of what belongs to other key rings")
            lost, written = [LostDelete(None, lost[0].lost_at)], {None: ours}
        changes = {}
        for one in lost:
            number = written[one.stored] if one.stored in written else free.pop(0)
            changes[number] = self._slots.seal(one, number)
        self._put(changes)

    def _put(self, changes: dict[int, bytes]) -> None:
        """Write slots and raise the generation, on the disk when this returns, under the file lock."""
        with self.path.open("r+b", buffering=0) as file:
            for number, slot in changes.items():
                file.seek(_HEADER + number * SLOT)
                file.write(slot)
            file.seek(len(_MAGIC))
            (generation,) = _GENERATION.unpack(file.read(_GENERATION.size))
            file.seek(len(_MAGIC))
            file.write(_GENERATION.pack((generation + 1) & 0x7FFF_FFFF_FFFF_FFFF))
            os.fsync(file.fileno())

    def _parse(self, slots: list[bytes]) -> list[LostDelete]:
        """Return what is to be deleted by these slots, and count what is damaged."""
        found, damaged = self._slots.read(slots)
        self.damaged = len(damaged)
        entries = found + damaged if self._collapses else found
        return [one for one in entries if one.written not in self._settled]


def _is_whole(content: bytes) -> bool:
    return len(content) == SIZE and content.startswith(_MAGIC)


def _slots_of(content: bytes) -> list[bytes]:
    return [content[start : start + SLOT] for start in range(_HEADER, SIZE, SLOT)]


def _new_header() -> bytes:
    # Never a generation that another file had: what was read under that one must not pass for up to date.
    return _MAGIC + _GENERATION.pack(secrets.randbits(62))


def _own_words() -> tuple[int]:
    return (-1 - secrets.randbits(62),)

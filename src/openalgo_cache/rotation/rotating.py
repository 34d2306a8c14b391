"""The steps of a rotation. After each of them the work may end, by Ctrl-C or a power cut: the next call goes on there.

What was done is read from the key ring and from the records; nothing else is written down, so nothing else can be
wrong after a crash.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from openalgo_cache import files
from openalgo_cache.audit import Event
from openalgo_cache.codec.keyring import Key, KeyRing, shown
from openalgo_cache.codec.resealing import Resealer
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.errors import KeyRingError
from openalgo_cache.locks import FileLock
from openalgo_cache.manager import CacheManager
from openalgo_cache.ringsource import ring_file
from openalgo_cache.rotation.instances import instances, lacking, sealing_otherwise
from openalgo_cache.rotation.places import places
from openalgo_cache.rotation.sweep import Progress, Sweep
from openalgo_cache.rotation.tally import Tally, merged, needing, unreadable

SETTLES: Final = 5.0
"""Seconds after which every process has seen a change of the ring: they look once a second."""
GRACE: Final = 60.0
"""Seconds that a key stays in the ring, at least, after it was the active one."""
_MOST_WALKS: Final = 45
"""Walks after that, while old keys are needed: leases end within half a minute."""
_BETWEEN_WALKS: Final = 1.0
_MOST_LOOKS: Final = 20
"""Looks, a second apart, at whether other instances hold a key: they tell within two when their ring has changed."""

Tell = Callable[[str], None]


class KeyInUseError(KeyRingError):
    """A key cannot be retired yet.

    Attributes:
        tallies: What was found.
    """

    def __init__(self, message: str, tallies: list[Tally]) -> None:
        super().__init__(message)
        self.tallies = tallies


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation came to.

    Attributes:
        active: The id of the key that is active now.
        resumed: Whether the rotation had been begun before.
        retired: The ids of the keys that were taken out of the ring.
        left: The ids of the keys that records still need.
        late: The instances that seal with another key than the active one of our ring.
        tallies: What was found.
    """

    active: int
    resumed: bool
    retired: tuple[int, ...]
    left: tuple[int, ...]
    late: tuple[str, ...]
    tallies: list[Tally]


class Rotation:
    """Rotates and retires the keys of one installation.

    Args:
        manager: Of the installation.
        progress: Told how far a walk through the records is.
        tell: Told in a line what begins.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        manager: CacheManager,
        *,
        progress: Progress | None = None,
        tell: Tell = lambda _line: None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._manager = manager
        self._file = _ring_file(manager)
        self._now = manager.ground().clock
        self._progress = progress
        self._total = 0
        self._swept: list[Tally] = []
        self._tell = tell
        self._pause = pause

    def rotate(self, *, new_key: bool = True, then_retire: bool = False) -> Rotated:
        """Let another key seal whatever is stored, or go on with a rotation that was begun before.

        Args:
            new_key: Whether there may be another key; otherwise the active one seals what older ones sealed.
            then_retire: Whether the old keys are taken out of the ring at the end.

        Raises:
            KeyRingError: The ring cannot be changed here, or somebody else is at it.
            KeyInUseError: A key was to be retired and is still needed.
            BackendUnavailableError: A store fails. The same call goes on later.
        """
        with self._alone():
            key_id, resumed = (
                self._next_key(then_retire=then_retire) if new_key else (self._file.load().active.id, True)
            )
            self._activate(key_id)
            tallies = self._sweep()
            old = [key.id for key in _old(self._file.load())]
            retired: list[int] = []
            if then_retire:
                for one in old:
                    self._wait_for_grace(one)
                    self._retire(one, skip_unreadable=False)
                    retired.append(one)
            left = [one for one in old if one not in retired and needing(tallies, [one])]
            return Rotated(key_id, resumed, tuple(retired), tuple(left), tuple(self._late(key_id)), tallies)

    def retire(self, key_id: int, *, skip_unreadable: bool = False) -> list[Tally]:
        """Take a key out of the ring that nothing needs any more; return what there is.

        Args:
            key_id: Which one.
            skip_unreadable: Whether records that name the key and cannot be verified are no reason to keep it.

        Raises:
            KeyRingError: The ring has no such key, or it is the active one, or the ring cannot be changed here.
            KeyInUseError: The key is still needed, or was the active one a moment ago.
            BackendUnavailableError: A store fails, so nobody can tell.
        """
        with self._alone():
            return self._retire(key_id, skip_unreadable=skip_unreadable)

    # --- the steps ---------------------------------------------------------------------------------------------------

    def _next_key(self, *, then_retire: bool) -> tuple[int, bool]:
        """Return the key that is to seal everything, and whether a rotation to it was begun before."""
        ring = self._file.load()
        waiting = [key for key in _old(ring) if key.since == key.created_at]
        if waiting:
            return max(waiting, key=lambda key: key.created_at).id, True
        if old := [key.id for key in _old(ring)]:
            self._tell("looking for what older keys sealed")
            tallies = self._walk(ring)
            if then_retire or needing(tallies, old) or any(tally.resealed for tally in tallies):
                return ring.active.id, True
        key = Key.generate()
        self._file.update(lambda ring: ring.with_key(key))
        self._tell(f"added key {shown(key.id)}")
        self._record("KEY_ADD", key.id)
        return key.id, False

    def _activate(self, key_id: int) -> None:
        if self._file.load().active.id != key_id:
            self._wait_for_instances(key_id)
            self._file.update(lambda ring: ring.with_active(key_id))
            self._tell(f"key {shown(key_id)} seals whatever is written from now on")
            self._record("KEY_ACTIVATE", key_id)

    def _wait_for_instances(self, key_id: int) -> None:
        """Wait until every instance holds a key, so that each can read what the others seal with it."""
        looks = 0
        while late := lacking(instances(self._manager), key_id):
            if (looks := looks + 1) > _MOST_LOOKS:
                raise KeyRingError(
                    f"key {shown(key_id)} is not the active one yet: {', '.join(late)} does not hold it. Copy the key "
                    "ring there, and run the same command again"
                )
            self._tell(f"waiting until {', '.join(late)} holds key {shown(key_id)}")
            self._pause(_BETWEEN_WALKS)

    def _late(self, key_id: int) -> list[str]:
        return sealing_otherwise(instances(self._manager), key_id)

    def _sweep(self) -> list[Tally]:
        """Walk through all records until nothing needs an old key, and nobody can have sealed with one since."""
        ring = self._file.load()
        old = [key.id for key in _old(ring)]
        self._tell("sealing anew")
        self._walk(ring)
        self._pause(min(max(ring.active.since + SETTLES - self._now(), 0.0), SETTLES))
        tallies: list[Tally] = []
        for _ in range(_MOST_WALKS):
            tallies = self._walk(ring)
            if not needing(tallies, old) or self._late(ring.active.id):
                break
            self._pause(_BETWEEN_WALKS)
        return tallies

    def _wait_for_grace(self, key_id: int) -> None:
        since = next(key.since for key in self._file.load().keys if key.id == key_id)
        if (left := min(since + GRACE - self._now(), GRACE)) > 0:
            self._tell(f"waiting until key {shown(key_id)} can be retired")
            self._pause(left)

    def _retire(self, key_id: int, *, skip_unreadable: bool) -> list[Tally]:
        ring = self._file.load()
        rest = ring.without(key_id)  # raises for what cannot be
        key = next(key for key in ring.keys if key.id == key_id)
        if (left := key.since + GRACE - self._now()) > 0:
            raise KeyInUseError(
                f"key {shown(key_id)} was the active one until a moment ago, and a process may still seal with it: "
                f"try again in {left:.0f} seconds",
                [],
            )
        if late := [one.instance for one in instances(self._manager) if one.active == key_id]:
            raise KeyInUseError(
                f"{', '.join(sorted(set(late)))} still seals with key {shown(key_id)}: copy the key ring there, and "
                "run 'openalgo-cache keys rotate' again",
                [],
            )
        tallies = self._count(ring)
        _refuse_while_needed(key_id, rest.active.id, tallies, skip_unreadable=skip_unreadable)
        self._file.update(lambda ring: ring.without(key_id))
        # Whoever sealed with it a moment ago, in spite of all, has written by now.
        after = self._count(ring)
        if needing(after, [key_id]):
            self._file.update(lambda ring: ring.with_key(key))
            _refuse_while_needed(key_id, rest.active.id, after, skip_unreadable=skip_unreadable)
        self._record(
            "KEY_RETIRE", key_id, "though records that cannot be verified name it" if skip_unreadable else None
        )
        return after

    def _record(self, operation: str, key_id: int, detail: str | None = None) -> None:
        """Write to the audit log what was done with a key."""
        said = f"key {shown(key_id)}" + ("" if detail is None else f", {detail}")
        self._manager.audit().record_now(Event(None, operation, None, __name__, detail=said))

    def _walk(self, ring: KeyRing, *, counts_only: bool = False) -> list[Tally]:
        resealer = Resealer(ring)
        if self._progress is not None and not self._total:
            with closing(places(self._manager, resealer.verifies)) as found:
                self._total = sum(place.backend.size() for place in found)
        sweep = Sweep(
            ring, resealer, counts_only=counts_only, total=self._total, progress=self._progress, rest=self._pause
        )
        with closing(places(self._manager, resealer.verifies)) as found:
            tallies = sweep.run(found)
        if not counts_only:
            self._swept = tallies = merged(self._swept, tallies)
        return tallies

    def _count(self, ring: KeyRing) -> list[Tally]:
        self._tell("counting")
        return self._walk(ring, counts_only=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from rotating or retiring keys of the same ring meanwhile.

        Raises:
            KeyRingError: Somebody else is at it.
        """
        folder = self._file.path.parent
        if not os.access(folder, os.W_OK):  # a secret that was mounted: then those are kept out who share our caches
            folder = self._manager.settings.cache_folder
            files.ensure_folder(folder)
        lock = FileLock(folder / f"{self._file.path.name}.rotation")
        try:
            if not lock.attempt():
                raise KeyRingError(
                    "another process is rotating or retiring keys of this ring: wait until it has ended (if it is "
                    "killed, the same command goes on where it was)"
                )
            yield
        finally:
            lock.close()


def _ring_file(manager: CacheManager) -> RingFile:
    file = ring_file(manager.settings)
    if file is None:
        raise KeyRingError(
            "the key is in CACHE_ENCRYPTION_KEY, where a second one has no room: 'keys add --output FILE' writes a "
            "ring that goes on with it; set CACHE_KEY_FILE to that file in place of it, and rotate then"
        )
    return file


def _old(ring: KeyRing) -> list[Key]:
    return [key for key in ring.keys if key.id != ring.active.id]


def _refuse_while_needed(key_id: int, active: int, tallies: list[Tally], *, skip_unreadable: bool) -> None:
    if count := needing(tallies, [key_id]):
        raise KeyInUseError(
            f"{count:,} records need key {shown(key_id)}: 'openalgo-cache keys rotate' seals them with key "
            f"{shown(active)}",
            tallies,
        )
    if not skip_unreadable and (count := unreadable(tallies, [key_id])):
        raise KeyInUseError(
            f"{count:,} records name key {shown(key_id)} and cannot be verified even with it: delete them, or say "
            "--skip-unreadable to leave them as they are",
            tallies,
        )

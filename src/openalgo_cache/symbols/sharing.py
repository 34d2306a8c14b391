"""Keep the master of one instance and the shared one the same, whichever of them changes.

What the instance knows of the shared master lies beside its own, in a small file: the highest serial that it saw (so
that an older record, put back into the store, does not take it back), and the version that was imported here and waits
to be published. The serial is noted before an import begins: if somebody else publishes until it is done, theirs was
later, and stays.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import closing
from typing import Final, NamedTuple

from openalgo_cache import files
from openalgo_cache.clock import Clock
from openalgo_cache.errors import BackendUnavailableError, CacheError, UnreadableRecordError
from openalgo_cache.locks import FileLock
from openalgo_cache.symbols import snapshot
from openalgo_cache.symbols.building import Builder
from openalgo_cache.symbols.importing import Progress
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.replacing import replace_version
from openalgo_cache.symbols.schema import Origin
from openalgo_cache.symbols.shelf import ChunksGoneError, Published, Shelf, SupersededError
from openalgo_cache.symbols.signing import Seal, Signer
from openalgo_cache.symbols.source import Problems
from openalgo_cache.symbols.version import MasterVersion

_log = logging.getLogger(__name__)

_ATTEMPTS: Final = 3
_RETRY_AFTER: Final = 15.0
"""Seconds before what failed is tried again in the background."""

# Where in the whole each part begins, as it was measured.
_UPLOADING: Final = 0.8
_WRITING: Final = 0.1
_INDEXING: Final = 0.8


class Seen(NamedTuple):
    """What the instance knows of the shared master.

    Attributes:
        serial: The highest serial that it saw.
        version: The version that had it.
        waiting: The version that was imported here and is to be published next; empty if there is none.
    """

    serial: int = 0
    version: str = ""
    waiting: str = ""


class Sharing:
    """The dealings of one instance with the shared master. Safe to use from several threads and processes.

    Args:
        where: The instance's own master.
        seal: Signs and verifies the rows.
        clock: Tells the time.
        open_shelf: Returns the shared store, or None if this installation has none; asked when it is first needed.
    """

    def __init__(
        self, where: MasterFiles, seal: Seal | None, clock: Clock, open_shelf: Callable[[], Shelf | None]
    ) -> None:
        self._where = where
        self._seal = seal
        self._clock = clock
        self._open_shelf = open_shelf
        self._shelf: Shelf | None = None
        self._is_open = False
        self._failed_at = float("-inf")
        self.problem: str | None = None

    def shelf(self) -> Shelf | None:
        """Return the shared store; None if there is none.

        Raises:
            CacheError: It cannot be used.
        """
        if not self._is_open:
            self._shelf = self._open_shelf()
            self._is_open = True
        return self._shelf

    def is_shared(self) -> bool:
        """Return whether there are other instances, whether or not their store can be used now."""
        try:
            return self.shelf() is not None
        except CacheError:
            return True

    def close(self) -> None:
        """Let go of the store; it is opened again when it is needed."""
        shelf, self._shelf, self._is_open = self._shelf, None, False
        if shelf is not None:
            shelf.close()

    def published(self) -> Published | None:
        """Return what is published, if anything is.

        Raises:
            CacheError: That cannot be known.
        """
        shelf = self.shelf()
        return None if shelf is None else shelf.look().current

    # -- an import ----------------------------------------------------------------------------------------------------

    def before_import(self) -> Seen:
        """Return what an import that begins now may replace; if the store is silent, what we knew last."""
        seen = self._seen()
        try:
            current = self.published()
        except CacheError:
            current = None
        return seen if current is None or current.serial <= seen.serial else Seen(current.serial, current.version)

    def expect(self, seen: Seen, version: str) -> None:
        """Note, before a version that was imported becomes the instance's own, that it is to be published.

        Raises:
            BackendUnavailableError: The folder is full or read-only.
        """
        self._remember(seen._replace(waiting=version))

    def after_import(self, version: str, tell: Progress) -> tuple[bool | None, str | None]:
        """Publish what was imported.

        Returns:
            Whether it is published (None without a shared store), and if not, why.
        """
        try:
            current = self.synchronise(tell)
        except CacheError as error:
            return False, f"not published yet, but used here; that is tried again as long as a process runs: {error}"
        if self._shelf is None:
            return None, None
        if current is None or current.version != version:
            who = "another instance" if current is None else f"the instance {current.instance}"
            return False, f"not published: {who} published a master while this one was imported, and that one is used"
        return True, None

    # -- in step ------------------------------------------------------------------------------------------------------

    def keep_in_step(self) -> bool:
        """Do what :meth:`synchronise` does, and what is to be cleared away; failures are kept in ``problem``.

        Returns:
            Whether the instance has another master than before.
        """
        now = self._clock()
        if self._failed_at <= now < self._failed_at + _RETRY_AFTER:
            return False
        before = self._own()
        try:
            self.synchronise()
            if (shelf := self.shelf()) is not None:
                shelf.tidy()
        except CacheError as error:
            self._failed_at = now
            if self.problem != str(error):
                _log.warning("the symbol master is not in step with other instances, the old one is used: %s", error)
            self.problem = str(error)
        else:
            if self.problem is not None:
                _log.info("the symbol master is in step with the other instances again")
            self._failed_at, self.problem = float("-inf"), None
        return self._own() != before

    def synchronise(self, tell: Progress = lambda _what, _done: None) -> Published | None:
        """Fetch what is published if we have something else, or publish what we have if that is to be.

        Args:
            tell: Told what is done (packing, publishing; fetching, writing, indexing) and how far it is, 0 to 1.

        Returns:
            What is published now, and is our own master.

        Raises:
            BackendUnavailableError: The store does not answer, or our own folder cannot be written.
            UnreadableRecordError: What is published cannot be verified, or our own master is damaged.
        """
        shelf = self.shelf()
        if shelf is None:
            return None
        for _ in range(_ATTEMPTS):
            current, own, seen = shelf.look().current, self._own(), self._seen()
            if own is not None and _is_ours_to_publish(current, own, seen):
                published = self._publish(shelf, tell)
            elif current is None:
                return None
            elif current.version == own:
                published = current
            else:
                published = current if self._adopt(shelf, current, tell) else None
            if published is not None:
                if (published.serial, published.version) != seen[:2] or seen.waiting == published.version:
                    self._remember(Seen(published.serial, published.version))
                return published
        raise BackendUnavailableError("the shared symbol master is being replaced again and again")

    def _publish(self, shelf: Shelf, tell: Progress) -> Published | None:
        """Publish our own version; return None if it turns out that another one is to be used."""
        lock = FileLock(self._where.lock)
        try:
            with lock:  # of the processes of one instance, one does it
                current, own, seen = shelf.look().current, self._own(), self._seen()
                if own is None or not _is_ours_to_publish(current, own, seen):
                    return None
                with closing(MasterVersion(self._where.path_of(own), own, self._seal)) as version:
                    tell("packing", 0.0)
                    packed = snapshot.pack(version, lambda part: tell("packing", part * _UPLOADING))
                    tell("publishing", _UPLOADING)
                    serial = max(seen.serial, 0 if current is None else current.serial)
                    return shelf.publish(packed, serial, own, version.header.rows, version.header.created_at)
        except SupersededError:
            return None
        except OSError as error:
            raise BackendUnavailableError(f"the symbol master in {self._where.folder}: {error}") from None
        finally:
            lock.close()

    def _adopt(self, shelf: Shelf, current: Published, tell: Progress) -> bool:
        """Make what is published our own; return whether it is now."""

        def fill(number: str) -> None:
            packed = shelf.fetch(current, lambda part: tell("fetching", part * _WRITING))
            self._build(number, snapshot.unpack(packed), current, tell)

        try:
            replace_version(
                self._where,
                self._seal,
                fill,
                number=current.version,
                needed=lambda: self._own() != current.version,
            )
        except ChunksGoneError:
            if shelf.look().current == current:
                raise
            return False  # it was replaced while we read it
        return True

    def _build(self, number: str, received: snapshot.Snapshot, current: Published, tell: Progress) -> None:
        path = self._where.path_of(number)
        with closing(Builder(path, Signer(self._seal, bytes.fromhex(number)), Problems())) as builder:
            builder.add_series([(place, *series) for place, series in enumerate(received.series, 1)])
            share = (_INDEXING - _WRITING) / max(received.rows, 1)
            builder.write(received.instruments(), lambda count: tell("writing", _WRITING + share * count))
            tell("indexing", _INDEXING)
            builder.index()
            builder.finish(received.created_at, Origin())
        with closing(MasterVersion(path, number, self._seal)) as version:
            if version.header.rows != current.rows:
                raise UnreadableRecordError("the shared symbol master has not as many rows as were published")

    def has_own(self) -> bool:
        """Return whether the instance has a master of its own."""
        return self._own() is not None

    # -- what we know -------------------------------------------------------------------------------------------------

    def _own(self) -> str | None:
        """Return the number of the instance's own version, if it can be used."""
        try:
            number = self._where.current()
        except BackendUnavailableError:
            return None  # damaged: what is published mends it
        return number if number is not None and self._where.path_of(number).exists() else None

    def _seen(self) -> Seen:
        try:
            stored = json.loads(self._where.seen.read_bytes())
            return Seen(int(stored["serial"]), str(stored["version"]), str(stored["waiting"]))
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return Seen()

    def _remember(self, seen: Seen) -> None:
        try:
            files.ensure_folder(self._where.folder)
            files.replace_private(self._where.seen, json.dumps(seen._asdict()).encode())
        except OSError as error:
            raise BackendUnavailableError(f"{self._where.seen} cannot be written: {error}") from None


def _is_ours_to_publish(current: Published | None, own: str, seen: Seen) -> bool:
    """Return whether our own version is newer than what is published."""
    if current is None or current.serial < seen.serial:
        return True  # the store lost the record, or somebody put an older one back
    if current.serial > seen.serial:
        return False  # somebody published since
    if current.version != seen.version:
        return current.version != own  # the same serial once more: the store was set back in between
    return seen.waiting == own

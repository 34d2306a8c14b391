"""One cache file in this process: its connections, its writer's lock, its change token.

Writers take a lock of the process, then a lock on a file beside the database, and only then SQLite's own. SQLite
alone lets waiting writers sleep and try again, so that an unlucky one waits for seconds; this way they queue.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from openalgo_cache import files
from openalgo_cache.backends.base import TokenListener
from openalgo_cache.backends.sqlite import damage, forking, schema, walindex
from openalgo_cache.backends.sqlite.backup import Backups
from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher
from openalgo_cache.backends.sqlite.dataversion import DataVersion
from openalgo_cache.backends.sqlite.errors import FAILURES, may_be_damage, translated
from openalgo_cache.backends.sqlite.pool import Link, Pool
from openalgo_cache.backends.sqlite.walindex import WalIndex
from openalgo_cache.errors import BackendUnavailableError, CacheError
from openalgo_cache.locks import FileLock, QueueLock

_PATIENCE: Final = 5.0
"""Seconds that a fork, or the end, waits for reads under way."""

_WORTH_A_CHECKPOINT: Final = 500
"""Writes of this process."""

T = TypeVar("T")
W = TypeVar("W")
Work = Callable[[apsw.Cursor], T]


def _nothing() -> None:
    pass


def _no_bound(cursor: apsw.Cursor, added: Collection[str]) -> None:
    del cursor, added


class Store:
    """A cache file, shared by every backend of this process that uses it.

    Args:
        path: The file; it and its folder are created when they are first needed, 0600 and 0700.
        statements: The schema.
        synchronous: ``NORMAL``; ``FULL`` where a write must be on the disk when it returns; ``OFF`` where it does not
            matter.
        wal: Whether to keep a write-ahead log.
        backups: Where a damaged file comes back from; None if it is written anew with nothing in it.
        cipher: How the file is encrypted.

    Attributes:
        on_open: Called whenever the file was opened.
        trim: Called when keys were added, with a cursor and these keys, before any other writer may go on; what it
            changes counts as somebody else's commit.
        damages: How many times it was found damaged, and written anew by this process.
    """

    def __init__(  # noqa: PLR0913  # each is a setting of the file
        self,
        path: Path,
        statements: tuple[str, ...] = schema.CACHE_SCHEMA,
        *,
        synchronous: str = "NORMAL",
        wal: bool = True,
        backups: Backups | None = None,
        cipher: Cipher = PLAIN,
    ) -> None:
        self.path = path
        self._database = Path(os.path.realpath(path))
        self._statements = statements
        self._synchronous = synchronous
        self._wal = wal
        self._backups = backups
        self._cipher = cipher
        self.pool = Pool(self._connect)
        self._mutex = QueueLock()
        self._file_lock = FileLock(path.with_name(path.name + ".lock"))
        self._writer: Link | None = None
        self._ready = False
        self._index: WalIndex | None = None
        self._version: DataVersion | None = None
        self._listeners: list[TokenListener] = []
        self._place: tuple[object, ...] = ()
        self._entered = False
        self._inherited = False
        self._written = 0
        self.on_open: Callable[[], None] = _nothing
        self.trim: Callable[[apsw.Cursor, Collection[str]], None] = _no_bound
        self.damages = 0
        forking.register(self)

    def read(self, work: Work[T]) -> T:
        """Run ``work`` on a connection for reading, and return what it returns.

        Raises:
            BackendUnavailableError: The file cannot be opened or read.
        """
        result: T = self._guarded(self._read, work)
        return result

    def second_look(self, work: Work[T]) -> T:
        """Do as :meth:`read` does, from within a write, as everybody else sees the file."""
        return self._read(work)

    def write(self, work: Work[T], listener: TokenListener | None = None, adding: Collection[str] = ()) -> T:
        """Run ``work`` in a transaction of its own, as the only writer, and return what it returns.

        Args:
            work: Executes the statements; whatever it raises rolls them back. False means that nothing was done.
            listener: Told what this write alone did to the change token.
            adding: The keys that may be new: then ``trim`` is called.

        Raises:
            BackendUnavailableError: The file cannot be opened or written.
        """
        result: T = self._guarded(self._write, self._transact, (work, adding), listener)
        return result

    def put(self, row: damage.Row, listener: TokenListener | None) -> None:
        """Store one row of a cache, as the only writer; a statement outside a transaction is one.

        Args:
            row: Key, expiry, time of creation, value.
            listener: As for :meth:`write`.

        Raises:
            BackendUnavailableError: The file cannot be opened or written.
        """
        try:
            self._write(self._insert, row, listener)
        except FAILURES as error:
            self._again(error, self._write, self._insert, row, listener)

    def maintain(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run ``work`` on the writer's connection, as the only writer, outside a transaction."""
        result: T = self._guarded(self._write, self._on_the_writer, work, None)
        return result

    def checkpoint(self) -> None:
        """Bring the log to the database if it is worth it, while others read and write.

        So writers seldom have to do it, and to wait for the disk.
        """
        if self._wal and self._written >= _WORTH_A_CHECKPOINT:
            self._written = 0
            self.read(lambda cursor: cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall())

    def change_token(self) -> Sequence[int]:
        """Return the words whose first element changes with every commit of anybody (see SupportsChangeToken)."""
        return self._guarded(self._change_token)

    def _change_token(self) -> Sequence[int]:
        with self._mutex:
            self._prepare()
            if self._index is None and self._version is None:
                self._find_token()
            return self._index.token if self._index is not None else self._version or ()

    def _find_token(self) -> None:
        if self._wal:
            with suppress(OSError):  # it cannot be mapped here
                self._index = WalIndex(self.path)
                return
        self._version = DataVersion(self._connect)

    def watch(self, listener: TokenListener) -> None:
        """Tell ``listener`` when the token is lost."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Close every file. The store opens again when it is used again."""
        with self._mutex:
            self._close(_PATIENCE)
            self._file_lock.close()
            self.pool.reopen()

    def _guarded(self, attempt: Callable[..., T], *arguments: Any) -> T:
        try:
            return attempt(*arguments)
        except FAILURES as error:
            return self._again(error, attempt, *arguments)

    def _again(self, error: Exception, attempt: Callable[..., T], *arguments: Any) -> T:
        """Mend the file and repeat what failed, if the file may be damaged; else raise our error for the failure."""
        try:
            if not may_be_damage(error):
                raise error
            self._rebuild()
            return attempt(*arguments)
        except CacheError:  # ours already: BackendUnavailableError is an OSError, too
            raise
        except FAILURES as failure:
            raise translated(failure, self.path) from None

    def _read(self, work: Work[T]) -> T:
        if not self._ready:
            with self._mutex:
                self._prepare()
        link = self.pool.take()
        try:
            result = work(link.cursor)
        except BaseException:
            self.pool.discard(link)  # it may be in the middle of a statement, and hold on to what it saw
            raise
        self.pool.give(link)
        return result

    def _write(self, change: Callable[[W], T], what: W, listener: TokenListener | None) -> T:
        with self._mutex:
            if not self._ready:
                self._prepare()
            with self._file_lock:
                self._written += 1
                index = self._index
                if index is None or listener is None:
                    return change(what)
                before, commits = index.token[0], index.commits[0]
                result = change(what)
                after = index.token[0]
                # Another program may write without our lock. The second copy of the header is written first: if it
                # counts one commit only, then the token, read before it, is that of ours.
                if index.commits[0] == (commits + 1) & 0xFFFFFFFF:
                    listener.advance(before, after)
                return result

    def _insert(self, row: damage.Row) -> None:
        link = self._writer or self._writing()
        changes = link.changes()
        link.execute(schema.PUT, row)
        if link.changes() - changes > 1:  # the trigger counted it, so the key is new
            self.trim(link.cursor, row[:1])

    def _on_the_writer(self, work: Callable[[apsw.Connection], T]) -> T:
        return work(self._writing().connection)

    def _transact(self, what: tuple[Work[T], Collection[str]]) -> T:
        work, adding = what
        cursor = self._writing().cursor
        cursor.execute("BEGIN IMMEDIATE")
        try:
            result = work(cursor)
            cursor.execute("COMMIT")
        except BaseException:
            if cursor.connection.in_transaction:
                with suppress(apsw.Error):
                    cursor.execute("ROLLBACK")
            raise
        if adding and result is not False:
            self.trim(cursor, adding)
        return result

    def _writing(self) -> Link:
        if self._writer is None:
            self._writer = Link(self._connect())
        return self._writer

    def _connect(self) -> apsw.Connection:
        if self._inherited:
            raise BackendUnavailableError(f"the cache file {self.path} was in use when this process was forked")
        damage.keep_log(self.path)
        return schema.connect(self.path, self._synchronous, wal=self._wal, cipher=self._cipher)

    def _prepare(self) -> None:
        """Create the file and its schema, once; under the mutex."""
        if self._ready:
            return
        files.ensure_folder(self.path.parent)
        if not self._entered:
            walindex.enter(self._database)
            self._entered = True
        with self._file_lock:
            try:
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                if self._was_emptied():
                    raise apsw.NotADBError("the file was emptied") from None
                self._cipher.refuse_others(self.path)
            schema.ensure(self._writing().connection, self._statements)
        self._place = _place_of(self.path)
        self._ready = True
        self.on_open()

    def _was_emptied(self) -> bool:
        """Return whether an empty file held something once, and is not what is left of the attempt to make one."""
        if self._backups is None or self.path.stat().st_size > 0:
            return False
        return damage.log_of(self.path).exists() or bool(self._backups.existing())

    def look_for_replacement(self) -> None:
        """Close the connections if another file, or none, is in the place of ours: others use that one."""
        if self._ready and _place_of(self.path) != self._place:
            self.close()

    def _rebuild(self) -> None:
        """Set a damaged file aside and reset it in place."""
        restore = self._backups.restore if self._backups is not None else None
        with self._mutex:
            self._close(_PATIENCE)
            try:
                with self._file_lock:
                    for path in (self.path, *(self._backups.existing() if self._backups is not None else ())):
                        self._cipher.refuse_others(path)
                    self.damages += damage.rebuild(
                        self.path, self._statements, restore, wal=self._wal, cipher=self._cipher
                    )
            finally:
                self.pool.reopen()

    def _close(self, patience: float) -> None:
        """Close what is open; under the mutex."""
        for listener in self._listeners:
            listener.lose()
        self._ready = False
        all_closed = self.pool.close(patience)
        if self._writer is not None:
            self._writer.connection.close()
            self._writer = None
        if self._version is not None:
            self._version.close()
        if self._index is not None:
            walindex.park(self._database, self._index)
        if self._entered and all_closed:
            self._entered = False
            walindex.leave(self._database)
        self._index = self._version = None

    def before_fork(self) -> None:
        """Close the connections, and keep everybody from opening new ones until the fork is over."""
        self._mutex.acquire()
        with suppress(apsw.Error):
            self._close(_PATIENCE)
        self._file_lock.close()  # a child that kept it open would go on holding it after its parent was killed

    def after_fork(self, *, child: bool) -> None:
        """Let this side of a fork open its own connections."""
        if not child:
            self.pool.reopen()
            self._mutex.release()
            return
        # What did not come back in time is still in SQLite's list of open files, with locks that are the parent's only.
        self._inherited = self._inherited or self.pool.forget()
        self._mutex = QueueLock()


def _place_of(path: Path) -> tuple[object, ...]:
    """Return what tells a file and its log from others of the same names."""
    found: list[object] = []
    for one in (path, damage.log_of(path)):
        with suppress(OSError):
            status = one.stat()
            found.append((one, status.st_dev, status.st_ino))
    return tuple(found)

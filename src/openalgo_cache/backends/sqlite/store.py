"""One cache file in this process: its connections, its writer's lock, its change token.

Writers take a lock of the process, then a lock on a file beside the database, and only then SQLite's own. SQLite
alone lets waiting writers sleep and try again, so that an unlucky one waits for seconds; this way they queue.

A fork closes the connections first and lets both sides open their own afterwards. To leave them to the parent is not
enough: SQLite keeps one list of open files per process, and a child that inherits it believes that it holds locks
which the kernel gave to the parent only; when the parent ends, somebody else may then delete the log that the child
is writing to.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import apsw

from openalgo_cache import files
from openalgo_cache.backends.base import TokenListener
from openalgo_cache.backends.sqlite import damage, schema, walindex
from openalgo_cache.backends.sqlite.dataversion import DataVersion
from openalgo_cache.backends.sqlite.errors import DAMAGED, translated
from openalgo_cache.backends.sqlite.pool import Link, Pool
from openalgo_cache.backends.sqlite.walindex import WalIndex
from openalgo_cache.errors import CacheError
from openalgo_cache.locks import FileLock, make_lock

_FORK_PATIENCE: Final = 1.0
"""Seconds that a fork waits for reads and writes under way."""

T = TypeVar("T")
Work = Callable[[apsw.Cursor], T]
Row = tuple[str, float | None, float, bytes]


class Store:
    """A cache file, shared by every backend of this process that uses it.

    Args:
        path: The file; it and its folder are created when they are first needed, 0600 and 0700. statements: The
        schema. synchronous: ``NORMAL``; ``FULL`` where a write must be on the disk when it returns; ``OFF`` where it
        does not matter. wal: Whether to keep a write-ahead log. restore: Fills a file that was reset because it was
        damaged, inside its first transaction.
    """

    def __init__(
        self,
        path: Path,
        statements: tuple[str, ...] = schema.CACHE_SCHEMA,
        *,
        synchronous: str = "NORMAL",
        wal: bool = True,
        restore: Callable[[apsw.Connection, Path], None] | None = None,
    ) -> None:
        self.path = path
        self._database = Path(os.path.realpath(path))
        self._statements = statements
        self._synchronous = synchronous
        self._wal = wal
        self._restore = restore
        self.pool = Pool(self._connect)
        self._mutex = make_lock()
        self._file_lock = FileLock(path.with_name(path.name + ".lock"))
        self._writer: Link | None = None
        self._ready = False
        self._index: WalIndex | None = None
        self._version: DataVersion | None = None
        self._listeners: list[TokenListener] = []
        self.damages = 0
        self.serial = next(_serial_numbers)
        _stores.add(self)

    def read(self, work: Work[T]) -> T:
        """Run ``work`` on a connection for reading, and return what it returns.

        Raises:
            BackendUnavailableError: The file cannot be opened or read.
        """
        return self._guarded(lambda: self._read(work))

    def write(self, work: Work[T], listener: TokenListener | None = None, trim: Work[None] | None = None) -> T:
        """Run ``work`` in a transaction of its own, as the only writer, and return what it returns.

        Args:
            work: Executes the statements; whatever it raises rolls them back.
            listener: Told what this write alone did to the change token.
            trim: Run afterwards, before any other writer; what it changes counts as somebody else's commit.

        Raises:
            BackendUnavailableError: The file cannot be opened or written.
        """
        return self._guarded(lambda: self._write(lambda: self._transact(work), listener, trim))

    def put(self, row: Row, listener: TokenListener | None, trim: Work[None] | None) -> None:
        """Store one row of a cache, as the only writer; a statement outside a transaction is one.

        Args:
            row: Key, expiry, time of creation, value.
            listener: As for :meth:`write`.
            trim: Likewise; only run if the key is new.

        Raises:
            BackendUnavailableError: The file cannot be opened or written.
        """

        def attempt() -> bool:
            link = self._writing()
            changes = link.connection.total_changes()
            link.execute(schema.PUT, row)
            return link.connection.total_changes() - changes > 1  # the trigger counted a new one

        self._guarded(lambda: self._write(attempt, listener, trim))

    def maintain(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run ``work`` on the writer's connection, as the only writer, outside a transaction."""
        try:
            with self._mutex:
                self._prepare()
                with self._file_lock:
                    return work(self._writing().connection)
        except (apsw.Error, OSError) as error:
            raise self._translated(error) from None

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
        """Close every connection. The store opens again when it is used again."""
        with self._mutex:
            self._close(_FORK_PATIENCE)
            self.pool.reopen()

    def _guarded(self, attempt: Callable[[], T]) -> T:
        try:
            try:
                return attempt()
            except DAMAGED:
                self._rebuild()
                return attempt()
        except (apsw.Error, OSError) as error:
            raise self._translated(error) from None

    def _read(self, work: Work[T]) -> T:
        if not self._ready:
            with self._mutex:
                self._prepare()
        link = self.pool.take()
        try:
            return work(link.cursor)
        finally:
            self.pool.give(link)

    def _write(self, change: Callable[[], T], listener: TokenListener | None, trim: Work[None] | None) -> T:
        with self._mutex:
            if not self._ready:
                self._prepare()
            with self._file_lock:
                index = self._index
                if index is None or listener is None:
                    result = change()
                    if trim is not None and result is not False:
                        trim(self._writing().cursor)
                    return result
                before, commits = index.token[0], index.commits()
                result = change()
                if trim is not None and result is not False:
                    trim(self._writing().cursor)
                after = index.token[0]
                # Another program may write without our lock. The second copy of the header is written first: if it
                # counts one commit only, then the token, read before it, is that of ours.
                if index.commits() == (commits + 1) & 0xFFFFFFFF:
                    listener.advance(before, after)
                return result

    def _transact(self, work: Work[T]) -> T:
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
        return result

    def _writing(self) -> Link:
        if self._writer is None:
            self._writer = Link(self._connect())
        return self._writer

    def _connect(self) -> apsw.Connection:
        return schema.connect(self.path, self._synchronous, wal=self._wal)

    def _prepare(self) -> None:
        """Create the file and its schema, once; under the mutex."""
        if self._ready:
            return
        files.ensure_folder(self.path.parent)
        with self._file_lock:
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            schema.ensure(self._writing().connection, self._statements)
        self._ready = True
        walindex.enter(self._database)

    def _rebuild(self) -> None:
        """Set a damaged file aside and reset it in place."""
        with self._mutex:
            self._close(_FORK_PATIENCE)
            try:
                with self._file_lock:
                    self.damages += damage.rebuild(self.path, self._statements, self._restore)
            finally:
                self.pool.reopen()

    def _close(self, patience: float) -> bool:
        """Close what is open; under the mutex."""
        for listener in self._listeners:
            listener.lose()
        was_ready, self._ready = self._ready, False
        all_closed = self.pool.close(patience)
        if self._writer is not None:
            self._writer.connection.close()
            self._writer = None
        if self._version is not None:
            self._version.close()
        if was_ready and all_closed:
            walindex.leave(self._database, self._index)
        self._index = self._version = None
        return all_closed

    def _translated(self, error: apsw.Error | OSError) -> CacheError:
        return translated(error, self.path)

    def before_fork(self) -> None:
        """Close the connections, and keep everybody from opening new ones until the fork is over."""
        self._mutex.acquire()
        self._close(_FORK_PATIENCE)

    def after_fork(self, *, child: bool) -> None:
        """Let this side of a fork open its own connections."""
        if child:
            self._mutex = make_lock()
            self.pool.forget()
        else:
            self.pool.reopen()
            self._mutex.release()


_stores: Final[weakref.WeakSet[Store]] = weakref.WeakSet()
_serial_numbers: Final = itertools.count()
_forking: Final[list[Store]] = []


def _before_fork() -> None:
    # In the order of creation: a cache's write may read the file of its recency, which was created after it.
    for store in sorted(_stores, key=lambda store: store.serial):
        store.before_fork()
        _forking.append(store)


def _after_fork(*, child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(child=child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(child=False),
        after_in_child=lambda: _after_fork(child=True),
    )

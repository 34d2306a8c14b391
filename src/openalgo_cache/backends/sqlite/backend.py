"""The SQLite backend: one file a cache, shared by every process of the host, there again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw

from openalgo_cache.backends.base import CacheBackend, Entry, Request, TokenListener
from openalgo_cache.backends.sqlite import schema, upkeep
from openalgo_cache.backends.sqlite.backup import Backups, IsIntact
from openalgo_cache.backends.sqlite.cipher import PLAIN, Cipher, cipher_of
from openalgo_cache.backends.sqlite.recency import Recency, recency_file
from openalgo_cache.backends.sqlite.schema import GET
from openalgo_cache.backends.sqlite.store import Store
from openalgo_cache.clock import Clock, system_clock

_MOST_EVICTED_AHEAD: Final = 64
_PAGE_BYTES: Final = 1 << 20
"""Of the values that a scan holds at a time, before the last of them."""
_WINDOW: Final = 4
"""Candidates looked at for each entry that has to leave: the least recent quarter of a stretch of keys goes."""


def _all_intact(stored: str, record: bytes) -> bool:
    del stored, record
    return True


def _checked(row: Any) -> Any:
    """Return a row that begins with value and expiry, if it has an expiry that SQLite stored as a number, or none."""
    if row is not None and row[1] is not None and type(row[1]) is not float:
        raise apsw.CorruptError("an expiry is no number")
    return row


class SQLiteBackend(CacheBackend):
    """Keeps entries in a SQLite file; safe under threads, processes and forks.

    Args:
        path: The file, such as ``db/cache_auth.db``; created when it is first needed.
        maxsize: The most entries in the file, whichever process adds them; None for no bound.
        durable: Whether a write is on the disk when it returns (``synchronous=FULL``), and a backup a day is kept.
        is_intact: Tells whether a record, under its stored key, is as it was written; decides what of a damaged durable
            file is newer than its backup. By default every record that can be read is.
        wal: Whether to keep a write-ahead log. Without it there is no change token, and readers wait for writers.
        vacuum_interval: Seconds between giving unused space back to the file system; 0 for never.
        cipher: How its files are encrypted.
        clock: Where the time comes from.
    """

    def __init__(  # noqa: PLR0913  # each is a setting of the file
        self,
        path: Path | str,
        maxsize: int | None = 1024,
        *,
        durable: bool = False,
        is_intact: IsIntact | None = None,
        wal: bool = True,
        vacuum_interval: float = 86_400,
        cipher: Cipher = PLAIN,
        clock: Clock = system_clock,
    ) -> None:
        self.path = Path(path)
        self._maxsize = maxsize
        self._now = clock
        self._backups = Backups(self.path, is_intact or _all_intact, cipher) if durable else None
        # Without a log FULL is not enough: the last commit's journal can be there again after a power cut, and undo it.
        synchronous = ("FULL" if wal else "EXTRA") if durable else "NORMAL"
        self._store = Store(self.path, synchronous=synchronous, wal=wal, backups=self._backups, cipher=cipher)
        bounded = maxsize is not None
        self._recency = Recency(recency_file(self.path), clock, wal=wal, cipher=cipher) if bounded else None
        self._note: Callable[[str], object] = self._recency.note if self._recency is not None else len
        idle = self._store.pool.idle
        self._borrow, self._give_back = idle.pop, idle.append
        self._hand = ""
        self._listener: TokenListener | None = None
        self._watchers = 0
        self.evictions = 0
        self._upkeep = upkeep.Upkeep(self._store, self._recency, self._backups, vacuum_interval, clock)
        self._store.on_open = self._upkeep.start
        if bounded:
            self._store.trim = self._trim

    @classmethod
    def create(cls, request: Request) -> SQLiteBackend:  # noqa: D102  # see CacheBackend
        settings = request.settings
        return cls(
            settings.cache_file(request.cache, ".db"),
            request.maxsize,
            durable=request.durable,
            is_intact=request.is_intact,
            wal=settings.sqlite_wal_mode,
            vacuum_interval=settings.sqlite_vacuum_interval or 0,
            cipher=cipher_of(settings, request.cache, request.subkey),
            clock=request.clock,
        )

    def get(self, key: str) -> Entry | None:  # noqa: D102
        found = self.look(key)
        return None if found is None else Entry(*found)

    def look(self, key: str) -> tuple[bytes, float | None] | None:  # noqa: D102
        # What Store.read does, without its calls: this is the path of every read that is not near.
        try:
            link = self._borrow()
            try:
                row: Any = link.execute(GET, (key,)).get
            finally:
                self._give_back(link)
            if row is None:
                return None
            expires_at = row[1]
            if expires_at is not None and expires_at <= self._now():
                return None
        except (IndexError, TypeError, apsw.Error, UnicodeDecodeError):
            return self.get_many((key,)).get(key)
        self._note(key)
        return row  # type: ignore[no-any-return]  # value and expiry, as the schema has them

    def get_many(self, keys: Iterable[str]) -> dict[str, Entry]:  # noqa: D102
        wanted = list(keys)

        def work(cursor: apsw.Cursor) -> list[Any]:
            cursor.execute("BEGIN")  # one snapshot, and one set of locks for all
            try:
                return [_checked(cursor.execute(GET, (key,)).get) for key in wanted]
            finally:
                cursor.execute("COMMIT")

        rows = self._store.read(work)
        now = self._now()
        found = {}
        for key, row in zip(wanted, rows, strict=True):
            if row is not None and (row[1] is None or row[1] > now):
                found[key] = Entry(*row)
                self._note(key)
        return found

    def set(self, key: str, entry: Entry) -> None:  # noqa: D102
        self._store.put((key, entry.expires_at, self._now(), entry.payload), self._listener)

    def set_many(self, entries: Mapping[str, Entry]) -> None:  # noqa: D102
        now = self._now()
        rows = [(key, entry.expires_at, now, entry.payload) for key, entry in entries.items()]
        if rows:
            self._write(lambda cursor: cursor.executemany(schema.PUT, rows), entries.keys())

    def delete(self, key: str) -> bool:  # noqa: D102
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Iterable[str]) -> int:  # noqa: D102
        wanted, now = list(keys), self._now()

        def work(cursor: apsw.Cursor) -> int:
            return sum(bool(cursor.execute(schema.REMOVE, (key, now)).get) for key in wanted)

        return int(self._write(work))

    def clear(self) -> int:  # noqa: D102
        now = self._now()

        def work(cursor: apsw.Cursor) -> int:
            count: int = cursor.execute(schema.LIVE, (now,)).get
            cursor.execute(schema.CLEAR)
            return count

        return int(self._write(work))

    def size(self) -> int:  # noqa: D102
        now = self._now()
        return int(self._store.read(lambda cursor: cursor.execute(schema.LIVE, (now,)).get))

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:  # noqa: D102
        now = self._now()

        def work(cursor: apsw.Cursor) -> bool:
            row = _checked(cursor.execute(GET, (key,)).get)
            present = row[0] if row is not None and (row[1] is None or row[1] > now) else None
            if present != expected:
                # Whoever looks again must see what we see, or would try for ever: each connection has pages in memory.
                if self._store.second_look(lambda reader: reader.execute(GET, (key,)).get) != row:
                    raise apsw.CorruptError("two connections see different rows")
                return False
            if new is None:
                cursor.execute(schema.FORGET, (key,))
            else:
                cursor.execute(schema.PUT, (key, new.expires_at, now, new.payload))
            return True

        return bool(self._write(work, (key,)))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield the live entries whose key begins with ``prefix``, in pages, so that no lock is held in between."""
        last = ""

        def next_page(cursor: apsw.Cursor) -> list[Any]:
            page: list[Any] = []
            size = 0
            with closing(cursor.connection.cursor()) as rows:  # which ends the statement when the page is full
                for row in rows.execute(schema.PAGE, (prefix, last)):
                    if type(row[2]) is str:  # nobody can ask for others
                        page.append(_checked(row))
                        size += len(row[0]) if type(row[0]) is bytes else 0
                    if size > _PAGE_BYTES:
                        break
            if page and not page[-1][2] > last:
                raise apsw.CorruptError("keys are out of order")
            return page

        while page := self._store.read(next_page):
            now = self._now()
            for value, expires_at, key in page:
                if not key.startswith(prefix):
                    return
                if expires_at is None or expires_at > now:
                    yield key, Entry(value, expires_at)
            last = page[-1][2]

    @property
    def change_token(self) -> Sequence[int]:
        """See SupportsChangeToken; moves with every commit of every process."""
        return self._store.change_token()

    def watch(self, listener: TokenListener) -> None:
        """See SupportsChangeToken. With two listeners, either's writes are news to the other, so none is advanced."""
        self._store.watch(listener)
        self._watchers += 1
        self._listener = listener if self._watchers == 1 else None

    def maintain(self) -> None:
        """Do now what otherwise happens in the background: purge, give space back, flush recency, back up."""
        self._upkeep.run()

    def close(self) -> None:  # noqa: D102
        self._upkeep.stop()
        if self._recency is not None:
            self._recency.close()
        self._store.close()

    def _write(self, work: Any, adding: Collection[str] = ()) -> Any:
        return self._store.write(work, self._listener, adding)

    def _trim(self, cursor: apsw.Cursor, added: Collection[str]) -> None:
        """Delete the least recently used entries, those just added last, if there are too many.

        In a transaction of its own, so that it counts as a foreign commit: near copies of what leaves must go, too. One
        that stayed would outlive even a delete by another process, which finds nothing there and moves no token.
        """
        count: Any = cursor.execute(schema.COUNT).get
        if type(count) is not int:
            raise apsw.CorruptError("the counter is no number")
        if self._maxsize is None or (excess := count - self._maxsize) <= 0:
            return
        leaving = excess + min(self._maxsize // 16, _MOST_EVICTED_AHEAD)
        candidates = self._candidates(cursor, leaving * _WINDOW)
        assert self._recency is not None  # noqa: S101  # bounded caches have it; for the type checker
        read_at = self._recency.last_reads(key for key, _, _ in candidates)
        now = self._now()

        def staleness(row: tuple[str, float | None, float]) -> tuple[bool, bool, float]:
            key, expires_at, created_at = row
            live = expires_at is None or expires_at > now
            return key in added, live, max(created_at, read_at.get(key, 0.0))

        leaving_keys = [key for key, _, _ in sorted(candidates, key=staleness)[:leaving]]
        with schema.transaction(cursor.connection):
            cursor.executemany(schema.FORGET, [(key,) for key in leaving_keys])
        self.evictions += len(leaving_keys)
        self._recency.forget(leaving_keys)

    def _candidates(self, cursor: apsw.Cursor, count: int) -> list[Any]:
        """Return the next stretch of keys: a hand goes round all of them, as in CLOCK."""
        count = max(count, 128)
        rows = cursor.execute(schema.WINDOW, (self._hand, count)).fetchall()
        if len(rows) < count:
            seen = {row[0] for row in rows}
            rows += [row for row in cursor.execute(schema.WINDOW, ("", count)).fetchall() if row[0] not in seen]
        self._hand = str(rows[min(len(rows), count) - 1][0])
        return rows

"""The host's own database: one SQLite file beside the caches, or a PostgreSQL server, through SQLAlchemy."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from openalgo_host import migrations
from openalgo_host.errors import StartError

FILE_NAME: Final = "openalgo_host.db"
_WAIT: Final = 10
"""Seconds for which a writer waits for another one, and a connection for the server."""
_LONGEST_SILENCE: Final = 3
"""Seconds after which a server ends a transaction whose host says nothing more, such as one that was paused or lost its
machine: what that has locked, a lease for example, would be locked for everybody until it came back."""


class Base(DeclarativeBase):
    """What every table's class derives from."""


class Database:
    """The database, and the transactions on it.

    In SQLite it keeps the rollback journal: writes are rare here, and the SQLite that many systems bring has a fault in
    its other journal, WAL, that was repaired in 3.51.3.

    Args:
        url: Where it is; see :func:`url_of`.
        clock: Where the time comes from, seconds since the epoch; left out, a server's own clock is asked, so that
            hosts whose clocks differ agree.
    """

    def __init__(self, url: URL, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self.is_server = url.get_backend_name() != "sqlite"
        self.path = None if self.is_server or url.database is None else Path(url.database)
        waits = {"connect_timeout": _WAIT} if self.is_server else {"timeout": _WAIT}
        self._engine = create_engine(url, connect_args=waits, hide_parameters=True, pool_pre_ping=self.is_server)
        event.listen(self._engine, "connect", _prepare_server if self.is_server else _prepare_file)
        if not self.is_server:
            event.listen(self._engine, "begin", _begin)
        # What was read stays readable after its transaction.
        self._reading = sessionmaker(self._engine, expire_on_commit=False)
        self._writing = sessionmaker(self._engine.execution_options(writes=True), expire_on_commit=False)

    def create(self) -> None:
        """Create what is missing of the database's tables; harmless if all is there, and if many start at once.

        Raises:
            StartError: The file cannot be created, the server does not let us in, or it is no database of this host,
                or one of a newer host.
        """
        where = "The database at DATABASE_URL" if self.path is None else f"The database {self.path}"
        try:
            if self.path is not None:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with self._engine.execution_options(writes=True).begin() as connection:
                migrations.upgrade(connection)
        except migrations.NewerTablesError as error:
            raise StartError(
                f"{where} was used by a newer openalgo-host: {error}. To go on, start the newer one."
            ) from None
        except OSError as error:
            raise StartError(f"{where} cannot be opened: {error.strerror or error}.") from None
        except OperationalError as error:
            if self.path is None:
                raise StartError(f"{where} does not let us in: {_first_line(error)}") from None
            raise StartError(f"{where} cannot be used: {_first_line(error)}") from None
        except DBAPIError as error:
            fix = "name another one."
            if self.path is not None:
                fix = "put a copy of yours in its place, or move it away: the next start makes a new one."
            raise StartError(f"{where} cannot be used: {_first_line(error)}. To go on, {fix}") from None

    def now(self, session: Session) -> float:
        """Return the time, in seconds since the epoch, by the clock that all hosts on this database share."""
        if self._clock is not None:
            return self._clock()
        if not self.is_server:
            return time.time()
        return float(session.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads."""
        with self._reading.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction that writes; committed at the end, rolled back by an exception.

        In SQLite no other writer's can overlap. On a server it can: what must not change meanwhile is read
        ``with_for_update()``, which SQLite needs not and ignores.
        """
        with self._writing.begin() as session:
            yield session

    def check(self) -> None:
        """Ask the database something.

        Raises:
            SQLAlchemyError: It does not answer.
        """
        with self.reading() as session:
            session.execute(text("SELECT count(*) FROM users"))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def url_of(given: str, folder: Path) -> URL:
    """Return where the database is.

    Args:
        given: DATABASE_URL: ``postgresql://user:password@host/name``, ``sqlite:///path``, or empty for a file beside
            the caches.
        folder: The folder of the caches.

    Raises:
        StartError: The text is no such address, or the server's driver is not installed.
    """
    if not given:
        return URL.create("sqlite", database=str(folder / FILE_NAME))
    hint = "give postgresql://user:password@host:5432/name, sqlite:///path/to/file.db, or leave it out."
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):  # their messages would show the password
        raise StartError(f"DATABASE_URL is no address of a database: {hint}") from None
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return url
    if kind not in {"postgresql", "postgres"}:
        raise StartError(f"DATABASE_URL names a database of kind {kind!r:.40}, without a file or unknown here: {hint}")
    if find_spec("psycopg") is None:
        raise StartError(
            'DATABASE_URL names PostgreSQL, whose driver is not here: pip install "openalgo-cache[postgresql]".'
        )
    return url.set(drivername="postgresql+psycopg")


def _first_line(error: DBAPIError) -> str:
    """Return what the driver said, which holds no password: SQLAlchemy's own text would add the statement."""
    return str(error.orig).strip().partition("\n")[0]


def _prepare_server(connection: Any, _record: object) -> None:
    connection.autocommit = True  # a setting that is part of a transaction ends with it
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_LONGEST_SILENCE}s'")
    connection.autocommit = False


def _prepare_file(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin transactions of its own, and too late
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get("writes", False)
    # A reader that turns writer cannot wait for another writer; one that is a writer from the start can.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

"""The host's own database: one SQLite file beside the caches, through SQLAlchemy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from openalgo_host.errors import StartError

FILE_NAME: Final = "openalgo_host.db"
_WAIT: Final = 10.0
"""Seconds for which a writer waits for another process's."""


class Base(DeclarativeBase):
    """What every table's class derives from."""


class Database:
    """The file, and the transactions on it.

    It keeps SQLite's rollback journal: writes are rare here, and the SQLite that many systems bring has a fault in its
    other journal, WAL, that was repaired in 3.51.3.

    Args:
        path: The file; created, readable by its owner alone, by :meth:`create`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)), connect_args={"timeout": _WAIT}, hide_parameters=True
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._reading = sessionmaker(self._engine)
        self._writing = sessionmaker(self._engine.execution_options(writes=True))

    def create(self) -> None:
        """Create what is missing of the file and its tables; harmless if all is there.

        Raises:
            StartError: The file cannot be created, or is no database.
        """
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with self._engine.execution_options(writes=True).begin() as connection:
                Base.metadata.create_all(connection)
        except OSError as error:
            raise StartError(f"The database {self.path} cannot be opened: {error.strerror or error}.") from None
        except DBAPIError as error:
            raise StartError(
                f"The database {self.path} cannot be used: {error.orig}. Put a copy of yours in its place, or move it "
                "away: the next start makes a new one, with a new administrator."
            ) from None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads."""
        with self._reading.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction that no other writer's can overlap; committed at the end, rolled back by an exception."""
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


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin transactions of its own, and too late
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get("writes", False)
    # A reader that turns writer cannot wait for another writer; one that is a writer from the start can.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

"""How the last import of the symbol master went, for all instances to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Double, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from openalgo_host.database import Base, Database

_ONLY: Final = 1
_LONGEST: Final = 200


class State(StrEnum):
    """How far it is, in OpenAlgo's words where it has some."""

    IMPORTING = "importing"
    SUCCESS = "success"
    ERROR = "error"


class StatusRow(Base):
    """The one row of the table of the symbol master's status."""

    __tablename__ = "symbol_master_status"

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(_LONGEST))
    total: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[float] = mapped_column(Double)
    finished_at: Mapped[float | None] = mapped_column(Double)
    error: Mapped[str] = mapped_column(String(_LONGEST))


class Status(NamedTuple):
    """How an import went.

    Attributes:
        state: How far it is.
        source: Where the instruments came from: a file's name, or what made them.
        total: How many there are now.
        started_at: When it began, in seconds since the epoch.
        finished_at: When it ended; None while it runs, or if it was killed.
        error: Why it failed; empty if it did not.
    """

    state: State
    source: str
    total: int
    started_at: float
    finished_at: float | None
    error: str


class MasterStatus:
    """The status in the database.

    Args:
        database: Where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self) -> Status | None:
        """Return how the last import went; None if there was none yet."""
        with self._database.reading() as session:
            row = session.get(StatusRow, _ONLY)
        if row is None:
            return None
        return Status(State(row.state), row.source, row.total, row.started_at, row.finished_at, row.error)

    @contextmanager
    def importing(self, source: str) -> Iterator[Callable[[int], None]]:
        """Note that an import begins, and how it ends.

        Args:
            source: Where the instruments come from: a file's name, or what makes them.

        Yields:
            What to tell how many instruments there are, at the end.
        """
        # On a server another instance may begin in the same moment: its row will do.
        with suppress(IntegrityError), self._database.writing() as session:
            begun = StatusRow(id=_ONLY, state=State.IMPORTING, source=source[:_LONGEST], total=0, error="")
            begun.started_at, begun.finished_at = self._database.now(session), None
            session.merge(begun)
        try:
            yield lambda total: self._finish(State.SUCCESS, total=total)
        except Exception as error:
            self._finish(State.ERROR, error=str(error)[:_LONGEST])
            raise

    def _finish(self, state: State, total: int = 0, error: str = "") -> None:
        with self._database.writing() as session:
            row = session.get_one(StatusRow, _ONLY, with_for_update=True)
            row.state, row.total, row.error = state, total, error
            row.finished_at = self._database.now(session)

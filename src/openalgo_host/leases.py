"""Leases: who of several instances does a thing, and a rising number that fences off whoever did it before.

They are rows of the application's own database, since that is where what they guard is written: an order is placed in
the transaction that has just looked at the lease. A holder that was paused, and wakes up when another instance has
taken over, finds another number there and can do no harm (see M. Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Double, String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from openalgo_host.database import Base, Database

_LONGEST_NAME: Final = 200


class LeaseRow(Base):
    """A row of the table of leases. It stays when a lease ends, so that its number never goes back."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(_LONGEST_NAME), primary_key=True)
    holder: Mapped[str] = mapped_column(String(_LONGEST_NAME))
    fence: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[float] = mapped_column(Double)


class Lease(NamedTuple):
    """What a holder holds.

    Attributes:
        name: Of what.
        fence: Rises by one whenever the lease changes hands.
    """

    name: str
    fence: int


class FencedOffError(Exception):
    """Somebody else has taken over what this holder still believed to be its own. Nothing was done."""


class Leases:
    """The leases that one process holds or may take.

    Args:
        database: Where they are.
        instance: The instance's name; each process of it is a holder of its own.
    """

    def __init__(self, database: Database, instance: str) -> None:
        self._database = database
        self.holder = f"{instance[: _LONGEST_NAME - 20]} {secrets.token_hex(8)}"

    def take(self, name: str, ttl: float) -> Lease | None:
        """Take a lease if nobody has it, or prolong it if it is this process's own.

        Args:
            name: Of what, up to 200 characters.
            ttl: Seconds after which others may take it, unless it is prolonged.

        Returns:
            The lease, or None if another process has it.
        """
        try:
            with self._database.writing() as session:
                if self._is_anothers(session, name):  # a look that waits for nobody: most are of this kind
                    return None
                row = session.get(LeaseRow, name, with_for_update=True, populate_existing=True)
                now = self._database.now(session)
                if row is None:
                    row = LeaseRow(name=name, holder=self.holder, fence=1, expires_at=now + ttl)
                    session.add(row)
                elif row.holder != self.holder:
                    if now < row.expires_at:
                        return None
                    row.holder, row.fence = self.holder, row.fence + 1
                row.expires_at = now + ttl
                session.flush()
                return Lease(name, row.fence)
        except IntegrityError:  # on a server: another instance has inserted the row in the same moment
            return None

    def release(self, lease: Lease) -> None:
        """Let others take the lease at once; nothing happens if they have done so already."""
        with self._database.writing() as session:
            row = session.get(LeaseRow, lease.name, with_for_update=True)
            if row is not None and (row.holder, row.fence) == (self.holder, lease.fence):
                row.expires_at = 0.0

    def _is_anothers(self, session: Session, name: str) -> bool:
        row = session.get(LeaseRow, name)
        return row is not None and row.holder != self.holder and self._database.now(session) < row.expires_at


def check(session: Session, lease: Lease) -> None:
    """Make sure, inside the transaction that writes what the lease guards, that nobody else has taken over.

    Until that transaction ends nobody can. A lease that has expired, and that nobody took, still counts: nobody else
    was at work.

    Args:
        session: Of ``Database.writing()``.
        lease: What the writer holds.

    Raises:
        FencedOffError: Somebody has.
    """
    fence = session.scalar(select(LeaseRow.fence).where(LeaseRow.name == lease.name).with_for_update())
    if fence != lease.fence:
        raise FencedOffError(f"the lease {lease.name!r} is another instance's now: nothing was done")

"""Users and their passwords."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, NamedTuple

from argon2.exceptions import VerificationError
from sqlalchemy import Double, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from openalgo_host.database import Base, Database
from openalgo_host.passwords import make_hasher

LONGEST_NAME: Final = 64


class User(Base):
    """A row of the table of users; the password is kept as an Argon2id hash."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    created_at: Mapped[float] = mapped_column(Double)


class Account(NamedTuple):
    """Who is logged in.

    Attributes:
        id: The user's number.
        name: The user's name.
        stamp: Changes with the password, so that sessions from before a change end.
    """

    id: int
    name: str
    stamp: str


class Users:
    """The users in the database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hasher = make_hasher()
        self._decoy: str | None = None

    def is_empty(self, session: Session) -> bool:
        """Return whether there is no user yet."""
        return session.scalar(select(User.id).limit(1)) is None

    def set_password(self, user: User, password: str) -> None:
        """Give a user a new password."""
        user.password_hash = self._hasher.hash(password)

    def find(self, number: int) -> Account | None:
        """Return the account of a number."""
        with self._database.reading() as session:
            user = session.get(User, number)
            return None if user is None else _account(user)

    def authenticate(self, name: str, password: str) -> Account | None:
        """Return the account if name and password are right; it takes as long for a name that does not exist."""
        if self._decoy is None:
            self._decoy = self._hasher.hash(secrets.token_urlsafe(16))
        with self._database.reading() as session:
            user = session.scalar(select(User).where(User.name == name[: LONGEST_NAME + 1]))
            account, known_hash = (None, self._decoy) if user is None else (_account(user), user.password_hash)
        try:
            self._hasher.verify(known_hash, password)
        except VerificationError:
            return None
        return account


def _account(user: User) -> Account:
    return Account(user.id, user.name, hashlib.sha256(user.password_hash.encode()).hexdigest()[:16])

"""Users and their passwords.

What a page asks at every request, who a number is, is read through a cache that all instances share. What has a hash of
a password is read from the database alone, at a login, which takes long in any case.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from argon2.exceptions import VerificationError
from sqlalchemy import Double, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from openalgo_cache import register
from openalgo_host.database import Base, Database
from openalgo_host.passwords import make_hasher

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

LONGEST_NAME: Final = 64
_TTL: Final = 30
"""Seconds for which an account is kept; a process that is killed while it changes a password leaves it for so long."""


class User(Base):
    """A row of the table of users; the password is kept as an Argon2id hash."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    created_at: Mapped[float] = mapped_column(Double)


@register
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


class _UnknownUserError(Exception):
    """Nobody has this number. It is raised in a loader, so that no cache keeps it."""


def lock_user(session: Session, user_id: int) -> None:
    """Let others who change what is this user's wait for the end of the transaction.

    Rows that only refer to the user can be made meanwhile, such as the key of a run whose lease is locked already.

    Args:
        session: Of ``Database.writing()``.
        user_id: The user's number.
    """
    session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))


class Users:
    """The users in the database.

    Args:
        database: Where they are.
        manager: Where the cache of accounts comes from.
    """

    def __init__(self, database: Database, manager: CacheManager) -> None:
        self._database = database
        self._accounts: Cache = manager.get_cache("accounts", ttl=_TTL, encrypted=True, load_within=5)
        self._hasher = make_hasher()
        self._decoy: str | None = None

    def is_empty(self, session: Session) -> bool:
        """Return whether there is no user yet."""
        return session.scalar(select(User.id).limit(1)) is None

    def set_password(self, user: User, password: str) -> None:
        """Give a user a new password; what knows the account is to :meth:`forget` it after the commit."""
        user.password_hash = self._hasher.hash(password)

    def forget(self, number: int) -> None:
        """Let every instance read an account anew: sessions from before a change of its password end with that.

        Raises:
            BackendUnavailableError: That cannot be done now, and they may last for half a minute.
        """
        self._accounts.delete(number)

    def change_password(self, number: int, password: str) -> Account:
        """Give a user a new password; return the account, whose sessions of before end.

        Raises:
            BackendUnavailableError: It is changed, and those may last for half a minute.
        """
        with self._database.writing() as session:
            user = session.get_one(User, number, with_for_update=True)
            self.set_password(user, password)
        self.forget(number)
        return _account(user)

    def find(self, number: int) -> Account | None:
        """Return the account of a number."""
        try:
            return self._accounts.get_or_set(number, lambda: self._load(number))
        except _UnknownUserError:
            return None

    def authenticate(self, name: str, password: str) -> Account | None:
        """Return the account if name and password are right; it takes as long for a name that does not exist.

        A name that cannot be printed, which some databases would refuse as a text, is one that does not exist.
        """
        if self._decoy is None:
            self._decoy = self._hasher.hash(secrets.token_urlsafe(16))
        with self._database.reading() as session:
            possible = name[: LONGEST_NAME + 1] if name.isprintable() else ""
            user = session.scalar(select(User).where(User.name == possible))
            account, known_hash = (None, self._decoy) if user is None else (_account(user), user.password_hash)
        try:
            self._hasher.verify(known_hash, password)
        except VerificationError:
            return None
        return account

    def _load(self, number: int) -> Account:
        with self._database.reading() as session:
            user = session.get(User, number)
        if user is None:
            raise _UnknownUserError
        return _account(user)


def _account(user: User) -> Account:
    return Account(user.id, user.name, hashlib.sha256(user.password_hash.encode()).hexdigest()[:16])

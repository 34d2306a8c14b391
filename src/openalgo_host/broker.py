"""Sessions at the broker: who is connected, and with which tokens."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import Double, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from openalgo_cache import earliest, until
from openalgo_host.database import Base, Database
from openalgo_host.users import lock_user
from openalgo_host.vault import Vault, VaultError

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

_PAPER: Final = "paper"
"""The only broker: the paper market's."""
_AUTH_PLACE: Final = "broker_sessions.auth_token/"
_FEED_PLACE: Final = "broker_sessions.feed_token/"


class BrokerSessionRow(Base):
    """A row of the table of broker sessions: the last one of each user, whose tokens are encrypted.

    A revoked one has no tokens any more.
    """

    __tablename__ = "broker_sessions"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    broker: Mapped[str] = mapped_column(String(64))
    auth_token: Mapped[bytes]
    feed_token: Mapped[bytes]
    connected_at: Mapped[float] = mapped_column(Double)
    revoked: Mapped[bool]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What opens a session at the broker.

    Attributes:
        broker: The broker's name.
        auth: For orders and everything else.
        feed: For prices.
        connected_at: Since when, in seconds since the epoch.
    """

    broker: str
    auth: str = field(repr=False)
    feed: str = field(repr=False)
    connected_at: float


class _NotConnectedError(Exception):
    """A user has no session at a broker. Raised in loaders, so that no cache keeps it: one may begin at any moment."""


class Broker:
    """The broker sessions in the database, read through caches that all instances share.

    A session ends at SESSION_EXPIRY_TIME, in the database as in the caches.

    Args:
        database: Where they are.
        manager: Where the caches come from.
        vault: Encrypts the tokens.
        clock: Seconds since the epoch.
    """

    def __init__(self, database: Database, manager: CacheManager, vault: Vault, clock: Callable[[], float]) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._end = until(manager.settings.session_expiry_time)
        self._auth: Cache = manager.get_cache("auth")
        self._feed: Cache = manager.get_cache("feed_token")
        self._names: Cache = manager.get_cache("broker", ttl=earliest(manager.settings.broker_cache_ttl, self._end))

    def connect(self, user_id: int) -> None:
        """Begin a session at the broker in the place of the one before.

        Raises:
            BackendUnavailableError: The session has begun, but others may still be told of the one before.
        """
        auth, feed = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self._database.writing() as session:
            lock_user(session, user_id)
            session.merge(
                BrokerSessionRow(
                    user_id=user_id,
                    broker=_PAPER,
                    auth_token=self._vault.seal(f"{_AUTH_PLACE}{user_id}", auth),
                    feed_token=self._vault.seal(f"{_FEED_PLACE}{user_id}", feed),
                    connected_at=self._database.now(session),
                    revoked=False,
                )
            )
        self._forget(user_id)

    def tokens(self, user_id: int) -> Tokens | None:
        """Return the tokens of a user's session; None if there is none today."""

        def load_auth() -> tuple[str, str, float]:
            found = self._load(user_id)
            return found.broker, found.auth, found.connected_at

        def load_feed() -> tuple[str, float]:
            found = self._load(user_id)
            return found.feed, found.connected_at

        try:
            broker, auth, connected_at = self._auth.get_or_set(f"auth-{user_id}", load_auth)
            feed, since = self._feed.get_or_set(f"feed-{user_id}", load_feed)
            if since != connected_at:  # a new session begins in this moment, and one of the two is of the old one
                return self._load(user_id)
        except _NotConnectedError:
            return None
        return None if self._is_over(connected_at) else Tokens(broker, auth, feed, connected_at)

    def name_for(self, user_id: int) -> str | None:
        """Return the name of the broker that a user is connected to; None if there is none today."""

        def load() -> tuple[str, float]:
            found = self._load(user_id)
            return found.broker, found.connected_at

        try:
            broker, connected_at = self._names.get_or_set(f"broker-{user_id}", load)
        except _NotConnectedError:
            return None
        return None if self._is_over(connected_at) else broker

    def revoke(self, user_id: int) -> None:
        """End a user's session, for every instance; the tokens are nowhere any more.

        May be done again: that ends what was left in the caches by somebody who was killed before the end of this.

        Raises:
            BackendUnavailableError: The session has ended, and so it will for others as soon as the cache answers.
        """
        with self._database.writing() as session:
            lock_user(session, user_id)
            row = session.get(BrokerSessionRow, user_id)
            if row is not None:
                row.revoked, row.auth_token, row.feed_token = True, b"", b""
        self._forget(user_id)

    def _forget(self, user_id: int) -> None:
        """Remove a user's entries from all three caches, and from each although another one fails.

        After the commit: a load that began before it loses its right to be kept with that.
        """
        with ExitStack() as each:
            each.callback(self._names.delete, f"broker-{user_id}")
            each.callback(self._feed.delete, f"feed-{user_id}")
            each.callback(self._auth.delete, f"auth-{user_id}")

    def _load(self, user_id: int) -> Tokens:
        with self._database.reading() as session:
            row = session.get(BrokerSessionRow, user_id)
        if row is None or row.revoked or self._is_over(row.connected_at):
            raise _NotConnectedError
        try:
            auth = self._vault.open(f"{_AUTH_PLACE}{user_id}", row.auth_token)
            feed = self._vault.open(f"{_FEED_PLACE}{user_id}", row.feed_token)
        except VaultError:  # of another key ring: there is nothing to do but to connect again
            raise _NotConnectedError from None
        return Tokens(row.broker, auth, feed, row.connected_at)

    def _is_over(self, connected_at: float) -> bool:
        return self._end.expires_at(connected_at) <= self._clock()

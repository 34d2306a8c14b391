"""API keys: who may call the API."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from sqlalchemy import Double, ForeignKey, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from openalgo_host.database import Base, Database

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

_PURPOSE: Final = "openalgo-host api keys"


class ApiKey(Base):
    """A row of the table of API keys; the key itself is nowhere, only a keyed hash of it."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[float] = mapped_column(Double)


class RevokedKeyError(Exception):
    """A key was revoked while it was being looked up."""


class ApiKeys:
    """Checks API keys in three steps: the keys known to be wrong, those known to be right, the database.

    A key is 256 random bits, which nobody can guess, so a fast hash is enough: HMAC-SHA256 with a secret (the pepper)
    that is derived from the cache's key ring and lies in no database. The caches are asked for that hash, too.

    Args:
        database: Where the keys are.
        manager: Where the two caches and the pepper come from.
    """

    def __init__(self, database: Database, manager: CacheManager) -> None:
        self._database = database
        self._pepper = manager.ring().subkey(_PURPOSE, b"")
        self._right: Cache = manager.get_cache("api_keys_verified")
        self._wrong: Cache = manager.get_cache("api_keys_invalid")

    def owner(self, key: str) -> int | None:
        """Return the number of the user to whom a key belongs; None if it is nobody's."""
        digest = self._digest(key)
        if digest in self._wrong:
            return None
        owner: int | None = self._right.get(digest)
        if owner is not None:
            return owner
        if self._look_up(digest) is None:
            self._wrong.set(digest, value=True)
            return None
        # Asked again inside, so that a key which is revoked just now is not remembered as a right one.
        try:
            return self._right.get_or_set(digest, lambda: self._look_up_again(digest))
        except RevokedKeyError:
            return None

    def add(self, session: Session, user_id: int, key: str, now: float) -> None:
        """Add a key for a user."""
        session.add(ApiKey(user_id=user_id, digest=self._digest(key), created_at=now))

    def remove_all(self, session: Session, user_id: int) -> list[str]:
        """Remove a user's keys from the database; pass what is returned to :meth:`forget` after the commit."""
        digests = list(session.scalars(select(ApiKey.digest).where(ApiKey.user_id == user_id)))
        session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))
        return digests

    def forget(self, digests: list[str]) -> None:
        """Remove keys from the cache of right ones, in every process that shares it.

        Raises:
            BackendUnavailableError: That cannot be done now, and they may go on working until their entries expire.
        """
        self._right.delete_many(digests)

    def _look_up(self, digest: str) -> int | None:
        with self._database.reading() as session:
            return session.scalar(select(ApiKey.user_id).where(ApiKey.digest == digest))

    def _look_up_again(self, digest: str) -> int:
        if (owner := self._look_up(digest)) is None:
            raise RevokedKeyError
        return owner

    def _digest(self, key: str) -> str:
        return hmac.new(self._pepper, key.encode(), hashlib.sha256).hexdigest()

"""API keys: who may call the API."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from typing import TYPE_CHECKING, Final

from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import BigInteger, Double, ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from openalgo_host.caller import Caller
from openalgo_host.database import Base, Database
from openalgo_host.leases import Lease
from openalgo_host.passwords import make_hasher
from openalgo_host.vault import Vault

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

_log = logging.getLogger("openalgo_host")

_PURPOSE: Final = "openalgo-host api keys"
_PLACE: Final = "api_keys.sealed/"

_BELIEVED: Final = 1024
_SEEN: Final = ""
"""In the place of the hash that a key was checked against: another process has, and the shared cache has said so."""

_Found = tuple[int, str | None, int | None]
"""A right key: the user's number, and the lease that it is bound to."""


class ApiKey(Base):
    """A row of the table of API keys.

    ``digest`` is a keyed hash, by which a key is found; ``hash`` a slow one of that, by which it is believed;
    ``sealed`` the key itself, encrypted, for its owner to see. The key of a strategy's run is bound to the run's lease.
    """

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str] = mapped_column(String(200))
    sealed: Mapped[bytes]
    created_at: Mapped[float] = mapped_column(Double)
    lease_name: Mapped[str | None] = mapped_column(String(200))
    lease_fence: Mapped[int | None] = mapped_column(BigInteger)


class RevokedKeyError(Exception):
    """A key was revoked while it was being looked up, or its row was tampered with."""


class ApiKeys:
    """Checks API keys in three steps: the keys known to be wrong, those known to be right, the database.

    The first two know an HMAC-SHA256 of a key, with a secret (the pepper) that is derived from the cache's key ring and
    lies in no database. The last step is Argon2id over the same, so it is taken once for all instances. While the cache
    of right ones is lost, each call looks into the database, and Argon2id is computed for keys that this process has
    not seen before: for all of them at once, in every process, it would take seconds.

    Args:
        database: Where the keys are.
        manager: Where the two caches and the pepper come from.
        vault: Encrypts the keys.
    """

    def __init__(self, database: Database, manager: CacheManager, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._hasher = make_hasher()
        self._pepper = manager.ring().subkey(_PURPOSE, b"")
        self._right: Cache = manager.get_cache("api_keys_verified")
        self._wrong: Cache = manager.get_cache("api_keys_invalid")
        self._believed: Cache = manager.get_cache("api_keys_believed", ttl=None, maxsize=_BELIEVED, local=True)

    def caller(self, key: str) -> Caller | None:
        """Return whose key this is; None if it is nobody's."""
        digest = self._digest(key)
        if digest in self._wrong:
            return None
        found: _Found | None = self._right.get(digest)
        if found is None:
            if not self._is_there(digest):
                self._wrong.set(digest, value=True)
                return None
            # Looked up inside, so that a key which is revoked just now is not remembered as a right one.
            try:
                found = self._right.get_or_set(digest, lambda: self._verify(digest))
            except RevokedKeyError:
                return None
        if digest not in self._believed:
            self._believed.set(digest, _SEEN)
        return _caller(found)

    def add(self, session: Session, user_id: int, key: str, now: float, lease: Lease | None = None) -> None:
        """Add a key for a user.

        Args:
            session: Of ``Database.writing()``.
            user_id: The user's number.
            key: The key.
            now: Seconds since the epoch.
            lease: What it is bound to, for a strategy's run.
        """
        digest = self._digest(key)
        sealed = self._vault.seal(_PLACE + digest, key)
        row = ApiKey(user_id=user_id, digest=digest, hash=self._hasher.hash(digest), sealed=sealed, created_at=now)
        if lease is not None:
            row.lease_name, row.lease_fence = lease
        session.add(row)

    def shown(self, user_id: int) -> str | None:
        """Return a user's own key, for the user's eyes alone; None if there is none.

        Raises:
            VaultError: It was sealed with another key ring.
        """
        with self._database.reading() as session:
            wanted = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.lease_name.is_(None))
            row = session.scalar(wanted.order_by(ApiKey.id.desc()).limit(1))
            return None if row is None else self._vault.open(_PLACE + row.digest, row.sealed)

    def renew(self, user_id: int, now: float) -> str:
        """Give a user a new key in the place of the own ones, which end; return it.

        Args:
            user_id: The user's number.
            now: Seconds since the epoch.

        Raises:
            BackendUnavailableError: The old ones may go on working until their entries of the cache expire.
        """
        key = secrets.token_hex(32)
        with self._database.writing() as session:
            ended = self.remove(session, user_id)
            self.add(session, user_id, key, now)
        self.forget(ended)
        return key

    def remove(self, session: Session, user_id: int, lease_name: str | None = None) -> list[str]:
        """Remove a user's own keys from the database, or those of a lease.

        Returns:
            What to pass to :meth:`forget` after the commit.
        """
        its = (ApiKey.user_id == user_id, ApiKey.lease_name == lease_name)
        digests = list(session.scalars(select(ApiKey.digest).where(*its)))
        session.execute(delete(ApiKey).where(*its))
        return digests

    def forget(self, digests: list[str]) -> None:
        """Remove keys from the cache of right ones, in every process that shares it.

        Raises:
            BackendUnavailableError: That cannot be done now, and they may go on working until their entries expire.
        """
        self._right.delete_many(digests)

    def _is_there(self, digest: str) -> bool:
        with self._database.reading() as session:
            return session.scalar(select(ApiKey.id).where(ApiKey.digest == digest)) is not None

    def _verify(self, digest: str) -> _Found:
        with self._database.reading() as session:
            row = session.scalar(select(ApiKey).where(ApiKey.digest == digest))
        if row is None:
            raise RevokedKeyError
        # One from before there were hashes was found by its digest, which has as many bits.
        if row.hash and self._believed.get(digest) not in {row.hash, _SEEN}:
            try:
                self._hasher.verify(row.hash, digest)
            except (VerificationError, InvalidHashError):
                raise RevokedKeyError from None
            _log.info("an API key of user %d was checked against its hash", row.user_id)
        self._believed.set(digest, row.hash)
        return row.user_id, row.lease_name, row.lease_fence

    def _digest(self, key: str) -> str:
        return hmac.new(self._pepper, key.encode(), hashlib.sha256).hexdigest()


def _caller(found: _Found) -> Caller:
    user_id, name, fence = found
    return Caller(user_id, None if name is None or fence is None else Lease(name, fence))

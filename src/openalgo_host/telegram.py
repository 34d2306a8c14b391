"""What each user wants to be told by Telegram, and where. Only the preferences: this host sends nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from openalgo_cache import register
from openalgo_host.database import Base, Database
from openalgo_host.users import lock_user
from openalgo_host.vault import Vault

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

ALERTS: Final = ("orders", "strategies", "end of day")
"""What a user may be told of."""
_LONGEST: Final = 64
_PLACE: Final = "telegram_preferences.contact/"


class PreferencesRow(Base):
    """A row of the table of preferences; who the user is on Telegram is encrypted."""

    __tablename__ = "telegram_preferences"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    enabled: Mapped[bool]
    alerts: Mapped[list[str]] = mapped_column(JSON)
    contact: Mapped[bytes]


@register
@dataclass(frozen=True, slots=True)
class Preferences:
    """What a user wants.

    Attributes:
        enabled: Whether to be told anything.
        alerts: What of, some of :data:`ALERTS`.
        chat_id: The chat's number; None if it is not known yet.
        username: The user's name on Telegram, without the @.
    """

    enabled: bool = False
    alerts: tuple[str, ...] = ALERTS
    chat_id: int | None = field(default=None, repr=False)
    username: str = field(default="", repr=False)


class RefusedPreferencesError(Exception):
    """Preferences that cannot be; the message says why, and goes to the user."""


class Telegram:
    """The preferences in the database, read through a cache that all instances share.

    Args:
        database: Where they are.
        manager: Where the cache comes from.
        vault: Encrypts who a user is on Telegram.
    """

    def __init__(self, database: Database, manager: CacheManager, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._cache: Cache = manager.get_cache("telegram_preferences", load_within=5)

    def get(self, user_id: int) -> Preferences:
        """Return a user's preferences; those of a user who never set any are off."""
        found: Preferences = self._cache.get_or_set(user_id, lambda: self._load(user_id))
        return found

    def set(self, user_id: int, wanted: Preferences) -> None:
        """Change a user's preferences, for every instance.

        Raises:
            RefusedPreferencesError: They cannot be.
            BackendUnavailableError: They are changed, and will be seen by all as soon as the cache answers.
        """
        _check(wanted)
        contact = json.dumps([wanted.chat_id, wanted.username])
        with self._database.writing() as session:
            lock_user(session, user_id)
            session.merge(
                PreferencesRow(
                    user_id=user_id,
                    enabled=wanted.enabled,
                    alerts=list(wanted.alerts),
                    contact=self._vault.seal(f"{_PLACE}{user_id}", contact),
                )
            )
        self._cache.delete(user_id)

    def _load(self, user_id: int) -> Preferences:
        with self._database.reading() as session:
            row = session.get(PreferencesRow, user_id)
        if row is None:
            return Preferences()
        chat_id, username = json.loads(self._vault.open(f"{_PLACE}{user_id}", row.contact))
        return Preferences(row.enabled, tuple(row.alerts), chat_id, username)


def _check(wanted: Preferences) -> None:
    if not set(wanted.alerts) <= set(ALERTS):
        raise RefusedPreferencesError(f"The alerts are some of {', '.join(ALERTS)}")
    if wanted.chat_id is not None and abs(wanted.chat_id) >= 2**52:
        raise RefusedPreferencesError("The chat's number has more than the 52 bits that Telegram's have")
    name = wanted.username
    if len(name) > _LONGEST or not (name.isascii() and (not name or name.replace("_", "").isalnum())):
        raise RefusedPreferencesError("A name on Telegram has letters, digits and underscores")
    if wanted.enabled and wanted.chat_id is None and not name:
        raise RefusedPreferencesError("Say who you are on Telegram: the chat's number, or your name there")

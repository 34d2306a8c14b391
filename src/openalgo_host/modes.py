"""Settings of the application that everybody shares: whether it analyses or trades live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from openalgo_host.database import Base, Database

if TYPE_CHECKING:
    from openalgo_cache import Cache, CacheManager

_ANALYSES: Final = "analyze_mode"


class SettingRow(Base):
    """A row of the table of settings."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[object] = mapped_column(JSON)


class Modes:
    """The mode in the database, read through the cache ``settings`` that all instances share.

    Args:
        database: Where it is.
        manager: Where the cache comes from.
    """

    def __init__(self, database: Database, manager: CacheManager) -> None:
        self._database = database
        self._cache: Cache = manager.get_cache("settings")

    def analyses(self) -> bool:
        """Return whether the application analyses; it does until somebody says otherwise."""
        return self._cache.get_or_set(_ANALYSES, self._load)

    def set_analyses(self, *, on: bool) -> None:
        """Change the mode, in the database first and then for every instance."""
        with self._database.writing() as session:
            session.merge(SettingRow(name=_ANALYSES, value=on))
        self._cache.delete(_ANALYSES)

    def _load(self) -> bool:
        with self._database.reading() as session:
            row = session.get(SettingRow, _ANALYSES)
            return True if row is None else bool(row.value)

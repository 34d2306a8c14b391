"""A second kind of store, as another package registers it: SQLite files in another folder."""

from __future__ import annotations

from dataclasses import replace

from openalgo_cache import SQLiteBackend
from openalgo_cache.backends.base import Request


class ElsewhereBackend(SQLiteBackend):
    """Keeps its files in the folder ``elsewhere``."""

    @classmethod
    def create(cls, request: Request) -> ElsewhereBackend:  # noqa: D102  # see CacheBackend
        here = request.settings.sqlite_cache_path
        there = here.parent.with_name("elsewhere") / here.name
        made = super().create(replace(request, settings=replace(request.settings, sqlite_cache_path=there)))
        assert isinstance(made, cls)
        return made

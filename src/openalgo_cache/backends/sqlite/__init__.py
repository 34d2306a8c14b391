"""SQLite: the default store, one file a cache."""

from __future__ import annotations

from openalgo_cache.backends.sqlite.backend import SQLiteBackend

__all__ = ["SQLiteBackend"]

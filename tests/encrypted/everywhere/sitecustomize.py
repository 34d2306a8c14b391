"""Turns SQLITE_FILE_ENCRYPTION on in every process that finds this folder in its PYTHONPATH.

Tests make their settings in code, and some make processes that do. So the tests of plain files run on
encrypted ones as they are.
"""

from __future__ import annotations

from openalgo_cache.settings import Settings

_finish = Settings.__post_init__


def _turned_on(self: Settings) -> None:
    object.__setattr__(self, "sqlite_file_encryption", True)
    _finish(self)


Settings.__post_init__ = _turned_on  # type: ignore[method-assign]  # what this module is for

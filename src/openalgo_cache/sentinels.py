"""What stands for no value: MISSING, and DEFAULT for what was left out."""

from __future__ import annotations

from enum import Enum
from typing import Final

from openalgo_cache.expiry import Lifetime


class Sentinel(Enum):
    """Values that stand for none."""

    MISSING = "MISSING"
    DEFAULT = "DEFAULT"

    def __repr__(self) -> str:
        return self.value

    def __bool__(self) -> bool:
        return False


MISSING: Final = Sentinel.MISSING
"""What a read can return for an absent key, so that a cached None is told from no entry: ``get(key, MISSING)``."""

DEFAULT: Final = Sentinel.DEFAULT
"""The cache's own lifetime."""

Ttl = Lifetime | Sentinel

"""Which backend keeps the caches: what was asked for, what was recorded, or what is found."""

from __future__ import annotations

from openalgo_cache.selection.choice import Choice, auto_detect_backend, choose_backend, is_redis_available
from openalgo_cache.selection.record import RECORD_NAME, record_choice

__all__ = [
    "RECORD_NAME",
    "Choice",
    "auto_detect_backend",
    "choose_backend",
    "is_redis_available",
    "record_choice",
]

"""A backend as another package registers it: no files, no bounds, nothing but the seam."""

from __future__ import annotations

from typing import ClassVar

from openalgo_cache import CacheBackend, Entry
from openalgo_cache.backends.base import Request


class ToyBackend(CacheBackend):
    """Keeps entries in a dict that all handles of this process share."""

    entries: ClassVar[dict[str, Entry]] = {}

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    @classmethod
    def create(cls, request: Request) -> ToyBackend:  # noqa: D102  # see CacheBackend
        return cls(request.prefix)

    def get(self, key: str) -> Entry | None:  # noqa: D102
        return self.entries.get(key)

    def set(self, key: str, entry: Entry) -> None:  # noqa: D102
        self.entries[key] = entry

    def delete(self, key: str) -> bool:  # noqa: D102
        return self.entries.pop(key, None) is not None

    def clear(self) -> int:  # noqa: D102
        mine = [key for key in self.entries if key.startswith(self.prefix)]
        return sum(self.delete(key) for key in mine)

    def size(self) -> int:  # noqa: D102
        return sum(key.startswith(self.prefix) for key in self.entries)

    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:  # noqa: D102
        there = self.entries.get(key)
        if (None if there is None else there.payload) != expected:
            return False
        self.entries.pop(key, None)
        if new is not None:
            self.entries[key] = new
        return True

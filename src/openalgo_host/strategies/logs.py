"""What strategies print: in a file of bounded size, and its end in the cache ``strategy_logs`` for all instances."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openalgo_cache import Cache, CacheManager

_LARGEST_FILE: Final = 1 << 20
"""Bytes; then it is put aside, in place of the one that was put aside before."""
_LINES: Final = 100
_LARGEST_TAIL: Final = 16 * 1024
"""Characters."""
_KEPT_FOR: Final = 30 * 86_400
_MOST: Final = 1000
_HIDDEN: Final = "(the run's API key)"


class LogFile:
    """One strategy's log.

    Args:
        path: Of the file.
        before: The end of what it printed before, which is in no file of this machine if another one ran it.
    """

    def __init__(self, path: Path, before: str = "") -> None:
        self._path = path
        self._lines = deque(before.splitlines(), _LINES)
        self._secrets: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._changed = False

    def hide(self, secrets: Iterable[str]) -> None:
        """Leave these texts out of what is written from now on."""
        self._secrets = tuple(secrets)

    def write(self, line: str) -> None:
        """Add a line. If the disk takes none the strategy goes on, and the line is in the tail alone."""
        for secret in self._secrets:
            line = line.replace(secret, _HIDDEN)
        # Whoever reads it on a terminal gets no colours, and none of the rest that a terminal obeys.
        line = "".join(char if char.isprintable() or char == "\t" else "?" for char in line.rstrip("\r\n"))
        with self._lock:
            self._lines.append(line)
            self._changed = True
            with suppress(OSError):
                self._append(line.encode() + b"\n")

    def news(self) -> str | None:
        """Return the last lines if there are new ones since this was asked, else None."""
        with self._lock:
            if not self._changed:
                return None
            self._changed = False
            return "\n".join(self._lines)[-_LARGEST_TAIL:]

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, line)
            is_full = os.fstat(file).st_size >= _LARGEST_FILE
        finally:
            os.close(file)
        if is_full:
            self._path.replace(self._path.with_suffix(".1.log"))


class Tails:
    """The ends of the logs, for all instances.

    Args:
        manager: Where the cache comes from.
    """

    def __init__(self, manager: CacheManager) -> None:
        self._cache: Cache = manager.get_cache("strategy_logs", ttl=_KEPT_FOR, maxsize=_MOST, encrypted=True)

    def get(self, strategy_id: str) -> str:
        """Return the last lines that a strategy printed."""
        tail: str = self._cache.get(strategy_id, "")
        return tail

    def get_many(self, strategy_ids: list[str]) -> dict[str, str]:
        """Return the last lines of those that ever printed some."""
        return self._cache.get_many(strategy_ids)

    def publish(self, strategy_id: str, tail: str) -> None:
        """Let all instances have the last lines."""
        self._cache.set(strategy_id, tail)

    def remove(self, strategy_id: str) -> None:
        """Forget them."""
        self._cache.delete(strategy_id)

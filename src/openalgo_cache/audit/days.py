"""The files of the audit log: one a day (UTC), with the date in its name, so that none is ever renamed.

``db/cache_audit.log`` makes ``db/cache_audit.2026-11-24.log``, and in the namespace ``live``
``db/cache_audit@live.2026-11-24.log``: what another namespace writes is none of ours.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path


class Days:
    """Where the lines of each day are.

    Args:
        path: The log's path, without a date.
        namespace: CACHE_NAMESPACE, if it is set.
    """

    __slots__ = ("_shape", "_start", "lock_path", "path")

    def __init__(self, path: Path, namespace: str | None) -> None:
        at = f"@{namespace.replace('.', '%2E')}" if namespace is not None else ""  # as for the files of caches
        self.path = path
        self._start = f"{path.stem}{at}"
        start, end = re.escape(self._start), re.escape(path.suffix)
        self._shape = re.compile(rf"{start}\.([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}){end}")
        self.lock_path = path.with_name(f"{self._start}{path.suffix}.lock")

    def file_of(self, day: str) -> Path:
        """Return the file of a day."""
        return self.path.with_name(f"{self._start}.{day}{self.path.suffix}")

    def day_in(self, path: Path) -> str:
        """Return the day of a file."""
        return path.name[len(self._start) + 1 :][: len("2026-11-24")]

    def files(self) -> dict[str, Path]:
        """Return the files that are there, by their days, in order."""
        try:
            found = [(self._shape.fullmatch(path.name), path) for path in self.path.parent.iterdir()]
        except FileNotFoundError:
            return {}
        return dict(sorted((match[1], path) for match, path in found if match is not None))


def day_of(at: float) -> str:
    """Return the day of a moment, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def days_before(day: str, count: int) -> str:
    """Return the day that was ``count`` days before another."""
    return (date.fromisoformat(day) - timedelta(days=count)).isoformat()

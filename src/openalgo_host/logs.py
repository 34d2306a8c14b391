"""Where log lines go: to stderr, short."""

from __future__ import annotations

import logging
import sys


def configure() -> None:
    """Log what a person who runs the host wants to know. No line holds a password, a key or a cached value."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_Short("%(asctime)s  %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    for chatty in ("alembic", "waitress"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for every request that waits for a thread


class _Short(logging.Formatter):
    """Names the level only where it is not the usual one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class's name
        line = super().formatMessage(record)
        return line if record.levelno == logging.INFO else line.replace("  ", f"  {record.levelname}: ", 1)

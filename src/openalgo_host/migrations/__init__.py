"""The database's tables, version by version (Alembic).

``versions/`` holds a file a change. Alembic is only loaded where something is to be changed, so that a start with a
database that is up to date does not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

HEAD: Final = "0005"
"""The newest version; a test holds it against the files."""

_TABLE: Final = "alembic_version"
_LOCK: Final = 0x6F616863
"""The number under which several instances that start at once wait for each other on PostgreSQL."""
_LONGEST_SILENCE: Final = 60
"""Seconds for which this may be silent there, longer than other transactions: in the middle of it Alembic is loaded,
which takes a while on a busy machine. Those who wait meanwhile are the ones that start."""


class NewerTablesError(Exception):
    """A newer host has changed the tables; the message says to which version."""


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest version, in the transaction of ``connection``; the first of several does it.

    Raises:
        NewerTablesError: A newer host has changed them. What that does with them this one can't know.
    """
    if connection.dialect.name == "postgresql":  # in SQLite the transaction itself keeps the others out
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{_LONGEST_SILENCE}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    there = version_of(connection)
    if there is not None and there > HEAD:
        raise NewerTablesError(f"its tables have version {there:.40}, and this program knows them up to {HEAD}")
    if there != HEAD:
        from alembic import command  # noqa: PLC0415  # slow to load, and rarely needed
        from alembic.config import Config  # noqa: PLC0415  # likewise

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(__file__).parent))
        command.upgrade(config, HEAD)


def version_of(connection: Connection) -> str | None:
    """Return the version of a database's tables; None if it has none yet."""
    if not inspect(connection).has_table(_TABLE):
        return None
    version: str | None = connection.execute(text(f"SELECT version_num FROM {_TABLE}")).scalar()  # noqa: S608  # our own
    return version

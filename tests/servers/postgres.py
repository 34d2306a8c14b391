"""A PostgreSQL of the tests' own: a fresh cluster of databases on a private port, and a database for each who asks."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final, Self

import psycopg
from psycopg import sql

from tests.servers.process import DEADLINE, HOST, free_port, wait_until
from tests.servers.programs import do_without

_USER: Final = "openalgo"
_FAST_SHUTDOWN: Final = signal.SIGINT
_QUICK: Final = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=60")
"""Nothing of it outlives the tests, so nothing of it need survive a power failure."""


class PostgresProcess:
    """One PostgreSQL that listens on this machine alone.

    Args:
        programs: The folder of its programs.
        folder: An empty folder.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "server.log"
        self.port = free_port()
        self._numbers = itertools.count()
        self._popen: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:  # which it refuses to run as
            shutil.chown(folder, "postgres", "postgres")

    @property
    def pid(self) -> int:
        """The number of its main process."""
        assert self._popen is not None, "the server was not started"
        return self._popen.pid

    def start(self) -> Self:
        """Start it, and return when it answers."""
        if not self._data.exists():
            made = self._run("initdb", "-D", self._data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
            assert made.wait(DEADLINE * 3) == 0, self._log.read_text(encoding="utf-8")
        options = [part for option in _QUICK for part in ("-c", option)]
        self._popen = self._run("postgres", "-D", self._data, "-h", HOST, "-p", str(self.port), "-k", "", *options)
        wait_until(self._answers, f"postgres at {HOST}:{self.port} to answer")
        return self

    def stop(self) -> None:
        """End it; nothing happens if it does not run."""
        popen, self._popen = self._popen, None
        if popen is not None:
            popen.send_signal(_FAST_SHUTDOWN)
            popen.wait(DEADLINE)

    def new_database(self) -> str:
        """Make an empty database and return its address, as DATABASE_URL takes it."""
        name = f"test_{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql://{_USER}@{HOST}:{self.port}/{name}"

    def new_schema(self) -> str:
        """Make a schema of its own, which to whoever uses it is an empty database, and return its address likewise.

        It takes a tenth of the time, and nothing has to clear away the hundreds of files that each database has.
        """
        name = f"test_{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return f"postgresql://{_USER}@{HOST}:{self.port}/postgres?options=-csearch_path%3D{name}"

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=HOST, port=self.port, user=_USER, dbname="postgres", autocommit=True)

    def _answers(self) -> bool:
        assert self._popen is not None
        assert self._popen.poll() is None, self._log.read_text(encoding="utf-8")
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        owner = "postgres" if os.geteuid() == 0 else None
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *arguments],
                cwd=self._data.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=owner,
                group=owner,
                extra_groups=None if owner is None else [],
                start_new_session=True,  # as in process.py
            )


def find_postgres() -> Path | None:
    """Return the folder of its programs, or None if they are not on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda one: int(one.parts[-3]))
    if (on_path := shutil.which("postgres")) is not None:
        found.append(Path(on_path))
    return found[-1].parent if found else None


def require_postgres() -> Path:
    """Return the folder of its programs; without it the test is skipped, or fails on Linux where CI is set."""
    found = find_postgres()
    if found is None:
        do_without("there is no PostgreSQL on this machine: install postgresql (Debian's package of that name)")
    return found

"""One instance of the host: gunicorn with a worker, in a folder of its own, as a process group that lives and dies."""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.servers.process import DEADLINE, HOST, free_port, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
_SETTINGS: Final = ROOT / "deploy" / "gunicorn.conf.py"

_PATIENCE: Final = 5.0
"""Seconds for which an answer is waited for."""

_NAMED: Final = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"
"""Gives this machine a name, and becomes another program."""


class Instance:
    """One instance.

    Args:
        name: Its INSTANCE_ID.
        folder: An empty folder, where it runs and keeps what is its own.
        shared: The variables that all instances have.
        machine: What its machine seems to be called, if not as this one: then it looks for no process of another one.
    """

    def __init__(self, name: str, folder: Path, shared: Mapping[str, str], machine: str | None = None) -> None:
        self.name = name
        self._command = [] if machine is None else [*_unshare(), sys.executable, "-c", _NAMED, machine]
        self.port = free_port()
        self.log = folder / "instance.log"
        self._folder = folder
        self._variables = {**shared, "INSTANCE_ID": name, "HOST": HOST, "PORT": str(self.port)}
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its process group, and of gunicorn's main process."""
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> str:
        """Let it make tables, symbol master and administrator, and return what it shows."""
        done = subprocess.run(
            [sys.executable, "-m", "openalgo_host", "--prepare"],
            cwd=self._folder,
            env=environment(self._variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it; :meth:`wait_until_ready` returns when it answers."""
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                [*self._command, sys.executable, "-m", "gunicorn", "-c", _SETTINGS],
                cwd=self._folder,
                env=environment(self._variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Return when it can serve."""
        wait_until(self._is_ready, f"{self.name} to be ready", 3 * DEADLINE)

    def is_running(self) -> bool:
        """Return whether it was started and did not end by itself."""
        return self._popen is not None and self._popen.poll() is None

    def ask_to_stop(self) -> None:
        """Tell it to end in good order."""
        if self._popen is not None:
            self._popen.send_signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)  # a frozen one would never look

    def stop(self) -> int | None:
        """End it in good order and return the exit code; nothing happens if it does not run."""
        self.ask_to_stop()
        return self._end()

    def kill(self) -> None:
        """End all of its processes as a power failure would, and return when nobody listens any more."""
        self._signal(signal.SIGKILL)
        self._end()
        wait_until(self._is_deaf, f"the end of {self.name}'s processes")  # that of its main one was waited for alone

    def reload(self) -> None:
        """Have gunicorn exchange the worker for a new one."""
        assert self._popen is not None, f"{self.name} was not started"
        self._popen.send_signal(signal.SIGHUP)

    def pause(self) -> None:
        """Freeze all of its processes: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def status(self, path: str = "/readyz") -> int:
        """Return the status that it answers with itself, past the balancer; 0 if it does not answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def logged(self) -> str:
        """Return what it logged."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _is_ready(self) -> bool:
        assert self.is_running(), f"{self.name} ended at once:\n{self.logged()[-2000:]}"
        return self.status() == 200

    def _is_deaf(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) != 0

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running():
            os.killpg(self.pid, number)

    def _end(self) -> int | None:
        popen, self._popen = self._popen, None
        if popen is None:
            return None
        try:
            return popen.wait(3 * DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(popen.pid, signal.SIGKILL)
            return popen.wait()


def may_name_machines() -> bool:
    """Return whether a process here can have another name of the machine than the others."""
    return bool(_unshare())


@functools.cache
def _unshare() -> list[str]:
    """Return what runs a program where it can change the machine's name for itself; nothing if that is not allowed."""
    for extra in ([], ["--user", "--map-root-user"]):
        command = [shutil.which("unshare") or "unshare", *extra, "--uts"]
        with suppress(OSError):
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
    return []


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what concerns the host, and with these variables."""
    ours = ("CACHE_", "REDIS_", "VALKEY_", "SQLITE_", "SESSION_", "INSTANCE_", "GUNICORN_", "DATABASE_", "OPENALGO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | dict(variables)

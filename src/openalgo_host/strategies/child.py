"""The process of a run: it gets an environment of its own, and it ends when this host does.

The host's secrets are in none of what it inherits: of the environment it gets a few variables by name, of open files
none. What it needs to know in secret comes through its standard input (:mod:`openalgo_cache.strategies.run`), and when
that closes it ends: the system closes it even if the host is killed.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from pathlib import Path

    from openalgo_host.strategies.logs import LogFile
    from openalgo_host.strategies.runs import Run

MACHINE: Final = platform.node()

_COMMAND: Final = (sys.executable, "-P", "-u", "-X", "utf8", "-m", "openalgo_cache.strategies.run")
_INHERITED: Final = (
    "COMSPEC", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP",
    "TMPDIR", "TZ", "USERPROFILE", "WINDIR",
)  # fmt: skip
"""What a process needs of its surroundings, on one system or the other."""
_LONGEST_LINE: Final = 64 * 1024
_SAME_MOMENT: Final = 1.0
"""Seconds by which the start of one process may seem to differ, where it is reckoned from that of the system."""


class Child:
    """A strategy's process.

    Args:
        name: The strategy's.
        source: Its program.
        variables: Its environment, besides what every process gets.
        secrets: Likewise, but shown by no list of processes.
        folder: Where it runs.
        log: Where what it prints goes.
        on_end: Called when it has ended.
    """

    def __init__(  # noqa: PLR0913  # what a process consists of
        self,
        name: str,
        source: str,
        variables: Mapping[str, str],
        secrets: Mapping[str, str],
        folder: Path,
        log: LogFile,
        on_end: Callable[[], None],
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._log = log
        self._process = subprocess.Popen(  # noqa: S603  # our own arguments
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**inherited, **variables},
            start_new_session=True,  # what it starts ends with it, and Ctrl-C is for the host
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.pid = self._process.pid
        self.process_started: float = psutil.Process(self.pid).create_time()
        given = json.dumps({"name": name, "source": source, "secrets": dict(secrets)}).encode() + b"\n"
        self._talk = threading.Thread(
            target=self._converse, args=(given, on_end), name=f"strategy {self.pid}", daemon=True
        )
        self._talk.start()

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.poll()

    def ask_to_end(self) -> None:
        """Let it end in its own way, where the system has a signal for that; at once elsewhere."""
        if sys.platform == "win32":
            self.kill()
        else:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """End it at once, with all that it started."""
        if sys.platform == "win32":
            with suppress(psutil.Error):
                for one in psutil.Process(self.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        one.kill()
            self._process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, if it ends in so many seconds; None if not."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def bury(self) -> None:
        """End what it has left running, and read what it has printed to the end."""
        self.kill()
        self._talk.join(_SAME_MOMENT)
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _converse(self, given: bytes, on_end: Callable[[], None]) -> None:
        pipes = self._process
        assert pipes.stdin is not None and pipes.stdout is not None  # noqa: S101, PT018  # for the type checker
        with suppress(OSError):  # it has ended already
            pipes.stdin.write(given)
            pipes.stdin.flush()
        with pipes.stdout:
            while line := pipes.stdout.readline(_LONGEST_LINE):
                self._log.write(line.decode("utf-8", "replace"))
        pipes.wait()
        with suppress(OSError):  # who would bury it may be gone
            pipes.stdin.close()
        on_end()


def end_leftover(run: Run) -> bool:
    """End the process of a run that no host of this machine watches any more; return whether there was one.

    It is told by its number and its start together, so that no other process that has the number by now is touched.
    """
    if run.machine != MACHINE:
        return False
    try:
        process = psutil.Process(run.pid)
        if abs(process.create_time() - run.process_started) > _SAME_MOMENT:
            return False
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(_SAME_MOMENT)
    except psutil.Error:  # gone, or not ours to end
        return False
    return True

"""Forked children for tests: each does one thing and says what came of it."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

NOBODY: Final = 65_534
"""An unprivileged user and group."""

forks: Final = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


class Child:
    """A forked child that runs ``work`` and ends, without anything of the tests' own.

    Args:
        work: What it does; returns something that JSON can express.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                said = json.dumps({"result": work()})
            except BaseException:  # noqa: BLE001  # told by the parent
                said = json.dumps({"failure": traceback.format_exc()})
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        self._reading = reading

    def result(self) -> Any:
        """Wait for its end, and return what its work returned. The test's own time limit ends a wait in vain."""
        with os.fdopen(self._reading, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        told = json.loads(said)
        assert "failure" not in told, told["failure"]
        return told["result"]


def open_files(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open; none are seen where there is no /proc.

    The journals of lost deletes are left out: all that is open of them is a map, for reading alone.
    """
    found = []
    for descriptor in Path("/proc/self/fd").glob("*"):
        try:
            target = descriptor.readlink()
        except FileNotFoundError:  # that of the look itself
            continue
        if target.is_relative_to(folder) and target.suffix != ".deletes":
            found.append(target.name)
    return sorted(found)


def become_nobody() -> None:
    """Let this process, a forked child, be an ordinary user from now on, if it is root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

"""Processes for tests: each runs some Python, says what it has to say in lines, and is told to go on by lines."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import openalgo_cache

_ROOT = Path(__file__).parents[2]


class Process:
    """A Python process of our own.

    Args:
        code: What it runs.
        arguments: Its ``sys.argv[1:]``.
        env: Variables besides those that it inherits.
        options: For ``subprocess.Popen``.
    """

    def __init__(self, code: str, *arguments: object, env: dict[str, str] | None = None, **options: Any) -> None:
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        places = [str(Path(openalgo_cache.__file__).parents[1]), str(_ROOT), *filter(None, inherited)]
        self._popen: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places)} | (env or {}),
            **options,
        )
        self.pid = self._popen.pid

    def tell(self, line: object = "") -> None:
        """Send it a line."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{line}\n")
        self._popen.stdin.flush()

    def hear(self) -> str:
        """Wait for a line of it; empty if it ended. The test's own time limit ends a wait in vain."""
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().rstrip("\n")

    def ask(self, line: object = "") -> str:
        """Send it a line and wait for one."""
        self.tell(line)
        return self.hear()

    def rest(self) -> list[str]:
        """Wait for its end and return the lines that were not heard yet."""
        assert self._popen.stdout is not None
        lines = self._popen.stdout.read().splitlines()
        self._popen.wait()
        return lines

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        return self._popen.wait()

    def kill(self) -> None:
        """Kill it as ``kill -9`` does."""
        self._popen.kill()
        self._popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        with suppress(BrokenPipeError):
            self._popen.stdin.close()

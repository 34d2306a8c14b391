"""What the tests of the command line share: a folder of their own, and a way to run a command there."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openalgo_cache.cli.commands import app
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error object, the last line on standard error."""
        return json.loads(self.err.splitlines()[-1])["error"]


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, with SQLite, whatever else may run on this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CACHE_BACKEND", "sqlite")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "OPENALGO_CACHE_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run() -> Run:
    """Run a command in this process."""

    def run_command(*arguments: str, stdin: str = "", width: int = 80, **environment: str) -> Ran:
        runner = CliRunner(env={"COLUMNS": str(width), **environment})
        result = runner.invoke(app, list(arguments), input=stdin)
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run_command


@pytest.fixture
def application() -> Callable[[], CacheManager]:
    """Make a manager as an application in this folder has it."""
    return lambda: CacheManager(Settings.from_environment())


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that registers the backend `elsewhere`."""
    real = importlib.metadata.entry_points
    point = EntryPoint("elsewhere", "tests.cli.elsewhere_backend:ElsewhereBackend", "openalgo_cache.backends")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **chosen: EntryPoints((*real(**chosen), point)))


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

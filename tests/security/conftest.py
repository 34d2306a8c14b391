"""What all attacks share: their marker and its table, the canary, and who is attacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.security.attack import PROPERTY, Attack, table
from tests.security.canary import Canary
from tests.security.subjects import OnFile, OnServer, Subject
from tests.servers.process import ServerProcess

SUBJECTS = ["proposal", "ours"]


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Attack:
    """The count of the test's attempts, for the row that its marker names: ``@pytest.mark.attack("01", "a title")``."""
    marker = request.node.get_closest_marker("attack")
    assert marker is not None, "give the test its row and title: @pytest.mark.attack(row, title)"
    row, title = marker.args
    figures: dict[str, Any] = {"row": row, "title": title}
    request.node.user_properties.append((PROPERTY, figures))
    return Attack(figures, falls="proposal" in request.node.callspec.id if hasattr(request.node, "callspec") else False)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """Whatever the test plants, nothing of it may run."""
    with Canary(tmp_path) as one:
        yield one


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Both, on SQLite."""
    with closing(OnFile(request.param, tmp_path)) as one:
        yield one


@pytest.fixture(params=SUBJECTS)
def served(request: pytest.FixtureRequest, tmp_path: Path, redis_server: ServerProcess) -> Iterator[Subject]:
    """Both, on a Redis that others use as well."""
    redis_server.ask("FLUSHALL")
    with closing(OnServer(request.param, tmp_path, redis_server)) as one:
        yield one


@pytest.fixture(params=[f"{name}, {medium}" for medium in ("SQLite", "Redis") for name in SUBJECTS])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Both, on SQLite and on Redis."""
    name, medium = request.param.split(", ")
    if medium == "SQLite":
        found: Subject = OnFile(name, tmp_path)
    else:
        server = request.getfixturevalue("redis_server")
        server.ask("FLUSHALL")
        found = OnServer(name, tmp_path, server)
    with closing(found) as one:
        yield one


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """Files are readable by everybody, unless somebody sees to it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of the attacks."""
    reports = [
        report for name in ("passed", "failed", "error", "skipped") for report in terminalreporter.stats.get(name, ())
    ]
    if lines := table(reports):
        terminalreporter.section("attacks")
        for line in lines:
            terminalreporter.write_line(line)

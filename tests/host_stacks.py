"""The stacks that a host stands on: files alone, or a server for caches and sessions beside PostgreSQL.

``--stack`` says on which the tests run that ask for the fixture ``stack``, most of tests/host. Left out, it is files
alone, for tests that are marked ``each_database`` one of each kind, and for those marked ``every_stack`` all of them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from openalgo_cache import Settings
from tests.servers.process import ServerProcess

STACKS: Final = ("sqlite", "redis-postgresql", "valkey-postgresql")
_ALL: Final = "all"
_MARKS: Final = {"every_stack": STACKS, "each_database": ("sqlite", "redis-postgresql")}
"""Where a test runs that has this mark, if nothing is asked for."""


@dataclass(frozen=True)
class Stack:
    """Where a host keeps what it has.

    Attributes:
        name: One of ``STACKS``.
        server: Where the caches and the sessions are; None for files.
        database_url: DATABASE_URL of a database that nobody has used yet; empty for a file beside the caches.
        namespace: CACHE_NAMESPACE, under which nobody else has keys on the server.
    """

    name: str
    server: ServerProcess | None
    database_url: str
    namespace: str

    @property
    def backend(self) -> str:
        """The name of the caches' backend."""
        return "sqlite" if self.server is None else str(self.server.program.brand)

    def settings(self, folder: Path) -> Settings:
        """Return the settings of an installation in an empty folder."""
        if self.server is None:
            return Settings(base_folder=folder, cache_auto_configure=False)
        return Settings(
            base_folder=folder,
            cache_backend=self.backend,
            cache_namespace=self.namespace,
            session_type=self.backend,
            **self.server.settings(),
        )

    def variables(self) -> dict[str, str]:
        """Return the same as variables of the environment, for a host in a process of its own."""
        if self.server is None:
            return {"CACHE_BACKEND": self.backend}
        found = {
            "cache_backend": self.backend,
            "cache_namespace": self.namespace,
            "session_type": self.backend,
            "database_url": self.database_url,
            **self.server.settings(),
        }
        return {name.upper(): str(value) for name, value in found.items()}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    told = "the stack that hosts stand on (left out: sqlite, and others where a test is marked for more)"
    parser.addoption("--stack", choices=(*STACKS, _ALL), help=told)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once on each stack that was asked for, with each kind of database that goes with it."""
    has_stack, has_address = (name in metafunc.fixturenames for name in ("stack", "address"))
    stacks = _asked_for(metafunc)
    if has_stack and has_address:
        both = [(stack, "postgresql") for stack in stacks]
        if "sqlite" in stacks:
            both.insert(0, ("sqlite", "sqlite"))
        names = [address if stack == "sqlite" else stack for stack, address in both]
        metafunc.parametrize("stack, address", both, indirect=True, ids=names)
    elif has_stack and stacks != ("sqlite",):
        metafunc.parametrize("stack", stacks, indirect=True)
    elif has_address:
        metafunc.parametrize("address", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Stack:
    """The stack that the test's host stands on; its servers run."""
    name: str = getattr(request, "param", "sqlite")
    if name == "sqlite":
        return Stack(name, None, "", "")
    brand = name.partition("-")[0]
    database_url = request.getfixturevalue("postgres").new_schema()
    return Stack(name, request.getfixturevalue(f"{brand}_server"), database_url, f"host-{secrets.token_hex(4)}")


def _asked_for(metafunc: pytest.Metafunc) -> tuple[str, ...]:
    if metafunc.definition.get_closest_marker("on_files"):
        return ("sqlite",)
    asked = metafunc.config.getoption("stack")
    if asked == _ALL:
        return STACKS
    if asked is not None:
        return (asked,)
    for mark, stacks in _MARKS.items():
        if metafunc.definition.get_closest_marker(mark):
            return stacks
    return ("sqlite",)

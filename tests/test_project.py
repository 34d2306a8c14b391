"""The project's own promises: a small core, a lock that names no host, commands that explain themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("requirements*.lock")))
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]


def requirements() -> list[Requirement]:
    """Return all that pyproject.toml asks for, but the extra `all`, which only names others."""
    lines = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    for extra, wanted in EXTRAS.items():
        if extra != "all":
            lines += wanted
    return [Requirement(line) for line in lines]


def python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run([sys.executable, *arguments, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lock_names_no_host() -> None:
    """Whoever installs chooses where from, so the lock holds names, versions and hashes only."""
    assert "://" not in LOCK
    assert not re.search(r"^\s*-", LOCK.replace("    --hash=", ""), re.MULTILINE), "an option of the installer"


def test_every_pin_of_the_lock_has_hashes() -> None:
    """A package whose files are not known by hash is not installed."""
    pins = re.split(r"^(?=\w)", LOCK, flags=re.MULTILINE)[1:]
    assert len(pins) > 40
    assert [pin.splitlines()[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_the_lock_fits_the_project() -> None:
    """A change of pyproject.toml without `make lock` fails here."""
    pins: dict[str, list[str]] = {}
    for name, pinned in re.findall(r"^([\w.-]+)==([^ ;\\]+)", LOCK, re.MULTILINE):
        pins.setdefault(canonicalize_name(name), []).append(pinned)
    for wanted in requirements():
        found = pins.get(canonicalize_name(wanted.name), [])
        assert found, f"{wanted} is not locked"
        assert all(wanted.specifier.contains(pinned) for pinned in found), f"{wanted} is locked at {found}"


def test_the_extras() -> None:
    """The extras have the names that error messages and pages give, and `all` has all but sqlcipher."""
    assert set(EXTRAS) == {
        "redis",
        "valkey",
        "flask",
        "sqlalchemy",
        "prometheus",
        "sqlcipher",
        "cli",
        "host",
        "postgresql",
        "all",
    }
    (everything,) = (Requirement(line) for line in EXTRAS["all"])
    assert everything.extras == set(EXTRAS) - {"all", "sqlcipher"}


def test_the_core_is_small() -> None:
    """A plain install brings three packages, and time zones where the system has none."""
    core = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
    assert {wanted.name for wanted in core if wanted.marker is None} == {"apsw", "cryptography", "ormsgpack"}
    assert {wanted.name for wanted in core if wanted.marker is not None} == {"tzdata"}


def test_every_dependency_is_accounted_for() -> None:
    """docs/dependencies.md says of each package why it is there, and names none that is not."""
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| ([a-z][\w.-]*) \|", page, re.MULTILINE)) - {"package"}
    assert rows == {wanted.name for wanted in requirements()}


BROUGHT_BY_EXTRAS = {
    "flask",
    "greenlet",
    "hiredis",
    "prometheus_client",
    "redis",
    "rich",
    "sqlalchemy",
    "typer",
    "valkey",
    "werkzeug",
}


def test_the_import_loads_no_extra() -> None:
    """`import openalgo_cache` loads nothing that only an extra brings, though it is installed here."""
    loaded = python("import sys, openalgo_cache; openalgo_cache.get_cache; print(*sys.modules)").split()
    assert BROUGHT_BY_EXTRAS.isdisjoint(loaded)


def test_the_import_needs_no_extra() -> None:
    """`import openalgo_cache` works, without a warning, where no extra is installed."""
    absent = BROUGHT_BY_EXTRAS | {"argon2", "waitress"}
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import openalgo_cache; openalgo_cache.get_cache"
    python(code, "-W", "error")


def test_the_backends_are_registered() -> None:
    """The installed entry points name our own backends, as third parties' do theirs."""
    from openalgo_cache import CacheBackend

    backends = {point.name: point.load() for point in entry_points(group="openalgo_cache.backends")}
    assert {"memory", "sqlite"} <= set(backends)
    assert all(issubclass(backend, CacheBackend) for backend in backends.values())


def test_the_commands_can_be_loaded() -> None:
    """Both commands that an install puts on the path lead to a function."""
    commands = PYPROJECT["project"]["scripts"]
    assert set(commands) == {"openalgo-cache", "openalgo-host"}
    installed = {point.name: point for point in entry_points(group="console_scripts") if point.name in commands}
    assert set(installed) == set(commands)
    for point in installed.values():
        assert callable(point.load())


def test_make_explains_every_target() -> None:
    """`make` alone, and `make help`, print a line for each target that a person may ask for."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make on this machine; README.md has the line that needs none")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for arguments in ([], ["help"]):
        printed = subprocess.run(
            [make, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert set(re.findall(r"^  ([a-z][a-z-]*)  ", printed, re.MULTILINE)) == targets
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets


def test_the_wheel_holds_both_packages_and_nothing_else(tmp_path: Path) -> None:
    """The wheel brings the library, the host, their type markers and the licence; no tests and no tools."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    info = f"openalgo_cache-{version('openalgo-cache')}.dist-info"
    assert {name.split("/")[0] for name in names} == {"openalgo_cache", "openalgo_host", info}
    assert {"openalgo_cache/py.typed", "openalgo_host/py.typed", f"{info}/licenses/LICENSE"} <= set(names)
    assert not [name for name in names if name.endswith((".db", ".pyc", ".env"))]

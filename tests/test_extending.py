"""The page on extending: its backend works, is found by its name, and passes the suite; and the suite finds defects."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")


def example(opening: str) -> str:
    """Return the first example of the page whose fence is opened so."""
    match = re.search(rf"^```{opening}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"the page has no example in {opening}"
    return match[1]


BACKEND = example("python")


def install(folder: Path, source: str) -> dict[str, str]:
    """Install the page's backend into a folder as a package would be, and return an environment that has it."""
    site = folder / "site"
    metadata = site / "folder_backend-1.dist-info"
    metadata.mkdir(parents=True)
    (site / "folder_backend.py").write_text(source, encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: folder-backend\nVersion: 1\n", encoding="utf-8")
    section = example("toml").replace('[project.entry-points."openalgo_cache.backends"]', "[openalgo_cache.backends]")
    (metadata / "entry_points.txt").write_text(section.replace('"', ""), encoding="utf-8")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # what our own tests need besides takes a second to import
    return {**os.environ, **alone, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def run(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def test_the_example_is_short() -> None:
    """It is to be read in one go."""
    assert len(BACKEND.splitlines()) < 100


@pytest.mark.parametrize(
    "choice, least",
    [(["-k", "store or bytes or verb"], 20), pytest.param([], 150, marks=[pytest.mark.soak, pytest.mark.slow])],
    ids=["a part", "all of it"],
)
def test_the_example_passes_the_suite_by_its_name(tmp_path: Path, choice: list[str], least: int) -> None:
    """Registered by its entry point, with the page's own command."""
    command = re.search(r"^python (-m openalgo_cache\.testing folder .*)$", PAGE, re.MULTILINE)
    assert command is not None
    done = run(tmp_path, install(tmp_path, BACKEND), *command[1].split(), "-q", *choice)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > least
    assert not re.search(r"skipped|xfailed|warning", done.stdout)


def test_a_defect_in_it_fails_the_suite(tmp_path: Path) -> None:
    """The exit code says so, and the report shows what was compared."""
    defect = BACKEND.replace("self._now() < expires_at", "self._now() <= expires_at")
    assert defect != BACKEND
    environment = install(tmp_path, defect)
    done = run(
        tmp_path, environment, "-m", "openalgo_cache.testing", "folder", "--unbounded", "-q", "-x", "-k", "lives"
    )
    assert done.returncode == 1
    assert "test_an_entry_lives_until_its_expiry" in done.stdout
    assert "where Entry(payload=b'short'" in done.stdout, "asserts are to be rewritten in the contracts, too"


def test_the_pages_other_examples_run(tmp_path: Path) -> None:
    """A cache on the backend by its name, and the tests that inherit the contracts."""
    environment = install(tmp_path, BACKEND)
    shown, tests = re.findall(r"^```python norun\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert run(tmp_path, environment, "-c", shown + "\nassert quotes.get('NIFTY') == 24_123.05").returncode == 0
    assert list(tmp_path.glob("db/folder-quotes@*/*.entry")), "the entry is in a file of its own"
    (tmp_path / "test_folder.py").write_text(tests, encoding="utf-8")
    done = run(tmp_path, environment, "-m", "pytest", "-q", "-k", "what_it_can_do or delete", "test_folder.py")
    assert done.returncode == 0, done.stdout


def test_a_capability_without_its_contract_is_reported(tmp_path: Path) -> None:
    """Nothing that a backend can do goes untested in silence."""
    environment = install(tmp_path, BACKEND)
    tests = re.findall(r"^```python norun\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "test_folder.py").write_text(tests.replace(", ScanContract", ""), encoding="utf-8")
    done = run(tmp_path, environment, "-m", "pytest", "-q", "-k", "what_it_can_do", "test_folder.py")
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["nothing", "memory:x"])
def test_a_name_that_nobody_registered(name: str, tmp_path: Path) -> None:
    """The error lists those that there are."""
    done = run(tmp_path, dict(os.environ), "-m", "openalgo_cache.testing", name)
    assert done.returncode != 0
    assert "memory, sqlite" in done.stderr.replace("redis, ", "").replace(", valkey", "")

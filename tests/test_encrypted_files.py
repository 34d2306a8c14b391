"""Encrypted files, in processes with the apsw that encrypts: it excludes the one of all other tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PLACE: Final = Path(os.environ.get("SQLCIPHER_FOLDER", Path(sys.prefix) / "sqlcipher"))
"""Where ``make`` puts it."""

USUAL: Final = [
    "tests/encrypted",
    "tests/faults/test_power_loss.py::test_nothing_acknowledged_of_a_state_is_lost[with a log]",
    "tests/faults/test_damage.py",
    "-k not test_damage or (test_a_damaged_state and much and open and not put_another_database_in_its_place)",
]
ALL: Final = [
    "tests/encrypted",
    "tests/test_conformance.py",
    "tests/test_cache_coherence.py",
    "tests/sqlite",
    *(f"tests/faults/test_{name}.py" for name in ("contention", "damage", "fork", "killed_writers", "power_loss")),
    # A plain file, or one of another key ring, is refused: there it is taken for damaged, here for a mistake.
    "-k not put_another_database_in_its_place and not test_state_of_another_key_ring",
]


def run_encrypted(arguments: list[str]) -> int:
    """Run tests with encrypted files, and return how many passed; none may fail."""
    if not (PLACE / "apsw").is_dir():
        problem = f"there is no apsw-sqlite3mc in {PLACE}: run make .venv/.ready, or set SQLCIPHER_FOLDER"
        if os.environ.get("CI") and sys.platform != "win32":
            pytest.fail(problem)
        pytest.skip(problem)
    path = os.pathsep.join([str(PLACE), str(ROOT / "tests" / "encrypted" / "everywhere"), str(ROOT / "src")])
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = ran.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", last)
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-5000:]
    assert passed is not None
    assert "skipped" not in last
    return int(passed[1])


@pytest.mark.slow
@pytest.mark.timeout(600)  # each of its more than a hundred tests has the usual time
def test_encrypted_files() -> None:
    """What only encrypted files promise, and the harder half of what all do."""
    assert run_encrypted(USUAL) > 110


@pytest.mark.soak
def test_all_that_is_promised_of_files() -> None:
    """The tests of plain files, as they are."""
    assert run_encrypted(ALL) > 1000

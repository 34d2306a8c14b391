"""The suite itself: its table tells the truth, its canary hears, and its target stays where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.security.attack import PROPERTY, Attack, table
from tests.security.canary import Canary

ROOT = Path(__file__).parents[2]


def report(title: str, outcome: str, succeeded: list[bool], *, falls: bool = False) -> Any:
    """Return the report of a test that tried some attacks."""
    figures: dict[str, Any] = {"row": "01", "title": title}
    attack = Attack(figures, falls=falls)
    for one in succeeded:
        if one is falls:
            attack.tried(succeeded=one)
        else:
            with pytest.raises(AssertionError):
                attack.tried(succeeded=one)
    return SimpleNamespace(when="call", outcome=outcome, user_properties=[(PROPERTY, figures)])


@pytest.mark.parametrize(
    "reports, verdict",
    [
        ([("passed", [False, False], False), ("passed", [True], True)], "2          2  held      falls"),
        ([("failed", [False, True], False), ("passed", [True], True)], "2          1  BROKEN    falls"),
        ([("passed", [False], False), ("failed", [False], True)], "1          1  BROKEN    failed"),
        ([("skipped", [], False)], "0          0  not run   -"),
        ([("passed", [False], False)], "1          1  held      -"),
    ],
)
def test_the_table(reports: list[tuple[str, list[bool], bool]], verdict: str) -> None:
    """What got through, what was never tried, and a test that does not bite can all be seen."""
    lines = table(report("an attack", outcome, tried, falls=falls) for outcome, tried, falls in reports)
    assert lines[1].endswith(verdict)


def test_the_canary_hears_what_is_run(tmp_path: Path) -> None:
    """Whatever way code comes to run, also if it leaves nothing behind."""
    with Canary(tmp_path) as canary:
        statement = canary.baits["text for eval"]
        eval(statement)  # noqa: S307  # that is the bait
        assert canary.sang
        canary.hush()
        assert not canary.sang
        compile(statement, "<string>", "eval")
        assert canary.sang


def test_the_model_cannot_be_imported_elsewhere() -> None:
    """It is for tests, and for processes that they start."""
    command = [sys.executable, "-c", "import tests.security.proposal.manager"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=False)
    assert done.stderr.endswith("is a target of attacks, not a cache: use openalgo_cache\n")
    assert subprocess.run(command, cwd=ROOT, env=dict(os.environ), check=False).returncode == 0

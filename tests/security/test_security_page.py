"""docs/security.md names every weak point and the tests that show it, and no test that is not there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "security.md"
TESTED_BESIDE_THE_MODEL = {"subject", "served", "anywhere", "shop", "start", "thief", "who", "name"}


def weak_points() -> dict[int, dict[str, set[str]]]:
    """Return for each weak point its tests, and what each of them asks for."""
    found: dict[int, dict[str, set[str]]] = defaultdict(dict)
    for path in HERE.glob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and (number := re.match(r"test_(\d\d)_", node.name)):
                arguments = (*node.args.args, *node.args.kwonlyargs)
                found[int(number[1])][node.name] = {argument.arg for argument in arguments}
    return found


def test_every_weak_point_has_its_tests_in_the_table() -> None:
    """All 21, each with every test of its number."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {int(number): set(re.findall(r"`(test_\w+)`", cell)) for number, cell in rows}
    assert named == {number: set(tests) for number, tests in weak_points().items()}
    assert sorted(named) == list(range(1, 22))


def test_every_weak_point_is_shown_on_the_model() -> None:
    """For each there is a test that the proposal's model fails."""
    for number, tests in weak_points().items():
        assert any(asked & TESTED_BESIDE_THE_MODEL for asked in tests.values()), number

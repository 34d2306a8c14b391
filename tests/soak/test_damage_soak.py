"""Ten thousand damaged files; see ``tests/faults/test_damage.py`` for what is promised."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.faults import harm, test_damage

pytestmark = pytest.mark.soak

ROUNDS = 10_000


@pytest.mark.parametrize("part", range(10))
def test_many_kinds_of_damage(tmp_path: Path, part: int) -> None:
    """Caches and states, closed, open here, open in another process: never a wrong value, always usable again."""
    templates = [test_damage.make_template(tmp_path / f"template-{rewritten}", rewritten) for rewritten in (2, 30, 120)]
    for number in range(part * ROUNDS // 10, (part + 1) * ROUNDS // 10):
        chance = random.Random(number)
        folder = tmp_path / str(number)
        folder.mkdir()
        template, how, opened = chance.choice(templates), chance.choice(harm.ALL), chance.random() < 0.5
        print(number, how.__name__, opened)  # noqa: T201  # shown if it fails
        kind = chance.random()
        if kind < 0.4:
            test_damage.test_a_damaged_cache(template, folder, how, number, opened)
        elif kind < 0.8:
            test_damage.test_a_damaged_state(template, folder, how, number, opened)
        else:
            test_damage.test_a_cache_that_is_damaged_while_two_processes_have_it_open(template, folder, how, number)
        shutil.rmtree(folder)

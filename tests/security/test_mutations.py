"""Each defence matters: without it, a test fails. A mutant that nobody notices is a hole in the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.security.mutations.defences import MUTANTS
from tests.security.mutations.mutant import SOURCE, Mutant


def test_every_defence_can_be_taken_out(tmp_path: Path) -> None:
    """The texts of the mutants are those of the product: whoever changes a defence changes its mutant."""
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS) > 50
    for mutant in MUTANTS:
        copy = tmp_path / mutant.file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SOURCE / mutant.file, copy)
        mutant.apply(tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.what)
def test_it_is_missed(mutant: Mutant, tmp_path: Path) -> None:
    """The test that guards it fails."""
    noticed, said = mutant.is_noticed(tmp_path)
    assert noticed, f"nobody misses {mutant.what}:\n{said[-2000:]}"

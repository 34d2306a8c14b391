"""Weak points 1 to 3: what somebody who may write to the store can make of its records."""

from __future__ import annotations

import pytest

from tests.security.attack import Attack
from tests.security.canary import Canary
from tests.security.subjects import Subject

pytestmark = pytest.mark.server

CACHES = ["auth", "settings", "user_strategies", "quotes"]


@pytest.mark.attack("01", "a pickle planted as a record")
@pytest.mark.parametrize("name", CACHES)
def test_01_planted_row_runs_no_code(anywhere: Subject, canary: Canary, attack: Attack, name: str) -> None:
    """Bytes are verified before anything is made of them, so what was planted is never run."""
    for what, gadget in canary.pickles.items():
        anywhere.cache(name).set("key", "honest")
        anywhere.plant(name, "key", gadget)
        anywhere.cache(name).get("key")
        attack.tried(succeeded=canary.sang, what=f"{what} in {name}")
        canary.hush()

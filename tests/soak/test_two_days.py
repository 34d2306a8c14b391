"""The demonstration of examples/, as a reader runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host_stacks import Stack


@pytest.mark.soak
@pytest.mark.every_stack
def test_two_days_in_a_minute(stack: Stack, tmp_path: Path) -> None:
    """Bought on the first day, sold on the second, with the host killed in between; no other host is touched."""
    script = Path(__file__).parents[2] / "examples" / "two_days.py"
    others = {"DATABASE_URL": "postgresql://nowhere.test/", "CACHE_BACKEND": "redis", "REDIS_HOST": "nowhere.test"}
    environment = {**os.environ, **others, **{f"DEMO_{name}": value for name, value in stack.variables().items()}}
    done = subprocess.run(
        [sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "bought 10 RELIANCE" in said[1]
    assert "sold 10 RELIANCE" in said[4]
    assert said[6] == "Positions: [('RELIANCE', 0)]"
    assert list(tmp_path.iterdir()) == []

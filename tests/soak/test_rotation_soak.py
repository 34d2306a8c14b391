"""A rotation of a hundred thousand records under load; see ``tests/rotation/test_under_load.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rotation import test_under_load

pytestmark = pytest.mark.soak

RECORDS = 100_000


@pytest.mark.parametrize("backend", ["sqlite", "redis"])
def test_nobody_notices_a_large_rotation(request: pytest.FixtureRequest, tmp_path: Path, backend: str) -> None:
    """Two processes read and write all the time; with the waits that real rotations have."""
    server, variables = test_under_load.place_of(request, backend)
    report = test_under_load.rotate_under_load(tmp_path, variables, RECORDS, server)
    print(f"\n{backend}: {report}")  # noqa: T201  # the figures are what it is for

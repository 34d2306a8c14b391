"""The benchmarks run and print all of their lines; what the figures are is for people to judge, on a quiet machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.programs import Brand, find

ROOT = Path(__file__).parent.parent
SYMBOLS = 18 if Path("/proc/self/smaps_rollup").exists() else 17  # without it, memory is not measured
AIO = 4 if find("redis") else 2

BRANDS: tuple[Brand, Brand] = ("redis", "valkey")
SERVERS = 5 * sum(find(brand) is not None for brand in BRANDS)

pytestmark = pytest.mark.xdist_group("benchmarks")  # the run is shared


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """What a quick run prints, and the lines that it writes."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--results", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    (written,) = folder.iterdir()
    return run.stdout, json.loads(written.read_text(encoding="utf-8"))["lines"]


@pytest.mark.parametrize(
    "name, least",
    [
        ("near", 10),
        ("store", 2),
        ("peer", 5),
        ("writers", 2),
        ("servers", SERVERS),
        ("aio", AIO),
        ("imports", 4),
        ("symbols", SYMBOLS),
        ("audit", 4),
        ("guards", 2),
    ],
)
def test_every_line_of_a_benchmark_is_measured(
    quick_run: tuple[str, list[dict[str, Any]]], name: str, least: int
) -> None:
    """Each benchmark has the lines that docs/performance.md explains."""
    _, lines = quick_run
    assert len([line for line in lines if line["benchmark"] == name]) >= least


def test_the_table_shows_every_line(quick_run: tuple[str, list[dict[str, Any]]]) -> None:
    """The table has each figure, and says of each that has a target whether it holds."""
    table, lines = quick_run
    rows = [re.split(" {2,}", row.strip()) for row in table.splitlines()]
    for line in lines:
        (row,) = (row for row in rows if row[:2] == [line["benchmark"], line["what"]])
        assert ("ok" in row) is (line["holds"] is True)
        assert ("miss" in row) is (line["holds"] is False)

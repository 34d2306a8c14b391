"""What it takes to import the package, and to come to the first cache, each in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import Final

from benchmarks import caches
from benchmarks.lines import Line

_TARGET_MS: Final = 80.0
_HEAVY: Final = ("flask", "redis", "rich", "valkey", "sqlalchemy", "typer")

_FIRST_CACHE: Final = """
from time import perf_counter
started = perf_counter()
from openalgo_cache import get_cache
got = perf_counter()
get_cache("quotes").set("key", "value")
print((got - started) * 1000, (perf_counter() - started) * 1000)
"""


def run(*, quick: bool = False) -> list[Line]:
    """Measure in several interpreters, and take the medians."""
    runs = 1 if quick else 15
    imported = median(_import_ms() for _ in range(runs))
    with caches.manager("sqlite") as manager:
        environment = {"SQLITE_CACHE_PATH": str(manager.settings.sqlite_cache_path), "CACHE_BACKEND": "sqlite"}
        firsts = [_python("-c", _FIRST_CACHE, environment=environment).stdout.split() for _ in range(runs)]
    heavy = _python("-c", f"{_FIRST_CACHE}\nimport sys; print(*sys.modules)", environment=environment).stdout.split()
    loaded = sorted({name.partition(".")[0] for name in heavy} & set(_HEAVY))
    return [
        Line(
            what="import openalgo_cache",
            value=imported,
            unit="ms",
            target=_TARGET_MS,
            best="low",
            note="median; -X importtime",
        ),
        Line(
            what="from openalgo_cache import get_cache",
            value=median(float(first[0]) for first in firsts),
            unit="ms",
            note="median",
        ),
        Line(
            what="the same, and a first set on SQLite",
            value=median(float(first[1]) for first in firsts),
            unit="ms",
            note="median",
        ),
        Line(
            what="extras loaded by that",
            value=len(loaded),
            unit="packages",
            target=0,
            best="low",
            note=", ".join(loaded) or f"none of {', '.join(_HEAVY)}",
        ),
    ]


def _import_ms() -> float:
    """Return the cumulative import time of the package."""
    report = _python("-X", "importtime", "-c", "import openalgo_cache").stderr
    (line,) = (line for line in report.splitlines() if line.rpartition("|")[2] == " openalgo_cache")
    return int(line.split("|")[1]) / 1000


def _python(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **environment} if environment else None
    return subprocess.run([sys.executable, *arguments], env=environ, check=True, capture_output=True, text=True)

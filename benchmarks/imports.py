"""What it takes to import the package, and to come to the first cache, each in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.lines import Line

_EXTRAS: Final = ("flask", "redis", "rich", "valkey", "sqlalchemy", "typer")

_FIRST_CACHE: Final = """
from time import perf_counter
started = perf_counter()
from openalgo_cache import get_cache
got = perf_counter()
get_cache("quotes").set("key", "value")
print((got - started) * 1000, (perf_counter() - started) * 1000)"""


def run(*, quick: bool = False) -> list[Line]:
    """Measure in several interpreters, and take the medians."""
    runs = 1 if quick else 15
    with TemporaryDirectory(prefix="openalgo-cache-bench-") as folder:
        environment = _environment(Path(folder))
        loaded = set(_python(environment, "-c", f"{_FIRST_CACHE}; import sys; print(*sys.modules)").split())
        imports, firsts = [], []
        for _ in range(runs):
            imports.append(_import_ms(environment))
            firsts.append([float(ms) for ms in _python(environment, "-c", _FIRST_CACHE).split()])
    extras = sorted(set(_EXTRAS) & loaded)
    return [
        Line(
            what="import openalgo_cache",
            value=median(imports),
            unit="ms",
            target=80.0,
            best="low",
            note="median, as -X importtime says",
        ),
        Line(
            what="from openalgo_cache import get_cache",
            value=median(imported for imported, _ in firsts),
            unit="ms",
            note="median, by the clock",
        ),
        Line(
            what="the same, and a first set on SQLite",
            value=median(done for _, done in firsts),
            unit="ms",
            note="median, by the clock",
        ),
        Line(
            what="extras loaded by that",
            value=len(extras),
            unit="packages",
            target=0,
            best="low",
            note=", ".join(extras) or f"none of {', '.join(_EXTRAS)}",
        ),
    ]


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which compiled modules are kept, as where a package is installed, and caches are new."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "SQLITE_CACHE_PATH": str(folder / "cache"),
        "CACHE_BACKEND": "sqlite",
    }


def _import_ms(environment: dict[str, str]) -> float:
    """Return the cumulative import time of the package."""
    report = _python(environment, "-X", "importtime", "-c", "import openalgo_cache")
    (line,) = (line for line in report.splitlines() if line.rpartition("|")[2] == " openalgo_cache")
    return int(line.split("|")[1]) / 1000


def _python(environment: dict[str, str], *arguments: str) -> str:
    """Return what an interpreter prints, its report of imports included."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout

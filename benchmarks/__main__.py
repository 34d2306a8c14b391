"""Runs the benchmarks: ``python -m benchmarks [--only NAME ...] [--quick] [--json]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.lines import Line

NAMES: Final = ("near", "store", "peer", "writers", "aio", "servers", "imports", "symbols", "audit", "guards")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the figures to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the caches as ratios to others.")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="try that everything runs; the figures mean nothing")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of a table")
    parser.add_argument("--results", type=Path, default=report.FOLDER, metavar="FOLDER", help="where the JSON goes")
    given = parser.parse_args(arguments)
    results = {name: _run(name, quick=given.quick) for name in given.only or NAMES}
    measured = report.measured(results, quick=given.quick)
    if given.json:
        json.dump(measured, sys.stdout, indent=2)
        print()
    else:
        report.show(results)
    print(f"Written to {report.write(measured, given.results)}", file=sys.stderr)
    return 0


def _run(name: str, *, quick: bool) -> list[Line]:
    print(f"{name} ...", file=sys.stderr)
    measure: Callable[..., Iterable[Line]] = import_module(f"benchmarks.{name}").run
    return list(measure(quick=quick))


if __name__ == "__main__":
    sys.exit(main())

"""What a run has found, as a table for people and as JSON for the record."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.lines import Line, holds

FOLDER: Final = Path(__file__).parent / "results"
_LIBRARIES: Final = (
    "openalgo-cache",
    "apsw",
    "cachetools",
    "cryptography",
    "diskcache",
    "ormsgpack",
    "redis",
    "valkey",
)


def measured(results: Mapping[str, Sequence[Line]], *, quick: bool) -> dict[str, Any]:
    """Return everything about a run that the figures depend on, and the figures."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in _LIBRARIES},
        "lines": [
            {"benchmark": name, **line, "holds": holds(line)} for name, lines in results.items() for line in lines
        ],
    }


def write(run: Mapping[str, Any], folder: Path) -> Path:
    """Write a run to a folder, under its time, and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run['measured_at'].replace(':', '').partition('+')[0]}.json"
    path.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    return path


def show(results: Mapping[str, Sequence[Line]]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("benchmark", "line", "figure", "target", "", "both sides, best round"):
        table.add_column(heading, justify="right" if heading in {"figure", "target"} else "left")
    for name, lines in results.items():
        for line in lines:
            table.add_row(name, line["what"], _figure(line), _target(line), _verdict(line), line.get("note", ""))
    Console(width=None if Console().is_terminal else 200).print(table)


def _figure(line: Line) -> str:
    value = line["value"]
    shown = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
    return f"{shown} {line['unit']}"


def _target(line: Line) -> str:
    if "target" not in line:
        return ""
    return f"{'>=' if line.get('best') == 'high' else '<='} {line['target']:g}"


def _verdict(line: Line) -> str:
    verdict = holds(line)
    return "" if verdict is None else "[green]ok[/]" if verdict else "[red]miss[/]"

"""Long work: a progress bar, where somebody sees it, and a clear word at Ctrl-C."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from openalgo_cache.cli.exits import Code

Tell = Callable[[str, float], None]
"""Told what is under way, and how much of all is done, from 0 to 1."""


@contextmanager
def bar(*, as_json: bool) -> Iterator[Tell]:
    """Draw a progress bar on standard error where somebody sees it; yield what tells it how far things are."""
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield lambda _what, _done: None
        return
    columns = (TextColumn("{task.description:<9}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda what, done: progress.update(task, description=what, completed=done)


@contextmanager
def interruptible(meaning: str, *, as_json: bool) -> Iterator[None]:
    """End with the code for it at Ctrl-C, and say how things are then."""
    try:
        yield
    except KeyboardInterrupt:
        message = f"Stopped. {meaning}"
        error = {"error": {"type": "Interrupted", "message": message}}
        sys.stderr.write((json.dumps(error) if as_json else message) + "\n")
        raise typer.Exit(Code.INTERRUPTED) from None

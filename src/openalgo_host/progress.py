"""Showing how far a long step is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_STEP: Final = 25

Tell = Callable[[str, float], None]
"""Told what is being done, and how far the whole is, from 0 to 1."""


@contextmanager
def progress(title: str) -> Iterator[Tell]:
    """Show on stderr how far a step is."""
    if sys.stderr.isatty():
        with _bar(title) as tell:
            yield tell
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Tell]:
    # Only here, where somebody sees it: the import takes a tenth of a second.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(title, total=1.0, what="")
        yield lambda what, done: bars.update(bar, completed=done, what=what if done < 1 else "")


def _lines(title: str) -> Tell:
    shown = -1

    def tell(_what: str, done: float) -> None:
        nonlocal shown
        percent = int(done * 100) // _STEP * _STEP
        if percent > shown:
            shown = percent
            print(f"{title}: {percent} %", file=sys.stderr, flush=True)  # noqa: T201  # this is the display

    return tell

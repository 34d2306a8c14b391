"""What a case of fuzzing is, and what counts as a finding: any error but those that are promised, a wait, a leak."""

from __future__ import annotations

import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECRET: Final = "planted-secret-c0ffee"
"""Planted where each target has secrets, and never in what it is fed: whatever shows it has told it."""

MOST_SECONDS: Final = 5.0
"""Of the thread's own work, whatever else the machine does: no case may take longer."""

Run = Callable[[bytes], None]
"""Feeds one case to what is attacked. Raises what that raises, and AssertionError for an answer that is wrong."""


class Finding(AssertionError):  # noqa: N818  # what a fuzzer looks for
    """A case for which something was not as promised."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads what others may have written.

    Attributes:
        name: What it is called; its corpus lies in a folder of that name.
        open: Makes it ready in an empty folder.
        promised: The errors that it may raise.
        deadline: Whether the time of its own thread says anything of it.
    """

    name: str
    open: Callable[[Path], AbstractContextManager[Run]]
    promised: tuple[type[Exception], ...] = ()


@contextmanager
def opened(target: Target) -> Iterator[Run]:
    """Yield a function that feeds cases to a target and raises a Finding for each that is one."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setLevel(logging.DEBUG)
    logger = logging.getLogger()
    with tempfile.TemporaryDirectory(prefix="oac-fuzz-") as folder, target.open(Path(folder)) as run:
        level = logger.level

        def judge(data: bytes) -> None:
            printed, shown = io.StringIO(), ""
            begun = time.thread_time()
            try:
                with redirect_stdout(printed), redirect_stderr(printed):
                    run(data)
            except target.promised as error:
                shown = str(error)
            except Exception as error:
                raise Finding(f"{target.name}: {type(error).__name__}: {error}") from error
            took = time.thread_time() - begun
            if took > MOST_SECONDS:
                raise Finding(f"{target.name}: took {took:.1f} s of work")
            if SECRET in shown or SECRET in printed.getvalue() or SECRET in heard.getvalue():
                raise Finding(f"{target.name}: a secret was told")
            heard.seek(0)
            heard.truncate()

        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield judge
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


def split(data: bytes, ways: int) -> tuple[int, bytes]:
    """Return which of several ways a case goes, by its first byte, and the rest."""
    return (data[0] % ways, data[1:]) if data else (0, b"")

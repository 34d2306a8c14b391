"""What a fleet leaves that is killed: its programs run on, each with a current folder inside that of the fleet."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from openalgo_cache.locks import FileLock

_PREFIX: Final = "openalgo-fleet-"
_LOCK: Final = "lock"
_PATIENCE: Final = 10.0


@contextmanager
def new_folder() -> Iterator[Path]:
    """Make a folder that is removed in the end, or by the next fleet if this process is killed."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lock = FileLock(folder / _LOCK)
        lock.attempt()
        try:
            yield folder
        finally:
            lock.close()


def sweep() -> int:
    """End what killed fleets have left running, and remove what they kept; return how many there were."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not os.access(folder / _LOCK, os.W_OK):  # it has only just been made, or is another user's
            continue
        with closing(FileLock(folder / _LOCK)) as lock:
            if not lock.attempt():
                continue
            left = processes(folder)
            for one in left:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            psutil.wait_procs(left, _PATIENCE)
            shutil.rmtree(folder, ignore_errors=True)
            swept += 1
    return swept


def processes(folder: Path) -> list[psutil.Process]:
    """Return the processes whose current folder is in a folder."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(one.cwd()).is_relative_to(folder):
                found.append(one)
    return found

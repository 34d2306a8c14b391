"""What a strategy's process runs: ``python -m openalgo_cache.strategies.run``, started by a host.

The host writes one line of JSON to its standard input: the strategy's ``name`` and ``source``, and in ``secrets`` what
is put into its environment from here on, so that no list of processes shows it. Then it keeps the pipe open. When
that closes, whatever became of the host, this process ends at once, and all that it started: no strategy trades on
without the host that watches it.
"""

from __future__ import annotations

import json
import linecache
import os
import signal
import sys
import threading
import traceback
from types import ModuleType
from typing import Final

_FAILED: Final = 1
_ORPHANED: Final = 70


def main() -> int:
    """Run the strategy that standard input brings, and return its exit code."""
    given = json.loads(sys.stdin.buffer.readline())
    _end_with_the_host()
    os.environ.update(given["secrets"])
    return run(given["name"], given["source"])


def run(name: str, source: str) -> int:
    """Run a source as a program of its own; return the exit code.

    Args:
        name: What tracebacks call it.
        source: Python.
    """
    place = f"<strategy {name}>"
    program = ModuleType("__main__")
    sys.modules["__main__"] = program
    sys.argv = [place]
    linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
    try:
        exec(compile(source, place, "exec", dont_inherit=True), program.__dict__)  # noqa: S102  # what this is for
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the strategy's, and shown without our own frames
        trace = None if error.__traceback__ is None else error.__traceback__.tb_next
        traceback.print_exception(error.with_traceback(trace))
        return _FAILED
    return 0


def _end_with_the_host() -> None:
    """Watch the pipe to the host in a thread, and give the strategy an empty standard input."""
    pipe = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)

    def watch() -> None:
        while os.read(pipe, 4096):
            pass
        if sys.platform != "win32" and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(_ORPHANED)

    threading.Thread(target=watch, name="watches the host", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())

"""The command ``openalgo-cache``: look into caches, change entries, import the symbol master, find what is wrong."""

from __future__ import annotations

import sys
from typing import Final

_OF_THE_EXTRA: Final = frozenset({"rich", "typer"})
_USAGE: Final = 2
"""See ``exits.py``, which would have to be imported for it."""


def main() -> int:
    """Run the command line of this process and return its exit code (see ``openalgo_cache.cli.exits``)."""
    try:
        from openalgo_cache.cli.commands import app  # noqa: PLC0415  # without the extra there is still an answer to give
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_EXTRA:
            raise
        sys.stderr.write('openalgo-cache needs an extra: pip install "openalgo-cache[cli]"\n')
        return _USAGE
    app(prog_name="openalgo-cache")
    return 0

"""The command ``openalgo-cache``: look into caches, change entries, import the symbol master, find what is wrong."""

from __future__ import annotations

import sys

from openalgo_cache.cli.exits import Code


def main() -> int:
    """Run the command line of this process and return its exit code (see ``openalgo_cache.cli.exits``)."""
    try:
        from openalgo_cache.cli.commands import app  # noqa: PLC0415  # without the extra there is still an answer to give
    except ModuleNotFoundError as error:
        if error.name != "typer":  # which brings rich
            raise
        sys.stderr.write('openalgo-cache needs an extra: pip install "openalgo-cache[cli]"\n')
        return Code.USAGE
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    app(prog_name="openalgo-cache")
    return Code.OK

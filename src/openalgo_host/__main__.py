"""Start the host: ``python -m openalgo_host``, or ``openalgo-host``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from openalgo_host.signals import stop_on_signals

INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the host until it is stopped.

    Args:
        arguments: The command's; those of the process by default.

    Returns:
        0 if it served and was stopped, 1 if it could not start, 130 if it was stopped before it served.
    """
    stop_on_signals()
    try:
        from openalgo_host.command import run  # noqa: PLC0415  # takes a while: until then Ctrl-C must be heard, too

        return run(arguments)
    except KeyboardInterrupt:
        print("Stopped before it was ready; the next start goes on from here.", file=sys.stderr)  # noqa: T201  # no log yet
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())

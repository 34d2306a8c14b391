"""``python -m openalgo_cache.cli`` is the command ``openalgo-cache``."""

from __future__ import annotations

import sys

from openalgo_cache.cli import main

if __name__ == "__main__":
    sys.exit(main())

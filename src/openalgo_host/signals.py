"""Being asked to stop."""

from __future__ import annotations

import os
import signal
from types import FrameType


def stop_on_signals() -> None:
    """Let SIGTERM, and what Windows has for it, end the host as Ctrl-C does; a second one ends it at once."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for name in names:
            signal.signal(name, lambda *_: os._exit(130))
        raise KeyboardInterrupt

    names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    for name in names:
        signal.signal(name, stop)

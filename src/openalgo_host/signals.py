"""Being asked to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_asked: Final = threading.Event()
_shielded: Final = threading.Event()


def stop_on_signals() -> None:
    """Let SIGTERM, and what Windows has for it, end the host as Ctrl-C does; a second one ends it at once."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for name in names:
            signal.signal(name, lambda *_: os._exit(130))
        _asked.set()
        if not _shielded.is_set():
            raise KeyboardInterrupt

    def drop(what: sys.UnraisableHookArgs) -> None:
        if what.exc_type is not KeyboardInterrupt:  # raised in a destructor or a callback, and remembered
            usual(what)

    names, usual = _names(), sys.unraisablehook
    sys.unraisablehook = drop
    for name in names:
        signal.signal(name, stop)


@contextmanager
def shielded_from_signals() -> Iterator[None]:
    """Let a signal wait for the end of the block: what it begins could not be ended while it has half begun.

    Raises:
        KeyboardInterrupt: One came, in the block or before: what a handler raises inside a destructor is dropped.
    """
    _shielded.set()
    try:
        yield
    finally:
        _shielded.clear()
    if _asked.is_set():
        raise KeyboardInterrupt


def before_stopping(at_once: Callable[[], None], meanwhile: Callable[[], None]) -> None:
    """Do something first when one of these signals arrives, whoever handles it: this module, or a server as gunicorn.

    Only the main thread may ask for it.

    Args:
        at_once: Is done in the signal's handler, just before the server's own.
        meanwhile: Takes a while. Until it is done, or a second signal arrives, the server goes on serving.
    """
    begun, passed_on = threading.Event(), threading.Event()

    def do_and_ask_again(number: int) -> None:
        try:
            meanwhile()
        finally:
            if not passed_on.is_set():
                _raise(number)

    def first(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
        def act(number: int, frame: FrameType | None) -> None:
            if begun.is_set():
                passed_on.set()
                at_once()
                handler(number, frame)
            else:
                begun.set()
                threading.Thread(target=do_and_ask_again, args=(number,), name="before stopping", daemon=True).start()

        return act

    for name in _names():
        handler = signal.getsignal(name)
        if callable(handler):
            signal.signal(name, first(handler))


def _raise(number: int) -> None:
    """Send this process a signal, which its main thread hears even if it waits for something."""
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)


def _names() -> list[signal.Signals]:
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]

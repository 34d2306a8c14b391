"""Patches of the interpreter's own modules that the test's thread alone sees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


def patch_here(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, instead: Callable[..., Any]) -> None:
    """Replace a module's function for the thread that calls this; all others go on with the real one.

    The audit log of an earlier test, for one, may still have its thread, which looks at the clock.

    Args:
        monkeypatch: Puts it back.
        module: Whose function.
        name: Its name.
        instead: What this thread calls.
    """
    real, here = getattr(module, name), threading.get_ident()

    def either(*arguments: Any, **options: Any) -> Any:
        return (instead if threading.get_ident() == here else real)(*arguments, **options)

    monkeypatch.setattr(module, name, either)

"""Counts how often Argon2 is computed, whoever asks for it: Python loads this before anything else, if it finds it.

Each computation adds a line to the file that ARGON2_CALLS names: what was asked for, and the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import argon2


def _counted(name: str) -> Callable[..., Any]:
    plain = getattr(argon2.PasswordHasher, name)

    def computed(*args: Any, **kwargs: Any) -> Any:
        with open(os.environ["ARGON2_CALLS"], "a", encoding="ascii") as calls:  # noqa: PTH123  # loads nothing more
            calls.write(f"{name} {os.getpid()}\n")
        return plain(*args, **kwargs)

    return computed


if "ARGON2_CALLS" in os.environ:
    for _name in ("hash", "verify"):
        setattr(argon2.PasswordHasher, _name, _counted(_name))

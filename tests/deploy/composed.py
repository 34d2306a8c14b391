"""The files of Compose, as the tests read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

DEPLOY: Final = Path(__file__).parents[2] / "deploy"


def composed(*more: str) -> dict[str, Any]:
    """Return what compose.yaml says, with what other files change of it; mappings are merged, the rest is replaced."""
    found: dict[str, Any] = {}
    for name in ("compose.yaml", *more):
        found = _merged(found, yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8")))
    return found


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(old[key], new[key]) for key in old.keys() & new.keys() if isinstance(new[key], dict)}
    return old | new | both

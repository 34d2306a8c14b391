"""The ways in which a cache seals its records: every test of a cache runs with each of them."""

from __future__ import annotations

from typing import Any, Final

import pytest

from openalgo_cache.catalogue import Sealing

_OPEN: Final[dict[str, dict[str, Any]]] = {
    "plain": {"sealing": Sealing.PLAIN},
    "signed": {"sealing": Sealing.SIGNED},
    "encrypted": {"sealing": Sealing.ENCRYPTED},
}
_BLINDED: Final[dict[str, dict[str, Any]]] = {"blinded": {"sealing": Sealing.ENCRYPTED, "blinded": True}}


BY_NAME: Final = _OPEN | _BLINDED
"""All of them; the fixture ``sealing`` gives one after the other."""

OPEN: Final = pytest.mark.parametrize("sealing", _OPEN.values(), ids=_OPEN.keys())
"""Marks a test to be run only with those whose keys can be listed."""

BLINDED: Final = pytest.mark.parametrize("sealing", _BLINDED.values(), ids=_BLINDED.keys())
"""Marks a test to be run only with those whose keys cannot be listed."""

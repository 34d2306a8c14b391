"""Everything that is fuzzed, by name."""

from __future__ import annotations

from typing import Final

from tests.security.fuzz import given, heard, stored
from tests.security.fuzz.judging import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target for module in (stored, given, heard) for target in module.TARGETS
}

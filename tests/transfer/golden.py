"""The golden export: what is in ``export_v1.oac``, and how it is made.

The file is frozen; ``python -m tests.transfer.golden`` writes it only if it is not there.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from openalgo_cache.codec import serializers
from openalgo_cache.codec.codec import Contents
from openalgo_cache.codec.envelope import NO_EXTRAS
from openalgo_cache.transfer import exportfile
from openalgo_cache.transfer.exportfile import Begin, Item, Writer
from tests.codec.vectors import ALL_EXTRAS, RING, STALE, TAGS

FILE: Final = Path(__file__).with_name("export_v1.oac")
FILE_ID: Final = bytes(range(0xF0, 0x100))
NAMESPACE: Final = "desk-7"
MADE: Final = 1_700_000_100.5

PARTS: Final[tuple[Begin | Item, ...]] = (
    Begin("settings", encrypted=False, blinded=False),
    Item("theme", Contents(serializers.dumps("dark"), 1_700_000_000.25, 1_700_000_300.5, NO_EXTRAS)),
    Item("M&M|NSE", Contents(serializers.dumps({"ltp": 24_000.5}), 1_700_000_001.0, math.inf, STALE)),
    Begin("auth", encrypted=True, blinded=True),
    Item(
        "~3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAA",
        Contents(serializers.dumps(b"\x00\xff"), 1_700_000_002.0, 1_700_000_302.0, ALL_EXTRAS),
    ),
    Item("~AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Contents(serializers.dumps(None), 1_700_000_003.0, math.inf, TAGS)),
    Begin("empty", encrypted=False, blinded=False),
)


def write() -> bytes:
    """Return the export, made by today's code with the randomness that it was made with."""
    out = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exportfile, "os", SimpleNamespace(urandom=lambda _count: FILE_ID))
        writer = Writer(out, RING, NAMESPACE, MADE)
    for part in PARTS:
        if isinstance(part, Begin):
            writer.begin(part)
        else:
            writer.add(part)
    writer.end()
    return out.getvalue()


if __name__ == "__main__" and not FILE.exists():
    FILE.write_bytes(write())

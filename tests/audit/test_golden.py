"""The format of the lines is frozen: what one release wrote, every later one verifies, and writes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from openalgo_cache.audit.event import Event
from openalgo_cache.audit.findings import MEANINGS
from openalgo_cache.audit.line import FIRST, Head, chain_key, contents, read, sign, verifies
from openalgo_cache.codec.keyring import KeyRing

GOLDEN: Final = Path(__file__).with_name("golden_v1.log")
PAGE: Final = Path(__file__).parents[2] / "docs" / "audit.md"
RING: Final = KeyRing.of_one(bytes(range(32)))
WRITER: Final = "00112233445566778899aabbccddeeff"
EVENTS: Final = (
    Event(None, "START", None, None, detail="pid 4711, version 0.1.0, after nothing"),
    Event("auth", "GET", "~3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAA", "blueprints.auth", hit=True),
    Event("settings", "SET", 'q"\\\n\u20b9\ud800', None),
    Event("auth", "DENIED", None, "plugins.one", detail="no rule"),
    Event(None, "STOP", None, None),
)


def written() -> bytes:
    """Return the lines of a chain that is the same at all times."""
    key = chain_key(RING, "golden", WRITER)
    head, lines = Head(WRITER, 0, FIRST), []
    for number, event in enumerate(EVENTS):
        line, head = sign(key, head, 1_764_000_000.25 + number, event, "instance-1")
        lines.append(line)
    return b"".join(lines)


def test_lines_are_written_as_ever() -> None:
    """Byte by byte."""
    assert written() == GOLDEN.read_bytes()


def test_lines_are_read_as_ever() -> None:
    """Each verifies under its writer's key, follows the one before it, and says what was recorded."""
    previous = FIRST
    for number, raw in enumerate(GOLDEN.read_bytes().splitlines()):
        line = read(raw)
        assert line is not None
        assert verifies(chain_key(RING, "golden", line.head.writer), line)
        assert not verifies(chain_key(RING, "other", line.head.writer), line)
        assert (line.head.writer, line.head.sequence, line.previous) == (WRITER, number + 1, previous)
        fields = contents(line)
        event = Event(*(fields[name] for name in ("cache", "operation", "key", "caller", "hit", "detail")))
        assert event == EVENTS[number]
        previous = line.head.mac


def test_every_bit_counts() -> None:
    """A line with any one bit changed is no line, or does not verify."""
    key = chain_key(RING, "golden", WRITER)
    raw = GOLDEN.read_bytes().splitlines()[1]
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        line = read(bytes(changed))
        assert line is None or not verifies(chain_key(RING, "golden", line.head.writer), line), place
    assert (whole := read(raw)) is not None
    assert verifies(key, whole)


def test_the_page_shows_a_golden_line() -> None:
    """And explains every finding."""
    page = PAGE.read_text(encoding="utf-8")
    assert GOLDEN.read_text(encoding="ascii").splitlines()[1] in page
    for kind in MEANINGS:
        assert f"| `{kind}` |" in page

"""What the audit log says of a file that goes since its time is up: its name, and where each chain in it ended."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, NamedTuple

from openalgo_cache.audit.event import Event

RETENTION: Final = "RETENTION"

Ends = dict[str, tuple[int, str]]
"""By writers: the number and the MAC of their last line."""

_CHAINS_A_LINE: Final = 30
_HEAD: Final = re.compile(r"(\S.*), [0-9]+ lines, [0-9]+ bytes")
_END: Final = re.compile(r"([0-9a-f]{32}) ([1-9][0-9]*) ([0-9a-f]{64})")


class Statement(NamedTuple):
    """One line about a file; a file with many chains needs several."""

    file: str
    ends: Ends


def statements(file: str, lines: int, size: int, ends: Ends) -> list[Event]:
    """Return the events that say that a file goes."""
    left = iter(ends.items())
    events: list[Event] = []
    while not events or ends:
        ends = dict(islice(left, _CHAINS_A_LINE))
        if events and not ends:
            break
        said = [f"{writer} {sequence} {mac}" for writer, (sequence, mac) in ends.items()]
        detail = "; ".join([f"{file}, {lines} lines, {size} bytes", *said])
        events.append(Event(None, RETENTION, None, None, detail=detail))
    return events


def parse_statement(detail: str) -> Statement | None:
    """Return what such a line says, from its detail."""
    head, *ends = detail.split("; ")
    named = _HEAD.fullmatch(head)
    found = [_END.fullmatch(end) for end in ends]
    if named is None or None in found:
        return None
    return Statement(named[1], {one[1]: (int(one[2]), one[3]) for one in found if one is not None})

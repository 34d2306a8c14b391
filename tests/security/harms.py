"""What somebody who may write to a store, and holds no key, can make of the bytes of something sealed."""

from __future__ import annotations

from collections.abc import Iterator

Harm = tuple[str, bytes]
"""What was done, and what came of it."""

SAMPLED = 7
"""Every seventh bit, so that each byte has its turn: a harm that is found in one bit of a byte is found in all."""


def flips(data: bytes, every: int = 1) -> Iterator[Harm]:
    """Flip one bit at a time."""
    for bit in range(0, len(data) * 8, every):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(changed)


def cuts(data: bytes) -> Iterator[Harm]:
    """Cut it off at every length, from either end, and put something behind it or before it."""
    for size in range(len(data)):
        yield f"the first {size} bytes", data[:size]
        yield f"without the first {size + 1} bytes", data[size + 1 :]
    for more in (b"\0", b"\xff", b"\0" * 16, data):
        yield f"with {len(more)} bytes behind", data + more
        yield f"with {len(more)} bytes before", more + data


def fills(data: bytes) -> Iterator[Harm]:
    """Put 0 and 255 in the place of each byte that is something else, and of all from there on."""
    for at, byte in enumerate(data):
        for other in {0, 255} - {byte}:
            yield f"byte {at} is {other}", data[:at] + bytes([other]) + data[at + 1 :]
            if (rest := bytes([other]) * (len(data) - at)) != data[at:]:
                yield f"from byte {at} on {other}", data[:at] + rest


def splices(one: bytes, other: bytes) -> Iterator[Harm]:
    """Put together the beginning of one and the end of the other, wherever that is neither of the two."""
    for at in range(1, min(len(one), len(other))):
        for begin, end in ((one, other), (other, one)):
            spliced = begin[:at] + end[at:]
            if spliced not in (one, other):
                yield f"spliced at {at}", spliced

"""Changes of bytes at random, for machines without a fuzzer that sees what it reaches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

MOST_BYTES: Final = 4096
"""Of a case that was made at random."""

_TELLING: Final = (0x00, 0x01, 0x7F, 0x80, 0xC1, 0xFF, *b"\r\n\"'{}[]:,%!~*$")


def mutate(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return a case of a corpus, changed in a few places; its first byte, the way, mostly stays."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        at = min(chance.randrange(len(data) + 1), max(len(data) - 1, 0)) if chance.random() < 0.1 else None
        at = chance.randint(min(1, len(data)), len(data)) if at is None else at
        change = chance.randrange(7)
        if change == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif change == 1 and at < len(data):
            data[at] = chance.choice(_TELLING)
        elif change == 2:
            data[at:at] = bytes([chance.choice(_TELLING)]) * chance.choice((1, 1, 2, 9, 200))
        elif change == 3:
            del data[at : at + chance.choice((1, 1, 2, 4, 64))]
        elif change == 4:
            data[at:at] = data[at : at + chance.randint(1, 64)] * chance.choice((1, 1, 2, 30))
        elif change == 5:
            other = chance.choice(corpus)
            begin = chance.randrange(len(other) + 1)
            data[at : at + chance.randrange(16)] = other[begin : begin + chance.randint(1, 64)]
        else:
            data[at : at + 4] = chance.getrandbits(32).to_bytes(4, "big")
    return bytes(data[:MOST_BYTES]) if len(data) > MOST_BYTES else bytes(data)

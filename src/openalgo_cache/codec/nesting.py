"""How deeply bytes are nested, told without decoding them.

The decoder bounds the depth of one MessagePack document, but the content of an extension is a document of its own, and
the decoder's stack grows with each. Bytes that nobody vouches for could exhaust it, which ends the process. The layout
is that of https://github.com/msgpack/msgpack/blob/master/spec.md.
"""

from __future__ import annotations

from typing import Final

# By first byte: (bytes of the length that follows, bytes of content besides what that length says).
_SCALARS: Final = (
    {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
    | {0xCA: (0, 4), 0xCB: (0, 8), 0xCC: (0, 1), 0xCD: (0, 2), 0xCE: (0, 4), 0xCF: (0, 8)}
    | {0xD0: (0, 1), 0xD1: (0, 2), 0xD2: (0, 4), 0xD3: (0, 8)}
    | {0xA0 + size: (0, size) for size in range(32)}
)
_EXTENSIONS: Final = {0xC7: (1, 0), 0xC8: (2, 0), 0xC9: (4, 0)} | {
    0xD4: (0, 1),
    0xD5: (0, 2),
    0xD6: (0, 4),
    0xD7: (0, 8),
    0xD8: (0, 16),
}
# By first byte: (bytes of the number of items that follows, items besides, values that each item has).
_CONTAINERS: Final = (
    {0xDC: (2, 0, 1), 0xDD: (4, 0, 1), 0xDE: (2, 0, 2), 0xDF: (4, 0, 2)}
    | {0x80 + items: (0, items, 2) for items in range(16)}
    | {0x90 + items: (0, items, 1) for items in range(16)}
)


def is_deeper_than(most: int, data: bytes, opaque: frozenset[int]) -> bool:
    """Return whether containers and extensions are nested more than ``most`` deep in MessagePack bytes.

    Args:
        most: The depth to bear.
        data: The bytes. Where they cease to make sense the look ends: no decoder gets any further.
        opaque: The types of extension whose content is no MessagePack.
    """
    open_values = [1]  # of each container that is open, how many values are still to come
    resume_at = [len(data)]  # where its parent goes on, for the content of an extension; else -1
    at = 0
    while open_values:
        if open_values[-1] == 0:
            open_values.pop()
            if (after := resume_at.pop()) >= 0:
                at = after
            continue
        if at >= len(data):
            return False
        open_values[-1] -= 1
        kind = data[at]
        at += 1
        if (scalar := _SCALARS.get(kind)) is not None:
            width, size = scalar
            at += width + size + int.from_bytes(data[at : at + width], "big")
        elif (container := _CONTAINERS.get(kind)) is not None:
            width, items, values = container
            open_values.append((items + int.from_bytes(data[at : at + width], "big")) * values)
            resume_at.append(-1)
            at += width
        elif (extension := _EXTENSIONS.get(kind)) is not None:
            width, size = extension
            size += int.from_bytes(data[at : at + width], "big")
            at += width + 1
            if at <= len(data) and data[at - 1] not in opaque:
                open_values.append(1)
                resume_at.append(at + size)
            else:
                at += size
        if len(open_values) > most + 1:
            return True
    return False

"""What ``keys rotate`` and ``keys retire`` print with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class KeyUse(TypedDict):
    """What of one cache in one place is sealed with which keys."""

    place: Annotated[str, "the file, the backups of a file, or the server"]
    cache: Annotated[str, "the cache's name, with `@` and the namespace where that is not the default one"]
    resealed: Annotated[int, "records that were sealed anew"]
    needs: Annotated[dict[str, int], "how many records need each key of the ring now, by the key's id"]
    unreadable: Annotated[dict[str, int], "how many name a key of the ring and cannot be verified; left as they are"]
    foreign: Annotated[int, "records of other key rings, or none at all; left as they are"]


class Rotated(TypedDict):
    """What `keys rotate` prints."""

    active: Annotated[str, "the id of the key that seals whatever is written now"]
    resumed: Annotated[bool, "whether this went on with a rotation that was begun before"]
    retired: Annotated[list[str], "the ids of the keys that were taken out of the ring"]
    left: Annotated[list[str], "the ids of old keys that records still need: the same command again does the rest"]
    late: Annotated[list[str], "instances that still seal with another key: the key ring has to be copied there"]
    caches: Annotated[list[KeyUse], "what was found"]
    problem: Annotated[str | None, "why a key was not retired"]


class Retired(TypedDict):
    """What `keys retire` prints."""

    key: Annotated[str, "the key's id"]
    retired: Annotated[bool, "whether it was taken out of the ring"]
    caches: Annotated[list[KeyUse], "what was found"]
    problem: Annotated[str | None, "why it was not"]

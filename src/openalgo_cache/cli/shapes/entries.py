"""What ``get``, ``set``, ``delete``, ``list`` and ``clear`` print with ``--json``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict


class Got(TypedDict):
    """What `get` prints."""

    cache: Annotated[str, "the cache's name"]
    key: Annotated[str, "the key, as `list` writes it; of a cache with blinded keys the stored hash"]
    found: Annotated[bool, "whether there is such an entry; all below is null if not"]
    type: Annotated[str | None, "the value's type in Python"]
    size: Annotated[int | None, "characters of a str, bytes of bytes, items of a container; else null"]
    expires_at: Annotated[float | None, "seconds since the epoch; null for never"]
    value: Annotated[Any, "the value, with `--reveal`"]
    encoding: Annotated[
        Literal["json", "repr"] | None, "`json`: `value` is the value itself; `repr`: it is how Python writes it"
    ]


class Stored(TypedDict):
    """What `set` prints."""

    cache: Annotated[str, "the cache's name"]
    key: Annotated[str, "as for `get`"]
    expires_at: Annotated[float | None, "seconds since the epoch; null for never"]


class Deleted(TypedDict):
    """What `delete` prints."""

    cache: Annotated[str, "the cache's name"]
    asked: Annotated[int, "how many keys were given"]
    deleted: Annotated[int, "how many of them were there"]


class Listed(TypedDict):
    """One key."""

    key: Annotated[str, "the key, as `--typed-key` reads it"]
    type: Annotated[str, "its type in Python"]


class Keys(TypedDict):
    """What `list` prints."""

    cache: Annotated[str, "the cache's name"]
    keys: Annotated[list[Listed], "the keys, in no particular order"]
    more: Annotated[bool, "whether there are more than `--limit`"]
    unreadable: Annotated[int, "entries that cannot be verified, which applications take for absent"]


class Cleared(TypedDict):
    """What `clear` prints."""

    cache: Annotated[str, "the cache's name"]
    cleared: Annotated[int, "how many entries there were"]

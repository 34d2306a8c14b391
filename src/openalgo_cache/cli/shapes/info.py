"""What ``info`` prints with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Choice(TypedDict):
    """The backend."""

    name: Annotated[str | None, "the backend that caches have, or would get; null if none can be chosen"]
    why: Annotated[str, "the reason, or what is wrong"]
    source: Annotated[str | None, "what decided: a variable, `recorded`, or `automatic`"]
    recorded: Annotated[bool, "whether a choice is recorded beside the key ring"]


class Ring(TypedDict):
    """The key ring; never its keys."""

    path: Annotated[str | None, "its file; null where the key is in CACHE_ENCRYPTION_KEY"]
    exists: Annotated[bool, "whether it is there; it is made when it is first needed"]
    id: Annotated[str | None, "its random id"]
    fingerprint: Annotated[str | None, "the same on two machines that hold the same ring"]
    active_key: Annotated[int | None, "the id of the key that seals new records"]
    problem: Annotated[str | None, "why it cannot be used"]


class Setting(TypedDict):
    """One variable."""

    variable: Annotated[str, "its name"]
    value: Annotated[str, "its value; `(hidden)` for secrets"]
    source: Annotated[str, "`environment`, `.env` or `default`"]


class Policy(TypedDict):
    """One cache of the catalogue."""

    name: Annotated[str, "its name"]
    lifetime: Annotated[str, "of entries that are set without one, in words"]
    maxsize: Annotated[int | None, "the most entries; null for no bound"]
    sealing: Annotated[str, "`plain`, `signed` or `encrypted`"]
    blinded_keys: Annotated[bool, "whether the store has keyed hashes in place of keys"]
    durability: Annotated[str, "`cache`, `local`, `state` or `snapshot`"]


class Info(TypedDict):
    """What `info` prints."""

    version: Annotated[str, "of openalgo-cache"]
    env_file: Annotated[str | None, "the file that settings were read from"]
    folder: Annotated[str, "of the cache files, the key ring and the record of the backend"]
    folder_exists: Annotated[bool, "whether it is there"]
    backend: Annotated[Choice, "the backend"]
    key_ring: Annotated[Ring, "the key ring"]
    caches: Annotated[list[Policy], "the catalogue"]
    settings: Annotated[list[Setting], "every variable, in the order of the reference"]

"""What ``copy``, ``export`` and ``import`` print with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Moved(TypedDict):
    """What became of the entries of one cache; each counts once."""

    name: Annotated[str, "the cache's name"]
    moved: Annotated[int, "written, read back and found equal; in a dry run, those that would be written"]
    unchanged: Annotated[int, "there already, equal"]
    kept: Annotated[int, "not written: there is another entry that may not be replaced"]
    passed: Annotated[
        int, "expired, deleted, or ended by a tag meanwhile, or leases of loads under way: nothing to move"
    ]
    unreadable: Annotated[int, "could not be verified, or have tags of another key ring; left where they are"]
    lost: Annotated[int, "written, and gone when they were read back"]
    problem: Annotated[str | None, "why not all of the cache was moved"]


class Copied(TypedDict):
    """What `copy` prints."""

    source: Annotated[str, "the backend copied from"]
    target: Annotated[str, "the backend copied to"]
    dry_run: Annotated[bool, "whether nothing was written"]
    caches: Annotated[list[Moved], "the caches that had something stored"]


class Exported(TypedDict):
    """What `export` prints."""

    file: Annotated[str, "the file"]
    bytes: Annotated[int, "its size"]
    caches: Annotated[list[Moved], "the caches in it"]


class InFile(TypedDict):
    """One cache in an export."""

    name: Annotated[str, "the cache's name"]
    entries: Annotated[int, "how many entries it has"]
    encrypted: Annotated[bool, "whether its records were encrypted where it comes from"]
    blinded_keys: Annotated[bool, "whether it has keyed hashes in place of keys"]


class Restored(TypedDict):
    """What `import` prints."""

    file: Annotated[str, "the file"]
    namespace: Annotated[str, "where its caches come from"]
    created_at: Annotated[float, "when it was made, seconds since the epoch"]
    contents: Annotated[list[InFile], "all caches in it"]
    dry_run: Annotated[bool, "whether it was verified only"]
    caches: Annotated[list[Moved], "the caches that were imported"]

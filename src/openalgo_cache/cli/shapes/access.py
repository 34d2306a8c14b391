"""What the commands of ``access`` print with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Granted(TypedDict):
    """Who may use one cache: patterns of dotted module names."""

    cache: Annotated[str, "its name; empty for every cache that is not named"]
    read: Annotated[list[str], "who may look"]
    write: Annotated[list[str], "who may change entries"]
    clear: Annotated[list[str], "who may end all entries, or those of a tag"]


class AccessListed(TypedDict):
    """What `access list` prints."""

    rules: Annotated[str | None, "`catalogue`, or the file of the rules; null if every module may use every cache"]
    caches: Annotated[list[Granted], "the caches that the rules name"]
    default: Annotated[Granted, "every other cache"]


class Allowed(TypedDict):
    """What `access check` prints."""

    cache: Annotated[str, "the cache"]
    module: Annotated[str, "the module"]
    rules: Annotated[str | None, "`catalogue`, or the file of the rules; null if every module may use every cache"]
    read: Annotated[bool, "whether it may look"]
    write: Annotated[bool, "whether it may change entries"]
    clear: Annotated[bool, "whether it may end all entries, or those of a tag"]
    patterns: Annotated[dict[str, str], "for each right that it has, the pattern that gives it"]

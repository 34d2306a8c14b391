"""What ``stats`` prints with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class Figures(TypedDict):
    """What the store knows of one cache. Times are seconds since the epoch."""

    name: Annotated[str, "the cache's name"]
    file: Annotated[str | None, "its SQLite file; null on other backends, where only `entries` is known"]
    entries: Annotated[int, "those past their expiry that wait for the purge included"]
    expired: Annotated[int | None, "how many those are"]
    payload_bytes: Annotated[int | None, "the size of all records"]
    file_bytes: Annotated[int | None, "the size of the file"]
    journal_bytes: Annotated[int | None, "the size of the log beside it"]
    unused_bytes: Annotated[int | None, "space in the file that is free"]
    oldest_at: Annotated[float | None, "when the oldest entry was written"]
    newest_at: Annotated[float | None, "when the newest was"]
    keys_read: Annotated[int | None, "how many keys were ever read, as far as it is on the disk yet"]
    reads: Annotated[int | None, "how often, without what the near tiers answered"]
    last_read_at: Annotated[float | None, "when the last time was"]
    pending_deletes: Annotated[int, "deletes that failed and are still to be carried out; nobody is served these keys"]
    problems: Annotated[list[str], "what is damaged"]


class Stats(TypedDict):
    """What `stats` prints."""

    backend: Annotated[str, "the backend"]
    folder: Annotated[str, "of the cache files"]
    at: Annotated[float, "when it was looked"]
    caches: Annotated[list[Figures], "those that have something stored; with NAME that one, or none"]

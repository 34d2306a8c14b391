"""What the commands of ``keys``, but for ``rotate`` and ``retire`` print with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


class HeldKey(TypedDict):
    """One key of the ring; never its secret."""

    id: Annotated[str, "its id, eight hexadecimal digits"]
    state: Annotated[str, "`active`: it seals what is written; `decrypt-only`: it opens what it has sealed"]
    created_at: Annotated[float | None, "when it was made, seconds since the epoch; null where nobody knows"]
    since: Annotated[float | None, "since when it has its state, likewise"]


class KeyHolder(TypedDict):
    """A process that holds the ring, as it told in the store that instances share."""

    instance: Annotated[str, "its instance"]
    process: Annotated[str, "a random word; an instance may be several processes"]
    keys: Annotated[list[str], "the ids of the keys that it holds"]
    active: Annotated[str, "the id of the key that it seals with"]
    seen_at: Annotated[float, "when it told so, seconds since the epoch"]


class KeyRingListed(TypedDict):
    """What `keys list` prints."""

    path: Annotated[str | None, "the ring's file; null where the key is in CACHE_ENCRYPTION_KEY"]
    id: Annotated[str | None, "the ring's id; null if there is no ring"]
    fingerprint: Annotated[str | None, "the same on two machines that hold the same ring"]
    keys: Annotated[list[HeldKey], "its keys, oldest first"]
    holders: Annotated[list[KeyHolder], "the processes that hold it; empty where the store is this host's alone"]
    strangers: Annotated[list[str], "fingerprints of other rings that are said to be in use on the store"]
    holders_problem: Annotated[str | None, "why the store cannot tell"]


class KeyRingChanged(TypedDict):
    """What the commands print that make or change a ring."""

    file: Annotated[str, "the file that was written"]
    in_effect: Annotated[bool, "whether that is the ring in use, or a file that has to be put in its place"]
    id: Annotated[str, "the ring's id"]
    fingerprint: Annotated[str, "its fingerprint"]
    key: Annotated[str, "the id of the key that was added or activated"]
    keys: Annotated[list[HeldKey], "all keys now, oldest first"]


class RecordsByKey(TypedDict):
    """What the ring makes of one cache's records."""

    name: Annotated[str, "the cache"]
    records: Annotated[int, "how many there are"]
    by_key: Annotated[dict[str, int], "how many each key of the ring has sealed"]
    unknown: Annotated[dict[str, int], "how many are sealed with keys that the ring does not have, by key"]
    unverifiable: Annotated[int, "how many name a key of the ring and do not verify, or are no records"]


class KeyRingVerified(TypedDict):
    """What `keys verify` prints."""

    fingerprint: Annotated[str | None, "the ring's fingerprint; null if it cannot be used"]
    caches: Annotated[list[RecordsByKey], "the caches that have something stored"]
    problems: Annotated[list[str], "what is wrong, each with what to do"]

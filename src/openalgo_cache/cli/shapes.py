"""The shapes of what ``--json`` prints. They only grow: a field is never renamed, and never changes its type.

The texts beside the fields are the reference in docs/cli.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict


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


class Problem(TypedDict):
    """A bad row of a master contract."""

    row: Annotated[int, "its number; the header's is 1"]
    problem: Annotated[str, "what is wrong with it"]


class Imported(TypedDict):
    """What `symbols import` prints."""

    rows: Annotated[int, "how many instruments the new master has"]
    skipped: Annotated[int, "how many rows were left out"]
    seconds: Annotated[float, "how long it took"]
    version: Annotated[str, "the new master's number"]
    published: Annotated[bool | None, "whether the instances that share a server have it, too; null if none is shared"]
    problems: Annotated[list[Problem], "what is wrong with the rows left out, the first 1,000"]
    notes: Annotated[list[str], "what is not wrong, but worth saying"]


class OwnMaster(TypedDict):
    """The master that is served here."""

    version: Annotated[str, "its number"]
    rows: Annotated[int, "how many instruments it has"]
    imported_at: Annotated[float, "when it was imported"]
    source: Annotated[str, "the file on this machine that it came from; empty if it came from elsewhere"]
    file_bytes: Annotated[int, "the size of its file"]


class PublishedMaster(TypedDict):
    """The master that instances share."""

    serial: Annotated[int, "rises by one with each publication"]
    version: Annotated[str, "its number"]
    rows: Annotated[int, "how many instruments it has"]
    imported_at: Annotated[float, "when it was imported"]
    published_at: Annotated[float, "when it was published"]
    instance: Annotated[str, "who published it"]
    bytes: Annotated[int, "how much of the server it takes"]


class MasterStatus(TypedDict):
    """What `symbols status` and `symbols sync` print."""

    own: Annotated[OwnMaster | None, "the master that is served here"]
    shared: Annotated[bool, "whether instances share a server"]
    published: Annotated[PublishedMaster | None, "the master that they share"]
    in_step: Annotated[bool, "whether the two are the same, or nothing is shared"]


class Fields(TypedDict):
    """An instrument: the columns of the master contract, and what a derivative derives from."""

    symbol: Annotated[str, "OpenAlgo's symbol"]
    brsymbol: Annotated[str, "the broker's symbol"]
    name: Annotated[str, "the company's or the underlying's name"]
    exchange: Annotated[str, "OpenAlgo's exchange"]
    brexchange: Annotated[str, "the broker's exchange"]
    token: Annotated[str, "the broker's number for it"]
    expiry: Annotated[str, "`28-MAR-24`; empty where nothing expires"]
    strike: Annotated[float, "the strike price; 0 where there is none"]
    lotsize: Annotated[int, "units in a lot"]
    instrumenttype: Annotated[str, "`EQ`, `INDEX`, `FUT`, `CE`, `PE`, or what the broker says"]
    tick_size: Annotated[float, "the smallest step of the price"]
    contract_value: Annotated[float | None, "the value of one contract, where the exchange states it"]
    underlying: Annotated[str, "what a derivative derives from; else empty"]


class Searched(TypedDict):
    """What `symbols search` prints."""

    query: Annotated[str, "the terms"]
    exchange: Annotated[str | None, "the exchange that was asked for"]
    instruments: Annotated[list[Fields], "what was found, the best first"]
    more: Annotated[bool, "whether there are more than `--limit`"]


class Shown(TypedDict):
    """What `symbols show` prints."""

    symbol: Annotated[str, "the symbol that was asked for"]
    exchange: Annotated[str, "the exchange"]
    found: Annotated[bool, "whether there is such an instrument"]
    instrument: Annotated[Fields | None, "the instrument"]


class Generated(TypedDict):
    """What `symbols generate` prints."""

    file: Annotated[str, "the file"]
    rows: Annotated[int, "how many instruments it has"]
    seed: Annotated[int, "what they were drawn from"]
    bytes: Annotated[int, "the file's size"]


class Used(TypedDict):
    """What `use` prints."""

    backend: Annotated[str, "what is recorded now"]
    previous: Annotated[str | None, "what was recorded before"]
    record: Annotated[str, "the file that it is recorded in"]
    in_effect: Annotated[bool, "whether the record decides; if not, `decided_by` does"]
    decided_by: Annotated[str, "`recorded`, or the variable that decides in its place"]
    left_behind: Annotated[dict[str, int], "entries that stay in the SQLite files, by cache"]


class Check(TypedDict):
    """One thing that was looked at."""

    check: Annotated[str, "its name"]
    status: Annotated[Literal["ok", "warning", "error"], "how it is"]
    what: Annotated[str, "what was found"]
    fix: Annotated[str | None, "what to do about it"]


class Diagnosis(TypedDict):
    """What `doctor` prints."""

    errors: Annotated[int, "how many checks found one"]
    warnings: Annotated[int, "likewise"]
    checks: Annotated[list[Check], "every check, the worst first"]


class Rewritten(TypedDict):
    """One file."""

    file: Annotated[str, "the file"]
    rows: Annotated[int | None, "how many it has; null if it was so already, or is empty"]


class Encrypted(TypedDict):
    """What `encrypt-files` prints."""

    encrypted: Annotated[bool, "whether the files are encrypted now"]
    files: Annotated[list[Rewritten], "the files of the caches, of their locks, and the backups of state"]
    damaged_copies: Annotated[list[str], "copies of files that were found damaged; they stay as they are"]
    setting: Annotated[bool, "SQLITE_FILE_ENCRYPTION"]


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


class AuditFinding(TypedDict):
    """What was found in the audit log."""

    kind: Annotated[str, "what it is, such as `edited`, `deleted`, `cut`"]
    note: Annotated[bool, "whether it happens without tampering, as when a process is killed"]
    file: Annotated[str, "the file's name"]
    line: Annotated[int | None, "the first line, from 1 up; null where it is about the file, or about what is missing"]
    last_line: Annotated[int | None, "the last line; those of other writers may be between"]
    writer: Annotated[str | None, "the writer of the chain"]
    sequence: Annotated[int | None, "the number in the chain of the first line"]
    last_sequence: Annotated[int | None, "that of the last"]
    lines: Annotated[int, "how many lines it is about"]
    what: Annotated[str, "what it means"]


class AuditVerified(TypedDict):
    """What `audit verify` prints."""

    log: Annotated[str, "the log's path, without the date"]
    files: Annotated[list[str], "the names of its files"]
    lines: Annotated[int, "how many lines they have"]
    chains: Annotated[int, "how many chains"]
    heads: Annotated[int, "how many chains the heads know"]
    intact: Annotated[bool, "whether all findings are notes"]
    findings: Annotated[list[AuditFinding], "what was found; what needs an explanation first"]


class AuditLine(TypedDict):
    """One line of the audit log."""

    timestamp: Annotated[str, "when, in UTC"]
    cache: Annotated[str | None, "the cache"]
    operation: Annotated[str, "what was done"]
    key: Annotated[str | None, "the key, blinded where the cache blinds its keys"]
    caller: Annotated[str | None, "the module that did it"]
    hit: Annotated[bool | None, "whether there was an entry"]
    instance_id: Annotated[str, "the instance"]
    detail: Annotated[str | None, "what else there is to say"]
    writer: Annotated[str, "the writer of the chain"]
    sequence: Annotated[int, "its number in the chain"]
    file: Annotated[str, "the file that has it"]


class AuditLines(TypedDict):
    """What `audit tail` and `audit search` print."""

    lines: Annotated[list[AuditLine], "the lines, the oldest first"]
    more: Annotated[bool, "whether there are more than `--limit`"]
    unverified: Annotated[int, "lines that were passed over since they do not verify"]


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

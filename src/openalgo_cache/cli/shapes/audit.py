"""What the commands of ``audit`` print with ``--json``."""

from __future__ import annotations

from typing import Annotated, TypedDict


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

"""What the verification of the audit log finds, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "edited",
    "unknown writer",
    "unreadable",
    "deleted",
    "moved",
    "duplicated",
    "wrong day",
    "forked",
    "cut",
    "file missing",
    "changed before",
    "heads unreadable",
    "heads unknown",
    "half-written",
    "not ended",
    "retired",
]

MEANINGS: Final[dict[Kind, str]] = {
    "edited": "was changed: it does not have the MAC of what it says",
    "unknown writer": "was made up, or comes from another installation, namespace or key ring",
    "unreadable": "is no line of the log, and nobody noted that he could not finish it: it was inserted or overwritten",
    "deleted": "are missing before this place: they were deleted, or replaced",
    "moved": "stands behind lines that were written after it",
    "duplicated": "stands here once more",
    "wrong day": "was written on a later day than that of this file: files or lines were exchanged",
    "forked": "does not follow the line before it, though both are ours: two processes went on from one state",
    "cut": "are missing at the end: the heads say that the chain goes on",
    "file missing": "is gone, and no line says that its time was up",
    "changed before": "is not what it was when this chain began: something before this place was changed or removed",
    "heads unreadable": "says where chains end, and cannot be verified: it was damaged or forged",
    "heads unknown": "cannot be asked where chains end: what was cut off an end, or went as a whole, may not show",
    "half-written": "could not be finished by its process: it was killed, or the power went",
    "not ended": "has no end: its process still runs, or was killed, and then what it had queued may be lost",
    "retired": "is still there, though its time was up",
}
NOTES: Final[frozenset[Kind]] = frozenset({"heads unknown", "half-written", "not ended", "retired"})
"""What happens without anybody's tampering."""


@dataclass(slots=True)
class Finding:
    """Something that was found, once or in several lines.

    Attributes:
        kind: What it is.
        file: The name of the file.
        line: The number of the first line, from 1 up; None where it is about the file, or about what is not there.
        last_line: That of the last.
        writer: The writer of the chain, as the line claims; None if it claims none.
        sequence: The number in the chain of the first line; None likewise.
        last_sequence: That of the last.
        count: How many lines.
    """

    kind: Kind
    file: str
    line: int | None = None
    last_line: int | None = None
    writer: str | None = None
    sequence: int | None = None
    last_sequence: int | None = None
    count: int = 1

    @property
    def is_note(self) -> bool:
        """Whether it happens without anybody's tampering."""
        return self.kind in NOTES

    def absorb(self, other: Finding) -> None:
        """Take in a later finding of the same kind."""
        self.last_line, self.last_sequence, self.count = other.last_line, other.last_sequence, self.count + other.count

    def place(self) -> str:
        """Say where it is."""
        words = [self.file]
        if self.line is not None:
            words.append(_span("line", self.line, self.last_line))
        if self.writer is not None:
            words.append(f"writer {self.writer[:8]}")
        if self.sequence is not None:
            words.append(_span("sequence", self.sequence, self.last_sequence))
        return ", ".join(words)

    def __str__(self) -> str:
        return f"{self.place()}: {self.kind}: {MEANINGS[self.kind]}"


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with those of one kind, file and writer that follow each other made one."""
    result: list[Finding] = []
    last: dict[tuple[Kind, str, str | None], Finding] = {}
    for finding in findings:
        key = (finding.kind, finding.file, finding.writer)
        before = last.get(key)
        if before is not None and _adjoin(before, finding):
            before.absorb(finding)
        else:
            last[key] = finding
            result.append(finding)
    return result


def _adjoin(before: Finding, finding: Finding) -> bool:
    if before.kind in {"edited", "moved", "duplicated", "wrong day", "unknown writer"}:
        return before.last_sequence is None or finding.sequence == before.last_sequence + 1
    return False


def _span(word: str, first: int, last: int | None) -> str:
    return f"{word} {first}" if last is None or last == first else f"{word}s {first}-{last}"

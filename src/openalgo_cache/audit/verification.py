"""Verifying the audit log: whether every line is as it was written, and none is missing, and if not, which.

A line proves by its MAC that its writer wrote it, and says by its number and by the MAC of the line before it where it
belongs. ``START`` says how the newest file ended before; the heads, outside of the files, how far each chain goes; and
``RETENTION`` which files went since their time was up. Nothing is parsed before its MAC was verified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from openalgo_cache.audit import line
from openalgo_cache.audit.days import Days
from openalgo_cache.audit.findings import Finding, Kind, merged
from openalgo_cache.audit.heads import Anchor
from openalgo_cache.audit.reading import Raw, extents, lines_of, mac_before
from openalgo_cache.audit.statements import RETENTION, Ends, parse_statement
from openalgo_cache.audit.writer import DAY, MENDED, START, STOP

KeyOf = Callable[[str], bytes]
"""Returns the key of a writer."""
Tell = Callable[[str, float], None]
"""Told what is under way, and how much of all is done, from 0 to 1."""

_AFTER: Final = re.compile(r"after (\S.*) ([0-9]+) ([0-9a-f]{64})$")
_GOES_ON: Final = re.compile(r"goes on from ([0-9a-f]{32}) ")
_MENDED: Final = re.compile(r"at ([0-9]+), ([0-9]+) bytes, sha256 ([0-9a-f]{64})$")
_DAY: Final = slice(len('{"timestamp":"'), len('{"timestamp":"2026-11-24'))
_OWN: Final = b'Z","cache":null,'
"""What only lines have that say something of the log itself, and a few others."""
_TOLD_EVERY: Final = 2000
_TRIES: Final = 5


class Gap(NamedTuple):
    """Lines of a chain that were not found before a later one.

    Attributes:
        first: The number of the first.
        last: That of the last.
        previous: The MAC of the last, as the line after it says.
        file: Where that line stands.
        number: Likewise.
    """

    first: int
    last: int
    previous: str
    file: str
    number: int


@dataclass(slots=True)
class Chain:
    """What was found of a chain.

    Attributes:
        sequence: The highest number.
        mac: That line's MAC; None if it was changed.
        file: Where it stands.
        ended: Whether it ended in an orderly way.
        gaps: What was not found yet.
    """

    sequence: int = 0
    mac: str | None = line.FIRST
    file: str = ""
    ended: bool = False
    gaps: list[Gap] = field(default_factory=list)


class Rest(NamedTuple):
    """What is no line: where it stands, how long it is, and its SHA-256."""

    file: str
    offset: int
    length: int
    digest: str


class Reference(NamedTuple):
    """What a ``START`` says of the newest file: that a line with this MAC ended there at this size."""

    file: str
    size: int
    mac: str
    at: Finding


@dataclass(slots=True)
class Report:
    """What was verified.

    Attributes:
        findings: What was found, in order.
        files: The names of the files.
        lines: How many lines there are.
        chains: How many chains.
        ends: Where each chain ends in these files.
    """

    findings: list[Finding]
    files: list[str]
    lines: int
    chains: int
    ends: Ends

    @property
    def problems(self) -> list[Finding]:
        """What somebody must have done."""
        return [finding for finding in self.findings if not finding.is_note]


class Verification:
    """Goes through the lines of files in their order.

    Args:
        key_of: Returns the key of a writer.
        anchored: The writers that the heads know.
    """

    def __init__(self, key_of: KeyOf, anchored: Iterable[str] = ()) -> None:
        self._key_of = key_of
        self._keys: dict[str, bytes] = {}
        self._known = set(anchored)
        self._findings: list[Finding] = []
        self._failed: list[Finding] = []
        self._unreadable: list[tuple[Finding, Rest]] = []
        self._mended: set[Rest] = set()
        self._references: list[Reference] = []
        self.chains: dict[str, Chain] = {}
        self.retired: dict[str, Ends] = {}
        self.lines = 0

    def take(self, path: Path, raw: Raw, day: str) -> None:
        """Look at the next line."""
        self.lines += 1
        signed = line.read(raw.content)
        if signed is None:
            finding = Finding("half-written" if raw.torn else "unreadable", path.name, raw.number, raw.number)
            rest = Rest(path.name, raw.offset, len(raw.content), sha256(raw.content).hexdigest())
            self._unreadable.append((finding, rest))
            return
        writer, sequence, _ = signed.head
        key = self._keys.get(writer)
        if key is None:
            key = self._keys[writer] = self._key_of(writer)
        here = Finding("edited", path.name, raw.number, raw.number, writer, sequence, sequence)
        if not line.verifies(key, signed):
            self._failed.append(here)
            chain = self.chains.get(writer)
            if chain is not None and sequence == chain.sequence + 1:
                chain.sequence, chain.mac, chain.file = sequence, None, path.name
            return
        self._known.add(writer)
        chain = self.chains.get(writer)
        if chain is None:
            chain = self.chains[writer] = Chain()
        self._place(chain, signed, here)
        if signed.body[_DAY] > day.encode():
            self._found("wrong day", here)
        if signed.body.startswith(_OWN, _DAY.stop + len("T00:00:00.000000")):
            self._understand(path, signed, here, chain)

    def _place(self, chain: Chain, signed: line.Signed, here: Finding) -> None:
        """See whether a line, which is genuine, stands where it belongs."""
        _, sequence, mac = signed.head
        expected = chain.sequence + 1
        if sequence < expected:
            for gap in chain.gaps:
                if gap.first <= sequence <= gap.last:
                    self._found("moved", here)
                    chain.gaps.remove(gap)
                    chain.gaps += _without(gap, sequence, signed.previous)
                    return
            self._found("duplicated", here)
            return
        if sequence > expected:
            chain.gaps.append(Gap(expected, sequence - 1, signed.previous, here.file, here.line or 0))
        elif chain.mac is not None and signed.previous != chain.mac:
            self._found("forked", here)
        chain.sequence, chain.mac, chain.file, chain.ended = sequence, mac, here.file, False

    def _understand(self, path: Path, signed: line.Signed, here: Finding, chain: Chain) -> None:
        """Take note of what a line says of the log itself."""
        fields = line.contents(signed)
        operation, detail = fields["operation"], str(fields["detail"])
        if operation == STOP:
            chain.ended = True
        elif operation in {START, DAY}:
            if (found := _AFTER.search(detail)) is not None:
                self._references.append(Reference(found[1], int(found[2]), found[3], here))
            if (found := _GOES_ON.search(detail)) is not None and found[1] in self.chains:
                self.chains[found[1]].ended = True
        elif operation == MENDED:
            if (found := _MENDED.fullmatch(detail)) is not None:
                self._mended.add(Rest(path.name, int(found[1]), int(found[2]), found[3]))
        elif operation == RETENTION and (statement := parse_statement(detail)) is not None:
            self.retired.setdefault(statement.file, {}).update(statement.ends)

    def is_sound(self) -> bool:
        """Return whether, of one file, every line is genuine and in its place, as far as the file alone can tell."""
        unreadable = [one for one, rest in self._unreadable if rest not in self._mended and not one.is_note]
        gaps = [gap for chain in self.chains.values() for gap in chain.gaps if gap.first != 1]
        return not (self._findings or self._failed or unreadable or gaps)

    def finish(self, anchors: dict[str, Anchor], mine: Callable[[Anchor], bool], days: Days) -> list[Finding]:
        """Return what was found, now that all lines were seen.

        Args:
            anchors: The heads.
            mine: Whether a chain of which no line is here should be here.
            days: The files.
        """
        for finding in self._failed:
            self._found("edited" if finding.writer in self._known else "unknown writer", finding)
        for finding, rest in self._unreadable:
            self._found("half-written" if rest in self._mended else finding.kind, finding)
        ended: Ends = {}
        for ends in self.retired.values():
            ended |= {writer: end for writer, end in ends.items() if end[0] > ended.get(writer, (0, ""))[0]}
        for writer, chain in self.chains.items():
            for gap in chain.gaps:
                if gap.first == 1 and self._is_retired(writer, gap):
                    continue
                place = Finding("deleted", gap.file, gap.number, gap.number, writer, gap.first, gap.last)
                place.count = gap.last - gap.first + 1
                self._findings.append(place)
            if not chain.ended:
                place = Finding("not ended", chain.file, None, None, writer, chain.sequence, chain.sequence)
                self._findings.append(place)
        for writer, anchor in anchors.items():
            self._hold_against(writer, anchor, ended, mine, days)
        self._follow_references(days)
        self._findings += [Finding("retired", name) for name in self.retired if days.path.with_name(name).exists()]
        order = {path.name: place for place, path in enumerate(days.files().values())}
        self._findings.sort(key=lambda one: (one.is_note, order.get(one.file, -1), one.line or 0, one.sequence or 0))
        return merged(self._findings)

    def _is_retired(self, writer: str, gap: Gap) -> bool:
        """Return whether the beginning of a chain was in files whose time was up."""
        return any(ends.get(writer) == (gap.last, gap.previous) for ends in self.retired.values())

    def _hold_against(
        self, writer: str, anchor: Anchor, ended: Ends, mine: Callable[[Anchor], bool], days: Days
    ) -> None:
        """Compare a chain with its head."""
        chain = self.chains.get(writer)
        there = max(0 if chain is None else chain.sequence, ended.get(writer, (0, ""))[0])
        if there >= anchor.sequence or (chain is None and not mine(anchor)):
            return
        path = days.file_of(anchor.day)
        kind: Kind = "cut" if path.exists() else "file missing"
        lost = Finding(kind, path.name, None, None, writer, there + 1, anchor.sequence)
        lost.count = anchor.sequence - there
        self._findings.append(lost)

    def _follow_references(self, days: Days) -> None:
        """See whether files are still what they were when chains began; one finding a file says enough."""
        touched = {finding.file for finding in self._findings if not finding.is_note}
        for file, size, mac, here in self._references:
            if file in touched or file in self.retired:
                continue
            path = days.path.with_name(Path(file).name)
            try:
                if mac_before(path, size) == mac:
                    continue
                self._found("changed before", here)
            except FileNotFoundError:
                self._findings.append(Finding("file missing", file))
            touched.add(file)

    def _found(self, kind: Kind, here: Finding) -> None:
        self._findings.append(
            Finding(kind, here.file, here.line, here.last_line, here.writer, here.sequence, here.last_sequence)
        )


def verify(
    days: Days,
    key_of: KeyOf,
    anchors: dict[str, Anchor],
    mine: Callable[[Anchor], bool] = lambda _: True,
    tell: Tell = lambda _what, _done: None,
) -> Report:
    """Verify all files of a log.

    Args:
        days: The files.
        key_of: Returns the key of a writer.
        anchors: The heads, read before: a chain that went on since is longer, not shorter.
        mine: Whether a chain of which no line is here should be here.
        tell: Told how far it is.

    Raises:
        OSError: A file cannot be read.
    """
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):  # its time was up just now: what is left is another log
            return _verify(days, key_of, anchors, mine, tell)
    return _verify(days, key_of, anchors, mine, tell)


def _verify(
    days: Days, key_of: KeyOf, anchors: dict[str, Anchor], mine: Callable[[Anchor], bool], tell: Tell
) -> Report:
    files = extents(days)
    total = sum(files.values()) or 1
    verification = Verification(key_of, anchors)
    done = 0
    for path, size in files.items():
        day = days.day_in(path)
        for raw in lines_of(path, size):
            verification.take(path, raw, day)
            if not verification.lines % _TOLD_EVERY:
                tell(path.name, (done + raw.offset) / total)
        done += size
    findings = verification.finish(anchors, mine, days)
    ends = {writer: (chain.sequence, chain.mac or "") for writer, chain in verification.chains.items()}
    return Report(findings, [path.name for path in files], verification.lines, len(ends), ends)


def _without(gap: Gap, sequence: int, previous: str) -> list[Gap]:
    """Return what is left of a gap when one of its lines was found."""
    before = Gap(gap.first, sequence - 1, previous, gap.file, gap.number)
    after = Gap(sequence + 1, gap.last, gap.previous, gap.file, gap.number)
    return [one for one in (before, after) if one.first <= one.last]

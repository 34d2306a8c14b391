"""What ``audit verify``, ``audit tail`` and ``audit search`` do."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from openalgo_cache.audit.days import Days, day_of, days_before
from openalgo_cache.audit.findings import MEANINGS, Finding
from openalgo_cache.audit.heads import Anchor, anchors_in
from openalgo_cache.audit.line import chain_key, timestamp
from openalgo_cache.audit.searching import DENIED, Logged, Query, Reader
from openalgo_cache.audit.verification import KeyOf
from openalgo_cache.audit.verification import verify as verify_log
from openalgo_cache.catalogue import AUDIT_HEADS
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Pen, count, printable, show
from openalgo_cache.cli.progress import bar
from openalgo_cache.cli.session import RefusedError, Session
from openalgo_cache.cli.shapes.audit import AuditFinding, AuditLine, AuditLines, AuditVerified
from openalgo_cache.errors import CacheError, InvalidKeyError, UnreadableRecordError
from openalgo_cache.keys import BlindedKeyspace, Keyspace, parse

if TYPE_CHECKING:
    from openalgo_cache.keys import Key

_LOOK: Final = 0.25
"""Seconds between two looks whether something was logged."""
_AGO: Final = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Wanted(NamedTuple):
    """What is searched for, as it was typed."""

    cache: str | None
    operation: str | None
    caller: str | None
    key: str | None
    typed_key: bool
    since: str | None
    until: str | None
    denied: bool
    limit: int


def verify(env_file: Path | None, *, as_json: bool) -> Code:
    """Verify the whole log, and say what was found."""
    with Session(env_file, as_json=as_json) as session:
        days, key_of = _log(session)
        anchors, doubt = _anchors(session)
        with bar(as_json=as_json) as tell:
            found = verify_log(days, key_of, anchors, _is_expected(session, days), tell)
        if not anchors and not doubt and found.lines:
            doubt = [Finding("heads unknown", AUDIT_HEADS)]
    findings = [*doubt, *found.findings]
    findings.sort(key=lambda finding: finding.is_note)
    report = AuditVerified(
        log=str(days.path),
        files=found.files,
        lines=found.lines,
        chains=found.chains,
        heads=len(anchors),
        intact=all(finding.is_note for finding in findings),
        findings=[_described(finding) for finding in findings],
    )
    show(report, lambda pen: _draw_verified(pen, report, findings), as_json=as_json)
    return Code.OK if report["intact"] else Code.NO


def tail(env_file: Path | None, number: int, *, follow: bool, as_json: bool) -> Code:
    """Show the last lines, and what comes to them."""
    with Session(env_file, as_json=as_json) as session:
        reader = Reader(*_log(session))
        last = reader.last(number)
        if not follow:
            report = _lines(last, more=False)
            show(report, lambda pen: _draw_lines(pen, report), as_json=as_json)
            return Code.OK
        pen = Pen()
        try:
            while True:
                _follow(pen, last, as_json=as_json)
                time.sleep(_LOOK)
                last = reader.more()
        except KeyboardInterrupt:
            return Code.INTERRUPTED


def search(env_file: Path | None, wanted: Wanted, *, as_json: bool) -> Code:
    """Show the lines that match."""
    with Session(env_file, as_json=as_json) as session:
        if wanted.denied and wanted.operation not in {None, DENIED}:
            raise RefusedError("--denied and --operation exclude each other")
        query = Query(
            cache=wanted.cache,
            operation=DENIED if wanted.denied else wanted.operation and wanted.operation.upper(),
            caller=wanted.caller,
            keys=None if wanted.key is None else _forms(session, _key(wanted.key, typed=wanted.typed_key)),
            since=_moment("--since", wanted.since, session.now()),
            until=_moment("--until", wanted.until, session.now()),
        )
        kept: deque[Logged] = deque(maxlen=wanted.limit + 1 if wanted.limit else None)
        unverified = 0
        for logged in Reader(*_log(session)).search(query):
            if logged.fields is None:
                unverified += 1
            else:
                kept.append(logged)
        more = bool(wanted.limit) and len(kept) > wanted.limit
        if more:
            kept.popleft()
        report = _lines(kept, more=more)
        report["unverified"] = unverified
    show(report, lambda pen: _draw_lines(pen, report), as_json=as_json)
    return Code.OK if report["lines"] else Code.NO


def _log(session: Session) -> tuple[Days, KeyOf]:
    """Return the files of the log, and what knows the keys of its writers."""
    settings = session.settings
    days = Days(settings.audit_log_path, settings.cache_namespace)
    if not days.files() and not session.has_ring():
        return days, lambda _: b""  # there is nothing to verify
    session.refuse_without_ring(f"the audit log {days.path} cannot be verified")
    ring = session.manager.ring()
    return days, partial(chain_key, ring, settings.cache_namespace or ring.id)


def _anchors(session: Session) -> tuple[dict[str, Anchor], list[Finding]]:
    """Return the heads, or what keeps them from being read."""
    try:
        backend = session.choice().backend
        if backend == "memory":
            backend = "sqlite"
        if (backend == "sqlite" and not session.cache_file(AUDIT_HEADS).exists()) or not session.has_ring():
            return {}, []
        with closing(session.manager.new_cache(AUDIT_HEADS, backend=backend)) as heads:
            return dict(anchors_in(heads)), []
    except UnreadableRecordError:
        return {}, [Finding("heads unreadable", AUDIT_HEADS)]
    except CacheError as error:
        sys.stderr.write(f"{printable(f'warning: the heads cannot be read: {error}')}\n")
        return {}, [Finding("heads unknown", AUDIT_HEADS)]


def _is_expected(session: Session, days: Days) -> Callable[[Anchor], bool]:
    """Return what tells of a chain without a line here whether there should be one: it is ours, and not too old."""
    settings = session.settings
    ours = (str(days.path), settings.instance)
    kept = settings.cache_audit_retention_days
    first_kept = "" if kept is None else days_before(max([day_of(session.now()), *days.files()]), kept)
    return lambda anchor: (anchor.log, anchor.instance) == ours and anchor.day >= first_kept


def _forms(session: Session, key: Key) -> Callable[[str | None], frozenset[str]]:
    """Return what tells the forms that a key may have in the lines of a cache: readable, or blinded."""
    known: dict[str | None, frozenset[str]] = {}

    def forms(cache: str | None) -> frozenset[str]:
        if cache not in known:
            known[cache] = frozenset(_forms_in(session, cache, key))
        return known[cache]

    return forms


def _forms_in(session: Session, cache: str | None, key: Key) -> list[str]:
    try:
        plain = Keyspace("x", cache or "")
        secret = session.manager.ring().subkey("blind", (cache or "").encode())
        blinded = BlindedKeyspace("x", cache or "", None, secret)
    except CacheError:  # a line about something that is no cache
        return []
    return [keyspace.stored(key).removeprefix(keyspace.prefix) for keyspace in (plain, blinded)]


def _key(given: str, *, typed: bool) -> Key:
    key = parse(given) if typed else given
    if key is None:
        raise InvalidKeyError("None is no key")
    return key


def _moment(option: str, given: str | None, now: float) -> str | None:
    """Return a moment as lines write it."""
    if given is None:
        return None
    if (ago := _AGO.fullmatch(given)) is not None:
        return timestamp(max(0.0, now - int(ago[1]) * _SECONDS[ago[2]]))
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise RefusedError(
            f"{option} takes a day or a moment, such as 2026-11-24 or 2026-11-24T09:15, or 90s, 15m, 2h, 7d, "
            f"not {given!r}"
        ) from None
    return timestamp((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _described(finding: Finding) -> AuditFinding:
    return AuditFinding(
        kind=finding.kind,
        note=finding.is_note,
        file=finding.file,
        line=finding.line,
        last_line=finding.last_line,
        writer=finding.writer,
        sequence=finding.sequence,
        last_sequence=finding.last_sequence,
        lines=finding.count,
        what=MEANINGS[finding.kind],
    )


def _line(file: str, fields: dict[str, Any]) -> AuditLine:
    fields = {**fields, "file": file}
    return cast("AuditLine", {name: fields[name] for name in AuditLine.__annotations__})


def _lines(found: list[Logged] | deque[Logged], *, more: bool) -> AuditLines:
    lines = [_line(one.file, one.fields) for one in found if one.fields is not None]
    return AuditLines(lines=lines, more=more, unverified=len(found) - len(lines))


def _draw_verified(pen: Pen, report: AuditVerified, findings: list[Finding]) -> None:
    if not report["files"] and not findings:
        pen.line(f"There is no audit log at {report['log']}.")
        return
    pen.marked(
        ("note" if finding.is_note else "FOUND", "yellow" if finding.is_note else "bold red", str(finding))
        for finding in findings
    )
    told = f"{count(report['lines'], 'line')} of {count(report['chains'], 'chain')} in "
    told += count(len(report["files"]), "file")
    pen.line(f"{told}: {'intact.' if report['intact'] else 'not intact.'}", "green" if report["intact"] else "bold red")


def _draw_lines(pen: Pen, report: AuditLines) -> None:
    pen.verbatim(_words(line) for line in report["lines"])
    if report["more"]:
        sys.stderr.write("There are more before these; --limit shows more of them.\n")
    _warn(report["unverified"])
    if not report["lines"]:
        sys.stderr.write("There are no such lines.\n")


def _follow(pen: Pen, found: list[Logged], *, as_json: bool) -> None:
    report = _lines(found, more=False)
    if as_json:
        sys.stdout.writelines(json.dumps(line) + "\n" for line in report["lines"])
    else:
        pen.verbatim(_words(line) for line in report["lines"])
    sys.stdout.flush()
    _warn(report["unverified"])


def _warn(unverified: int) -> None:
    if unverified:
        sys.stderr.write(f"{count(unverified, 'line')} cannot be verified: see openalgo-cache audit verify.\n")


def _words(line: AuditLine) -> str:
    """Say a line in words."""
    hit = {None: "", True: "hit", False: "miss"}[line["hit"]]
    by = f"by {line['caller']}" if line["caller"] is not None else ""
    detail = f"({line['detail']})" if line["detail"] is not None else ""
    words = (line["timestamp"], line["instance_id"], line["operation"], line["cache"], line["key"], hit, by, detail)
    return " ".join(word for word in words if word)

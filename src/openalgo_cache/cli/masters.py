"""What ``symbols status`` and ``symbols sync`` do: the own symbol master, and the one that instances share."""

from __future__ import annotations

from pathlib import Path

from openalgo_cache.census import NOT_SHARED
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Pen, ago, count, show, size
from openalgo_cache.cli.progress import bar
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.symbols import MasterStatus, OwnMaster, PublishedMaster
from openalgo_cache.symbols.shelf import Published


def status(env_file: Path | None, *, as_json: bool) -> Code:
    """Show what is served here and what is published."""
    with Session(env_file, as_json=as_json) as session:
        shelf = session.manager.shelf(session.choice().backend) if session.has_ring() else None
        try:
            published = None if shelf is None else shelf.look().current
            report = _report(session, shared=shelf is not None, published=published)
        finally:
            if shelf is not None:
                shelf.close()
        now = session.now()
    show(report, lambda pen: _draw(pen, report, now), as_json=as_json)
    return Code.OK if report["in_step"] else Code.NO


def sync(env_file: Path | None, *, as_json: bool) -> Code:
    """Bring the two together.

    Raises:
        BackendUnavailableError: The server does not answer.
        UnreadableRecordError: What is published cannot be verified.
    """
    with Session(env_file, as_json=as_json) as session:
        session.refuse_without_ring_beside_files()
        shared = session.choice().backend not in NOT_SHARED
        published = None
        if shared:
            with bar(as_json=as_json) as tell:
                published = session.manager.symbols(background=False).synchronise(tell)
        report, now = _report(session, shared=shared, published=published), session.now()
    show(report, lambda pen: _draw(pen, report, now), as_json=as_json)
    return Code.OK


def _report(session: Session, *, shared: bool, published: Published | None) -> MasterStatus:
    own: OwnMaster | None = None
    if session.has_master():
        seen = session.manager.symbols(background=False).stats()
        if "version" in seen:
            own = OwnMaster(
                version=seen["version"],
                rows=seen["total_symbols"],
                imported_at=seen["imported_at"],
                source=seen["source"],
                file_bytes=seen["file_bytes"],
            )
    theirs: PublishedMaster | None = None
    if published is not None:
        theirs = PublishedMaster(
            serial=published.serial,
            version=published.version,
            rows=published.rows,
            imported_at=published.imported_at,
            published_at=published.published_at,
            instance=published.instance,
            bytes=published.size,
        )
    in_step = not shared or (own and own["version"]) == (theirs and theirs["version"])
    return MasterStatus(own=own, shared=shared, published=theirs, in_step=in_step)


def _draw(pen: Pen, report: MasterStatus, now: float) -> None:
    own, published = report["own"], report["published"]
    facts = [("here", "no symbol master yet")]
    if own is not None:
        facts = [
            ("here", f"{count(own['rows'], 'instrument')}, imported {ago(own['imported_at'], now)}"),
            ("version", own["version"]),
            ("source", own["source"] or "no file on this machine"),
            ("file size", size(own["file_bytes"])),
        ]
    if published is not None:
        facts += [
            ("published", f"{count(published['rows'], 'instrument')}, {ago(published['published_at'], now)}"),
            ("published by", published["instance"]),
            ("version", published["version"]),
            ("on the server", size(published["bytes"])),
        ]
    else:
        facts.append(("published", "nothing yet" if report["shared"] else "nothing: no instances share a server"))
    pen.facts(facts)
    if not report["in_step"]:
        pen.line("The two differ: a running application brings them together, or 'symbols sync' does.", "yellow")

"""What ``keys rotate`` and ``keys retire`` do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Column, Pen, count, show
from openalgo_cache.cli.progress import bar, interruptible
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.rotation import KeyUse, Retired, Rotated
from openalgo_cache.codec.keyring import shown
from openalgo_cache.rotation.rotating import KeyInUseError, Rotation
from openalgo_cache.rotation.tally import Tally

_PATIENCE: Final = 10.0
"""Seconds for an operation on a server: nobody waits for a page here."""
_AGAIN: Final = "Everything can be read as before; the same command again goes on where this one was."


def rotate(env_file: Path | None, *, new_key: bool, retire: bool, as_json: bool) -> Code:
    """Let another key seal whatever is stored."""
    report: Rotated
    with _rotation(env_file, as_json=as_json) as (session, rotation):
        try:
            done = rotation.rotate(new_key=new_key, then_retire=retire)
        except KeyInUseError as error:
            active = session.manager.ring().active.id
            report = Rotated(
                active=shown(active),
                resumed=True,
                retired=[],
                left=[],
                late=[],
                caches=_uses(error.tallies),
                problem=str(error),
            )
        else:
            report = Rotated(
                active=shown(done.active),
                resumed=done.resumed,
                retired=[shown(one) for one in done.retired],
                left=[shown(one) for one in done.left],
                late=list(done.late),
                caches=_uses(done.tallies),
                problem=None,
            )
    show(report, lambda pen: _draw_rotated(pen, report), as_json=as_json)
    return Code.DATA if report["left"] or report["late"] or report["problem"] else Code.OK


def retire(env_file: Path | None, key_id: int, *, skip_unreadable: bool, as_json: bool) -> Code:
    """Take a key out of the ring that nothing needs any more."""
    report = Retired(key=shown(key_id), retired=True, caches=[], problem=None)
    with _rotation(env_file, as_json=as_json) as (_, rotation):
        try:
            report["caches"] = _uses(rotation.retire(key_id, skip_unreadable=skip_unreadable))
        except KeyInUseError as error:
            report |= Retired(key=shown(key_id), retired=False, caches=_uses(error.tallies), problem=str(error))
    show(report, lambda pen: _draw_retired(pen, report), as_json=as_json)
    return Code.OK if report["retired"] else Code.NO


@contextmanager
def _rotation(env_file: Path | None, *, as_json: bool) -> Iterator[tuple[Session, Rotation]]:
    """Begin a run; say at Ctrl-C how things are."""
    with (
        interruptible(_AGAIN, as_json=as_json),
        Session(env_file, as_json=as_json, patience=_PATIENCE) as session,
        bar(as_json=as_json) as draw,
    ):
        session.refuse_without_ring("there is nothing to rotate")
        what = ["looking"]
        yield (
            session,
            Rotation(
                session.manager,
                progress=lambda seen, total: draw(what[0], min(seen / total, 1.0) if total else 1.0),
                tell=lambda line: what.__setitem__(0, line),
            ),
        )


def _uses(tallies: list[Tally]) -> list[KeyUse]:
    return [
        KeyUse(
            place=tally.place,
            cache=tally.cache,
            resealed=tally.resealed,
            needs={shown(key_id): number for key_id, number in tally.needs.items()},
            unreadable={shown(key_id): number for key_id, number in tally.unreadable.items()},
            foreign=tally.foreign,
        )
        for tally in tallies
    ]


def _draw_rotated(pen: Pen, report: Rotated) -> None:
    _draw_uses(pen, report["caches"])
    resealed = sum(one["resealed"] for one in report["caches"])
    begun = "went on with a rotation that was begun before, and " if report["resumed"] else ""
    pen.line(f"Key {report['active']} is the active one; {begun}{count(resealed, 'record')} sealed anew with it.")
    for one in report["retired"]:
        pen.line(f"Key {one} was retired. {_EXPORTS}")
    for one in report["late"]:
        pen.line(
            f"{one} still seals with another key: copy the key ring there, and run the same command again.", "yellow"
        )
    for one in report["left"]:
        pen.line(f"Key {one} is still needed: the same command again does the rest.", "yellow")
    if report["problem"] is not None:
        pen.line(report["problem"], "yellow")


def _draw_retired(pen: Pen, report: Retired) -> None:
    if report["problem"] is not None:
        _draw_uses(pen, report["caches"])
        pen.line(report["problem"], "yellow")
        return
    pen.line(f"Key {report['key']} was retired. {_EXPORTS}")


_EXPORTS: Final = "Exports and copies of files from before the rotation need the key ring of that time."


def _draw_uses(pen: Pen, uses: list[KeyUse]) -> None:
    keys = sorted({key for one in uses for key in (*one["needs"], *one["unreadable"])})
    columns = [Column("place", flexible=True), Column("cache"), Column("sealed anew", right=True)]
    columns += [Column(f"need {key}", right=True) for key in keys]
    columns += [Column("unreadable", right=True), Column("others'", right=True)]
    rows = []
    for one in uses:
        needs = [one["needs"].get(key, 0) for key in keys]
        numbers = [one["resealed"], *needs, sum(one["unreadable"].values()), one["foreign"]]
        rows.append([one["place"], one["cache"], *(f"{number:,}" if number else "" for number in numbers)])
    if rows:
        pen.table(columns, rows)

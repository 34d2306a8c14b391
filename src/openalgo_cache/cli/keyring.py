"""What ``keys list``, ``create``, ``add`` and ``activate`` do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from openalgo_cache import files
from openalgo_cache.audit import Event
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Column, Pen, ago, show
from openalgo_cache.cli.session import RefusedError, Session
from openalgo_cache.cli.shapes.keys import HeldKey, KeyHolder, KeyRingChanged, KeyRingListed
from openalgo_cache.codec.keyring import DECRYPT_ONLY, Key, KeyRing, shown
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.errors import CacheError, KeyRingError
from openalgo_cache.keyholders import FRESH, Roll
from openalgo_cache.ringsource import ring_file, sealed_files
from openalgo_cache.settings.server import SESSION

_NOBODY: Final = Roll([], [], 0)


def list_keys(env_file: Path | None, *, as_json: bool) -> Code:
    """Show the ring and who holds it."""
    with Session(env_file, as_json=as_json) as session:
        now, path, there = session.now(), session.manager.ring_path(), session.has_ring()
        report = KeyRingListed(
            path=None if path is None else str(path),
            id=None,
            fingerprint=None,
            keys=[],
            holders=[],
            strangers=[],
            holders_problem=None,
        )
        if there:
            ring = session.manager.ring()
            report["id"], report["fingerprint"], report["keys"] = ring.id, ring.fingerprint(), _held(ring)
            roll, report["holders_problem"] = roll_call(session)
            report["holders"] = [
                KeyHolder(
                    instance=one.instance,
                    process=one.process,
                    keys=[shown(key) for key in one.keys],
                    active=shown(one.active),
                    seen_at=one.seen_at,
                )
                for one in roll.holders
            ]
            report["strangers"] = sorted({one.fingerprint for one in roll.strangers})
    show(report, lambda pen: _draw(pen, report, now), as_json=as_json)
    return Code.OK if there else Code.NO


def create(env_file: Path | None, output: Path | None, *, confirmed: bool, as_json: bool) -> None:
    """Make a ring."""
    with Session(env_file, as_json=as_json) as session:
        ring, path = KeyRing.generate(), output or _file_in_use(session).path
        if output is None:
            if os.path.lexists(path):
                raise RefusedError(f"there is a key ring at {path}; 'keys add' adds a key to it")
            sealed = sealed_files(session.settings)
            if sealed and not confirmed:
                what = f"{path.parent} has files that only the ring that is gone can open: {', '.join(sealed)}."
                if as_json or not _confirm(f"{what} Give them up?"):
                    raise RefusedError(f"{what} Say --yes to give them up")
        _write_new(path, ring)
        report = _changed(path, ring, ring.active.id, in_effect=output is None)
        _audit(session, "KEY_CREATE", report)
    _say(report, "made", as_json=as_json)


def add(env_file: Path | None, output: Path | None, *, as_json: bool) -> None:
    """Add a key."""
    key = Key.generate(DECRYPT_ONLY)
    with Session(env_file, as_json=as_json) as session:
        report = _change(session, lambda ring: ring.with_key(key), key.id, output)
        _audit(session, "KEY_ADD", report)
    _say(report, f"has key {report['key']}, which seals after 'keys activate {report['key']}'", as_json=as_json)


def activate(env_file: Path | None, key_id: int, output: Path | None, *, force: bool, as_json: bool) -> None:
    """Activate a key."""
    with Session(env_file, as_json=as_json) as session:
        if not force:
            refuse_what_others_could_not_read(session, key_id)
        report = _change(session, lambda ring: ring.with_active(key_id), key_id, output)
        _audit(session, "KEY_ACTIVATE", report)
    _say(report, f"seals with key {report['key']} from now on", as_json=as_json)


def refuse_what_others_could_not_read(session: Session, key_id: int) -> None:
    """Raise if a process that shares the store is not known to hold a key.

    Raises:
        RefusedError: It is so, or the store cannot tell.
    """
    roll, problem = roll_call(session)
    if problem is not None:
        raise RefusedError(f"nobody can tell who holds key {shown(key_id)}: {problem}. --force does it all the same")
    now = session.now()
    without = sorted(
        {one.instance for one in roll.holders if key_id not in one.keys and abs(now - one.seen_at) <= FRESH}
    )
    if without:
        raise RefusedError(
            f"key {shown(key_id)} is not yet held by {', '.join(without)}, where nothing could be read that it seals: "
            f"bring the ring's file there (a process that has ended counts for {FRESH:.0f} s). --force does it all the "
            "same"
        )


def roll_call(session: Session) -> tuple[Roll, str | None]:
    """Return who holds which keys, as they told in the stores of caches and of sessions, and why it cannot tell."""
    try:
        stores = {session.manager.census.holders(session.backend_of(cache), cache) for cache in ("", SESSION)}
        rolls = [holders.roll() for holders in stores if holders is not None]
    except CacheError as error:
        return _NOBODY, str(error)
    each = {holder.process: holder for roll in rolls for holder in roll.holders}
    return Roll(
        list(each.values()),
        [stranger for roll in rolls for stranger in roll.strangers],
        sum(roll.forged for roll in rolls),
    ), None


def _change(session: Session, change: Callable[[KeyRing], KeyRing], key_id: int, output: Path | None) -> KeyRingChanged:
    session.refuse_without_ring("there is nothing to change")
    if output is not None:
        ring = change(session.manager.ring())
        _write_new(output, ring)
        return _changed(output, ring, key_id, in_effect=False)
    file = _file_in_use(session)
    try:
        ring = file.update(change)
    except KeyRingError as error:
        hint = ". With --output FILE the changed ring is written there, and you put it in its place"
        raise KeyRingError(f"{error}{hint if 'cannot be changed here' in str(error) else ''}") from None
    return _changed(file.path, ring, key_id, in_effect=True)


def _file_in_use(session: Session) -> RingFile:
    file = ring_file(session.settings)
    if file is None:
        raise RefusedError(
            "CACHE_ENCRYPTION_KEY holds one key and cannot hold more. Write a ring with --output FILE, which goes on "
            "with that key; put it where every instance can read it, set CACHE_KEY_FILE, and unset CACHE_ENCRYPTION_KEY"
        )
    return file


def _write_new(path: Path, ring: KeyRing) -> None:
    files.ensure_folder(path.parent)
    if not files.write_private_new(path, ring.to_json()):
        raise RefusedError(f"there is a file {path} already")


def _changed(path: Path, ring: KeyRing, key_id: int, *, in_effect: bool) -> KeyRingChanged:
    return KeyRingChanged(
        file=str(path),
        in_effect=in_effect,
        id=ring.id,
        fingerprint=ring.fingerprint(),
        key=shown(key_id),
        keys=_held(ring),
    )


def _audit(session: Session, operation: str, report: KeyRingChanged) -> None:
    where = "" if report["in_effect"] else f", in {report['file']}"
    session.manager.audit().record_now(Event(None, operation, None, __name__, detail=f"key {report['key']}{where}"))


def _held(ring: KeyRing) -> list[HeldKey]:
    return [
        HeldKey(id=shown(key.id), state=key.state, created_at=key.created_at or None, since=key.since or None)
        for key in ring.keys
    ]


def _confirm(question: str) -> bool:
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _say(report: KeyRingChanged, what: str, *, as_json: bool) -> None:
    def draw(pen: Pen) -> None:
        pen.line(f"The key ring {report['file']} {what}." if what != "made" else f"Made the key ring {report['file']}.")
        if report["in_effect"]:
            pen.line("Keep a copy of it apart from the caches; bring it to every other host that shares them.", "dim")
        else:
            pen.line("It is not in use yet: put it in the place of the ring that is.", "dim")

    show(report, draw, as_json=as_json)


def _draw(pen: Pen, report: KeyRingListed, now: float) -> None:
    place = report["path"] or "CACHE_ENCRYPTION_KEY"
    if report["id"] is None:
        pen.line(f"There is no key ring at {place}; the first use makes it.")
        return
    pen.facts([("key ring", place), ("id", report["id"]), ("fingerprint", report["fingerprint"] or "")])
    pen.heading("Keys")
    pen.table(
        [Column("id"), Column("state"), Column("made"), Column("so since")],
        [(key["id"], key["state"], ago(key["created_at"], now), ago(key["since"], now)) for key in report["keys"]],
    )
    if report["holders"]:
        pen.heading("Held by")
        pen.table(
            [
                Column("instance"),
                Column("process"),
                Column("seals with"),
                Column("keys", flexible=True),
                Column("told"),
            ],
            [
                (one["instance"], one["process"], one["active"], " ".join(one["keys"]), ago(one["seen_at"], now))
                for one in report["holders"]
            ],
        )
    for fingerprint in report["strangers"]:
        pen.line(f"Another ring is said to be in use on the same store: its fingerprint is {fingerprint}.", "bold red")
    if report["holders_problem"] is not None:
        pen.line(f"Who holds them is not known: {report['holders_problem']}")

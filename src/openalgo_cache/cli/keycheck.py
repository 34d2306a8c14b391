"""What ``keys verify`` does: open every record, and count which key has sealed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from openalgo_cache.backends.base import SupportsScan
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Durability, catalogue
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.keyring import roll_call
from openalgo_cache.cli.output import Column, Pen, show
from openalgo_cache.cli.progress import bar
from openalgo_cache.cli.session import SYMBOLS, Session
from openalgo_cache.cli.shapes.keys import KeyRingVerified, RecordsByKey
from openalgo_cache.codec.envelope import AEAD, MAC, parse_head
from openalgo_cache.codec.keyring import KeyRing, shown
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import KeyRingError, UnreadableRecordError
from openalgo_cache.keyholders import FRESH

_TOLD_EVERY: Final = 1_000
_ANY_SIZE: Final = 1 << 62
"""Bytes of a body: how large values may be is each cache's own to say."""
_PATIENCE: Final = 10.0
"""Seconds for an operation on a server: nobody waits for a page here."""


def verify(env_file: Path | None, names: list[str] | None, *, as_json: bool) -> Code:
    """Look at the ring, at every record, and at what other instances hold."""
    report = KeyRingVerified(fingerprint=None, caches=[], problems=[])
    with Session(env_file, as_json=as_json, patience=_PATIENCE) as session, bar(as_json=as_json) as tell:
        session.refuse_without_ring("nothing can be verified")
        try:
            ring = session.manager.ring()
        except KeyRingError as error:  # its owner, mode and checksum are looked at in loading
            report["problems"].append(str(error))
        else:
            report["fingerprint"] = ring.fingerprint()
            with ExitStack() as exits:
                caches = [exits.enter_context(closing(cache)) for cache in _caches(session, names)]
                total, opened = sum(cache.size() for cache in caches), 0
                for cache in caches:
                    counted = RecordsByKey(name=cache.name, records=0, by_key={}, unknown={}, unverifiable=0)
                    for _ in _count(counted, cache, session.settings.cache_namespace, ring):
                        opened += 1
                        if opened % _TOLD_EVERY == 0:
                            tell("opening", min(opened / total, 1.0))
                    if counted["records"]:
                        report["caches"].append(counted)
                        report["problems"] += _problems_of(counted)
            report["problems"] += _disagreements(session, ring)
    show(report, lambda pen: _draw(pen, report), as_json=as_json)
    return Code.DATA if report["problems"] else Code.OK


def _caches(session: Session, names: list[str] | None) -> Iterator[Cache]:
    """Open the caches that are there, for their stores alone: nothing has to be known of how applications open them."""
    if session.choice().backend == "sqlite":
        there = session.caches_on_disk()
    else:
        known = catalogue(session.settings).items()
        there = [name for name, policy in known if name != SYMBOLS and policy.durability is not Durability.LOCAL]
    for name in names or there:
        session.refuse_unreachable(name)
        backend = session.backend_of(name)
        if backend != "sqlite" or session.cache_file(name).exists():
            yield session.manager.new_cache(name, backend=backend, maxsize=None, on_error="raise")


def _count(counted: RecordsByKey, cache: Cache, namespace: str | None, ring: KeyRing) -> Iterator[None]:
    """Open each record of a cache and count it; yield after each."""
    seal = RingSeal(ring, namespace or ring.id, cache.name, MAC, frozenset({AEAD, MAC}), _ANY_SIZE)
    by_key, unknown = counted["by_key"], counted["unknown"]
    backend = cache.backend
    for stored, entry in backend.scan() if isinstance(backend, SupportsScan) else ():
        counted["records"] += 1
        try:
            key_id = parse_head(entry.payload).key_id
            key = shown(key_id)
            if key_id not in ring:
                unknown[key] = unknown.get(key, 0) + 1
            else:
                seal.open(stored, entry.payload)
                by_key[key] = by_key.get(key, 0) + 1
        except UnreadableRecordError:
            counted["unverifiable"] += 1
        yield


def _problems_of(counted: RecordsByKey) -> Iterator[str]:
    for key, number in counted["unknown"].items():
        yield (
            f"{counted['name']}: {number:,} sealed with key {key}, which this ring does not have: restore one that does"
        )
    if counted["unverifiable"]:
        yield (
            f"{counted['name']}: {counted['unverifiable']:,} cannot be verified: damaged, made up, or sealed as this "
            "cache does not demand it; a cache replaces them as it is used"
        )


def _disagreements(session: Session, ring: KeyRing) -> Iterator[str]:
    """Say where other instances hold something else."""
    roll, problem = roll_call(session)
    if problem is not None:
        yield f"what other instances hold is not known: {problem}"
    now, ours = session.now(), {key.id for key in ring.keys}
    for one in roll.holders:
        if abs(now - one.seen_at) > FRESH:
            continue
        if lacking := ours - set(one.keys):
            yield f"{one.instance} does not hold key {' and '.join(map(shown, sorted(lacking)))}: bring the ring there"
        if unknown := set(one.keys) - ours:
            yield f"{one.instance} holds key {' and '.join(map(shown, sorted(unknown)))}, which this ring does not have"
    for fingerprint in sorted({one.fingerprint for one in roll.strangers}):
        yield f"another ring is said to be in use on the same store: its fingerprint is {fingerprint}"
    if roll.forged:
        yield f"{roll.forged} of the lines about key rings in the store were made up or damaged"


def _draw(pen: Pen, report: KeyRingVerified) -> None:
    if report["fingerprint"] is not None:
        pen.facts([("fingerprint", report["fingerprint"])])
    columns = [Column("cache"), Column("records", right=True), Column("sealed with", flexible=True)]
    columns += [Column("unknown keys", right=True), Column("unverifiable", right=True)]
    if report["caches"]:
        pen.table(
            columns,
            [
                (
                    one["name"],
                    f"{one['records']:,}",
                    " ".join(f"{key}: {number:,}" for key, number in one["by_key"].items()),
                    f"{sum(one['unknown'].values()):,}" if one["unknown"] else "",
                    f"{one['unverifiable']:,}" if one["unverifiable"] else "",
                )
                for one in report["caches"]
            ],
        )
    for problem in report["problems"]:
        pen.line(problem, "bold red")
    if not report["problems"]:
        pen.line("Everything that is stored can be opened, and everybody holds the same keys.")

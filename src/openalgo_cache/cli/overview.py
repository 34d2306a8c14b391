"""What ``info`` says: the configuration in effect, the backend and why, the key ring, the catalogue."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from openalgo_cache.catalogue import catalogue
from openalgo_cache.cli.output import Column, Pen, show
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.info import Choice, Info, Policy, Ring, Setting
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import CacheError
from openalgo_cache.expiry import describe, earliest

if TYPE_CHECKING:
    from pathlib import Path


def info(env_file: Path | None, *, every_setting: bool, as_json: bool) -> None:
    """Show the configuration in effect.

    Args:
        env_file: Where the settings are read from.
        every_setting: Whether the table also has the variables that have their defaults.
        as_json: Whether to print JSON.
    """
    with Session(env_file, quiet=True) as session:
        report = _report(session)
    show(report, lambda pen: _draw(pen, report, every_setting=every_setting), as_json=as_json)


def ring(session: Session) -> Ring:
    """Return what may be said about the key ring; none is made."""
    path = session.manager.ring_path()
    report = Ring(
        path=None if path is None else str(path),
        exists=session.has_ring(),
        id=None,
        fingerprint=None,
        active_key=None,
        problem=None,
    )
    if not report["exists"]:
        return report
    try:
        held: KeyRing = session.manager.ring()
    except CacheError as error:
        report["problem"] = str(error)
        return report
    report["id"], report["fingerprint"], report["active_key"] = held.id, held.fingerprint(), held.active.id
    return report


def _report(session: Session) -> Info:
    settings = session.settings
    return Info(
        version=version("openalgo-cache"),
        env_file=None if settings.dotenv_path is None else str(settings.dotenv_path),
        folder=str(session.folder),
        folder_exists=session.folder.is_dir(),
        backend=_choice(session),
        key_ring=ring(session),
        caches=[
            Policy(
                name=name,
                lifetime=describe(earliest(policy.lifetime, policy.limit)),
                maxsize=policy.maxsize,
                sealing=policy.sealing.value,
                blinded_keys=policy.blinded,
                durability=policy.durability.value,
            )
            for name, policy in catalogue(settings).items()
        ],
        settings=[
            Setting(variable=line.variable, value=line.value, source=line.source) for line in settings.describe()
        ],
    )


def _choice(session: Session) -> Choice:
    recorded = session.is_recorded()
    try:
        choice = session.choice()
    except CacheError as error:
        return Choice(name=None, why=str(error), source=None, recorded=recorded)
    return Choice(name=choice.backend, why=choice.why, source=choice.source, recorded=recorded)


def _draw(pen: Pen, report: Info, *, every_setting: bool) -> None:
    backend = report["backend"]
    shown = f"{backend['name']}: {backend['why']}" if backend["name"] else f"none: {backend['why']}"
    if backend["source"] == "automatic":
        shown += "; the first use records it" if not backend["recorded"] else ""
    pen.facts(
        [
            ("version", report["version"]),
            ("settings", report["env_file"] or "the environment alone; there is no .env in this folder"),
            ("folder", report["folder"] + ("" if report["folder_exists"] else " (made at first use)")),
            ("backend", shown),
            ("key ring", _ring_in_words(report["key_ring"])),
        ]
    )
    pen.heading("Caches of the catalogue")
    columns = [Column("cache"), Column("lifetime", flexible=True), Column("most", right=True)]
    columns += [Column("protection"), Column("kept as")]
    pen.table(
        columns,
        [
            (
                cache["name"],
                cache["lifetime"],
                "" if cache["maxsize"] is None else f"{cache['maxsize']:,}",
                cache["sealing"] + (", blinded" if cache["blinded_keys"] else ""),
                cache["durability"],
            )
            for cache in report["caches"]
        ],
    )
    settings = [line for line in report["settings"] if every_setting or line["source"] != "default"]
    pen.heading("Settings")
    if settings:
        pen.table(
            [Column("variable"), Column("value", flexible=True), Column("from")],
            [(line["variable"], line["value"], line["source"]) for line in settings],
        )
    others = len(report["settings"]) - len(settings)
    if others:
        pen.line(f"{others} variables have their defaults; --all shows them.", "dim")


def _ring_in_words(held: Ring) -> str:
    place = held["path"] or "CACHE_ENCRYPTION_KEY"
    if held["problem"] is not None:
        return held["problem"]
    if not held["exists"]:
        return f"{place} (made at first use)"
    return f"{place}, id {held['id']}, fingerprint {held['fingerprint']}"

"""What ``stats`` says: what the store knows of each cache."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from openalgo_cache.backends.sqlite.inspection import inspect
from openalgo_cache.catalogue import Durability, catalogue
from openalgo_cache.cli.exits import Code
from openalgo_cache.cli.output import Column, Pen, ago, count, show, size
from openalgo_cache.cli.session import SYMBOLS, RefusedError, Session
from openalgo_cache.cli.shapes.stats import Figures, Stats
from openalgo_cache.errors import CacheError

if TYPE_CHECKING:
    from pathlib import Path

_NOTE = (
    "Hits and misses are counted in each process that uses a cache: get_cache_stats() shows them there. Reads that a "
    "near tier answered are not in the store's figures."
)


def stats(env_file: Path | None, name: str | None, *, as_json: bool) -> Code:
    """Show what the store knows of one cache, or of all that have something stored.

    Args:
        env_file: Where the settings are read from.
        name: The cache; None for all.
        as_json: Whether to print JSON.
    """
    with Session(env_file, as_json=as_json) as session:
        if name is not None and name != SYMBOLS:
            session.refuse_unreachable(name)
        backend = session.backend_of(name or "")
        report = Stats(
            backend=backend,
            folder=str(session.folder),
            at=session.now(),
            caches=_in_files(session, name) if backend == "sqlite" else _in_store(session, name),
        )
    show(report, lambda pen: _draw(pen, report, name), as_json=as_json)
    return Code.NO if name is not None and not report["caches"] else Code.OK


def _in_files(session: Session, name: str | None) -> list[Figures]:
    found = []
    pending = _pending_deletes(session)
    names = [*session.caches_on_disk(), SYMBOLS] if name is None else [name]
    for cache in names:
        if cache == SYMBOLS:
            found += _of_master(session)
            continue
        try:
            seen = inspect(session.cache_file(cache), session.now(), cipher=session.cipher(cache))
        except CacheError as problem:
            if name is not None:
                raise
            found.append({**_blank(cache, 0), "problems": [str(problem)]})
            continue
        if seen is not None:
            figures = _blank(cache, seen.entries)
            figures["file"] = str(seen.path)
            figures["expired"] = seen.expired
            figures["payload_bytes"] = seen.payload_bytes
            figures["file_bytes"] = seen.file_bytes
            figures["journal_bytes"] = seen.journal_bytes
            figures["unused_bytes"] = seen.unused_bytes
            figures["oldest_at"] = seen.oldest_at
            figures["newest_at"] = seen.newest_at
            figures["keys_read"] = seen.keys_read
            figures["reads"] = seen.reads
            figures["last_read_at"] = seen.last_read_at
            figures["pending_deletes"] = pending.get(cache, 0)
            figures["problems"] = list(seen.problems)
            found.append(figures)
    return found


def _of_master(session: Session) -> list[Figures]:
    """Return the figures of the symbol master, if one was imported."""
    if not session.has_master():
        return []
    seen = session.manager.symbols(background=False).stats()
    figures = _blank(SYMBOLS, seen["total_symbols"])
    figures["file"] = seen.get("file")
    figures["file_bytes"] = seen.get("file_bytes")
    figures["oldest_at"] = figures["newest_at"] = seen.get("imported_at")
    figures["problems"] = [] if seen["problem"] is None else [seen["problem"]]
    return [figures]


def _blank(name: str, entries: int) -> Figures:
    return Figures(
        name=name,
        file=None,
        entries=entries,
        expired=None,
        payload_bytes=None,
        file_bytes=None,
        journal_bytes=None,
        unused_bytes=None,
        oldest_at=None,
        newest_at=None,
        keys_read=None,
        reads=None,
        last_read_at=None,
        pending_deletes=0,
        problems=[],
    )


def _in_store(session: Session, name: str | None) -> list[Figures]:
    """Ask a backend that is no file; it can tell the number of entries."""
    if session.choice().backend == "memory":
        raise RefusedError("the caches live in the memory of each process that uses them, where no other can look")
    names = [
        cache
        for cache, policy in catalogue(session.settings).items()
        if cache != SYMBOLS and policy.durability is not Durability.LOCAL
    ]
    found = []
    pending = _pending_deletes(session)
    for cache in names if name is None else [name]:
        opened = session.find(cache)
        entries = 0 if opened is None else opened.size()
        if entries:
            figures = _blank(cache, entries)
            figures["pending_deletes"] = pending.get(cache, 0)
            found.append(figures)
    return found


def _pending_deletes(session: Session) -> dict[str, int]:
    """Return how many lost deletes each cache has to carry out, as far as journals can be read."""
    pending: Counter[str] = Counter()
    for notes in session.journals() if session.has_ring() else ():
        with suppress(CacheError, OSError):
            if (seen := session.look_into(notes)) is not None:
                pending[notes.cache] += seen.pending
    return pending


def _draw(pen: Pen, report: Stats, name: str | None) -> None:
    caches, now = report["caches"], report["at"]
    if not caches:
        place = report["folder"] if report["backend"] == "sqlite" else report["backend"]
        pen.line(f"{'Nothing' if name is None else f'Nothing of {name}'} is stored in {place}.")
        return
    if name is not None:
        pen.facts(_facts(caches[0], now))
    else:
        titles = ("entries", "expired", "on disk", "last write", "last read")
        pen.table(
            [Column("cache"), *(Column(title, right=True) for title in titles)],
            [
                (
                    cache["name"],
                    f"{cache['entries']:,}",
                    _count(cache["expired"]),
                    _size(None if cache["file_bytes"] is None else cache["file_bytes"] + (cache["journal_bytes"] or 0)),
                    ago(cache["newest_at"], now),
                    ago(cache["last_read_at"], now),
                )
                for cache in caches
            ],
        )
    for cache in caches:
        for problem in cache["problems"]:
            pen.line(f"{cache['name']}: {problem}", "red")
        if cache["pending_deletes"]:
            what = count(cache["pending_deletes"], "delete")
            pen.line(f"{cache['name']}: {what} failed and must be carried out; nobody is served these keys", "yellow")
    pen.line()
    pen.line(_NOTE, "dim")


def _facts(cache: Figures, now: float) -> list[tuple[str, str]]:
    facts = [
        ("cache", cache["name"]),
        ("file", cache["file"] or ""),
        ("entries", f"{cache['entries']:,}"),
        ("of these expired", _count(cache["expired"])),
        ("records", _size(cache["payload_bytes"])),
        ("file size", _size(cache["file_bytes"])),
        ("of this unused", _size(cache["unused_bytes"])),
        ("log size", _size(cache["journal_bytes"])),
        ("oldest entry", ago(cache["oldest_at"], now)),
        ("newest entry", ago(cache["newest_at"], now)),
        ("keys read", _count(cache["keys_read"])),
        ("reads", _count(cache["reads"])),
        ("last read", ago(cache["last_read_at"], now)),
    ]
    return [fact for fact in facts if fact[1]]


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _size(count: int | None) -> str:
    return "" if count is None else size(count)

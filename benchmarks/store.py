"""Reads that go to SQLite, since the near tier is off, beside the plain statement that they cannot do without.

That one reuses an apsw cursor on the same table, takes the same slice of the record and decodes it with the same
decoder. What is left is what the storeys cost.
"""

from __future__ import annotations

from typing import Any, Final

import apsw
import ormsgpack

from benchmarks import caches, values
from benchmarks.contest import Contender, contest, note
from benchmarks.lines import Line
from openalgo_cache import Cache, CacheManager

_ENTRIES: Final = 1000
_READS: Final = 50

_BODY: Final = {"plain": slice(24, None), "signed": slice(56, -16)}
"""Where the value lies in a record (see the record format in ``codec/envelope.py``)."""

_TARGETS: Final = (("plain", 1.4), ("signed", 1.6))


def run(*, quick: bool = False) -> list[Line]:
    """Measure a plain and a signed cache."""
    with caches.manager("sqlite", near=False) as manager:
        ours = {"plain": caches.plain_cache(manager, "plain"), "signed": manager.get_cache("signed")}
        contenders: dict[str, Contender] = {}
        for kind, cache in ours.items():
            cache.set_many(dict.fromkeys(values.keys(_ENTRIES), values.FLAT))
            contenders[kind] = _ours(cache)
            contenders[f"statement on {kind}"] = _statement(manager, kind)
        timings = contest(contenders, operations=_READS, rounds=3 if quick else 1200)
        ours["plain"].close()
    return [
        Line(
            what=f"{kind} flat dict, from SQLite without near tier",
            value=timings[kind].best / timings[f"statement on {kind}"].best,
            unit="x statement",
            target=target,
            best="low",
            note=note(timings[kind], timings[f"statement on {kind}"]),
        )
        for kind, target in _TARGETS
    ]


def _ours(cache: Cache) -> Contender:
    asked = values.asked(values.keys(_ENTRIES), _READS)

    def read() -> None:
        for key in asked:
            _ = cache.get(key)

    return read


def _statement(manager: CacheManager, kind: str) -> Contender:
    base = manager.settings.sqlite_cache_path
    cursor = apsw.Connection(str(base.with_name(f"{base.name}_{kind}.db")), flags=apsw.SQLITE_OPEN_READWRITE).cursor()
    stored = [row[0] for row in cursor.execute("SELECT key FROM cache ORDER BY key")]
    asked = values.asked(stored, _READS)
    body = _BODY[kind]
    statement = "SELECT value, expires_at FROM cache WHERE key = ?"
    decode = ormsgpack.unpackb
    row: Any = cursor.execute(statement, (asked[0],)).get
    if decode(row[0][body]) != values.FLAT:
        raise RuntimeError("the plain statement does not read what the cache reads")

    def read() -> None:
        for key in asked:
            row: Any = cursor.execute(statement, (key,)).get
            _ = decode(row[0][body])

    return read

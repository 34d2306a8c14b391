"""What access rules and the audit log add to a near hit, at its caller, over a bare handle in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks import caches, values
from benchmarks.contest import Contender, contest, note
from benchmarks.lines import Line
from openalgo_cache import Cache

_KEYS: Final = 256
_READS: Final = 128
_BARE: Final = "bare"


def run(*, quick: bool = False) -> list[Line]:
    """Measure a signed text, on SQLite: what is read most, and cheapest without a guard."""
    rounds = 3 if quick else 400
    with TemporaryDirectory(prefix="openalgo-cache-rules-") as folder, ExitStack() as stack:
        rules = Path(folder) / "rules.toml"
        rules.write_text(f'default = ["{__name__}"]\n', encoding="utf-8")
        audited: dict[str, Any] = {
            "cache_audit_enabled": True,
            "cache_audit_caches": frozenset({"quotes"}),
            "cache_audit_queue_size": 1_000_000,
        }
        kinds: dict[str, dict[str, Any]] = {_BARE: {}, "rules": {"cache_access_rules": rules}, "audit": audited}
        contenders = {what: stack.enter_context(_reads(what, options)) for what, options in kinds.items()}
        timings = contest(contenders, operations=_READS, rounds=rounds)
    lines = (("rules", "access rule + metrics on a near hit, beyond it", 0.3), ("audit", "audit on a hot read", 3.0))
    return [
        Line(
            what=what,
            value=(timings[kind].best - timings[_BARE].best) * 1e6,
            unit="us",
            target=target,
            best="low",
            note=note(timings[kind], timings[_BARE]),
        )
        for kind, what, target in lines
    ]


@contextmanager
def _reads(what: str, options: dict[str, Any]) -> Iterator[Contender]:
    """Make a cache with near hits, of a manager of its own, and what reads them."""
    with caches.manager("sqlite", **options) as manager:
        cache = manager.get_cache("quotes")
        if (type(cache) is Cache) is not (what == _BARE):
            raise RuntimeError(f"{what}: the handle is a {type(cache).__name__}")
        stored = values.keys(_KEYS, what)
        cache.set_many(dict.fromkeys(stored, values.TEXT))
        asked = values.asked(stored, _READS)

        def read() -> None:
            for key in asked:
                _ = cache.get(key)

        yield read
        stats = cache.stats()
        if stats["misses"] or stats["near_hits"] < 0.6 * stats["hits"]:
            raise RuntimeError(f"reads were not answered by the near tier: {stats}")

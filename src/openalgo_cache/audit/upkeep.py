"""What the log's thread does besides writing: anchoring heads, and deleting what is too old.

It waits for nobody, and nobody waits for it: where the heads' store is away, they are anchored later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from openalgo_cache.audit.days import Days, days_before
from openalgo_cache.audit.heads import HeadStore, anchor, anchors_in
from openalgo_cache.audit.line import chain_key
from openalgo_cache.audit.retention import retire
from openalgo_cache.audit.writer import Writer
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import CacheError

_INTERVAL: Final = 5.0
"""Seconds between two times that heads are anchored."""


class Upkeep:
    """The upkeep of one process's log; of its thread alone.

    Args:
        days: The files.
        ring: Where the key ring comes from.
        namespace: CACHE_NAMESPACE, if it is set.
        open_heads: Opens the cache of the heads.
        kept_days: How many days are kept; None for all.
        writer: What writes to the files.
        tell: Told what somebody should know.
    """

    def __init__(  # noqa: PLR0913  # what it keeps up
        self,
        days: Days,
        ring: Callable[[], KeyRing],
        namespace: str | None,
        open_heads: Callable[[], HeadStore],
        kept_days: int | None,
        writer: Writer,
        tell: Callable[[str], None],
    ) -> None:
        self._days = days
        self._writer = writer
        self._ring = ring
        self._namespace = namespace
        self._open_heads = open_heads
        self._kept_days = kept_days
        self._tell = tell
        self._heads: HeadStore | None = None
        self._anchored_at = -_INTERVAL
        self._retired_on = ""
        self._problems: dict[str, str] = {}

    @property
    def has_work(self) -> bool:
        """Whether there are heads to anchor."""
        return bool(self._writer.unanchored)

    def run(self, *, at_once: bool) -> None:
        """Do what is to be done now, or, at the end, anchor whatever is left."""
        now = time.monotonic()
        if self.has_work and (at_once or now >= self._anchored_at + _INTERVAL):
            self._anchored_at = now
            self._try("the heads of the audit log cannot be anchored at present", self._anchor)
        if self._kept_days is not None and self._writer.day != self._retired_on and not at_once:
            self._retired_on = self._writer.day
            kept_days = self._kept_days
            self._try("old files of the audit log stay for another day", lambda: self._retire(kept_days))
            self._try("old heads of the audit log stay for another day", lambda: self._forget(kept_days))

    def close(self) -> None:
        """Let go of the heads' store."""
        heads, self._heads = self._heads, None
        if heads is not None:
            heads.close()

    def _try(self, consequence: str, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # noqa: BLE001  # whatever it is, the log goes on
            problem = words(error)
            if problem != self._problems.get(consequence):
                self._tell(f"{consequence}: {problem}")
            self._problems[consequence] = problem
        else:
            self._problems.pop(consequence, None)

    def _store(self) -> HeadStore:
        if self._heads is None:
            self._heads = self._open_heads()
        return self._heads

    def _anchor(self) -> None:
        anchors = dict(self._writer.unanchored)
        anchor(self._store(), anchors)
        for name, one in anchors.items():
            if self._writer.unanchored.get(name) == one:
                del self._writer.unanchored[name]

    def _retire(self, kept_days: int) -> None:
        ring = self._ring()
        key_of = partial(chain_key, ring, self._namespace or ring.id)
        for name in retire(self._days, self._writer, key_of, kept_days):
            self._tell(f"{name} is kept, though its time is up: it does not verify; see openalgo-cache audit verify")

    def _forget(self, kept_days: int) -> None:
        """Forget the heads of chains whose last file has gone, as it had to."""
        first_kept = days_before(self._writer.day, kept_days)
        store, log = self._store(), str(self._days.path)
        gone = [
            name
            for name, one in anchors_in(store)
            if (one.log, one.instance) == (log, self._writer.instance)
            and one.day < first_kept
            and not self._days.file_of(one.day).exists()
        ]
        for name in gone:
            store.delete(name)


def words(error: Exception) -> str:
    """Say what is wrong; an error that nobody foresaw may hold anything, so its kind alone."""
    if isinstance(error, CacheError):  # some of which are OSErrors, too
        return str(error)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__

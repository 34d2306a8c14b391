"""A cache's name and policy and the stack below them, and what a failing store or an unreadable record means.

A handle is the only place that may swallow a failure of the store, and each verb names what it returns instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from openalgo_cache.catalogue import Durability, Policy, Sealing
from openalgo_cache.clock import Clock
from openalgo_cache.codec.sealing import ForgedRecordError
from openalgo_cache.coherence.near import NearTier, NoNearTier
from openalgo_cache.errors import BackendUnavailableError, CacheError, UnreadableRecordError
from openalgo_cache.figures import CountedSize
from openalgo_cache.flight import Flights
from openalgo_cache.handles import HANDLES
from openalgo_cache.health import Trouble
from openalgo_cache.keys import Key
from openalgo_cache.locks import make_lock
from openalgo_cache.lost import FAILURES
from openalgo_cache.policy.callers import Caller, calling
from openalgo_cache.policy.metrics import Counters
from openalgo_cache.policy.repeats import Repeats
from openalgo_cache.stack import Stack

if TYPE_CHECKING:
    from openalgo_cache.audit import AuditLog

_log = logging.getLogger("openalgo_cache")

T = TypeVar("T")


class Handle:
    """A cache's name and policy, and the stack below it, which is built at the first use.

    Args:
        name: The cache's name.
        policy: What it is like.
        build: Makes its stack; called at the first use.
        clock: Where the time comes from.
        log_reads: Whether every hit and miss of the store is logged at level DEBUG, without key and value.
        show_counts: Whether ``stats`` includes what was counted.
        audit: Where the audit log comes from; None where nothing is audited.
    """

    __slots__ = (
        "__weakref__",
        "_audit",
        "_build",
        "_counters",
        "_failing",
        "_flights",
        "_last_size",
        "_lock",
        "_locks",
        "_log_reads",
        "_near",
        "_now",
        "_outage",
        "_repeats",
        "_show_counts",
        "_stack",
        "_trouble",
        "name",
        "policy",
    )

    def __init__(  # noqa: PLR0913  # what a handle is made of
        self,
        name: str,
        policy: Policy,
        build: Callable[[], Stack],
        clock: Clock,
        *,
        log_reads: bool = False,
        show_counts: bool = True,
        audit: Callable[[], AuditLog] | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self._build = build
        self._now = clock
        self._log_reads = log_reads
        self._show_counts = show_counts
        self._audit = audit
        self._repeats = Repeats(clock)
        self._stack: Stack | None = None
        self._near: NearTier = NoNearTier()
        self._counters = Counters()
        self._flights = Flights()
        self._lock = make_lock()
        self._outage = False
        self._trouble = Trouble()
        self._last_size = CountedSize()
        self._failing: set[str] = set()
        self._locks: Any = None  # a Writer, which is a handle
        HANDLES.add(self)

    def close(self) -> None:
        """Let go of the store. The cache opens again when it is used again."""
        with self._lock:
            stack, self._stack, self._near = self._stack, None, NoNearTier()
            locks, self._locks = self._locks, None
            if stack is not None:
                self._counters.near_hits += stack.near.hits()
                stack.backend.close()
        if locks is not None:
            locks.close()

    def shown(self, key: Key) -> str:
        """Return how a key may appear in logs: blinded where the store has it blinded, else its text."""
        keyspace = self._opened().keyspace
        return keyspace.stored(key).removeprefix(keyspace.prefix)

    def _absent(self, key: Key) -> KeyError:
        """Return the error for a key that is not there; a trace must not show what the store itself does not."""
        return KeyError(self.shown(key) if self.policy.blinded else key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.policy.sealing.value}, {self.policy.durability.value}>"

    def _opened(self) -> Stack:
        stack = self._stack
        if stack is None:
            with self._lock:
                if (stack := self._stack) is None:
                    stack = self._stack = self._build()
                    self._near = stack.near
        return stack

    def _unreadable(self, stack: Stack, stored: str, payload: bytes | None, error: UnreadableRecordError) -> None:
        """Deal with an unreadable record: state raises; elsewhere it is a miss, and goes if it is surely ours."""
        self._counters.rejected += 1
        if (unsaid := self._repeats.due(stored)) is not None:
            more = f"; {unsaid} more reads met it before" if unsaid else ""
            self._report("REJECTED", stored.removeprefix(stack.keyspace.prefix), calling(), f"{error}{more}")
        if self.policy.durability is Durability.STATE:
            raise UnreadableRecordError(f"cache {self.name!r}: {error}; the record is kept") from None
        level = logging.WARNING if self._counters.rejected == 1 else logging.DEBUG
        _log.log(level, "cache %s: %s; it counts as a miss (see 'rejected' in the statistics)", self.name, error)
        if payload is not None and isinstance(error, ForgedRecordError):
            self._swallowing(None, stack.backend.compare_and_set, stored, payload, None)

    def _report(self, operation: str, key: str | None, caller: Caller, detail: str) -> None:
        """Have the audit log say what happened, where there is one; the key is as it may be shown."""
        if self._audit is not None:
            from openalgo_cache.audit import Event  # noqa: PLC0415  # only where it is used: imports stay quick

            self._audit().record(Event(self.name, operation, key, str(caller), None, detail))

    # --- failures of the store ---------------------------------------------------------------------------------------

    def _swallowing(
        self, fallback: Any, verb: Callable[..., Any], *arguments: Any, deletes: Collection[str] | None = ()
    ) -> Any:
        """Call ``verb``; if the store fails and the policy allows it, return ``fallback``."""
        try:
            result = verb(*arguments)
        except FAILURES as error:
            self._failed(error, deletes=deletes)
            return fallback
        if self._outage:
            self._recovered()
        return result

    def _failed(self, error: CacheError, *, deletes: Collection[str] | None = ()) -> None:
        """Count a failure, and raise it where it must not be swallowed.

        Args:
            error: What the store raised.
            deletes: The stored keys that it should have deleted (None: all). A secret that was revoked must not look
                deleted, and is not served until it is.
        """
        self._note_failure(error)
        if deletes != () and self.policy.sealing is Sealing.ENCRYPTED:
            stack = self._opened()
            lost, prefix = stack.lost, stack.keyspace.prefix
            for key in (None,) if deletes is None else (stored.removeprefix(prefix) for stored in deletes):
                self._report("DELETE_LOST", key, calling(), type(error).__name__)
            raise error if lost is None else type(error)(f"{error}; {lost.note(deletes, self._now())}") from None
        if self.policy.raises or not isinstance(error, BackendUnavailableError):
            raise error
        if not self._trouble.told and not error.reported:
            self._trouble.told = True
            _log.warning("cache %s goes on without its store: %s", self.name, error)

    def _note_failure(self, error: CacheError) -> None:
        self._counters.errors += 1
        self._trouble.last_error = type(error).__name__
        if not self._outage:
            self._outage = True
            self._trouble.since = self._now()

    def _recovered(self) -> None:
        self._outage = False
        self._trouble.since = None
        if self._trouble.told:
            self._trouble.told = False
            _log.warning(
                "cache %s has its store again, after %d failed operations in all", self.name, self._counters.errors
            )

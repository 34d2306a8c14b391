"""The guard of one cache: says who may, remembers whom it let through, and reports whom it did not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

from openalgo_cache.audit import AuditLog, Event
from openalgo_cache.clock import Clock
from openalgo_cache.errors import AccessDeniedError
from openalgo_cache.policy.callers import NOBODY, Caller, acting, caller_of, is_own
from openalgo_cache.policy.metrics import Counters
from openalgo_cache.policy.repeats import Repeats
from openalgo_cache.policy.rules import ALL, READ, RIGHTS, Rights, Rules

_log = logging.getLogger("openalgo_cache")

_REMEMBERED: Final = 1024
"""Modules."""

Shown = Callable[[], str | None]


def _no_key() -> None:
    return None


class Guard:
    """Judges the calls of one cache's verbs.

    Args:
        cache: The cache's name.
        rules: The access rules; None where everybody may do everything.
        counters: The cache's, which count who was refused.
        audit: Where the audit log comes from.
        clock: Where the time comes from.
        audits: Whether every verb goes to the audit log. Denials do in any case.

    Attributes:
        quick: The modules that may read without another look, unless they act for others.
    """

    __slots__ = ("_audit", "_cache", "_caller", "_counters", "_log", "_repeats", "_rights", "_rules", "audits", "quick")

    def __init__(  # noqa: PLR0913  # what a guard knows
        self,
        cache: str,
        rules: Rules | None,
        counters: Counters,
        audit: Callable[[], AuditLog],
        clock: Clock,
        *,
        audits: bool,
    ) -> None:
        self._cache = cache
        self._rules = rules
        self._counters = counters
        self._audit = audit
        self._log: AuditLog | None = None
        self._repeats = Repeats(clock)
        self._rights: dict[str, Rights] = {}
        self._caller: Caller | None = None
        self.audits = audits
        self.quick: set[str] = set()

    def acting_as(self, caller: Caller) -> Guard:
        """Return a guard of the same cache for which every call is one of ``caller``."""
        guard = Guard.__new__(Guard)
        for name in Guard.__slots__:
            setattr(guard, name, getattr(self, name))
        guard._caller = caller  # noqa: SLF001  # one of its own kind
        guard.quick = set()
        return guard

    def admit(self, frame: FrameType | None, verb: str, needs: Rights, key: Shown = _no_key) -> Caller:
        """Return who calls, if they have the rights that are needed.

        Args:
            frame: The frame of the call.
            verb: What is to be done.
            needs: The rights that it takes.
            key: Returns the key as it may be shown; asked for if the call is denied.

        Raises:
            AccessDeniedError: They do not.
        """
        if self._caller is None:
            caller = caller_of(frame)
        else:
            behalf = acting()
            caller = self._caller._replace(acting_for=behalf[-1]) if behalf else self._caller
        if self._rules is None:
            return caller
        held = self._rights.get(caller.judged)
        if held is None:
            held = self._look_up(self._rules, caller.judged)
        if not needs <= held:
            self._deny(self._rules, caller, verb, needs - held, key())
        if self._caller is None and frame is not None and held >= READ and not self.audits:
            self._remember(frame, caller)
        return caller

    def note(self, event: Event) -> None:
        """Have an event of this cache written to the audit log."""
        log = self._log
        if log is None:
            log = self._log = self._audit()
        log.record(event)

    def close(self) -> None:
        """Report what has gone unsaid."""
        for what, count in self._repeats.unsaid():
            caller, verb = what if isinstance(what, tuple) and len(what) == 2 else ("(others)", "verbs")
            self._report(str(caller), None, f"{verb}: {count} more were denied")

    def _look_up(self, rules: Rules, module: str) -> Rights:
        rights = ALL if is_own(module) else rules.grant(self._cache).rights(module)
        if len(self._rights) >= _REMEMBERED:
            self._rights.clear()
            self.quick.clear()
        self._rights[module] = rights
        return rights

    def _remember(self, frame: FrameType, caller: Caller) -> None:
        """Let a module read without another look, if it is the very frame's: what is behind one may change."""
        if caller.acting_for is None and frame.f_globals.get("__name__") == caller.module:
            self.quick.add(caller.module)

    def _deny(self, rules: Rules, caller: Caller, verb: str, lacks: Rights, key: str | None) -> NoReturn:
        self._counters.denied += 1
        right = next(right for right in RIGHTS if right in lacks)
        grant = rules.grant(self._cache)
        message = (
            f"{caller.judged} may not {right} the cache {self._cache!r} ({verb}): the access rules {rules.name} give "
            f"that right to {grant.describe(right)}. "
        )
        if caller.judged == NOBODY:
            message += (
                "Behind this call there is no module, since a thread or greenlet was given the verb itself: give it a "
                "function of yours, or one that is decorated with on_behalf_of"
            )
        else:
            message += "Add the module to a rules file (CACHE_ACCESS_RULES), or go through a module that has the right"
        unsaid = self._repeats.due((str(caller), verb))
        if unsaid is not None:
            more = f"; {unsaid} more were denied before" if unsaid else ""
            self._report(str(caller), key, f"{verb} needs the right to {right}{more}")
            _log.warning("cache %s: %s was denied to %s", self._cache, verb, caller)
        raise AccessDeniedError(message, caller.judged, self._cache, verb)

    def _report(self, caller: str, key: str | None, detail: str) -> None:
        """Write down a denial; that this fails must not let anybody in."""
        try:
            self._audit().record_now(Event(self._cache, "DENIED", key, caller, None, detail))
        except Exception as error:  # noqa: BLE001  # whatever it is, the denial stands
            _log.warning("cache %s: a denial is not in the audit log (%s)", self._cache, type(error).__name__)

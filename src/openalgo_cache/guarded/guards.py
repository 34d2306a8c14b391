"""The guards of a manager's caches: which of them there are, and by which rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import Policy, is_audited
from openalgo_cache.clock import Clock
from openalgo_cache.policy.metrics import Counters
from openalgo_cache.policy.rules import Rules
from openalgo_cache.settings import Settings

if TYPE_CHECKING:
    from openalgo_cache.audit import AuditLog
    from openalgo_cache.guarded.guard import Guard


class Guards:
    """Sets guards before caches where access rules are in effect, or the cache is audited.

    Args:
        settings: Where the settings come from.
        audit: Where the audit log comes from.
        clock: Where the time comes from.
    """

    def __init__(self, settings: Callable[[], Settings], audit: Callable[[], AuditLog], clock: Clock) -> None:
        self._settings = settings
        self._audit = audit
        self._clock = clock
        self._rules: Rules | None = None
        self._are_read = False

    def rules(self) -> Rules | None:
        """Return the access rules in effect, read at the first call; None if there are none.

        Raises:
            ConfigurationError: CACHE_ACCESS_RULES names a file that cannot be used.
        """
        if not self._are_read:
            where = self._settings().cache_access_rules
            if where is not None:
                from openalgo_cache.policy.rulesfile import load_rules  # noqa: PLC0415  # brings tomllib, if at all

                self._rules = load_rules(where)
            self._are_read = True
        return self._rules

    def guard(self, name: str, policy: Policy, counters: Counters) -> Guard | None:
        """Return a guard of a cache; None if there is nothing to guard."""
        rules, audits = self.rules(), is_audited(name, policy, self._settings())
        if rules is None and not audits:
            return None
        from openalgo_cache.guarded.guard import Guard  # noqa: PLC0415  # only where it is used: imports stay quick

        return Guard(name, rules, counters, self._audit, self._clock, audits=audits)

    def before(self, cache: Cache) -> Cache:
        """Return what to hand out of a cache: a guarded handle, or the cache if there is nothing to guard."""
        guard = self.guard(cache.name, cache.policy, cache._counters)  # noqa: SLF001  # its own
        if guard is None:
            return cache
        from openalgo_cache.guarded.cache import GuardedCache  # noqa: PLC0415  # only where it is used

        return GuardedCache(cache, guard)

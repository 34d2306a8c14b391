"""The caches of a process: one stable handle a name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from openalgo_cache import expiry, selection
from openalgo_cache.cache import Cache
from openalgo_cache.catalogue import AUDIT_HEADS, SYMBOLS, Durability, Policy, Sealing, is_reported, policy_of
from openalgo_cache.census import NOT_SHARED, Census
from openalgo_cache.clock import Clock, system_clock
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.livering import LiveRing
from openalgo_cache.errors import CacheError, ConfigurationError, KeyRingError
from openalgo_cache.guarded.guards import Guards
from openalgo_cache.health import Healths, healths_of
from openalgo_cache.keyless import keyless_stack
from openalgo_cache.locks import make_lock
from openalgo_cache.options import Options, backend_asked, with_options
from openalgo_cache.policy.callers import back
from openalgo_cache.policy.metrics import Counters
from openalgo_cache.policy.rules import ALL, Rules
from openalgo_cache.ringsource import load_ring, ring_file
from openalgo_cache.settings import Settings, current_settings
from openalgo_cache.stack import Ground, Stack, build_stack

if TYPE_CHECKING:
    from openalgo_cache.audit import AuditLog
    from openalgo_cache.guarded.guard import Guard
    from openalgo_cache.symbols import SymbolMaster, SymbolView
    from openalgo_cache.symbols.shelf import Shelf

_log = logging.getLogger("openalgo_cache")


class CacheManager:
    """Makes and keeps the caches of one configuration.

    Args:
        settings: The settings; by default those in effect when the first cache is opened.
        clock: Where the time comes from.
    """

    def __init__(self, settings: Settings | None = None, clock: Clock = system_clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = make_lock()
        self._caches: dict[str, Cache] = {}
        self._options: dict[str, dict[str, object]] = {}
        self._rings: dict[bool, LiveRing] = {}
        self._ring_problem: str | None = None
        self.census = Census(self.ground)
        self._choice: selection.Choice | None = None
        self._audit: AuditLog | None = None
        self._guards = Guards(lambda: self.settings, self.audit, clock)
        self._symbols: SymbolMaster | None = None
        self._view: SymbolView | None = None

    @property
    def settings(self) -> Settings:
        """The settings of these caches."""
        if self._settings is None:
            self._settings = current_settings()
        return self._settings

    @overload  # the literal comes first, so the overlap is decided
    def get_cache(self, name: Literal["symbols"]) -> SymbolView: ...  # type: ignore[overload-overlap]
    @overload
    def get_cache(self, name: str, **options: Unpack[Options]) -> Cache: ...
    def get_cache(self, name: str, **options: Unpack[Options]) -> Cache | SymbolView:
        """Return the cache of a name; the same object each time. Nothing is connected or created before it is used.

        Args:
            name: 1 to 64 of the characters ``a-z 0-9 _ -``. The catalogue knows some; ``symbols`` is a read-only view
            of the
                symbol master.
            **options: See :class:`Options`. A cache that is there already may be asked for without options, or with
            the same.

        Raises:
            ConfigurationError: An option is unknown or contradicts the catalogue, or the cache is there with other
            options.
        """
        given: dict[str, object] = {key: value for key, value in options.items() if (key, value) != ("encrypted", None)}
        if name == SYMBOLS:
            if given:
                raise ConfigurationError(
                    f"the cache 'symbols' is a view of the symbol master and takes no options, not {_shown(given)}"
                )
            return self._symbol_view()
        cache = self._caches.get(name)
        if cache is None:
            with self._lock:
                if (cache := self._caches.get(name)) is None:
                    cache = self._guards.before(self._make(name, given))
                    self._options[name] = given  # before the cache, which others find without the lock
                    self._caches[name] = cache
                    return cache
        there = self._options[name]
        if any(key not in there or there[key] != value for key, value in given.items()):
            raise ConfigurationError(
                f"the cache {name!r} is there already with {_shown(there)}, and now asked for with {_shown(given)}: "
                "give the options in one place, and only the name elsewhere"
            )
        return cache

    def symbols(self, *, background: bool = True) -> SymbolMaster:
        """Return the symbol master beside the cache files; it is the same one each time.

        Args:
            background: Whether a thread reads it ahead and keeps it new; for programs that ask once and end, it does
                not.
        """
        guard = self._symbol_guard()
        if guard is not None:
            guard.admit(back(), SYMBOLS, ALL)
        return self._master(background=background)

    def _master(self, *, background: bool = True) -> SymbolMaster:
        from openalgo_cache.symbols.opening import open_master  # noqa: PLC0415  # only where it is used: imports stay quick

        with self._lock:
            if self._symbols is None:
                self._symbols = open_master(self.ground(), self.shelf, background=background)
            return self._symbols

    def audit(self) -> AuditLog:
        """Return the audit log; it is the same one each time. No file is made before the first event."""
        from openalgo_cache.audit import AuditLog  # noqa: PLC0415  # only where it is used: imports stay quick

        with self._lock:
            if self._audit is None:
                self._audit = AuditLog(self.settings, self.ring, self._clock, self._open_heads)
            return self._audit

    def _open_heads(self) -> Cache:
        """Return a handle of the cache of the audit log's heads, for the audit log alone."""
        backend = self.choice().backend
        return self._make(AUDIT_HEADS, {"backend": "sqlite" if backend == "memory" else backend})  # not a guarded one

    def ring(self) -> KeyRing:
        """Return the key ring as it is now; made at first use where that is allowed.

        Raises:
            KeyRingError: There is none that can be used.
        """
        return self.live_ring().now

    def live_ring(self, *, ephemeral: bool = False) -> LiveRing:
        """Return the key ring that follows its file.

        Args:
            ephemeral: Make none: if there is none yet, return a ring of this process alone. For stores that do not
                outlive it.

        Raises:
            KeyRingError: There is none that can be used.
        """
        if (ring := self._rings.get(ephemeral)) is None:
            path = self.ring_path()
            if not ephemeral:
                ring = load_ring(self.settings)
                ring.alarm = self._audit_ring
            elif path is not None and not path.exists():
                ring = LiveRing(KeyRing.generate())
            else:  # as it is now: what lies in memory is sealed anew by no rotation, so its keys have to stay
                ring = LiveRing(self.live_ring().now)
            ring = self._rings.setdefault(ephemeral, ring)
        return ring

    def ring_path(self) -> Path | None:
        """Return the key ring's file; None where the key comes from CACHE_ENCRYPTION_KEY."""
        file = ring_file(self.settings)
        return None if file is None else file.path

    def choice(self) -> selection.Choice:
        """Return which backend was chosen, and why; the first call chooses."""
        if self._choice is None:
            self._choice = selection.choose_backend(self.settings, self.settings.cache_folder)
        return self._choice

    def access_rules(self) -> Rules | None:
        """Return the access rules in effect, read at the first call; None if there are none.

        Raises:
            ConfigurationError: CACHE_ACCESS_RULES names a file that cannot be used.
        """
        return self._guards.rules()

    def clear_all(self, *, include_state: bool = False) -> None:
        """Clear every cache that was asked for.

        Args:
            include_state: Whether caches that are the only copy of what they hold are cleared, too.
        """
        for name, cache in list(self._caches.items()):
            if cache.policy.durability is not Durability.STATE or include_state:
                cache.clear()
                _log.info("cleared cache %s", name)

    def get_stats(self, *, size_max_age: float | None = 0, open_unused: bool = True) -> dict[str, dict[str, Any]]:
        """Return the statistics of every cache that was asked for.

        Args:
            size_max_age: See ``Cache.stats``.
            open_unused: Whether caches that were not used yet are opened, to ask how large they are.
        """
        stats = {}
        for name, cache in sorted(self._caches.items()):
            asks = open_unused or cache._stack is not None  # noqa: SLF001  # whether it is open is nobody else's concern
            stats[name] = cache.stats(size_max_age=size_max_age if asks else None)
        if self._symbols is not None:
            stats[SYMBOLS] = self._symbols.stats(look=size_max_age is not None)
        return stats

    def health(self, *, probe: bool = False) -> Healths:
        """Return how every cache that was asked for is; never raises.

        Args:
            probe: Whether those that were used read one key from their store first.
        """
        return healths_of(list(self._caches.values()), probe=probe)

    def close(self) -> None:
        """Let go of every store. Caches open again when they are used again."""
        for cache in list(self._caches.values()):
            cache.close()
        if self._symbols is not None:
            self._symbols.close()
        if self._audit is not None:
            self._audit.close()
        self.census.leave()
        for ring in self._rings.values():  # last: the audit log's end is sealed for a store, and read back
            ring.rest()

    def new_cache(self, name: str, **options: Unpack[Options]) -> Cache:
        """Return a new handle, which this manager does not keep and does not close."""
        return self._guards.before(self._make(name, options))

    def ground(self, cache: str = "", *, ephemeral: bool = False) -> Ground:
        """Return what the caches of this manager stand on, or what one of them does.

        Args:
            cache: Its name.
            ephemeral: Whether its store does not outlive this process.
        """
        settings = self.settings.of_cache(cache)
        return Ground(settings, self._clock, lambda: self.live_ring(ephemeral=ephemeral), journals=not ephemeral)

    def _make(self, name: str, options: Mapping[str, object]) -> Cache:
        policy = with_options(policy_of(name, self.settings), name, options)
        asked = backend_asked(name, options)

        def build() -> Stack:
            backend = asked or ("memory" if policy.durability is Durability.LOCAL else self._chosen(policy))
            if backend == "memory" and policy.durability is Durability.STATE and asked is None:
                raise ConfigurationError(
                    f"the cache {name!r} is the only copy of what it holds; CACHE_BACKEND=memory forgets it at every "
                    f"restart: use sqlite, or say get_cache({name!r}, backend='memory') if that is meant"
                )
            if policy.sealing is Sealing.ENCRYPTED and not self.settings.cache_encryption_enabled:
                _log.warning(
                    "cache %s: CACHE_ENCRYPTION_ENABLED=false, so new records are signed but not encrypted", name
                )
            try:
                if policy.sealing is not Sealing.PLAIN:
                    self.census.take_part(backend, name)
                stack = build_stack(name, policy, backend, self.ground(name, ephemeral=backend == "memory"))
            except KeyRingError as error:
                if policy.raises or self.settings.multi_instance_mode:
                    raise
                self._tell_of_ring(str(error))
                return keyless_stack(name, policy, self.settings, self._clock, self.live_ring, cache.close)
            lifetime = expiry.describe(expiry.earliest(policy.lifetime, policy.limit))
            _log.info("cache %s: %s, %s, %s", name, backend, policy.sealing.value, lifetime)
            return stack

        reports = is_reported(name, policy, asked or self.settings.cache_backend, self.settings)
        cache = Cache(
            name,
            policy,
            build,
            self._clock,
            log_reads=self.settings.cache_metrics_enabled,
            show_counts=self.settings.cache_stats_enabled,
            audit=self.audit if reports else None,
        )
        return cache

    def _audit_ring(self, problem: str | None) -> None:
        """Audit what has become of the key ring's file while we run."""
        from openalgo_cache.audit import Event  # noqa: PLC0415  # only where it is used: imports stay quick

        with suppress(CacheError):  # whoever must not go on without an audit is told by what is done next
            operation = "KEY_RING_RESTORED" if problem is None else "KEY_RING_LOST"
            self.audit().record(Event(None, operation, None, __name__, detail=problem))

    def _tell_of_ring(self, problem: str) -> None:
        """Say once what is wrong with a ring that was never there."""
        if problem != self._ring_problem:
            self._ring_problem = problem
            _log.error("%s; until then nothing is cached that has to be sealed", problem)

    def _chosen(self, policy: Policy) -> str:
        """Return the backend of a cache that asks for none: SQLite may stand in for a server, but not for state."""
        choice = self.choice()
        return choice.meant or choice.backend if policy.durability is Durability.STATE else choice.backend

    def shelf(self, backend: str | None = None) -> Shelf | None:
        """Return where instances share the symbol master; None where the caches are this machine's alone.

        Args:
            backend: The backend's name, in place of the chosen one.
        """
        from openalgo_cache.symbols.opening import open_shelf  # noqa: PLC0415  # only where it is used: imports stay quick

        backend = backend or self.choice().backend
        return None if backend in NOT_SHARED else open_shelf(self.ground(), backend)

    def _symbol_view(self) -> SymbolView:
        from openalgo_cache.symbols import SymbolView  # noqa: PLC0415  # only where it is used: imports stay quick

        if self._view is None:
            self._view, guard = SymbolView(self._master()), self._symbol_guard()
            if guard is not None:
                from openalgo_cache.symbols.guarded import GuardedSymbolView  # noqa: PLC0415  # likewise

                self._view = GuardedSymbolView(self._view, guard)
        return self._view

    def _symbol_guard(self) -> Guard | None:
        return self._guards.guard(SYMBOLS, policy_of(SYMBOLS, self.settings), Counters())


SecureCacheManager = CacheManager
"""The proposal's name."""


def _shown(options: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(options.items())) or "no options"

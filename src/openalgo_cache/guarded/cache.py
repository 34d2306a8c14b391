"""The handle in front of a handle: every verb of it is judged, and noted where the cache is audited.

A manager puts one before a cache where access rules are in effect or the cache is audited; elsewhere there is none, and
nothing to pay for. It holds no state of its own: below its verbs it *is* the cache that it guards. So what the
library calls within a verb is neither judged nor noted again, traces go on beneath it, and whatever calls a verb from
outside comes by here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import wraps
from types import FrameType
from typing import Any, Final, NoReturn

from openalgo_cache.aio import AsyncCache
from openalgo_cache.audit import Event
from openalgo_cache.backends.base import CacheBackend
from openalgo_cache.cache import Cache
from openalgo_cache.cached import Wrap
from openalgo_cache.epochs import Epoch
from openalgo_cache.guarded.account import Account, shown
from openalgo_cache.guarded.guard import Guard
from openalgo_cache.guarded.verbs import VERBS, Keys, Verb
from openalgo_cache.keys import Key
from openalgo_cache.policy.callers import acting, back, caller_of
from openalgo_cache.policy.rules import READ
from openalgo_cache.sentinels import MISSING

_frame = sys._getframe  # noqa: SLF001  # the only way to the caller, and documented for this use


class GuardedCache(Cache):
    """A cache whose every verb is judged by a guard, and noted where the cache is audited.

    Args:
        inner: The cache.
        guard: Its guard.
    """

    __slots__ = ("_face", "_guard", "_inner", "_quick")

    def __init__(self, inner: Cache, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard
        self._quick = guard.quick
        self._face: AsyncCache | None = None

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"the handle of cache {self.name!r} is neither copied nor pickled: get_cache gives it anywhere")

    def get(self, key: Key, default: Any = None, epoch: Epoch | None = None) -> Any:  # noqa: D102  # see Cache
        try:
            module = _frame(1).f_globals["__name__"]
        except (KeyError, ValueError):  # code without a module, or a greenlet that was given the verb itself
            module = None
        if module in self._quick and not acting():
            return self._inner.get(key, default, epoch)
        value = self._get(back(), key, epoch)
        return default if value is MISSING else value

    def _get(self, frame: FrameType | None, key: Key, epoch: Epoch | None) -> Any:
        """Do what ``_call`` does for the verb that is called most, in fewer steps."""
        guard, inner, verb = self._guard, self._inner, VERBS["get"]
        if not guard.audits:
            return self._call(frame, verb, inner.get, (key, MISSING, epoch), {})
        caller = guard.admit(frame, "get", READ, lambda: shown(inner, key))
        try:
            value = inner.get(key, MISSING, epoch)
        except Exception as error:
            Account(inner, guard, verb, caller, (key,), {}).failed(error)
            raise
        guard.note(Event(inner.name, "GET", shown(inner, key), str(caller), value is not MISSING))
        return value

    def pop(self, key: Key, *default: Any, **named: Any) -> Any:  # noqa: D102  # see Cache
        if not default and not named:
            return self._call(back(), VERBS["pop"], self._inner.pop, (key,), {})
        value = self._call(back(), VERBS["pop"], self._inner.pop, (key, MISSING), {})
        return (default[0] if default else named["default"]) if value is MISSING else value

    def values(self) -> Iterator[Any]:  # noqa: D102  # see Cache
        return (value for _, value in self._call(back(), VERBS["values"], self._inner.items, (), {}))

    def cached(self, *arguments: Any, **options: Any) -> Wrap[Any]:
        """See ``Cache.cached``; the module that decorates a function is the one that acts when it is called."""
        guard = self._guard.acting_as(caller_of(back()))
        return Cache.cached(GuardedCache(self._inner, guard), *arguments, **options)

    @property
    def aio(self) -> AsyncCache:
        """The same verbs for asyncio callers."""
        if self._face is None:
            from openalgo_cache.guarded.aio import GuardedAsyncCache  # noqa: PLC0415  # asyncio is loaded where it is used

            self._face = GuardedAsyncCache(self._inner.aio, self._inner, self._guard)
        return self._face

    @property
    def backend(self) -> CacheBackend:
        """The store below, for those who have every right."""
        backend: CacheBackend = self._call(back(), VERBS["backend"], lambda: self._inner.backend, (), {})
        return backend

    def stats(self, *, size_max_age: float | None = 0) -> dict[str, Any]:  # noqa: D102  # see Cache
        return self._inner.stats(size_max_age=size_max_age)

    def close(self) -> None:  # noqa: D102  # see Handle
        self._inner.close()
        self._guard.close()

    def _call(
        self,
        frame: FrameType | None,
        verb: Verb,
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        """Judge a call, make it, and have it noted if the cache is audited."""
        guard = self._guard
        caller = guard.admit(frame, verb.name, verb.needs, lambda: key_of(self._inner, verb, arguments, options))
        if not guard.audits:
            return call(*arguments, **options)
        account = Account(self._inner, guard, verb, caller, arguments, options)
        try:
            result = call(*account.arguments, **account.options)
        except Exception as error:
            account.failed(error)
            raise
        return account.done(result)


def key_of(cache: Cache, verb: Verb, arguments: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """Return the one key of a call as it may be shown; None if there is none."""
    if verb.keys is not Keys.FIRST:
        return None
    return shown(cache, arguments[0] if arguments else options.get(verb.key_name))


def governed(verb: Verb, face: type) -> Callable[..., Any]:
    """Return a method that calls a verb of what a guarded face stands before, if its guard lets it."""
    name = verb.name

    @wraps(getattr(face, name))
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        return self._call(back(), verb, getattr(self._inner, name), arguments, options)

    return call


def _of_inner(name: str) -> property:
    def get(self: GuardedCache) -> Any:
        return getattr(self._inner, name)

    def change(self: GuardedCache, value: Any) -> None:
        setattr(self._inner, name, value)

    return property(get, change)


_BY_HAND: Final = frozenset(vars(GuardedCache))

# The steps below the verbs, which a guarded handle inherits, find the inner cache's state, and change that.
for _kind in Cache.__mro__:
    for _slot in set(getattr(_kind, "__slots__", ())) - {"__weakref__"}:
        setattr(GuardedCache, _slot, _of_inner(_slot))

for _verb in VERBS.values():
    if _verb.name not in _BY_HAND:
        setattr(GuardedCache, _verb.name, governed(_verb, Cache))

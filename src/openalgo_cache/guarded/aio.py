"""The guarded handle's verbs for asyncio callers: judged when they are called, noted when they have ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from openalgo_cache.aio import AsyncCache
from openalgo_cache.cache import Cache
from openalgo_cache.epochs import Epoch
from openalgo_cache.guarded.account import Account
from openalgo_cache.guarded.cache import governed, key_of
from openalgo_cache.guarded.guard import Guard
from openalgo_cache.guarded.verbs import VERBS, Verb
from openalgo_cache.keys import Key
from openalgo_cache.policy.callers import acting, back
from openalgo_cache.sentinels import MISSING

_frame = sys._getframe  # noqa: SLF001  # the only way to the caller, and documented for this use


class GuardedAsyncCache(AsyncCache):
    """The asyncio face of a guarded cache. A denial is raised by the call, not by what it would have returned.

    Args:
        inner: The face of the cache below.
        cache: That cache.
        guard: Its guard.
    """

    __slots__ = ("_guard", "_inner", "_quick")

    def __init__(self, inner: AsyncCache, cache: Cache, guard: Guard) -> None:
        super().__init__(cache)
        self._inner = inner
        self._guard = guard
        self._quick = guard.quick

    def get(self, key: Key, default: Any = None, epoch: Epoch | None = None) -> Any:  # noqa: D102  # see AsyncCache
        try:
            module = _frame(1).f_globals["__name__"]
        except (KeyError, ValueError):  # code without a module, or a greenlet that was given the verb itself
            module = None
        if module in self._quick and not acting():
            return self._inner.get(key, default, epoch)
        came = self._call(back(), VERBS["get"], self._inner.get, (key, MISSING, epoch), {})
        return self._with_default(came, default)

    def pop(self, key: Key, *default: Any, **named: Any) -> Any:  # noqa: D102  # see AsyncCache
        if not default and not named:
            return self._call(back(), VERBS["pop"], self._inner.pop, (key,), {})
        came = self._call(back(), VERBS["pop"], self._inner.pop, (key, MISSING), {})
        return self._with_default(came, default[0] if default else named["default"])

    async def _with_default(self, coming: Any, default: Any) -> Any:
        value = await coming
        return default if value is MISSING else value

    def _call(
        self,
        frame: FrameType | None,
        verb: Verb,
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        """Judge a call; return what to await, or to iterate over."""
        guard = self._guard
        caller = guard.admit(frame, verb.name, verb.needs, lambda: key_of(self._cache, verb, arguments, options))
        if not guard.audits:
            return call(*arguments, **options)
        account = Account(self._cache, guard, verb, caller, arguments, options)
        came = call(*account.arguments, **account.options)
        return account.done(came) if verb.name in _NOT_AWAITED else self._noted(account, came)

    async def _noted(self, account: Account, coming: Any) -> Any:
        try:
            result = await coming
        except Exception as error:
            account.failed(error)
            raise
        return account.done(result)


_NOT_AWAITED: Final = frozenset({"keys", "items", "lock"})
_BY_HAND: Final = frozenset(vars(GuardedAsyncCache))

for _verb in VERBS.values():
    if _verb.name not in _BY_HAND and hasattr(AsyncCache, _verb.name):
        setattr(GuardedAsyncCache, _verb.name, governed(_verb, AsyncCache))

"""What the audit log is told of one call: which verb it was, of which keys, and whether something was there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from openalgo_cache.audit import Event
from openalgo_cache.cache import Cache
from openalgo_cache.errors import CacheError
from openalgo_cache.guarded.guard import Guard
from openalgo_cache.guarded.verbs import Hit, Keys, Verb
from openalgo_cache.policy.callers import Caller
from openalgo_cache.sentinels import MISSING


def shown(cache: Cache, key: Any) -> str | None:
    """Return a key as it may be shown; None if it is none, or only an open cache could tell."""
    if cache._stack is None:  # noqa: SLF001  # to show a key must not open anything
        return None
    try:
        return cache.shown(key)
    except (CacheError, TypeError):
        return None


class Account:
    """One call: what it is to be made with, and what is noted of it when it ends.

    Args:
        cache: The cache.
        guard: The cache's guard.
        verb: The verb.
        caller: Who called.
        arguments: What with.
        options: Likewise.
    """

    __slots__ = ("_cache", "_caller", "_guard", "_keys", "_loaded", "_verb", "arguments", "options")

    def __init__(  # noqa: PLR0913  # what a call consists of
        self,
        cache: Cache,
        guard: Guard,
        verb: Verb,
        caller: Caller,
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        self._cache = cache
        self._guard = guard
        self._verb = verb
        self._caller = str(caller)
        self._loaded = False
        self.arguments = arguments
        self.options = options
        self._keys: list[Any] = self._named()

    def done(self, result: Any) -> Any:
        """Note that a call ended well; return its result."""
        verb = self._verb
        if verb.keys is Keys.RESULT:
            return self._each_later(result) if hasattr(result, "__aiter__") else self._each(result)
        if verb.keys is Keys.NONE:
            if verb.operation != "CLEAR":  # which every cache reports itself
                self._note(None)
            return result
        for key in self._keys:
            self._note(key, self._hit(key, result))
        return result

    def failed(self, error: Exception) -> None:
        """Note that a call raised."""
        absent = type(error) is KeyError and self._verb.hit is Hit.VALUE
        detail = None if absent else f"raised {type(error).__name__}"
        for key in self._keys or (None,):
            self._note(key, False if absent else None, detail)

    def _named(self) -> list[Any]:
        """Return the keys that the call names; what can be gone through but once is made a list of."""
        where, arguments = self._verb.keys, self.arguments
        if where is Keys.FIRST:
            if self._verb.hit is Hit.LOADER:
                self._watch_loader()
            if arguments:
                return [arguments[0]]
            return [self.options[self._verb.key_name]] if self._verb.key_name in self.options else []
        if where is Keys.PAIRS:
            items = dict(*arguments, **self.options)
            self.arguments, self.options = (items,), {}
            return list(items)
        if where in {Keys.MANY, Keys.MAPPING}:
            name = "keys" if where is Keys.MANY else "items"
            given = arguments[0] if arguments else self.options.pop(name, None)
            if given is None:
                return []
            named = list(given)
            self.arguments = (named if where is Keys.MANY else given, *arguments[1:])
            return named
        return []

    def _watch_loader(self) -> None:
        """Have it noted whether the loader is called."""
        if len(self.arguments) > 1:
            self.arguments = (self.arguments[0], self._watched(self.arguments[1]), *self.arguments[2:])
        elif "load" in self.options:
            self.options = {**self.options, "load": self._watched(self.options["load"])}

    def _watched(self, load: Callable[[], Any]) -> Callable[[], Any]:
        from inspect import iscoroutinefunction  # noqa: PLC0415  # slow to import, and only needed where this is used

        def watched() -> Any:
            self._loaded = True
            return load()

        async def watched_on_loop() -> Any:
            self._loaded = True
            return await load()

        return watched_on_loop if iscoroutinefunction(load) else watched

    def _hit(self, key: Any, result: Any) -> bool | None:
        match self._verb.hit:
            case Hit.TRUTH:
                return bool(result)
            case Hit.ABSENCE:
                return not result
            case Hit.VALUE:
                return result is not MISSING
            case Hit.MEMBERSHIP:
                return key in result
            case Hit.LOADER:
                return not self._loaded
        return None

    def _each(self, found: Iterator[Any]) -> Iterator[Any]:
        for one in found:
            self._note(one[0] if self._verb.operation == "ITEMS" else one, hit=True)
            yield one

    async def _each_later(self, found: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for one in found:
            self._note(one[0] if self._verb.operation == "ITEMS" else one, hit=True)
            yield one

    def _note(self, key: Any, hit: bool | None = None, detail: str | None = None) -> None:  # noqa: FBT001  # see Event
        shown_key = None if key is None else shown(self._cache, key)
        self._guard.note(Event(self._cache.name, self._verb.operation, shown_key, self._caller, hit, detail))

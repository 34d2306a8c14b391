"""The view of the symbol master behind a guard, as other caches have one."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from openalgo_cache.audit import Event
from openalgo_cache.guarded.cache import governed
from openalgo_cache.guarded.guard import Guard
from openalgo_cache.guarded.verbs import VERBS, Verb
from openalgo_cache.policy.callers import back
from openalgo_cache.symbols.master import SymbolMaster
from openalgo_cache.symbols.view import SymbolView


class GuardedSymbolView(SymbolView):
    """A view whose look-ups are judged by a guard. The master itself is for those who have every right.

    Where the view is audited, each look-up is a line without its key: there are thousands of them a page.

    Args:
        inner: The view.
        guard: Its guard.
    """

    def __init__(self, inner: SymbolView, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    @property
    def master(self) -> SymbolMaster:  # type: ignore[override]  # the inner view has it
        """The symbol master."""
        master: SymbolMaster = self._call(back(), VERBS["backend"], lambda: self._inner.master, (), {})
        return master

    def stats(self) -> dict[str, Any]:  # noqa: D102  # see SymbolView
        return self._inner.stats()

    def __repr__(self) -> str:
        return f"<GuardedSymbolView of {self._inner!r}>"

    def _call(
        self,
        frame: FrameType | None,
        verb: Verb,
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        """Judge a call, note it if the view is audited, and make it."""
        caller = self._guard.admit(frame, verb.name, verb.needs)
        if self._guard.audits:
            self._guard.note(Event(self.name, verb.operation, None, str(caller)))
        return call(*arguments, **options)


_READS: Final = ("get", "get_many", "exists", "size", "__getitem__", "__contains__", "__len__")

for _name in _READS:
    setattr(GuardedSymbolView, _name, governed(VERBS[_name], SymbolView))

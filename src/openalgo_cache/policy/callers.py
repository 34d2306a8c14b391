"""Who calls: the module whose code asked for a verb, and on whose behalf it acts.

It is told by the frames below the call. Frames of the standard library and of this one are passed over, since they act
for who called them; only the parts of this library that are programs or hooks of their own act for themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

NOBODY: Final = "(nobody)"
"""The module of a call behind which there is no code: a thread or a greenlet that was given the verb itself."""

OWN: Final = "openalgo_cache"
_ACTORS: Final = ("cli", "dashboard", "integrations")
"""Parts of this library that nobody calls, or only a framework."""

_acting: ContextVar[tuple[str, ...]] = ContextVar("openalgo_cache_acting", default=())

acting: Final = _acting.get
"""Return the modules on whose behalf the running code acts, the present one last; nothing if it acts for itself."""


class Caller(NamedTuple):
    """Who calls.

    Attributes:
        module: The module whose code it is.
        function: The function, if it is in one.
        acting_for: On whose behalf it acts, if not for itself.
    """

    module: str
    function: str = ""
    acting_for: str | None = None

    @property
    def judged(self) -> str:
        """The module that the rules are asked about."""
        return self.acting_for or self.module

    def __str__(self) -> str:
        real = f"{self.module}.{self.function}" if self.function else self.module
        return real if self.acting_for is None else f"{self.acting_for} (by {real})"


def caller_of(frame: FrameType | None) -> Caller:
    """Return who is behind a frame.

    Args:
        frame: That of the call, or any that it came through; None if there is none.
    """
    behalf = acting()
    acting_for = behalf[-1] if behalf else None
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if type(module) is str and not _is_passed_over(module):
            name = frame.f_code.co_qualname
            return Caller(module, "" if name == "<module>" else name, acting_for)
        frame = frame.f_back
    return Caller(NOBODY, "", acting_for)


def calling() -> Caller:
    """Return who called the function that asks this."""
    return caller_of(sys._getframe(1))  # noqa: SLF001  # the only way to the caller, and documented for this use


def back() -> FrameType | None:
    """Return the frame that called the function that asks this; None where a greenlet or thread begins with that."""
    try:
        return sys._getframe(2)  # noqa: SLF001  # likewise
    except ValueError:
        return None


def is_own(module: str) -> bool:
    """Return whether a module is a part of this library that acts for itself."""
    package, _, rest = module.partition(".")
    return package == OWN and rest.partition(".")[0] in _ACTORS


def _is_passed_over(module: str) -> bool:
    package = module.partition(".")[0]
    return (package == OWN and not is_own(module)) or package in sys.stdlib_module_names


class on_behalf_of:  # noqa: N801  # used like a function
    """Act for another module: as a context manager, or as a decorator of plain and async functions.

    Access rules are then asked about that module, in this thread or task, and the audit log shows both. It is for code
    whose own module says nothing, such as a worker of a pool that runs what others hand it. Nobody is kept from
    claiming to act for anybody.

    Args:
        module: The module's dotted name.

    Raises:
        ValueError: It is empty.
        TypeError: It is no text; or what is decorated is a generator, which goes on where it is used.
    """

    __slots__ = ("_module",)

    def __init__(self, module: str) -> None:
        if not isinstance(module, str):
            raise TypeError(f"on_behalf_of takes a module's name, not {type(module).__name__}")
        if not module:
            raise ValueError("on_behalf_of takes a module's name, such as 'blueprints.auth'")
        self._module = module

    def __enter__(self) -> Self:
        _acting.set((*_acting.get(), self._module))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _acting.set(_acting.get()[:-1])

    def __call__(self, function: F) -> F:
        """Return a function that acts for the module whenever it is called, in any thread or task."""
        from inspect import (  # noqa: PLC0415  # slow to import, and only needed where this is used
            isasyncgenfunction,
            iscoroutinefunction,
            isgeneratorfunction,
        )

        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError("a generator goes on where it is used: let the function that uses it act for the module")
        module = self._module
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                with on_behalf_of(module):
                    return await function(*args, **kwargs)

            return awaiting  # type: ignore[return-value]  # the same signature

        @wraps(function)
        def acting_function(*args: Any, **kwargs: Any) -> Any:
            with on_behalf_of(module):
                return function(*args, **kwargs)

        return acting_function  # type: ignore[return-value]  # likewise

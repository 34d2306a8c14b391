"""The decorator that keeps what a function returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from openalgo_cache.errors import ConfigurationError
from openalgo_cache.keys import Key

F = TypeVar("F", bound=Callable[..., Any])
Wrap = Callable[[F], F]
GetOrSet = Callable[[Key, Callable[[], Any]], Any]
GetOrAwait = Callable[[Key, Callable[[], Awaitable[Any]]], Awaitable[Any]]


def wrapper(template: str | None, get_or_set: GetOrSet, get_or_await: GetOrAwait) -> Wrap[Any]:
    """Make a decorator for plain and async functions.

    Args:
        template: A format string over the function's parameters; None for its name and all its arguments.
        get_or_set: Called with the key and a loader by the wrapper of a plain function.
        get_or_await: Likewise of an async function.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        make_key = _key_maker(function, template)
        if _is_async(function):

            @wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                return await get_or_await(make_key(args, kwargs), lambda: function(*args, **kwargs))

            return awaiting

        @wraps(function)
        def calling(*args: Any, **kwargs: Any) -> Any:
            return get_or_set(make_key(args, kwargs), lambda: function(*args, **kwargs))

        return calling

    return wrap


def _is_async(function: Callable[..., Any]) -> bool:
    from inspect import iscoroutinefunction  # noqa: PLC0415  # slow to import, and only needed where this is used

    return iscoroutinefunction(function)


def _key_maker(function: Callable[..., Any], template: str | None) -> Callable[[tuple[Any, ...], dict[str, Any]], Key]:
    from inspect import signature  # noqa: PLC0415  # slow to import, and only needed where this is used
    from string import Formatter  # noqa: PLC0415  # likewise

    expected = signature(function)
    name = getattr(function, "__qualname__", None)
    if template is not None:
        named = {
            field.partition(".")[0].partition("[")[0]
            for _, field, _, _ in Formatter().parse(template)
            if field is not None
        }
        if unknown := sorted(named - set(expected.parameters)):
            raise ConfigurationError(
                f"the key {template!r} names {', '.join(unknown)}, and {name or 'the function'} has only "
                f"{', '.join(expected.parameters) or 'no parameters'}"
            )

    elif name is None:
        raise ConfigurationError(f"a {type(function).__name__} has no name of its own: give a key")

    def make(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
        bound = expected.bind(*args, **kwargs)
        bound.apply_defaults()
        if template is not None:
            return template.format(**bound.arguments)
        # Nested, so that f("a", 1) and f(a=1) of a function that takes any arguments are two.
        return f"{function.__module__}.{name}", bound.args, tuple(sorted(bound.kwargs.items()))

    return make

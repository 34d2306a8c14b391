"""The decorator that keeps what a function returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, TypeVar

from openalgo_cache.errors import ConfigurationError
from openalgo_cache.keys import Key

F = TypeVar("F", bound=Callable[..., Any])
Wrap = Callable[[F], F]
Tags = tuple[str, ...]
GetOrSet = Callable[[Key, Callable[[], Any], Tags], Any]
GetOrAwait = Callable[[Key, Callable[[], Awaitable[Any]], Tags], Awaitable[Any]]


def wrapper(template: str | None, tags: Tags, get_or_set: GetOrSet, get_or_await: GetOrAwait) -> Wrap[Any]:
    """Make a decorator for plain and async functions.

    Args:
        template: A format string over the function's parameters; None for its name and all its arguments.
        tags: Likewise format strings.
        get_or_set: Called with the key, a loader and the tags by the wrapper of a plain function.
        get_or_await: Likewise of an async function.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        make = _maker(function, template, tags)
        if _is_async(function):

            @wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                key, made = make(args, kwargs)
                return await get_or_await(key, partial(function, *args, **kwargs), made)

            return awaiting

        @wraps(function)
        def calling(*args: Any, **kwargs: Any) -> Any:
            key, made = make(args, kwargs)
            return get_or_set(key, lambda: function(*args, **kwargs), made)

        return calling

    return wrap


def _is_async(function: Callable[..., Any]) -> bool:
    from inspect import iscoroutinefunction  # noqa: PLC0415  # slow to import, and only needed where this is used

    return iscoroutinefunction(function)


def _maker(
    function: Callable[..., Any], template: str | None, tags: Tags
) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[Key, Tags]]:
    """Return what makes the key and the tags of a call."""
    from inspect import signature  # noqa: PLC0415  # slow to import, and only needed where this is used

    expected = signature(function)
    name = getattr(function, "__qualname__", None)
    for one in tags if template is None else (template, *tags):
        _check_names(one, list(expected.parameters), name or "the function")
    if template is None and name is None:
        raise ConfigurationError(f"a {type(function).__name__} has no name of its own: give a key")

    def make(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Key, Tags]:
        bound = expected.bind(*args, **kwargs)
        bound.apply_defaults()
        made = tuple(tag.format(**bound.arguments) for tag in tags)
        if template is not None:
            return template.format(**bound.arguments), made
        # Nested, so that f("a", 1) and f(a=1) of a function that takes any arguments are two.
        return (f"{function.__module__}.{name}", bound.args, tuple(sorted(bound.kwargs.items()))), made

    return make


def _check_names(template: str, parameters: list[str], function: str) -> None:
    from string import Formatter  # noqa: PLC0415  # slow to import, and only needed where this is used

    named = {
        field.partition(".")[0].partition("[")[0] for _, field, _, _ in Formatter().parse(template) if field is not None
    }
    if unknown := sorted(named - set(parameters)):
        raise ConfigurationError(
            f"the template {template!r} names {', '.join(unknown)}, and {function} has only "
            f"{', '.join(parameters) or 'no parameters'}"
        )

"""The decorator that keeps what a function returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar

from openalgo_cache.errors import ConfigurationError
from openalgo_cache.keys import Key

F = TypeVar("F", bound=Callable[..., Any])
Wrap = Callable[[F], F]


class Templates(NamedTuple):
    """Format strings over a function's parameters.

    Attributes:
        key: Of the key; None for the function's name and all its arguments.
        tags: Of the tags.
        epoch: Of the epoch; None for none.
    """

    key: str | None
    tags: tuple[str, ...]
    epoch: str | None


class Made(NamedTuple):
    """What the templates make of a call."""

    key: Key
    tags: tuple[str, ...]
    epoch: str | None


GetOrSet = Callable[[Made, Callable[[], Any]], Any]
GetOrAwait = Callable[[Made, Callable[[], Awaitable[Any]]], Awaitable[Any]]


def wrapper(templates: Templates, get_or_set: GetOrSet, get_or_await: GetOrAwait) -> Wrap[Any]:
    """Make a decorator for plain and async functions.

    Args:
        templates: Make key, tags and epoch of a call.
        get_or_set: Called with those and a loader by the wrapper of a plain function.
        get_or_await: Likewise of an async function.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        make = _maker(function, templates)
        if _is_async(function):

            @wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                return await get_or_await(make(args, kwargs), partial(function, *args, **kwargs))

            return awaiting

        @wraps(function)
        def calling(*args: Any, **kwargs: Any) -> Any:
            return get_or_set(make(args, kwargs), lambda: function(*args, **kwargs))

        return calling

    return wrap


def _is_async(function: Callable[..., Any]) -> bool:
    from inspect import iscoroutinefunction  # noqa: PLC0415  # slow to import, and only needed where this is used

    return iscoroutinefunction(function)


def _maker(function: Callable[..., Any], templates: Templates) -> Callable[[tuple[Any, ...], dict[str, Any]], Made]:
    """Return what makes the key, the tags and the epoch of a call."""
    from inspect import signature  # noqa: PLC0415  # slow to import, and only needed where this is used

    expected = signature(function)
    name = getattr(function, "__qualname__", None)
    template, tags, epoch = templates
    for one in (template, *tags, epoch):
        if one is not None:
            _check_names(one, list(expected.parameters), name or "the function")
    if template is None and name is None:
        raise ConfigurationError(f"a {type(function).__name__} has no name of its own: give a key")

    def make(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Made:
        bound = expected.bind(*args, **kwargs)
        bound.apply_defaults()
        key: Key
        if template is not None:
            key = template.format(**bound.arguments)
        else:  # nested, so that f("a", 1) and f(a=1) of a function that takes any arguments are two
            key = (f"{function.__module__}.{name}", bound.args, tuple(sorted(bound.kwargs.items())))
        made = tuple(tag.format(**bound.arguments) for tag in tags)
        return Made(key, made, None if epoch is None else epoch.format(**bound.arguments))

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

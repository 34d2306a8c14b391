"""Synchronous code on an asyncio loop: it runs in a greenlet, and what it waits for is awaited outside of it.

So everything above a connection is written once, for plain and asyncio callers. Code that may run here holds no lock
while it waits, as nowhere in this library, since the next greenlet of the same thread would wait for it forever.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

from openalgo_cache.locks import sleep

T = TypeVar("T")


class _Bridged:
    """Who is bridged: nobody, until the first verb crosses. Greenlet is not loaded before."""

    current: Callable[[], Any] = lambda: None  # replaced by greenlet's
    kind: Any = object


@cache
def find_greenlet() -> ModuleType | None:
    """Return the module greenlet, which the extras ``redis`` and ``valkey`` bring; None where it is not installed."""
    try:
        import greenlet  # noqa: PLC0415  # an extra, and only for asyncio callers
    except ImportError:
        return None

    class Crossing(greenlet.greenlet):  # type: ignore[misc]  # greenlet brings no types
        """A greenlet of ours, to be told from those of others."""

    _Bridged.current, _Bridged.kind = greenlet.getcurrent, Crossing
    module: ModuleType = greenlet
    return module


def is_bridged() -> bool:
    """Return whether the caller runs in a greenlet of an asyncio loop, and so waits by ``wait``."""
    return type(_Bridged.current()) is _Bridged.kind


def wait(awaitable: Awaitable[T]) -> T:
    """Wait for something on the loop, in bridged code, while other tasks run; raise what it raises."""
    result: T = _Bridged.current().parent.switch(awaitable)
    return result


def pause(seconds: float) -> None:
    """Sleep, without keeping the loop from running where the caller is bridged."""
    if not is_bridged():
        sleep(seconds)
        return
    import asyncio  # noqa: PLC0415  # slow to import, and there already where this runs

    wait(asyncio.sleep(seconds))


async def run(call: Callable[..., T], *arguments: Any) -> T:
    """Call synchronous code bridged, and return what it returns. A cancellation is raised where it waits."""
    crossing = _Bridged.kind(call)
    crossing.gr_context = _Bridged.current().gr_context
    step = crossing.switch(*arguments)
    while not crossing.dead:
        try:
            came = await step
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            step = crossing.throw(error)
        else:
            step = crossing.switch(came)
    return step  # type: ignore[no-any-return]  # the last switch brings what the call returned


def at_end(call: Callable[[], None]) -> object:
    """Have something called when the running loop ends in good order, as ``asyncio.run`` does, while it still turns.

    Returns:
        What has to be kept until then.
    """

    async def guard() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            call()

    # A loop closes the asynchronous generators that were begun on it.
    begun = guard()
    with suppress(StopIteration):
        begun.asend(None).send(None)
    return begun

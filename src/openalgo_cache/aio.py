"""The verbs for asyncio callers: the same staircase, with the loop free while it waits.

Nothing is written twice. What the near tier holds is answered at once; everything else is the plain verb, run where it
keeps nobody waiting: in a greenlet on the loop where the store's connections can wait there, else in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from inspect import isawaitable, iscoroutinefunction
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast, overload

from openalgo_cache.course import LOAD, Course, nothing
from openalgo_cache.epochs import Epoch, sealed_form
from openalgo_cache.expiry import Lifetime
from openalgo_cache.keys import Key
from openalgo_cache.policy.callers import calling
from openalgo_cache.sentinels import DEFAULT, MISSING, Ttl
from openalgo_cache.workers import SHARED

if TYPE_CHECKING:
    from types import TracebackType

    from openalgo_cache.cache import Cache
    from openalgo_cache.health import Health
    from openalgo_cache.lock import Lock

T = TypeVar("T")
K = TypeVar("K", bound=Key)

_BATCH: Final = 256
"""Entries that an iteration fetches at a time."""


class AsyncCache:
    """The verbs of a cache as coroutines; ``cache.aio`` is one. They return and raise what those of ``Cache`` do.

    It may be used from any number of loops, beside plain callers. A cancelled verb leaves nothing behind: connections
    in the middle of a reply are closed, leases and locks are given back. Whether a write that was cancelled took place
    is not known.

    Args:
        cache: The cache.
    """

    __slots__ = ("_cache",)

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    # --- reading -----------------------------------------------------------------------------------------------------

    async def get(self, key: Key, default: Any = None, epoch: Epoch | None = None) -> Any:
        """See ``Cache.get``. What the near tier holds is returned without a look at the loop."""
        value = self._cache._peek(key) if epoch is None else MISSING
        return value if value is not MISSING else await self._run(self._cache.get, key, default, epoch)

    async def get_many(self, keys: Iterable[K], epoch: Epoch | None = None) -> dict[K, Any]:
        """See ``Cache.get_many``."""
        await self._open()
        named = sealed_form(epoch, self._cache._opened().epoch_secret)
        found, missing = self._cache._peek_many(keys, named)
        if missing:
            found |= await self._run(self._cache._read_many, missing, named)
        return found

    async def exists(self, key: Key) -> bool:
        """See ``Cache.exists``."""
        return await self.get(key, MISSING) is not MISSING

    async def ttl(self, key: Key) -> float | None:
        """See ``Cache.ttl``."""
        return await self._run(self._cache.ttl, key)

    async def keys(self, prefix: str = "") -> AsyncIterator[Key]:
        """Iterate as ``Cache.keys`` does: ``async for key in cache.aio.keys()``."""
        async for key, _ in self.items(prefix):
            yield key

    async def items(self, prefix: str = "") -> AsyncIterator[tuple[Key, Any]]:
        """Iterate as ``Cache.items`` does."""
        rest = await self._run(self._cache.items, prefix)
        while batch := await self._run(lambda: list(islice(rest, _BATCH))):
            for pair in batch:
                yield pair

    async def size(self) -> int:
        """See ``Cache.size``."""
        return await self._run(self._cache.size)

    async def stats(self, *, size_max_age: float | None = 0) -> dict[str, Any]:
        """See ``Cache.stats``."""
        return await self._run(lambda: self._cache.stats(size_max_age=size_max_age))

    async def health(self, *, probe: bool = False) -> Health:
        """See ``Cache.health``."""
        return await SHARED.run(lambda: self._cache.health(probe=probe))  # it does not open the cache, as _run does

    # --- writing -----------------------------------------------------------------------------------------------------

    async def set(
        self, key: Key, value: Any, ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> None:
        """See ``Cache.set``."""
        await self._run(lambda: self._cache.set(key, value, ttl, tags=tags, epoch=epoch))

    async def set_many(
        self, items: Mapping[K, Any], ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> None:
        """See ``Cache.set_many``."""
        await self._run(lambda: self._cache.set_many(items, ttl, tags=tags, epoch=epoch))

    async def add(
        self, key: Key, value: Any, ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> bool:
        """See ``Cache.add``."""
        return await self._run(lambda: self._cache.add(key, value, ttl, tags=tags, epoch=epoch))

    async def touch(self, key: Key, ttl: Ttl = DEFAULT) -> bool:
        """See ``Cache.touch``."""
        return await self._run(self._cache.touch, key, ttl)

    async def incr(self, key: Key, n: int = 1) -> int:
        """See ``Cache.incr``."""
        return await self._run(self._cache.incr, key, n)

    async def pop(self, key: Key, default: Any = DEFAULT) -> Any:
        """See ``Cache.pop``."""
        return await self._run(self._cache.pop, key, default)

    async def delete(self, key: Key) -> bool:
        """See ``Cache.delete``."""
        return await self._run(self._cache.delete, key)

    async def delete_many(self, keys: Iterable[Key]) -> int:
        """See ``Cache.delete_many``."""
        return await self._run(self._cache.delete_many, list(keys))

    def clear(self, *, tag: str | None = None) -> Coroutine[Any, Any, int]:
        """See ``Cache.clear``."""
        return self._run(self._cache._clear, tag, calling())  # who calls cannot be told where it is done

    @overload
    async def get_or_set(
        self,
        key: Key,
        load: Callable[[], Awaitable[T]],
        ttl: Ttl = DEFAULT,
        *,
        tags: Iterable[str] = (),
        epoch: Epoch | None = None,
    ) -> T: ...
    @overload
    async def get_or_set(
        self,
        key: Key,
        load: Callable[[], T],
        ttl: Ttl = DEFAULT,
        *,
        tags: Iterable[str] = (),
        epoch: Epoch | None = None,
    ) -> T: ...
    async def get_or_set(
        self,
        key: Key,
        load: Callable[[], Any],
        ttl: Ttl = DEFAULT,
        *,
        tags: Iterable[str] = (),
        epoch: Epoch | None = None,
    ) -> Any:
        """See ``Cache.get_or_set``; the one loader may be a plain caller's as well.

        Args:
            key: The key.
            load: A coroutine function, called on the loop; or a plain one, called in a thread (``asyncio.to_thread``).
                If that returns an awaitable, it is awaited on the loop.
            ttl: See ``Cache.get_or_set``.
            tags: Likewise.
            epoch: Likewise.
        """
        value = await self.get(key, MISSING, epoch)
        if value is not MISSING:
            return value
        loop = asyncio.get_running_loop()
        return await self._drive(self._cache._course(key, ttl, tags, epoch, loop), load)

    def lock(self, name: Key, ttl: Lifetime = 10, timeout: float | None = None) -> AsyncLock:
        """See ``Cache.lock``; to be taken by ``async with cache.aio.lock("rebuild") as fence:``.

        A lifetime that is refused is refused when the lock is taken.
        """
        return AsyncLock(self, lambda: self._cache.lock(name, ttl, timeout))

    # --- where it is done --------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Open the cache, where that is still to be done: it may read files and look for a server."""
        if self._cache._stack is None:
            await SHARED.run(self._cache._opened)

    async def _run(self, verb: Callable[..., T], *arguments: Any) -> T:
        """Call a plain verb where it keeps nobody waiting."""
        await self._open()
        on_loop = getattr(self._cache.backend, "on_loop", None)  # see SupportsAsyncio
        return cast("T", await (on_loop or SHARED.run)(verb, *arguments))

    async def _drive(self, steps: Course[T], load: Callable[[], Any] = nothing) -> T:
        """Drive a course, awaiting. A cancellation is raised within it, so that it gives back what it holds."""
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = await self._run(_advance, steps, value, error)
            except asyncio.CancelledError as cut:  # while a thread took the step, which is over
                value, error = None, cut
                continue
            if step.error is not None:
                raise step.error
            if step.ended:
                return cast("T", step.came)
            value = error = None
            try:
                if step.came == LOAD:
                    value = await _called(load)
                else:
                    await asyncio.sleep(step.came)
            except BaseException as failure:  # noqa: BLE001  # passed on to the course, which raises it
                error = failure


class AsyncLock:
    """One lock, to be taken by ``async with``; see ``Lock``.

    Args:
        cache: Where its verbs are run.
        make: Makes the plain lock.
    """

    __slots__ = ("_cache", "_lock", "_make")

    def __init__(self, cache: AsyncCache, make: Callable[[], Lock]) -> None:
        self._cache = cache
        self._make = make
        self._lock: Lock | None = None

    async def __aenter__(self) -> int:
        """Wait for the lock, and return its fence. Raise as ``Lock`` does."""
        lock = await self._made()
        try:
            return await self._cache._drive(lock.taking())
        except asyncio.CancelledError as cut:  # perhaps just after it was taken
            await self._cache._run(lock.__exit__, type(cut), cut, None)
            raise

    async def extend(self, ttl: Lifetime = None) -> None:
        """See ``Lock.extend``."""
        await self._cache._run((await self._made()).extend, ttl)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See ``Lock``."""
        await self._cache._run((await self._made()).__exit__, kind, error, trace)

    async def _made(self) -> Lock:
        if self._lock is None:
            self._lock = await self._cache._run(self._make)
        return self._lock


class _Step(NamedTuple):
    """What a step of a course came to. Its errors are not raised at once, to be told from a cancellation meanwhile."""

    came: Any = None
    ended: bool = False
    error: BaseException | None = None


def _advance(steps: Course[Any], value: Any, error: BaseException | None) -> _Step:
    try:
        return _Step(steps.send(value) if error is None else steps.throw(error))
    except StopIteration as end:
        return _Step(end.value, ended=True)
    except BaseException as failure:  # noqa: BLE001  # raised where the course is driven
        return _Step(error=failure)


async def _called(load: Callable[[], Any]) -> Any:
    value = load() if iscoroutinefunction(load) else await asyncio.to_thread(load)
    return await value if isawaitable(value) else value

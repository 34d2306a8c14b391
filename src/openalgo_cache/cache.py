"""The handle with its verbs: what an application holds of a cache.

``Cache.get`` begins with a peephole into the near tier: a whole read that finds its entry there costs one method
call. Everything else goes down the storeys in the open (``reading.py``, ``writing.py`` and ``atomic.py``), one small
step after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from openalgo_cache.atomic import AtomicVerbs
from openalgo_cache.backends.base import CacheBackend, Entry, SupportsScan
from openalgo_cache.cached import Templates, Wrap, wrapper
from openalgo_cache.course import Course, drive
from openalgo_cache.epochs import Epoch, sealed_form
from openalgo_cache.errors import CacheError
from openalgo_cache.expiry import Lifetime
from openalgo_cache.figures import figures_of
from openalgo_cache.flight import course
from openalgo_cache.health import Health, health_of
from openalgo_cache.keys import Key
from openalgo_cache.lock import Lock
from openalgo_cache.lost import DeleteLostError
from openalgo_cache.policy.callers import Caller, calling
from openalgo_cache.sentinels import DEFAULT, MISSING, Ttl
from openalgo_cache.steps import NOTHING, Seen
from openalgo_cache.tags import several

if TYPE_CHECKING:
    from openalgo_cache.aio import AsyncCache

T = TypeVar("T")
K = TypeVar("K", bound=Key)


class Cache(AtomicVerbs):
    """One named cache. Made by ``get_cache``; connects to its store when it is first used.

    Containers that a read returns are the reader's own copies. Verbs raise ``InvalidKeyError`` for a key that cannot
    be stored and ``InvalidLifetimeError`` for an impossible lifetime. When the store fails, a read is a miss and a
    write does nothing, unless the cache was opened with ``on_error="raise"`` or holds state: then
    ``BackendUnavailableError`` is raised. Deletions from an encrypted cache always raise it, since a revoked token
    must not look deleted.
    """

    __slots__ = ("_aio",)

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, key: Key, default: Any = None, epoch: Epoch | None = None) -> Any:
        """Return the value under ``key``, or ``default``. A cached None is a hit: ask with ``MISSING`` to tell.

        Args:
            key: The key.
            default: What to return where there is none.
            epoch: The epoch that it must have been stored with (see :meth:`set`); left out, with none.
        """
        near = self._near
        if epoch is not None or not near.keeps:
            return self._read(key, default, epoch)
        try:
            entry = near.entries.get(key)  # type: ignore[arg-type]  # other keys than str are not in there
        except TypeError:  # not hashable: the keyspace says so properly
            self._opened().keyspace.stored(key)
            raise
        if entry is not None and near.words[0] == near.token and entry.filled_at <= self._now() < entry.until:
            entry.uses += 1
            load = entry.load
            if load is None:
                return entry.held
            try:
                return load(entry.held)
            except DeleteLostError:
                entry.uses -= 1
        return self._read_near(key, default)

    def get_many(self, keys: Iterable[K], epoch: Epoch | None = None) -> dict[K, Any]:
        """Return the values of those of ``keys`` that are there, under this epoch (see :meth:`get`)."""
        named = (
            None if epoch is None else sealed_form(epoch, self._opened().epoch_secret)
        )  # without the call, in what may be a near hit
        found, missing = self._peek_many(keys, named)
        if missing:
            found |= self._read_many(missing, named)
        return found

    def exists(self, key: Key) -> bool:
        """Return whether a readable entry is under ``key``."""
        return self.get(key, MISSING) is not MISSING

    def ttl(self, key: Key) -> float | None:
        """Return the seconds that the entry under ``key`` has left; None if it never expires.

        Raises:
            KeyError: There is no such entry.
        """
        now = self._now()
        stack = self._opened()
        seen: Seen = self._swallowing(NOTHING, self._look_up, stack, stack.keyspace.stored(key))
        found = seen.value
        if found is None:
            raise self._absent(key)
        return None if found.expires_at is None else found.expires_at - now

    def keys(self, prefix: str = "") -> Iterator[Key]:
        """Iterate over the keys, in no particular order; only over str keys with ``prefix`` if one is given.

        Raises:
            BlindedKeysError: The cache stores keyed hashes of its keys.
        """
        return (key for key, _ in self.items(prefix))

    def items(self, prefix: str = "") -> Iterator[tuple[Key, Any]]:
        """Iterate over (key, value) pairs, as :meth:`keys` does. What is written meanwhile may or may not appear."""
        stack = self._opened()
        if not isinstance(stack.backend, SupportsScan):
            raise CacheError(f"cache {self.name!r}: its backend, {stack.backend_name}, cannot list what it holds")
        matching = stack.keyspace.matching(prefix)
        return self._items(stack, stack.backend, matching)

    def size(self) -> int:
        """Return the number of entries in the store."""
        return int(self._swallowing(0, self._opened().backend.size))

    def stats(self, *, size_max_age: float | None = 0) -> dict[str, Any]:
        """Return how large this cache is, and what happened to it in this process (CACHE_STATS_ENABLED).

        ``size`` is None while the store fails. ``avg_latency_ms`` is how long the store took on average, and
        ``latency`` how long for each kind of operation, with how many answers were timed: not those of the near tier,
        one in 32 where there is none, and a bulk verb once. ``memory_bytes`` is an estimate of what this process
        holds: copies near, and the entries themselves where the store is memory.

        Args:
            size_max_age: Seconds for which a size that was counted before is good enough (longer where counting takes
                long); 0 to count now, for which a server has to be asked about every entry. None asks and opens no
                store: the size is then what was counted last, if anything was.
        """
        return figures_of(self, size_max_age=size_max_age)

    def health(self, *, probe: bool = False) -> Health:
        """Return how this cache is, as far as it knows; never raises.

        Args:
            probe: Whether to read one key from the store first, which opens the cache if need be.
        """
        return health_of(self, probe=probe)

    # --- writing -----------------------------------------------------------------------------------------------------

    def set(
        self, key: Key, value: Any, ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> None:
        """Store ``value`` under ``key``.

        Args:
            key: The key.
            value: Any supported value.
            ttl: Seconds, a timedelta, ``until(...)``, or None for never; left out, the cache's own lifetime.
            tags: Names, such as ``("user:123",)``; ``clear(tag="user:123")`` ends every entry that carries one.
            epoch: Your own revision of what the value was made from, such as the user's token version in your database.
                From then on the entry is there only for verbs that are given the same one (1 is not "1").

        Raises:
            UnsupportedValueError: The value would not come back equal and of the same type.
            ValueTooLargeError: It is larger than the cache allows.
        """
        stack, now = self._stack or self._opened(), self._now()
        expires = self._expiry(ttl, now)
        stored = stack.keyspace.stored(key)
        if tags or epoch is not None:
            terms = stack.tags.ids(tags), sealed_form(epoch, stack.epoch_secret)
            self._change((key,), self._set_on_terms, stack, {stored: value}, expires, *terms)
        elif self.policy.stale_for is None:  # what ``_entry`` does, without its call
            record = stack.codec.encode(stored, value, now, expires)
            self._change((key,), stack.backend.set, stored, Entry(record, expires))
        else:
            self._change((key,), stack.backend.set, stored, self._entry(stack, stored, value, now, expires))
        self._counters.sets += 1

    def set_many(
        self, items: Mapping[K, Any], ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> None:
        """Store all of ``items``, or none of them, with one lifetime, the same tags and epoch (see :meth:`set`)."""
        stack, now = self._opened(), self._now()
        expires = self._expiry(ttl, now)
        values = {stack.keyspace.stored(key): value for key, value in items.items()}
        if tags or epoch is not None:
            terms = stack.tags.ids(tags), sealed_form(epoch, stack.epoch_secret)
            self._change(items, self._set_on_terms, stack, values, expires, *terms)
        else:
            entries = {stored: self._entry(stack, stored, value, now, expires) for stored, value in values.items()}
            self._change(items, stack.backend.set_many, entries)
        self._counters.sets += len(values)

    def delete(self, key: Key) -> bool:
        """Remove ``key``; return whether an entry was there."""
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Iterable[Key]) -> int:
        """Remove ``keys``; return how many were there."""
        stack, wanted = self._opened(), list(keys)
        stored = [stack.keyspace.stored(key) for key in wanted]
        count = self._change(wanted, stack.backend.delete_many, stored, deletes=stored) or 0
        self._counters.deletes += count
        return count

    def clear(self, *, tag: str | None = None) -> int:
        """Remove every entry of this cache; return how many there were.

        Args:
            tag: End only those that carry this tag. That costs the same however many they are, and nobody counts them:
                the result is 1 if there may have been any, else 0.
        """
        return self._clear(tag, calling())

    def _clear(self, tag: str | None, caller: Caller) -> int:
        """Do what ``clear`` says, and have it audited, whoever else is."""
        stack = self._opened()
        if tag is not None:
            (one,) = stack.tags.ids((tag,))
            stored = [stack.tags.stored(one)]
            ended = self._change(None, stack.backend.delete_many, stored, deletes=stored) or 0
            self._report("CLEAR", None, caller, f"entries of the tag {one.hex()}")
            return ended
        count = self._change(None, stack.backend.clear, deletes=None) or 0
        self._counters.deletes += count
        self._report("CLEAR", None, caller, f"{count} entries")
        return count

    def get_or_set(  # what a load consists of
        self,
        key: Key,
        load: Callable[[], T],
        ttl: Ttl = DEFAULT,
        *,
        tags: Iterable[str] = (),
        epoch: Epoch | None = None,
    ) -> T:
        """Return the value under ``key``; if there is none, call ``load``, store what it returns, and return that.

        One loader runs at a time, across the threads and processes that share the store. A set, delete or clear of
        the key meanwhile cancels the load's right to store: a value that was revoked while it was loaded does not
        come back.

        Args:
            key: The key.
            load: Called without arguments; what it raises is raised to every caller that waits for it, unless the
                cache was opened with ``stale_for``, and the expired value is there to stand in.
            ttl: See :meth:`set`; the lifetime begins when the value was loaded.
            tags: See :meth:`set`; if one is cleared while the value is loaded, the value is not kept.
            epoch: See :meth:`set`; what was loaded under another one is not returned.
        """
        value: T = self.get(key, MISSING, epoch)
        return value if value is not MISSING else drive(self._course(key, ttl, tags, epoch), load)

    def _course(
        self, key: Key, ttl: Ttl, tags: Iterable[str], epoch: Epoch | None, loop: object | None = None
    ) -> Course[Any]:
        return course(self, key, ttl, tags, epoch, loop)

    def cached(
        self, key: str | None = None, ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: str | None = None
    ) -> Wrap[Any]:
        """Make a decorator that keeps what a function returns, plain or async, as :meth:`get_or_set` does.

        Args:
            key: A format string over the function's parameters, such as ``"{user_id}"``; left out, the function's name
                and all of its arguments.
            ttl: See :meth:`set`.
            tags: Likewise, as format strings: ``("user:{user_id}",)``.
            epoch: Likewise, as a format string, such as ``"{token_version}"``; what it makes is a str.
        """
        return wrapper(
            Templates(key, tuple(several(tags)), epoch),
            lambda made, load: self.get_or_set(made.key, load, ttl, tags=made.tags, epoch=made.epoch),
            lambda made, load: self.aio.get_or_set(made.key, load, ttl, tags=made.tags, epoch=made.epoch),
        )

    # --- working together ---------------------------------------------------------------------------------------------

    def lock(self, name: Key, ttl: Lifetime = 10, timeout: float | None = None) -> Lock:
        """Return a lock that one ``with`` block at a time can hold, among all that share the store.

        ``with cache.lock("rebuild") as fence:`` gives a number that rises each time the lock is taken. Locks keep
        cached work from being done twice; what must never be done twice needs a fence in its own database.

        Args:
            name: The lock's name; names of locks and keys of entries don't meet.
            ttl: Seconds, or a timedelta, after which the lock is free again whatever its holder does; a holder that
                needs longer calls ``extend``.
            timeout: Seconds to wait for it; None for as long as it takes.

        Raises:
            InvalidLifetimeError: ``ttl`` is no possible time, or None.
        """
        return Lock(self._lock_records(), name, ttl, timeout)

    # --- for asyncio --------------------------------------------------------------------------------------------------

    @property
    def aio(self) -> AsyncCache:
        """The same verbs for asyncio callers: ``await cache.aio.get("key")``."""
        try:
            return self._aio
        except AttributeError:  # asyncio is loaded only where it is used
            from openalgo_cache.aio import AsyncCache  # noqa: PLC0415  # likewise

            self._aio: AsyncCache = AsyncCache(self)
            return self._aio

    # --- the face of a dict: what code that used a TTLCache goes on using ---------------------------------------------

    @property
    def backend(self) -> CacheBackend:
        """The store below; asking for it opens the cache."""
        return self._opened().backend

    @property
    def maxsize(self) -> int | None:
        """The most entries that are kept; None for no bound."""
        return self.policy.maxsize

    def __getitem__(self, key: Key) -> Any:
        if (value := self.get(key, MISSING)) is MISSING:
            raise self._absent(key)
        return value

    def __setitem__(self, key: Key, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: Key) -> None:
        if not self.delete(key):
            raise self._absent(key)

    def __contains__(self, key: Key) -> bool:
        return self.get(key, MISSING) is not MISSING

    def __len__(self) -> int:
        return self.size()

    def __iter__(self) -> Iterator[Key]:
        return self.keys()

    def values(self) -> Iterator[Any]:
        """Iterate over the values, as :meth:`items` does."""
        return (value for _, value in self.items())

    def setdefault(self, key: Key, default: Any = None) -> Any:
        """Return the value under ``key``; if there is none, store ``default`` and return that."""
        while (value := self.get(key, MISSING)) is MISSING:
            if self.add(key, default):
                return default
            if self._outage:
                return default
        return value

    def update(self, items: Mapping[K, Any] | Iterable[tuple[K, Any]] = (), /, **more: Any) -> None:
        """Store all of ``items`` and ``more``, with the cache's own lifetime."""
        self.set_many(dict(items, **more))

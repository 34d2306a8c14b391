"""The verbs that look and write in one step, so that nobody comes between.

Of what is not in force (a lease, or an entry of a cleared tag or another epoch) they see nothing, and may replace it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openalgo_cache.epochs import Epoch, sealed_form
from openalgo_cache.errors import UnsupportedValueError
from openalgo_cache.keys import Key
from openalgo_cache.sentinels import DEFAULT, MISSING, Ttl
from openalgo_cache.steps import Found, Keep, Put, Remove
from openalgo_cache.writing import Writer


class AtomicVerbs(Writer):
    """A handle with the verbs that stand on the store's ``compare_and_set``."""

    __slots__ = ()

    def add(
        self, key: Key, value: Any, ttl: Ttl = DEFAULT, *, tags: Iterable[str] = (), epoch: Epoch | None = None
    ) -> bool:
        """Store ``value`` unless an entry is under ``key``; return whether it was stored (see ``Cache.set``)."""
        stack, now = self._opened(), self._now()
        expires = self._expiry(ttl, now)
        ids, named = stack.tags.ids(tags), sealed_form(epoch, stack.epoch_secret)
        carried = self._swallowing(None, stack.tags.cover, ids, self._kept_until(expires)) if ids else ()
        if carried is None:
            return False

        def decide(found: Found | None) -> Keep | Put:
            if found is not None:
                return Keep(result=False)
            return Put(value, expires, result=True, tags=carried, epoch=named)

        return bool(self._exchange(key, decide, False, named))

    def touch(self, key: Key, ttl: Ttl = DEFAULT) -> bool:
        """Give the entry under ``key`` a new lifetime; return whether there is one."""
        now = self._now()
        expires = self._expiry(ttl, now)

        def decide(found: Found | None) -> Keep | Put:
            return Keep(result=False) if found is None else Put(found.value, expires, result=True, tags=found.tags)

        return bool(self._exchange(key, decide, False))

    def incr(self, key: Key, n: int = 1) -> int:
        """Add ``n`` to the number under ``key`` (0 if absent, with the cache's lifetime) and return the sum.

        The remaining lifetime of an entry that is there is kept. When the store fails and the cache does not raise,
        the result is ``n``, as if nothing were there.

        Raises:
            UnsupportedValueError: What is there, or ``n``, is no int.
        """
        if type(n) is not int:
            raise UnsupportedValueError(f"incr adds an int, not {type(n).__name__}")

        def decide(found: Found | None) -> Put:
            if found is None:
                return Put(n, self._expiry(DEFAULT, self._now()), n)
            if type(found.value) is not int:
                raise UnsupportedValueError(f"incr needs an int under the key, and finds {type(found.value).__name__}")
            total = found.value + n
            return Put(total, found.expires_at, total, found.tags)

        return int(self._exchange(key, decide, n))

    def pop(self, key: Key, default: Any = DEFAULT) -> Any:
        """Remove the entry under ``key`` and return its value; of several callers one gets it.

        Raises:
            KeyError: There is no such entry, and no default is given.
        """

        def decide(found: Found | None) -> Remove:
            return Remove(MISSING if found is None else found.value)  # what is no value, a lease, has to go, too

        value = self._exchange(key, decide, MISSING, is_delete=True)
        if value is not MISSING:
            self._counters.deletes += 1
            return value
        if default is DEFAULT:  # left out; MISSING is an answer like any other
            raise self._absent(key)
        return default

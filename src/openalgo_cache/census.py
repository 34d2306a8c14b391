"""The census of who holds which keys, of one manager: it takes part wherever a cache of its own is shared."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from openalgo_cache.backends import registry
from openalgo_cache.backends.base import Request
from openalgo_cache.codec.keywatch import WATCH
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError, KeyRingError
from openalgo_cache.keyholders import KeyHolders
from openalgo_cache.keys import OF_KEY_HOLDERS, Keyspace
from openalgo_cache.locks import make_lock, start_new_thread
from openalgo_cache.stack import Ground, prefix_of

NOT_SHARED: Final = frozenset({"memory", "sqlite"})
"""Backends that no other host can reach; the processes of one host share the ring's file."""


class Census:
    """Takes part in each store once.

    Args:
        ground: What a cache of the manager stands on, by its name; asked when it is needed.
    """

    def __init__(self, ground: Callable[[str], Ground]) -> None:
        self._ground = ground
        self._lock = make_lock()
        self._holders: dict[tuple[str, bool], KeyHolders] = {}

    def holders(self, backend: str, cache: str = "") -> KeyHolders | None:
        """Return who holds which keys at a backend; None where no other host can come.

        Args:
            backend: Its name.
            cache: One that is kept there: the sessions may have a server of their own.

        Raises:
            KeyRingError: We have no key ring that can be used.
        """
        if backend in NOT_SHARED:
            return None
        ground = self._ground(cache)
        place = backend, ground.settings.for_sessions
        with self._lock:
            if (holders := self._holders.get(place)) is None:
                holders = self._holders[place] = _open(backend, ground)
            return holders

    def take_part(self, backend: str, cache: str) -> None:
        """Have others know which keys we hold.

        With MULTI_INSTANCE_MODE=true this waits until we know that the others hold the same ring, if the store answers;
        else the watching thread does it.

        Raises:
            KeyRingError: They hold another one, or we have none that can be used.
        """
        settings = self._ground(cache).settings
        place = backend, settings.for_sessions
        if backend in NOT_SHARED or place in self._holders:
            return
        holders = self.holders(backend, cache)
        assert holders is not None  # noqa: S101  # for the type checker: it is shared
        if settings.multi_instance_mode:
            try:
                with suppress(BackendUnavailableError, BackendMisconfiguredError):  # the caches say so
                    _apart(lambda: holders.join(strict=True))
            except KeyRingError:
                del self._holders[place]  # to be asked again the next time
                raise
        WATCH.add(holders)

    def leave(self) -> None:
        """Take back what we told."""
        for holders in list(self._holders.values()):
            WATCH.discard(holders)
            holders.leave()
        self._holders.clear()


def _open(backend: str, ground: Ground) -> KeyHolders:
    settings, ring = ground.settings, ground.ring()
    prefix = Keyspace(prefix_of(backend, settings), OF_KEY_HOLDERS, settings.cache_namespace).prefix
    request = Request(
        cache=OF_KEY_HOLDERS,
        namespace=settings.cache_namespace,
        prefix=prefix,
        maxsize=None,
        durable=False,
        is_intact=lambda _stored, _record: True,  # its lines are signed one by one
        subkey=lambda purpose: ring.now.subkey(purpose, b""),
        settings=settings,
        clock=ground.clock,
    )
    return KeyHolders(lambda: registry.load(backend).create(request), prefix, ring, settings.instance, ground.clock)


def _apart(work: Callable[[], None]) -> None:
    """Do something in a thread of the system's, and wait for it: we may hold a lock that greenlets share."""
    failures: list[BaseException] = []
    working = make_lock()
    working.acquire()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            failures.append(error)
        finally:
            working.release()

    start_new_thread(run, ())
    with working:
        if failures:
            raise failures[0]

"""The streams of this process: one for each server and namespace, shared by all caches, begun anew after a fork."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from openalgo_cache.backends.invalidation.announcements import Announcer
from openalgo_cache.backends.invalidation.stream import Stream
from openalgo_cache.locks import make_lock

if TYPE_CHECKING:
    from openalgo_cache.backends.base import InvalidationListener
    from openalgo_cache.settings import Server

_streams: Final[dict[tuple[Server, str], Stream]] = {}
_announcers: Final[dict[tuple[Server, str], Announcer]] = {}
_lock: Final = make_lock()


class Subscriptions:
    """The listeners of one backend.

    Args:
        server: Its server.
        cache: What all stored keys of its cache begin with: ``openalgo:auth:``.
        secret: Returns the installation's key for announcements.
    """

    def __init__(self, server: Server, cache: str, secret: Callable[[], bytes]) -> None:
        self._cache = cache
        self._key = server, cache[: cache.index(":") + 1]
        self._secret = secret
        self._listeners: WeakSet[InvalidationListener] = WeakSet()

    def add(self, listener: InvalidationListener) -> None:
        """Have ``listener`` told of every change in the cache; see SupportsInvalidation."""
        self._listeners.add(listener)
        self._stream().subscribe(self._cache, listener)

    def changed(self, keys: Iterable[str], call: Callable[..., Any]) -> None:
        """Announce that ``keys`` may have been changed, to those to whom the server can't tell it; see Announcer."""
        announcer = _announcers.get(self._key)
        if announcer is None:
            announcer = _announcers.setdefault(self._key, Announcer(self._key[1], self._secret))
        announcer.changed(keys, call)

    def close(self) -> None:
        """Have nobody told anything any more."""
        for listener in list(self._listeners):
            self._stream().unsubscribe(listener)
        self._listeners.clear()

    def _stream(self) -> Stream:
        with _lock:
            stream = _streams.get(self._key)
            if stream is None:
                stream = _streams[self._key] = Stream(*self._key, self._secret)
            return stream


def doubt(server: Server) -> None:
    """Have nothing of a server trusted until its primaries were looked for again: it sent somebody elsewhere."""
    for (its_server, _), stream in list(_streams.items()):
        if its_server == server:
            stream.doubt()


def _abandon_all() -> None:
    for stream in _streams.values():
        stream.abandon()
    for announcer in _announcers.values():
        announcer.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)

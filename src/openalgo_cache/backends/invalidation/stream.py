"""All that one server tells this process about one namespace: who listens, and whether anything can be missed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from weakref import WeakSet

from openalgo_cache.backends.invalidation.links import Link, Way
from openalgo_cache.backends.invalidation.lookout import Lookout
from openalgo_cache.backends.invalidation.ways import Channel, Tracking
from openalgo_cache.backends.invalidation.wire import Address, RefusedError, Wire
from openalgo_cache.locks import make_lock

if TYPE_CHECKING:
    from openalgo_cache.backends.base import InvalidationListener
    from openalgo_cache.settings import Server

_log = logging.getLogger("openalgo_cache")


class Stream:
    """Listens while anybody wants to know. Copies may be trusted while every primary has a link that stands.

    Everything is done under one lock, which is held over memory work only, so that nobody hears things in another order
    than they happened. Nothing is logged from the threads that listen: the lock of a log handler may be a patched one.

    Args:
        server: What the settings say.
        prefix: What all stored keys of the namespace begin with: ``openalgo:``.
        secret: Returns the key by which announcements are told from forgeries.

    Attributes:
        ignored: How many messages were none of ours.
    """

    def __init__(self, server: Server, prefix: str, secret: Callable[[], bytes]) -> None:
        self.ignored = 0
        self._server = server
        self._prefix = prefix
        self._secret = secret
        self._lock = make_lock()
        self._listeners: dict[str, WeakSet[InvalidationListener]] = {}
        self._links: dict[Address, Link] = {}
        self._standing: set[Link] = set()
        self._lookout: Lookout | None = None
        self._known = False
        self._doubts = 0
        self._serving = False
        self._running = False
        self._refusal = ""
        self._said = False

    # --- from whoever listens -----------------------------------------------------------------------------------------

    def subscribe(self, cache: str, listener: InvalidationListener) -> None:
        """Tell ``listener`` of changes of the keys that begin with ``cache``; see SupportsInvalidation."""
        with self._lock:
            listeners = self._listeners.setdefault(cache, WeakSet())
            if listener not in listeners:
                listeners.add(listener)
                if self._serving:
                    listener.resume()
            if not self._running:
                self._begin()
            refusal, self._said = "" if self._said else self._refusal, self._said or bool(self._refusal)
        if refusal:
            title, address = self._server.title, self._server.address
            _log.warning("nothing is kept near: %s at %s does not tell of changes: %s", title, address, refusal)

    def unsubscribe(self, listener: InvalidationListener) -> None:
        """Tell ``listener`` nothing any more."""
        with self._lock:
            for listeners in self._listeners.values():
                listeners.discard(listener)
            listener.suspend()
            self._end_if_nobody_listens()

    def doubt(self) -> None:
        """Trust nothing until the primaries were looked for again: somebody was sent to another node."""
        with self._lock:
            if self._lookout is not None:
                self._doubts += 1
                self._known = False
                self._settle()
                self._lookout.look_now()

    def abandon(self) -> None:
        """Forget, in a forked child, what stayed with the parent."""
        for link in self._links.values():
            link.abandon()
        if self._lookout is not None:
            self._lookout.abandon()
        self._forget()

    # --- from links and lookout ---------------------------------------------------------------------------------------

    def stands(self, link: Link) -> None:
        """See Hearer."""
        with self._lock:
            if self._links.get(link.address) is link:
                self._standing.add(link)
                self._settle()

    def lost(self, link: Link, refusal: str = "") -> None:
        """See Hearer."""
        with self._lock:
            if self._links.get(link.address) is link:
                self._standing.discard(link)
                self._refusal = refusal
                self._settle()

    def told(self, keys: Iterable[bytes] | None) -> None:
        """See Hearer."""
        with self._lock:
            if keys is None:
                for listener in self._all():
                    listener.drop_all()
                return
            changed: dict[str, list[str]] = {}
            for key in keys:
                stored = key.decode(errors="surrogateescape")
                cache = stored[: stored.find(":", len(self._prefix)) + 1]
                changed.setdefault(cache, []).append(stored)
            for cache, stored_keys in changed.items():
                for listener in self._listeners.get(cache, ()):
                    listener.drop(stored_keys)

    def beat(self) -> None:
        """See Hearer: those who listened may have been garbage for a while."""
        with self._lock:
            self._end_if_nobody_listens()

    def ignore(self) -> None:
        """Count a message that was none of ours."""
        self.ignored += 1

    def doubts(self) -> int:
        """See Watcher."""
        return self._doubts

    def require(self, addresses: Iterable[Address], doubts: int) -> None:
        """See Watcher."""
        with self._lock:
            if not self._running:
                return
            wanted = set(addresses)
            if wanted != self._links.keys():
                self._known = False
                self._settle()  # one that left took its keys elsewhere
                for address in self._links.keys() - wanted:
                    link = self._links.pop(address)
                    self._standing.discard(link)
                    link.stop()
                for address in wanted - self._links.keys():
                    self._listen_to(address)
            if doubts == self._doubts:
                self._known = True
            self._settle()

    def blind(self) -> None:
        """See Watcher."""
        with self._lock:
            self._known = False
            self._settle()

    def _tune_in(self, wire: Wire, link: Link) -> Way:
        """Have a node tell of changes: of itself, or, where it may not, those who make them."""
        try:
            wire.log_in(self._server)
            return Tracking(wire, self._prefix, self)
        except RefusedError as error:
            if self._server.cluster or not error.is_of_command:
                raise
        return Channel(wire, self._server, link.address, self._prefix, self._secret(), self)

    # --- under the lock -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._running = True
        if self._server.cluster or self._server.sentinels is not None:
            self._lookout = Lookout(self._server, self)
            self._lookout.start()
        else:
            self._known = True
            self._listen_to((self._server.host, self._server.port))

    def _listen_to(self, address: Address) -> None:
        link = self._links[address] = Link(self._server, address, self, self._tune_in)
        link.start()

    def _end_if_nobody_listens(self) -> None:
        self._listeners = {cache: listeners for cache, listeners in self._listeners.items() if listeners}
        if self._listeners:
            return
        for link in self._links.values():
            link.stop()
        if self._lookout is not None:
            self._lookout.stop()
        self._forget()

    def _forget(self) -> None:
        self._links, self._standing, self._lookout = {}, set(), None
        self._known = self._running = False
        self._settle()

    def _settle(self) -> None:
        """Tell the listeners if nothing can be missed any more, or if something can."""
        serving = self._known and bool(self._links) and len(self._standing) == len(self._links)
        if serving == self._serving:
            return
        self._serving = serving
        for listener in self._all():
            if serving:
                listener.resume()
            else:
                listener.suspend()
        if serving:
            self._refusal, self._said = "", False

    def _all(self) -> list[InvalidationListener]:
        return [listener for listeners in self._listeners.values() for listener in listeners]

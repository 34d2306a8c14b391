"""A server as this process sees it: one for all caches, with one breaker a node and one bounded pool."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.backends.invalidation.streams import doubt
from openalgo_cache.backends.resp.dialling import Address
from openalgo_cache.backends.resp.errors import Errors, Failure
from openalgo_cache.backends.resp.replication import Replication
from openalgo_cache.backends.resp.topology import Cluster, OneNode, Topology
from openalgo_cache.errors import BackendUnavailableError
from openalgo_cache.locks import make_lock

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.breaker import OutageListener
    from openalgo_cache.backends.resp.driver import Driver
    from openalgo_cache.backends.resp.node import Command, Node
    from openalgo_cache.settings import Server

_REDIRECTS: Final = 5
_CHUNK: Final = 500
"""Commands that go out together: more would only keep other clients waiting."""


class Client:
    """One server, or cluster, for all caches of this process that are kept there.

    Args:
        driver: The client library.
        server: Where it is and how to log in.

    Attributes:
        listeners: Who is told of outages and recoveries.
        users: How many backends use it.
    """

    def __init__(self, driver: Driver, server: Server) -> None:
        self.listeners: list[OutageListener] = []
        self.users = 0
        self._errors = Errors(driver, server)
        self._server = server
        self._reply_error = driver.reply_error
        self._redirect: type[Exception] = driver.exceptions.AskError  # MOVED is a kind of it there
        self._moved: type[Exception] = driver.exceptions.MovedError
        self._demoted: type[Exception] = driver.exceptions.ReadOnlyError
        make = Cluster if server.cluster else OneNode
        self._topology: Topology = make(driver, server, self.listeners)
        self._replication = Replication() if self._topology.replicated else None

    @property
    def scattered(self) -> bool:
        """Whether one command can't have several keys."""
        return self._topology.scattered

    def call(self, key: str, *words: Any, repeatable: bool = True) -> Any:
        """Send one command about a key and return the reply.

        Raises:
            BackendUnavailableError: The server does not answer, or not in time, or can't do it now.
            BackendMisconfiguredError: It refuses us.
        """
        node = self._topology.node(key)
        (reply,) = node.calls((words,), repeatable=repeatable)
        return self._follow(key, words, node, reply) if isinstance(reply, Exception) else reply

    def calls(self, commands: Iterable[tuple[str, Command]]) -> list[Any]:
        """Send many commands, each about a key, and return the replies in their order."""
        pending = list(commands)
        replies: list[Any] = [None] * len(pending)
        for node, places in self._by_node(key for key, _ in pending).items():
            for start in range(0, len(places), _CHUNK):
                chunk = places[start : start + _CHUNK]
                for place, reply in zip(chunk, node.calls([pending[place][1] for place in chunk]), strict=True):
                    if isinstance(reply, Exception):
                        reply = self._follow(*pending[place], node, reply)  # noqa: PLW2901  # it is the reply then
                    replies[place] = reply
        return replies

    def write(self, key: str, *words: Any, repeatable: bool = True) -> Any:
        """Send one command that changes a key; return the reply when a replica has the change, where there is one.

        Raises:
            BackendUnavailableError: As for call; or no replica has it in time, though the server has it.
            BackendMisconfiguredError: As for call.
        """
        if self._replication is None:
            return self.call(key, *words, repeatable=repeatable)
        node = self._topology.node(key)
        wait = self._replication.wait(node, self._server.operation_timeout)
        reply, *acknowledged = node.calls((words, *wait), repeatable=repeatable)
        if isinstance(reply, Exception):
            return self._follow(key, words, node, reply, replicate=True)
        self._replication.check(node, acknowledged)
        return reply

    def exchange(
        self, key: str, decide: Callable[[bytes | None], Sequence[Command] | None], *, replicate: bool = False
    ) -> bool:
        """Change a key in one atomic step, if it is as expected; return whether it was.

        Args:
            key: The key.
            decide: Gets what is there; returns the commands that change it, or None.
            replicate: Whether to wait until a replica has the change.
        """
        node = self._topology.node(key)
        end = monotonic() + self._server.operation_timeout
        redirects = 0
        while True:
            after: Sequence[Command] = ()
            if replicate and self._replication is not None:
                after = self._replication.wait(node, self._server.operation_timeout)
            try:
                replies = node.exchange(key, decide, after)
                if replies is None:
                    return False
                done, *acknowledged = replies
                if isinstance(done, Exception):
                    raise done
            except self._reply_error as error:
                redirects += 1
                node = self._elsewhere(key, node, error, redirects)
                continue
            if done is not None:
                if after and self._replication is not None:
                    self._replication.check(node, acknowledged)
                return True
            if monotonic() > end:
                raise BackendUnavailableError(f"a key changes all the time at {node.name}")

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """Yield the keys that match a glob pattern, in batches, each key once."""
        for node in self._topology.nodes():
            seen: set[bytes] = set()
            cursor = 0
            while True:
                (reply,) = node.calls((("SCAN", cursor, "MATCH", pattern, "COUNT", 1000),))
                if isinstance(reply, Exception):
                    raise self._errors.of_reply(reply, node.name) from reply
                try:
                    asked, cursor, found = cursor, int(reply[0]), reply[1]
                    new = [key for key in dict.fromkeys(found) if key not in seen]
                    keys = [text for key in new if (text := key.decode(errors="replace")).encode() == key]
                except (TypeError, ValueError, LookupError, AttributeError):
                    raise self._errors.of_nonsense(node.name) from None
                seen.update(new)
                if keys:  # what is no UTF-8 was put there past us: nobody can ask for it
                    yield keys
                if cursor == 0:
                    break
                if cursor == asked:  # it would never end
                    raise self._errors.of_nonsense(node.name)

    def misunderstood(self, key: str) -> Failure:
        """Return the error of a reply, to a command about a key, of a kind that the command does not have."""
        return self._errors.of_nonsense(self._topology.node(key).name)

    def close(self) -> None:
        """Close every connection."""
        for node in self._topology.known():
            node.close()

    def abandon(self) -> None:
        """Begin anew, in a forked child."""
        for node in self._topology.known():
            node.abandon()

    def _by_node(self, keys: Iterable[str]) -> dict[Node, list[int]]:
        """Return the places of keys, by their node."""
        places: dict[Node, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(self._topology.node(key), []).append(place)
        return places

    def _follow(self, key: str, words: Command, node: Node, reply: Exception, *, replicate: bool = False) -> Any:
        """Send a command to where an error reply points, and return the reply; raise if it points nowhere."""
        for redirects in range(1, _REDIRECTS + 2):
            asking = isinstance(reply, self._redirect) and not isinstance(reply, self._moved)
            node = self._elsewhere(key, node, reply, redirects)
            commands: list[Command] = [("ASKING",), words] if asking else [words]
            wait: Sequence[Command] = ()
            if replicate and self._replication is not None:
                wait = self._replication.wait(node, self._server.operation_timeout)
            reply, *acknowledged = node.calls((*commands, *wait))[len(commands) - 1 :]
            if not isinstance(reply, Exception):
                if self._replication is not None:
                    self._replication.check(node, acknowledged)
                return reply
        raise self._refused(node, reply)

    def _elsewhere(self, key: str, node: Node, error: Exception, redirects: int) -> Node:
        """Return the node that an error reply points to; raise the translated error if it points nowhere."""
        doubt(self._server)
        if redirects > _REDIRECTS:
            raise self._refused(node, error) from error
        if isinstance(error, self._redirect) and self._topology.scattered:
            address = Address(error.host, error.port)  # type: ignore[attr-defined]  # both libraries read it for us
            if isinstance(error, self._moved):
                return self._topology.moved(address, key)
            assert isinstance(self._topology, Cluster)  # noqa: S101  # only a cluster is scattered
            return self._topology.at(address)
        if isinstance(error, self._demoted) and self._topology.replicated and redirects == 1:
            return self._topology.moved(None, key)
        raise self._refused(node, error) from error

    def _refused(self, node: Node, error: Exception) -> Failure:
        return self._errors.of_reply(error, node.name)


_clients: Final[dict[tuple[Any, ...], Client]] = {}
_lock: Final = make_lock()


def acquire(driver: Driver, server: Server) -> Client:
    """Return this process's client of a server; the same one for all who log in alike. Connects to nothing."""
    with _lock:
        client = _clients.get((driver, server))
        if client is None:
            client = _clients[driver, server] = Client(driver, server)
        client.users += 1
        return client


def release(driver: Driver, server: Server, client: Client) -> None:
    """Let go of a client; the last one closes it."""
    with _lock:
        client.users -= 1
        last = client.users == 0
        if last:
            del _clients[driver, server]
    if last:
        client.close()


def _abandon_all() -> None:
    for client in _clients.values():
        client.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)

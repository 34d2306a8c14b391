"""Which nodes a server consists of: one, the one that Sentinels name, or a cluster's."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from openalgo_cache.backends.resp.dialling import Address, Dialler
from openalgo_cache.backends.resp.errors import Errors
from openalgo_cache.backends.resp.node import Node
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError
from openalgo_cache.locks import make_lock

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.breaker import OutageListener
    from openalgo_cache.backends.resp.driver import Driver
    from openalgo_cache.settings import Sentinels, Server

_SLOTS: Final = 16_384


class Topology(Protocol):
    """Knows the nodes.

    Attributes:
        replicated: Whether replicas take over, so that a write should have reached one.
        scattered: Whether one command can't have keys of several nodes, or of several slots of one.
    """

    replicated: bool
    scattered: bool

    def node(self, key: str) -> Node:
        """Return the node of a key."""
        ...

    def nodes(self) -> Sequence[Node]:
        """Return the nodes that together hold everything."""
        ...

    def known(self) -> Iterable[Node]:
        """Return every node that was talked to, without asking anybody."""
        ...

    def moved(self, address: Address | None, key: str) -> Node:
        """Return the node of a key after its own has said that it is not any more; ``address`` is what it said."""
        ...


class OneNode:
    """One server, or a service whose primary the Sentinels name."""

    scattered = False

    def __init__(self, driver: Driver, server: Server, listeners: Sequence[OutageListener]) -> None:
        self.replicated = server.sentinels is not None
        dialler = Dialler(driver, server)
        locate: Callable[[float], Address] = lambda _: Address(server.host, server.port)  # noqa: E731  # one of two
        if server.sentinels is not None:
            locate = _Watchers(driver, server, dialler, server.sentinels).primary
        self._node = Node(driver, server, dialler, locate, server.address, listeners)

    def node(self, key: str) -> Node:  # noqa: D102  # see Topology
        del key
        return self._node

    def nodes(self) -> Sequence[Node]:  # noqa: D102
        return (self._node,)

    known = nodes

    def moved(self, address: Address | None, key: str) -> Node:  # noqa: D102
        del address, key
        self._node.forget()
        return self._node


class _Watchers:
    """The Sentinels of a service."""

    def __init__(self, driver: Driver, server: Server, dialler: Dialler, sentinels: Sentinels) -> None:
        self._server = server
        self._dialler = dialler
        self._sentinels = sentinels
        self._errors = Errors(driver, server)

    def primary(self, deadline: float) -> Address:
        """Return where the primary is, by the word of the first Sentinel that knows it."""
        variable = f"{self._server.name.upper()}_SENTINELS"
        failure: Exception = BackendMisconfiguredError(f"{variable} names no Sentinel")
        count = len(self._sentinels.addresses)
        for number, address in enumerate(self._sentinels.addresses):
            now = monotonic()
            share = (deadline - now) / (count - number)
            try:
                found = self._ask(Address(*address), now + share)
            except Exception as error:  # noqa: BLE001  # the libraries' errors; the last one is translated and raised
                failure = self._errors.of_connection(error, f"the Sentinel {Address(*address)}", reached=True)
                continue
            if found is not None:
                return Address(found[0].decode(), int(found[1]))
            failure = BackendMisconfiguredError(
                f"the Sentinel at {Address(*address)} watches no service {self._sentinels.service!r}: "
                f"correct {variable}"
            )
        raise failure

    def _ask(self, address: Address, deadline: float) -> list[bytes] | None:
        # User, password and database are the service's; a Sentinel has its own, if any.
        connection = self._dialler.open(address, deadline, db=0, username=None, password=None)
        try:
            command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._sentinels.service)
            connection.send_packed_command(connection.pack_command(*command))
            found: list[bytes] | None = connection.read_response()
            return found
        finally:
            connection.disconnect()


class Cluster:
    """The primaries of a cluster, each of which serves a part of the slots to which keys belong."""

    replicated = True
    scattered = True

    def __init__(self, driver: Driver, server: Server, listeners: Sequence[OutageListener]) -> None:
        self._driver = driver
        self._server = server
        self._listeners = listeners
        self._dialler = Dialler(driver, server)
        self._errors = Errors(driver, server)
        self._entrance = Address(server.host, server.port)
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Node | None] | None = None
        self._refreshing = make_lock()

    def node(self, key: str) -> Node:  # noqa: D102  # see Topology
        slots = self._slots
        if slots is None:
            slots = self._refresh()
        found = slots[crc_hqx(key.encode(), 0) % _SLOTS]
        if found is None:
            raise BackendUnavailableError(f"no node of the cluster at {self._entrance} serves the key's slot")
        return found

    def nodes(self) -> Sequence[Node]:  # noqa: D102
        slots = self._slots
        if slots is None:
            slots = self._refresh()
        return list(dict.fromkeys(node for node in slots if node is not None))

    def known(self) -> Iterable[Node]:  # noqa: D102
        return list(self._nodes.values())

    def moved(self, address: Address | None, key: str) -> Node:  # noqa: D102
        if self._refreshing.acquire(False):  # one asks; the others follow what they were told
            try:
                self._refresh()
            finally:
                self._refreshing.release()
        return self.node(key) if address is None else self.at(address)

    def at(self, address: Address) -> Node:
        """Return the node at an address."""
        node = self._nodes.get(address)
        if node is None:
            made = Node(
                self._driver,
                self._server,
                self._dialler,
                lambda _: address,
                str(address),
                self._listeners,
                self._look_round,
            )
            node = self._nodes.setdefault(address, made)
        return node

    def _look_round(self) -> None:
        """Ask those that answer who serves what, while one is away: its replica may have taken over."""
        self._refresh()

    def _refresh(self) -> list[Node | None]:
        """Ask a node who serves what. Raise the last one's failure if none answers."""
        failure: Exception | None = None
        for node in [*(node for node in self._nodes.values() if not node.breaker.is_open), self.at(self._entrance)]:
            try:
                ranges = node.call("CLUSTER", "SLOTS")
            except BackendUnavailableError as error:
                failure = error
            except self._driver.reply_error as error:
                raise self._errors.of_reply(error, node.name) from error
            else:
                return self._install(ranges, node)
        assert failure is not None  # noqa: S101  # the entrance was asked
        raise failure

    def _install(self, ranges: list[Any], source: Node) -> list[Node | None]:
        slots: list[Node | None] = [None] * _SLOTS
        for first, last, primary, *_ in ranges:
            host, port = primary[0], primary[1]
            node = self.at(Address(host.decode(), port)) if host else source
            slots[first : last + 1] = [node] * (last + 1 - first)
        self._slots = slots
        serving = set(slots)
        for address, node in list(self._nodes.items()):
            if node not in serving and address != self._entrance:
                del self._nodes[address]
                node.retire()
        return slots

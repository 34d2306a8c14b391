"""A look at a Redis or Valkey server with the rights that a cache has: what may not be asked is not known."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from openalgo_cache.backends import registry
from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.backends.resp.dialling import Address, Dialler
from openalgo_cache.backends.resp.topology import Cluster, OneNode
from openalgo_cache.settings.addresses import is_loopback

if TYPE_CHECKING:
    from openalgo_cache.backends.resp.driver import Driver
    from openalgo_cache.backends.resp.node import Node
    from openalgo_cache.settings import Server

_ASKED: Final = (
    *("appendfsync", "bind", "maxmemory", "maxmemory-policy", "port", "protected-mode", "requirepass"),
    *("min-replicas-to-write", "cluster-require-full-coverage"),
)
_NOT_OURS: Final = "no-key-of-the-caches"
_A_MOMENT: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one node.

    Attributes:
        address: Where it is.
        server: How it is reached and logged in to.
        local: Whether it is reached without leaving this machine.
        info: What INFO says; empty if we may not ask.
        config: What CONFIG GET says, of what matters; None if we may not ask.
        user: What ACL GETUSER says of our user: ``flags``, ``commands`` and ``keys``; None if we may not ask.
        administers: Whether we may ask for more than a cache has to.
        reads_others: Whether we may read keys that are not the caches'.
        open_to_strangers: Whether it answers who has not logged in.
        ahead: Seconds by which its clock is ahead of ours; None if it does not say.
    """

    address: str
    server: Server
    local: bool
    info: Mapping[str, str]
    config: Mapping[str, str] | None
    user: Mapping[str, str] | None
    administers: bool
    reads_others: bool
    open_to_strangers: bool
    ahead: float | None


def look_at(server: Server) -> Iterator[Seen]:
    """Look at every node that holds entries.

    Raises:
        BackendUnavailableError: One does not answer.
        BackendMisconfiguredError: It does not let us in.
    """
    backend = registry.load(server.name)
    assert issubclass(backend, RespBackend)  # noqa: S101  # both names are built in
    driver = backend.driver
    topology = (Cluster if server.cluster else OneNode)(driver, server, [])
    try:
        for node in topology.nodes():
            yield _seen(node, server, driver)
    finally:
        for node in topology.known():
            node.close()


def _seen(node: Node, server: Server, driver: Driver) -> Seen:
    def ask(*words: str) -> Any:
        (reply,) = node.calls((words,))
        return None if isinstance(reply, Exception) else reply

    ask("PING")  # connecting takes time, which is none of the clock's
    before = time.time()
    info = _lines(ask("INFO"))
    middle = (before + time.time()) / 2
    told = info.get("server_time_usec")
    whoami = ask("ACL", "WHOAMI")
    config = ask("CONFIG", "GET", "maxmemory-policy")
    (others,) = node.calls((("GET", _NOT_OURS),))
    return Seen(
        address=node.name,
        server=server,
        local=server.unix_socket is not None or is_loopback(node.name.rpartition(":")[0].strip("[]")),
        info=info,
        config=None if config is None else {name: _pairs(ask("CONFIG", "GET", name)).get(name, "") for name in _ASKED},
        user=None if whoami is None else _pairs(ask("ACL", "GETUSER", _text(whoami))) or None,
        administers=whoami is not None or config is not None,
        reads_others=not isinstance(others, driver.reply_error),
        open_to_strangers=_answers_strangers(server, driver, node.name),
        ahead=int(told) / 1e6 - middle if told is not None and told.isdecimal() else None,
    )


def _answers_strangers(server: Server, driver: Driver, name: str) -> bool:
    """Return whether somebody is answered who gives neither user nor password."""
    host, _, port = name.rpartition(":")
    address = Address(host.strip("[]"), int(port)) if port.isdecimal() else Address(server.host, server.port)
    connection = None
    with suppress(*driver.broken, driver.reply_error, driver.exceptions.AuthenticationError):
        connection = Dialler(driver, server).open(
            address, time.monotonic() + _A_MOMENT, username=None, password=None, db=0
        )
        connection.send_packed_command(connection.pack_command("PING"))
        connection.read_response()
        connection.disconnect()
        return True
    if connection is not None:
        connection.disconnect()
    return False


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return " ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _pairs(reply: Any) -> dict[str, str]:
    """Return a list of names and values as a dictionary."""
    if not isinstance(reply, list):
        return {}
    return {_text(name): _text(value) for name, value in zip(reply[::2], reply[1::2], strict=False)}


def _lines(reply: Any) -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(reply or b"").splitlines())
    return {name: value.strip() for name, colon, value in pairs if colon}

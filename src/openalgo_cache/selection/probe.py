"""Ask what listens at a server's address whether it is a Redis, with a socket and no client library."""

from __future__ import annotations

import enum
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ssl import SSLContext

    from openalgo_cache.settings import Server

UNCONFIGURED_TIMEOUT = 0.25
"""Seconds to wait for a server on this machine of which nobody spoke."""

_LONGEST_REPLY = 1024
_WORKING = ("+PONG", "-NOPERM", "-LOADING", "-MASTERDOWN", "-BUSY", "-MISCONF")
_TLS_ALERT = b"\x15\x03"


class Outcome(enum.Enum):
    """What was found."""

    ANSWERS = enum.auto()
    """A server that lets us in."""
    ASKS_FOR_PASSWORD = enum.auto()
    """A server that wants a password where none is configured."""
    REFUSES = enum.auto()
    """A server that does not take our password or certificate, or whose certificate we do not take."""
    NOT_REDIS = enum.auto()
    """Something else."""
    ABSENT = enum.auto()
    """Nothing, or nothing that answered in time."""


class Probe(NamedTuple):
    """The answer; ``detail`` goes on from "the server at this address"."""

    outcome: Outcome
    detail: str


class _EndedError(Exception):
    """Ends the conversation early with a finding."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.probe = Probe(outcome, detail)


def probe_server(server: Server) -> Probe:
    """Connect to ``server``, log in if there is a password, and send a PING; nothing is changed there.

    It takes ``server.timeout`` seconds at most, and no more than a quarter of a second for a server that nobody
    configured; looking up a host's name is not counted, since the system offers no limit for it.
    """
    timeout = server.timeout if server.configured else min(server.timeout, UNCONFIGURED_TIMEOUT)
    try:
        connection = _Connection(server, time.monotonic() + timeout)
        try:
            return _converse(connection, server)
        finally:
            connection.close()
    except _EndedError as ended:
        return ended.probe
    except OSError as error:
        return _explain(error, server)


def _converse(connection: _Connection, server: Server) -> Probe:
    prefix = server.name.upper()
    # A Sentinel has a password of its own, if any; that it answers at all is what was asked.
    if server.sentinels is None and (server.password is not None or server.username is not None):
        words = ["AUTH", *([server.username] if server.username is not None else []), server.password or ""]
        reply = connection.ask(_encode(words))
        if not reply.startswith("+OK"):
            if not reply.startswith("-"):
                return Probe(Outcome.NOT_REDIS, "is not a Redis")
            detail = f"does not accept {prefix}_PASSWORD and {prefix}_USERNAME, or those parts of {prefix}_URL"
            return Probe(Outcome.REFUSES, detail)
    reply = connection.ask(_encode(["PING"]))
    if reply.startswith(_WORKING):
        return Probe(Outcome.ANSWERS, "answers")
    if reply.startswith(("-NOAUTH", "-ERR operation not permitted")):
        if server.sentinels is not None:
            return Probe(Outcome.ANSWERS, "answers")
        return Probe(Outcome.ASKS_FOR_PASSWORD, f"asks for a password, and {prefix}_PASSWORD is not set")
    if reply.startswith("-DENIED"):
        return Probe(Outcome.REFUSES, "is in protected mode and talks to its own machine alone")
    if reply.startswith("-ERR max number of clients"):
        return Probe(Outcome.ABSENT, "has no connection left")
    return Probe(Outcome.NOT_REDIS, "is not a Redis")


def _encode(words: list[str]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class _Connection:
    """A socket with a deadline for the whole conversation."""

    def __init__(self, server: Server, deadline: float) -> None:
        self._deadline = deadline
        context = _tls_context(server) if server.tls else None
        if server.unix_socket is not None:
            if not hasattr(socket, "AF_UNIX"):
                raise _EndedError(Outcome.REFUSES, "cannot be asked: this system has no Unix sockets")
            self._socket = self._connect(socket.AF_UNIX, str(server.unix_socket), 1)
            return
        host, port = server.sentinels.addresses[0] if server.sentinels else (server.host, server.port)
        self._socket = self._connect_host(host, port)
        if context is not None:
            self._start_tls(context, host)

    def ask(self, command: bytes) -> str:
        """Send ``command`` and return the first line of the reply, without its end."""
        self._limit()
        self._socket.sendall(command)
        received = b""
        while b"\n" not in received and len(received) < _LONGEST_REPLY:
            self._limit()
            chunk = self._socket.recv(_LONGEST_REPLY)
            if not chunk:
                break
            received += chunk
        if not received or received.startswith(_TLS_ALERT):
            raise ConnectionResetError
        return received.split(b"\n", 1)[0].decode("ascii", "replace").strip()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _connect_host(self, host: str, port: int) -> socket.socket:
        """Try each address of ``host`` within its share of the time: a dead one must not use up a live one's."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # IPv4 first, since a server that listens on one of the two usually listens on that.
        addresses = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
        for position, (family, _, _, _, address) in enumerate(addresses):
            try:
                return self._connect(family, address, len(addresses) - position)
            except OSError:
                if position == len(addresses) - 1:
                    raise
        raise OSError("the host has no address")

    def _connect(self, family: int, address: object, shares: int) -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(self._remaining() / shares, 0.001))
            connection.connect(address)  # type: ignore[arg-type]  # of the form that the family asks for
        except BaseException:
            connection.close()
            raise
        return connection

    def _start_tls(self, context: SSLContext, host: str) -> None:
        self._limit()
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        except BaseException:
            self._socket.close()
            raise

    def _limit(self) -> None:
        self._socket.settimeout(self._remaining())

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        return remaining


def _tls_context(server: Server) -> SSLContext:
    """Return the terms on which we speak TLS: the server's certificate and host name are always checked."""
    import ssl  # noqa: PLC0415  # slow to import, and only needed where TLS is asked for

    prefix = server.name.upper()
    try:
        context = ssl.create_default_context(cafile=server.tls_ca)
        if server.tls_cert is not None:
            context.load_cert_chain(server.tls_cert, server.tls_key)
    except (OSError, ValueError) as error:
        detail = f"cannot be asked: {prefix}_TLS_CA, {prefix}_TLS_CERT or {prefix}_TLS_KEY cannot be loaded"
        raise _EndedError(Outcome.REFUSES, detail) from error
    return context


def _explain(error: OSError, server: Server) -> Probe:
    """Say what a failed connection means: nobody there, or somebody who does not want us."""
    prefix = server.name.upper()
    if server.tls:
        import ssl  # noqa: PLC0415  # slow to import, and only needed where TLS is asked for

        if isinstance(error, ssl.SSLCertVerificationError):
            detail = f"has a certificate that is not accepted ({error.verify_message}): look at {prefix}_TLS_CA"
            return Probe(Outcome.REFUSES, detail)
        if isinstance(error, ssl.SSLError):
            detail = (
                f"does not agree on TLS ({error.reason}): look at {prefix}_TLS, {prefix}_TLS_CERT and {prefix}_PORT"
            )
            return Probe(Outcome.REFUSES, detail)
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        names = f"{prefix}_TLS, {prefix}_TLS_CERT"
        detail = f"closes the connection without an answer: it may want TLS ({names}), or not want us"
        return Probe(Outcome.REFUSES, detail)
    reason = "timed out" if isinstance(error, TimeoutError) else (error.strerror or type(error).__name__).lower()
    return Probe(Outcome.ABSENT, f"does not answer ({reason})")

"""A connection of the plainest kind, for threads that eventlet and gevent know nothing of.

Both replace ``socket`` and ``ssl`` by sockets that belong to a loop of greenlets; one that is used from another thread
waits for a loop that does not turn there. So this is the interpreter's own socket, and TLS over it in memory.
"""

from __future__ import annotations

import _socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl

    from openalgo_cache.settings import Server

Address = tuple[str, int]

_CHUNK: Final = 65_536


_PASSING: Final = ("LOADING", "CLUSTERDOWN", "MASTERDOWN", "BUSY", "ERR max number of clients")
"""How the refusals begin that a server takes back by itself."""
_FORBIDDEN: Final = ("NOPERM", "ERR unknown", "NOPROTO")
"""And those of what it never does, or not for us."""


class RefusedError(Exception):
    """The server answered with an error; its text begins with a code, and holds nothing of ours."""

    @property
    def is_passing(self) -> bool:
        """Whether it may do so a little later."""
        return str(self).startswith(_PASSING)

    @property
    def is_of_command(self) -> bool:
        """Whether it lets us in, and would do other things for us."""
        return str(self).startswith(_FORBIDDEN)


class Wire:
    """An open connection to one node.

    Args:
        server: What the settings say of it and its like.
        address: Where the node listens; of no use where the settings name a Unix socket.
        timeout: Seconds that each step may take.

    Raises:
        OSError: It cannot be reached, or speaks no TLS where it should.
        ImportError: Neither hiredis nor libvalkey is installed.
    """

    def __init__(self, server: Server, address: Address, timeout: float) -> None:
        self._reader = _reader_class()()
        self._tls: _Tls | None = None
        self._socket = _connect(server, address, timeout)
        try:
            if server.tls and server.unix_socket is None:
                self._tls = _Tls(_context(server), address[0])
                while not self._tls.shake_hands():
                    self._flush()
                    self._tls.incoming.write(self._received())
                self._flush()
        except BaseException:
            self.close()
            raise

    def ask(self, *words: str | int) -> Any:
        """Send a command and return its reply. Not for a connection to which messages come: those would be lost.

        Raises:
            RefusedError: The reply is an error.
            OSError: The connection is broken, or the reply is late.
        """
        self.send(*words)
        while not (arrived := self.receive()):
            pass
        if isinstance(arrived[0], Exception):
            raise RefusedError(str(arrived[0])[:120])
        return arrived[0]

    def log_in(self, server: Server) -> None:
        """Speak RESP3 from now on, as the user of the settings."""
        login: tuple[str, ...] = ()
        if server.password is not None:
            login = ("AUTH", server.username or "default", server.password)
        self.ask("HELLO", 3, *login)

    def log_in_plainly(self, server: Server) -> None:
        """Log in without a choice of protocol, where ``log_in`` was refused for its command."""
        if server.password is not None:
            self.ask("AUTH", *((server.username,) if server.username is not None else ()), server.password)

    def send(self, *words: str | int) -> None:
        """Send a command."""
        parts = [str(word).encode() for word in words]
        command = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        if self._tls is None:
            self._socket.sendall(command)
        else:
            self._tls.connection.write(command)
            self._flush()

    def receive(self, timeout: float | None = None) -> list[Any]:
        """Return what arrives next: replies, errors among them, and messages, which are lists; none if only a part did.

        Args:
            timeout: Seconds to wait; as long as any step may take if left out.

        Raises:
            TimeoutError: Nothing arrived.
            OSError: The connection is broken.
        """
        if timeout is not None:
            self._socket.settimeout(max(timeout, 0.001))
        data = self._received()
        if self._tls is not None:
            self._tls.incoming.write(data)
            data = self._tls.read()
            self._flush()
        self._reader.feed(data)
        arrived = []
        while (one := self._reader.gets()) is not False:
            arrived.append(one)
        return arrived

    def shut(self) -> None:
        """End the connection, even if a forked child has it, too; who waits for it wakes up and closes it."""
        with suppress(OSError):  # it has ended already
            self._socket.shutdown(_socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection and let go of it."""
        self.shut()
        self._socket.close()

    def abandon(self) -> None:
        """Let go of a connection that is the parent's, in a forked child."""
        self._socket.close()

    def _received(self) -> bytes:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        return data

    def _flush(self) -> None:
        if self._tls is not None and (pending := self._tls.outgoing.read()):
            self._socket.sendall(pending)


class _Tls:
    """TLS without a socket: what the socket brings goes in, and what it has to carry away comes out."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        import ssl  # noqa: PLC0415  # slow to import, and only needed here

        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.connection = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self._more_is_needed = ssl.SSLWantReadError

    def shake_hands(self) -> bool:
        """Go on with the handshake as far as what came in allows; return whether it is over."""
        try:
            self.connection.do_handshake()
        except self._more_is_needed:
            return False
        return True

    def read(self) -> bytes:
        """Return what came in, in plain."""
        plain = b""
        while True:
            try:
                part = self.connection.read(_CHUNK)
            except self._more_is_needed:
                return plain
            if not part:
                raise ConnectionResetError("the server has ended TLS")
            plain += part


def _connect(server: Server, address: Address, timeout: float) -> _socket.socket:
    if server.unix_socket is not None:
        if sys.platform == "win32":
            raise OSError("this system has no Unix sockets")
        places: list[tuple[int, int, int, Any]] = [(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, str(server.unix_socket))]
    else:
        found = _socket.getaddrinfo(*address, 0, _socket.SOCK_STREAM)
        places = [(family, kind, number, place) for family, kind, number, _, place in found]
    failure: OSError = OSError("the host has no address")
    for family, kind, number, place in places:
        connection = _socket.socket(family, kind, number)
        try:
            connection.settimeout(timeout)
            connection.connect(place)
            if server.unix_socket is None:
                connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def _context(server: Server) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415  # slow to import, and only needed here

    context = ssl.create_default_context(cafile=server.tls_ca)
    if server.tls_cert is not None:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    return context


def _reader_class() -> Callable[[], Any]:
    """Return the protocol's parser, of whichever client library is installed; they are the same but for the name."""
    try:
        return import_module("hiredis").Reader  # type: ignore[no-any-return]  # a class of C
    except ImportError:
        return import_module("libvalkey").Reader  # type: ignore[no-any-return]  # likewise

"""Opening connections: what the settings say, in the words of the client libraries."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from openalgo_cache.errors import BackendMisconfiguredError
from openalgo_cache.settings.addresses import join_address

if TYPE_CHECKING:
    from ssl import SSLContext

    from openalgo_cache.backends.resp.driver import Connection, Driver
    from openalgo_cache.settings import Server


_NOT_UNDERSTOOD: Final = (AttributeError, LookupError, TypeError, ValueError)
"""What the libraries raise where a greeting is answered by something else than they take apart."""

_A_MOMENT: Final = 0.5


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_address(*self)


class Dialler:
    """Opens connections to the nodes of one server.

    Args:
        driver: The client library.
        server: Where it is and how to log in.
    """

    def __init__(self, driver: Driver, server: Server) -> None:
        self._driver = driver
        self._server = server
        self._tls: SSLContext | None = None

    def options(self, address: Address) -> tuple[str, dict[str, Any]]:
        """Return the class of the connection to a node, and its options; the asyncio clients take the same.

        Raises:
            BackendMisconfiguredError: Passwords and records would travel readable over the network without leave.
        """
        server = self._server
        options: dict[str, Any] = {"db": server.db, "username": server.username, "password": server.password}
        if server.unix_socket is not None:
            if not hasattr(socket, "AF_UNIX"):
                raise BackendMisconfiguredError("this system has no Unix sockets: name the server by host and port")
            return "UnixDomainSocketConnection", options | {"path": str(server.unix_socket)}
        options |= {"host": address.host, "port": address.port}
        if server.tls:
            certificates = {"ca_certs": server.tls_ca, "certfile": server.tls_cert, "keyfile": server.tls_key}
            options |= {f"ssl_{name}": str(path) for name, path in certificates.items() if path is not None}
            return "SSLConnection", options | {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        if server.is_exposed(address.host):
            variables = server.name.upper()
            raise BackendMisconfiguredError(
                f"{server.title} at {server.address} sends us to {address}, another machine, and without TLS "
                f"passwords and records would travel readable to it: set {variables}_TLS=true, or allow it with "
                f"{variables}_PLAINTEXT_HOSTS={address.host}"
            )
        return "Connection", options

    def open(self, address: Address, deadline: float, **options: Any) -> Connection:
        """Return an open connection; ``options`` win over those of the settings. Raise whatever the library raises."""
        kind, ours = self.options(address)
        tls = self._context() if kind == "SSLConnection" else None
        left = max(deadline - monotonic(), 0.001)
        timeouts = {"socket_timeout": left, "socket_connect_timeout": left}
        connection = self._driver.connection(kind, tls, **timeouts, **ours | options)
        with self._giving_up(connection):
            connection.connect()
        return connection

    def dial(self, address: Address, deadline: float) -> Connection:
        """Return an open connection to a node that has let us in and answered.

        Args:
            address: Where the node is.
            deadline: The moment of the monotonic clock at which to give up.

        Raises:
            BackendMisconfiguredError: As for options; or a certificate cannot be loaded.
            Exception: Whatever the library raises.
        """
        connection = self.open(address, deadline)
        with self._giving_up(connection):
            connection.send_packed_command(connection.pack_command("PING"))
            connection.read_response()
        limit(connection, self._server.operation_timeout)
        return connection

    @contextmanager
    def _giving_up(self, connection: Connection) -> Iterator[None]:
        """Close a connection whose greeting fails; what the library cannot make anything of is an invalid response."""
        try:
            yield
        except _NOT_UNDERSTOOD as error:
            connection.disconnect()
            raise self._driver.exceptions.InvalidResponse from error
        except BaseException:
            connection.disconnect()
            raise

    def meets_plain_text(self, error: Exception) -> bool:
        """Return whether TLS timed out because the server speaks none: it waits for the end of a line."""
        server = self._server
        if (
            not server.tls
            or server.sentinels is not None
            or not isinstance(error, self._driver.exceptions.TimeoutError)
        ):
            return False
        options = {"host": server.host, "port": server.port, "socket_timeout": _A_MOMENT}
        connection = self._driver.connection("Connection", None, **options)
        try:
            connection.connect()
            connection.send_packed_command(connection.pack_command("PING"))
            connection.read_response()
        except self._driver.exceptions.TimeoutError:
            return False
        except (self._driver.reply_error, self._driver.exceptions.AuthenticationError):
            return True  # it wants a password, and says so readably
        except self._driver.broken:
            return False
        finally:
            connection.disconnect()
        return True

    def _context(self) -> SSLContext:
        """Return the terms of TLS. Made once, since loading certificates would take its share of every opening."""
        if self._tls is None:
            import ssl  # noqa: PLC0415  # slow to import, and only needed where TLS is asked for

            server = self._server
            try:
                context = ssl.create_default_context(cafile=server.tls_ca)
                if server.tls_cert is not None:
                    context.load_cert_chain(server.tls_cert, server.tls_key)
            except (OSError, ValueError) as error:
                names = ", ".join(f"{server.name.upper()}_TLS_{part}" for part in ("CA", "CERT", "KEY"))
                raise BackendMisconfiguredError(f"one of {names} cannot be loaded: {error}") from error
            self._tls = context
        return self._tls


def limit(connection: Connection, seconds: float) -> None:
    """Let the connection's next steps take ``seconds`` at most each."""
    connection._sock.settimeout(max(seconds, 0.001))  # type: ignore[attr-defined]  # noqa: SLF001  # no other way is quick

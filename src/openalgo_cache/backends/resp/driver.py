"""A client library, of which only the connection is used: TLS, log-in, protocol.

redis-py and valkey-py, its fork, have the same names here. Pool, retries and cluster are our own, since theirs wait as
long as they see fit, and hold locks that eventlet and gevent have patched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from openalgo_cache.bridge import is_bridged

if TYPE_CHECKING:
    from ssl import SSLContext


class Connection(Protocol):
    """What is used of a library's connection."""

    pack_command: Callable[..., Any]
    pack_commands: Callable[[Sequence[Sequence[Any]]], Any]
    send_packed_command: Callable[[Any], None]
    read_response: Callable[[], Any]
    can_read: Callable[[], bool]
    connect: Callable[[], None]
    disconnect: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Driver:
    """A client library.

    Attributes:
        library: The package: ``redis`` or ``valkey``.
        options: What its connections are to be told besides, so that they say no more than they must.
    """

    library: ModuleType
    options: Mapping[str, Any] = field(hash=False, compare=False)

    @property
    def exceptions(self) -> ModuleType:
        """The module of its exceptions."""
        exceptions: ModuleType = self.library.exceptions
        return exceptions

    @property
    def reply_error(self) -> type[Exception]:
        """What it raises for a reply that is an error; the connection is as good as before."""
        error: type[Exception] = self.exceptions.ResponseError
        return error

    @property
    def broken(self) -> tuple[type[Exception], ...]:
        """What it raises where a connection is of no use any more."""
        exceptions = self.exceptions
        return exceptions.ConnectionError, exceptions.TimeoutError, exceptions.InvalidResponse, OSError

    def connection(self, kind: str, tls: SSLContext | None, **options: Any) -> Connection:
        """Return a new connection, of a class of the library, that is not open yet and never tries twice.

        Where the caller is bridged it waits on the running loop.

        Args:
            kind: The class's name.
            tls: The terms of TLS; the library would make its own for each connection.
            **options: Its arguments.
        """
        library = self.library
        cls = getattr(library, kind)
        if bridged := is_bridged():
            from openalgo_cache.backends.resp.onloop import on_loop  # noqa: PLC0415  # asyncio is there already

            cls = on_loop(cls)
        elif tls is not None:
            cls = type(kind, (cls,), {"_wrap_socket_with_ssl": _wrap(tls)})
        retry = library.retry.Retry(library.backoff.NoBackoff(), 0)
        connection: Connection = cls(retry=retry, protocol=2, **self.options, **options)
        if bridged:
            connection.tls = tls  # type: ignore[attr-defined]  # of those on a loop
        return connection


def _wrap(tls: SSLContext) -> Callable[[Any, Any], Any]:
    return lambda connection, socket: tls.wrap_socket(socket, server_hostname=connection.host)

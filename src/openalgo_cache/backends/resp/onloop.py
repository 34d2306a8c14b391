"""Connections on an asyncio loop: those of the client library, over a socket that waits on the loop.

So TLS, log-in, parsing and every error are those of plain callers. What runs here is bridged (see ``bridge.py``).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from openalgo_cache.backends.resp.pool import Pool
from openalgo_cache.bridge import wait
from openalgo_cache.locks import Forks
from openalgo_cache.workers import Workers

if TYPE_CHECKING:
    from ssl import SSLContext


_resolvers: Final = Workers(2)
"""Threads that ask for the addresses of names."""


class LoopSocket(asyncio.Protocol):
    """What a client library takes for its socket."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._forks = Forks.count
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._ended = False
        self._paused = False
        self._timeout: float | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- what the loop calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are like it

    def data_received(self, data: bytes) -> None:
        """Keep what came until it is asked for."""
        self._received += data
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        del error
        self._ended = True
        self._wake()

    def pause_writing(self) -> None:
        """Learn that the server does not take what is sent."""
        self._paused = True

    def resume_writing(self) -> None:
        """Learn that it does again."""
        self._paused = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            _settle(self._waiter)

    # --- what the client library calls -------------------------------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        """Let each of the next steps take that long at most."""
        self._timeout = seconds

    def sendall(self, data: bytes) -> None:
        """Send, as a socket does."""
        if not self._ended:
            self._transport.write(data)
            self._wait_until(lambda: not self._paused or self._ended)
        if self._ended:
            raise BrokenPipeError("the server has closed the connection")

    def recv_into(self, buffer: bytearray) -> int:
        """Receive, as a socket does."""
        received = self.recv(len(buffer))
        buffer[: len(received)] = received
        return len(received)

    def recv(self, most: int) -> bytes:
        """Receive, as a socket does."""
        self._wait_until(lambda: self._received or self._ended)
        received = bytes(self._received[:most])
        del self._received[:most]
        return received

    def has_come(self) -> bool:
        """Return whether something can be read, be it that the connection has ended."""
        return bool(self._received) or self._ended

    def shutdown(self, how: int) -> None:
        """Do nothing: closing is enough."""

    def close(self) -> None:
        """Close the connection, without waiting for anything; in a forked child only forget it."""
        if self._forks != Forks.count or self._loop.is_closed():  # our parent's loop would lose what is its own
            return
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            self._transport.abort()
        else:
            self._loop.call_soon_threadsafe(self._transport.abort)

    def _wait_until(self, holds: Callable[[], object]) -> None:
        if holds():
            return
        end = None if self._timeout is None else self._loop.time() + self._timeout
        while not holds():
            if end is not None and self._loop.time() >= end:
                raise TimeoutError("timed out")
            self._waiter = self._loop.create_future()
            timer = None if end is None else self._loop.call_at(end, _settle, self._waiter)
            try:
                wait(self._waiter)
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _OnLoop:
    """What a connection on a loop does differently from one of the library."""

    tls: SSLContext | None

    def _connect(self) -> LoopSocket:
        opened = wait(_open(self, self.tls))
        opened.settimeout(self.socket_timeout)  # type: ignore[attr-defined]  # the library's
        return opened

    def can_read(self) -> bool:
        """Return whether something has come, be it the end."""
        return self._sock.has_come()  # type: ignore[attr-defined, no-any-return]  # the library's


@cache
def on_loop(kind: type) -> Any:
    """Return a library's class of connections, for connections on the running loop; their ``tls`` is to be set."""
    return type(kind.__name__, (_OnLoop, kind), {})


async def _open(connection: Any, tls: SSLContext | None) -> LoopSocket:
    async with asyncio.timeout(connection.socket_connect_timeout):
        opened = await _connected(connection)
        try:
            loop, of_unix = asyncio.get_running_loop(), hasattr(connection, "path")
            make = loop.create_unix_connection if of_unix else loop.create_connection
            name = connection.host if tls is not None else None
            _, made = await make(LoopSocket, sock=opened, ssl=tls, server_hostname=name)
        except BaseException:
            opened.close()
            raise
    return made


async def _connected(connection: Any) -> socket.socket:
    """Return a socket that is connected as the library would have connected it."""
    failure: OSError = OSError("its name has no address")
    for family, address in await _addresses(connection):
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setblocking(False)
            if family != getattr(socket, "AF_UNIX", None):
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(opened, address)
        except OSError as error:
            opened.close()
            # asyncio puts an address into some messages; the errors' kinds are those of the system.
            failure = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise failure


async def _addresses(connection: Any) -> list[tuple[int, Any]]:
    if hasattr(connection, "path"):
        return [(socket.AF_UNIX, connection.path)]  # type: ignore[attr-defined, unused-ignore]  # not on Windows
    where = (connection.host, connection.port, 0, socket.SOCK_STREAM)
    try:
        found = socket.getaddrinfo(*where, 0, socket.AI_NUMERICHOST)  # asks nobody
    except socket.gaierror:
        found = await _resolvers.run(socket.getaddrinfo, *where)
    return [(family, address) for family, _, _, _, address in found]


class LoopPool(Pool):
    """The connections of one loop. Operations line up for them before their time begins.

    A loop can begin thousands of operations at once, and then works them off one by one: the last would be over time
    before it was begun, though the server answers at once.
    """

    __slots__ = ()

    def line_up(self, seconds: float) -> None:
        """Return when there is a connection to take.

        Raises:
            BackendUnavailableError: There was none for that long.
        """
        end = monotonic() + seconds
        waits = bool(self._waiting)  # behind those, or else whoever comes now could keep them waiting for good
        while waits or (not self._idle and self._made >= self._size):
            self._wait(end)
            waits = False

    def _wait(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        turn = _Turn(loop.create_future())
        timer = loop.call_later(self._left(deadline), turn.release)
        self._waiting.append(turn)
        try:
            wait(turn.come)
        except BaseException:
            if not self._leave(turn):  # it was ours, and is the next one's
                self.wake()
            raise
        finally:
            timer.cancel()
        self._leave(turn)


class _Turn:
    """Somebody in the line."""

    __slots__ = ("come",)

    def __init__(self, come: asyncio.Future[None]) -> None:
        self.come = come

    def release(self) -> None:
        """Let him go on."""
        _settle(self.come)

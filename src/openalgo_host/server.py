"""Serving the application: a socket, waitress, and an orderly end."""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING, Final

import waitress  # type: ignore[import-untyped]  # it brings no types

from openalgo_host.errors import StartError

if TYPE_CHECKING:
    from flask import Flask

_THREADS: Final = 48
"""Half of them for the streams of open pages."""
_LARGEST_BODY: Final = 1 << 18
"""Bytes. The application refuses less, with a proper answer; this bounds what is read before it is asked."""


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that has the address, and does not listen yet.

    Raises:
        StartError: The address is taken, or is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # "localhost" has two: the one that clients use by default is 127.0.0.1.
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        reserved = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform == "win32":
                reserved.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(address)
            reserved.listen(1)  # or two hosts could both have it
        except OSError:
            reserved.close()
            raise
    except OSError as error:
        raise StartError(_why(error, host, port)) from None
    return reserved


def address_of(reserved: socket.socket) -> str:
    """Return the URL under which a browser on this machine reaches the socket."""
    return local_url(*reserved.getsockname()[:2])


def local_url(host: str, port: int) -> str:
    """Return the URL under which this machine reaches what is served on an address."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104  # compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104  # likewise
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_local(reserved: socket.socket) -> bool:
    """Return whether only this machine reaches the socket."""
    host = str(reserved.getsockname()[0])
    return host == "::1" or host.startswith("127.")


def serve(app: Flask, reserved: socket.socket) -> None:
    """Serve until a KeyboardInterrupt arrives; requests under way get five seconds to end."""
    server = waitress.create_server(
        app,
        sockets=[reserved],
        threads=_THREADS,
        ident=None,
        max_request_body_size=_LARGEST_BODY,
        clear_untrusted_proxy_headers=False,  # the application decides whom to believe, and has to see them for that
    )
    try:
        server.run()
    finally:
        server.close()


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken, perhaps by a host that is running already. "
            f"Stop that, or choose another port: PORT={port + 1 if port < 65535 else 5000} make run (PORT=0 takes any)."
        )
    if error.errno == errno.EACCES:
        return f"This user may not use port {port}: choose one from 1024 up, for example PORT=5000."
    return f"HOST={host} is no address of this machine ({error.strerror}): 127.0.0.1 is for this machine alone."

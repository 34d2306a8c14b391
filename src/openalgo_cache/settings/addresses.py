"""Addresses of servers: hosts, lists of them, Sentinels, and URLs whose password never shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from openalgo_cache.settings.findings import HIDDEN
from openalgo_cache.settings.parsers import InvalidTextError, Parser

_HOST_NAME = r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?"
_ADDRESS6 = r"[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9_.-]{1,32})?"

_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
DEFAULT_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The parts of a URL such as ``rediss://user:password@host:6380/0``; a part that it lacks is None.

    Attributes:
        text: The URL as it was written, password included.
        scheme: ``redis``, ``valkey``, ``rediss``, ``valkeys`` or ``unix``.
        tls: Whether the scheme asks for TLS; None for a Unix socket.
        unix_socket: The socket's path, for the scheme ``unix``.
    """

    text: str = field(repr=False)
    scheme: str
    tls: bool | None
    host: str | None
    port: int | None
    db: int | None
    username: str | None
    password: str | None = field(repr=False)
    unix_socket: Path | None

    def __str__(self) -> str:
        """Return the URL without its password."""
        secret = f":{HIDDEN}" if self.password is not None else ""
        user = f"{self.username or ''}{secret}@" if self.username is not None or secret else ""
        if self.unix_socket is not None:
            return f"unix://{user}{self.unix_socket}" + (f"?db={self.db}" if self.db is not None else "")
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.scheme}://{user}{host}{port}" + (f"/{self.db}" if self.db is not None else "")


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The Sentinels to ask for the primary of a service, in the order of asking."""

    service: str
    addresses: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"{self.service}@" + ",".join(join_address(*address) for address in self.addresses)


def join_address(host: str, port: int) -> str:
    """Return ``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Say whether what is sent to ``host`` stays on this machine."""
    if host.lower() == "localhost":
        return True
    import ipaddress  # noqa: PLC0415  # slow to import, and not needed for the default

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_host(text: str) -> str:
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in host:
        if re.fullmatch(_ADDRESS6, host) and host.count(":") > 1:
            return host
        fix = "Write the host alone; the port goes into the variable for the port"
    elif re.fullmatch(_HOST_NAME, host):
        return host
    else:
        fix = "Write a name such as redis.internal, or an address"
    if "//" in host:
        fix = "Write the host alone; a URL goes into the variable for the URL"
    raise InvalidTextError("is not the name or address of a host", fix)


HOST = Parser("the name or address of a host", _check_host)

HOSTS = Parser(
    "hosts, separated by commas",
    lambda text: frozenset(_check_host(host.strip()).lower() for host in text.split(",") if host.strip()),
    lambda hosts: ",".join(sorted(hosts)),
)


def _parse_sentinels(text: str) -> Sentinels:
    service, found, rest = text.rpartition("@")
    service = service.strip() if found else "mymaster"
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", service) is None:
        raise InvalidTextError(
            "has a service name that Sentinel would refuse", "Write it as service@host:port,host:port"
        )
    addresses = []
    for part in rest.split(","):
        host, colon, port = part.strip().rpartition(":")
        if not colon or host.endswith(":") or (":" in host and not host.startswith("[")):
            host, port = part.strip(), str(DEFAULT_SENTINEL_PORT)
        addresses.append((_check_host(host), _check_port(port)))
    return Sentinels(service, tuple(addresses))


SENTINELS = Parser(
    f"service@host:port,host:port (without a service mymaster, without a port {DEFAULT_SENTINEL_PORT})",
    _parse_sentinels,
)


def _check_port(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    fix = "Write a port, such as 6379"
    if text.startswith(("tcp://", "udp://")):
        fix = (
            "Kubernetes sets this variable for a service of that name: set it yourself in the pod, "
            "or set enableServiceLinks to false"
        )
    raise InvalidTextError("is not a port from 1 to 65535", fix)


PORT = Parser("a port from 1 to 65535", _check_port)


def _parse_url(text: str) -> ServerUrl:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415  # slow to import, and only needed where a URL is set

    example = "Write redis://user:password@host:port/db, rediss:// for TLS, or unix:///path?db=0"
    if "#" in text or " " in text or not text.isprintable():
        raise InvalidTextError("has characters that must be percent-encoded in a URL (# is %23, / is %2F)", example)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidTextError("is not a URL", example) from None
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES and scheme != "unix":
        raise InvalidTextError("has a scheme that is not redis, rediss, valkey, valkeys or unix", example)
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            raise InvalidTextError("does not name a socket by its whole path", example)
        query = re.fullmatch(r"(?:db=([0-9]{1,5}))?", parts.query)
        database, socket = (query[1], Path(unquote(parts.path))) if query else (None, None)
    else:
        query = re.fullmatch("", parts.query)
        match = re.fullmatch(r"/?([0-9]{1,5})?", parts.path)
        if match is None:
            raise InvalidTextError("has a path that is not the number of a database", example)
        database, socket = match[1], None
        if not parts.hostname:
            raise InvalidTextError("names no host", example)
    if query is None:
        raise InvalidTextError("has options after its ?", "Set the options by their own variables; " + example)
    return ServerUrl(
        text=text,
        scheme=scheme,
        tls=_SCHEMES.get(scheme),
        host=_check_host(parts.hostname) if parts.hostname else None,
        port=port,
        db=int(database) if database is not None else None,
        username=username,
        password=password,
        unix_socket=socket,
    )


URL = Parser("redis:// or rediss:// (TLS) URL, or unix:///path?db=0", _parse_url, confidential=True)

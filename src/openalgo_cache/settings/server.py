"""How to reach a Redis or Valkey server: the URL, the variables and the fallbacks put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from openalgo_cache.settings.addresses import Sentinels, is_loopback, join_address

if TYPE_CHECKING:
    from pathlib import Path

    from openalgo_cache.settings.addresses import ServerUrl
    from openalgo_cache.settings.model import Settings

ServerName = Literal["redis", "valkey"]

SESSION: Final = "session"
"""The cache of the sessions, whose server SESSION_REDIS_URL may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server, or the entrance to several.

    Attributes:
        name: ``redis`` or ``valkey``; its variables begin with the same word in upper case.
        unix_socket: The socket to use in place of host and port.
        timeout: Seconds that connecting may take at start.
        operation_timeout: Seconds that one operation may take, retries included.
        configured: Whether somebody said more about it than the defaults do. A server on this machine that nobody spoke
            of is not ours if it asks for a password.
        for_sessions: Whether it is the one that SESSION_REDIS_URL names.
    """

    name: ServerName
    host: str
    port: int
    db: int
    username: str | None
    password: str | None = field(repr=False)
    tls: bool
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    unix_socket: Path | None
    cluster: bool
    sentinels: Sentinels | None
    pool_size: int
    timeout: float
    operation_timeout: float
    key_prefix: str
    plaintext_hosts: frozenset[str]
    configured: bool
    for_sessions: bool = False

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return self.name.title() + (" (SESSION_REDIS_URL)" if self.for_sessions else "")

    @property
    def address(self) -> str:
        """Where it is, for messages."""
        if self.unix_socket is not None:
            return str(self.unix_socket)
        return str(self.sentinels) if self.sentinels else join_address(self.host, self.port)

    def exposed_hosts(self) -> list[str]:
        """Return the hosts to which passwords and records would travel unencrypted without leave."""
        if self.tls or self.unix_socket is not None:
            return []
        hosts = [host for host, _ in self.sentinels.addresses] if self.sentinels else [self.host]
        return [host for host in hosts if self.is_exposed(host)]

    def is_exposed(self, host: str) -> bool:
        """Return whether ``host`` is another machine to which an unencrypted connection is not allowed."""
        return not self.tls and not is_loopback(host) and host.lower() not in self.plaintext_hosts


def preferred_server(settings: Settings) -> ServerName:
    """Return the server that is meant where CACHE_BACKEND does not say: Valkey if its own variables name one."""
    names_valkey = (settings.valkey_url, settings.valkey_host, settings.valkey_port, settings.valkey_sentinels)
    return "valkey" if any(value is not None for value in names_valkey) else "redis"


def resolve_server(settings: Settings, name: ServerName) -> Server:
    """Put the server's variables together: URL before variable; for Valkey then Redis's URL and variable."""
    parts = _parts(settings, "redis", {})
    if name == "valkey":
        parts = _parts(settings, "valkey", parts)
    if settings.for_sessions and name == settings.session_type and settings.session_redis_url is not None:
        parts = _of_sessions(parts, settings.session_redis_url)
        return Server(name=name, configured=True, for_sessions=True, **parts)
    configured = any(parts[part] != default for part, default in _UNCONFIGURED.items())
    return Server(name=name, configured=configured, **parts)


_PARTS = (
    "host",
    "port",
    "db",
    "username",
    "password",
    "tls",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "cluster",
    "sentinels",
    "pool_size",
    "timeout",
    "operation_timeout",
    "key_prefix",
    "plaintext_hosts",
)
_URL_PARTS = ("host", "port", "db", "username", "password", "tls", "unix_socket")
_UNCONFIGURED = {
    "host": "localhost",
    "port": 6379,
    "username": None,
    "password": None,
    "tls": False,
    "unix_socket": None,
    "cluster": False,
    "sentinels": None,
}


def _parts(settings: Settings, name: ServerName, fallback: dict[str, Any]) -> dict[str, Any]:
    parts = {"unix_socket": None, **fallback}
    for part in _PARTS:
        value = getattr(settings, f"{name}_{part}")
        if value is not None or part not in parts:
            parts[part] = value
            if part in {"host", "port"} and fallback:
                parts["unix_socket"] = None  # a host of its own, and not the other server's socket
    url: ServerUrl | None = getattr(settings, f"{name}_url")
    return parts if url is None else parts | _parts_of(url)


def _parts_of(url: ServerUrl) -> dict[str, Any]:
    parts = {part: value for part in _URL_PARTS if (value := getattr(url, part)) is not None}
    return parts if url.host is None else parts | {"unix_socket": None}


def _of_sessions(caches: dict[str, Any], url: ServerUrl) -> dict[str, Any]:
    """Return the server that a URL names for sessions; what it leaves out is as it is of the caches' server."""
    parts = caches | _parts_of(url)
    if any(parts[part] != caches[part] for part in ("host", "port", "unix_socket")) or caches["sentinels"] is not None:
        parts |= {"cluster": False, "sentinels": None}  # another server than that of the caches, and one alone
    if parts["unix_socket"] is not None:
        parts["tls"] = False
    if not parts["tls"]:  # those that are set are then for the caches' server
        parts |= {"tls_ca": None, "tls_cert": None, "tls_key": None}
    return parts

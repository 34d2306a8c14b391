"""What variables must say together: each rule looks at finished settings and yields what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openalgo_cache.settings.findings import HIDDEN, Finding
from openalgo_cache.settings.server import SESSION, preferred_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openalgo_cache.settings.model import Settings
    from openalgo_cache.settings.server import Server, ServerName

_SHARED = ("redis", "valkey")


def check_settings(settings: Settings) -> list[Finding]:
    """Return every contradiction in ``settings``, and what is allowed but doubtful."""
    rules = (_several_instances, _keys, _access, _sqlite, _sessions)
    findings = [finding for rule in rules for finding in rule(settings)]
    servers = _servers_in_use(settings)
    for server in servers:
        findings += _server(settings, server, speaks_tls=any(one.tls for one in servers))
    return list(dict.fromkeys(findings))


def _several_instances(settings: Settings) -> Iterator[Finding]:
    if not settings.multi_instance_mode:
        return
    if settings.cache_backend is not None and settings.cache_backend not in _SHARED:
        problem = "keeps the caches on this machine, but MULTI_INSTANCE_MODE=true shares them between several"
        yield Finding(
            "CACHE_BACKEND",
            settings.cache_backend,
            problem,
            "Set it to redis or valkey, or MULTI_INSTANCE_MODE to false",
        )
    if settings.instance_id is None:
        fix = "Give each instance a name of its own, such as instance-1"
        yield Finding("INSTANCE_ID", "", "is not set, but MULTI_INSTANCE_MODE=true needs it", fix)
    if settings.session_type not in _SHARED:
        problem = "keeps sessions on this machine, so that a user who reaches another instance is logged out"
        yield Finding("SESSION_TYPE", settings.session_type, problem, "Set it to redis or valkey", "warning")


def _access(settings: Settings) -> Iterator[Finding]:
    rules = settings.cache_access_rules
    if isinstance(rules, Path) and not rules.is_file():
        fix = "Correct the path, write catalogue for the catalogue's own rules, or remove it"
        yield Finding("CACHE_ACCESS_RULES", str(rules), "is not a file", fix)


def _keys(settings: Settings) -> Iterator[Finding]:
    if settings.cache_encryption_key is not None:
        if settings.cache_namespace is None:
            problem = "needs CACHE_NAMESPACE, which is not set: only a key ring brings a namespace along"
            yield Finding("CACHE_ENCRYPTION_KEY", HIDDEN, problem, "Set CACHE_NAMESPACE, such as openalgo-live")
        if settings.cache_key_file is not None:
            problem = "and CACHE_KEY_FILE are both set, and only one key can count"
            yield Finding("CACHE_ENCRYPTION_KEY", HIDDEN, problem, "Remove one of them")
    if not settings.cache_encryption_enabled:
        problem = "leaves broker tokens in the store readable; records are still signed"
        yield Finding("CACHE_ENCRYPTION_ENABLED", "false", problem, "Set it to true, except for a test", "warning")


def _sqlite(settings: Settings) -> Iterator[Finding]:
    path = settings.sqlite_cache_path
    if path.suffix in {".db", ".sqlite", ".sqlite3"}:
        problem = f"is what file names begin with, not a file: the first would be {path.name}_auth.db"
        yield Finding("SQLITE_CACHE_PATH", str(path), problem, "Write it without its ending", "warning")
    if settings.sqlite_file_encryption and not _can_encrypt_files():
        problem = "needs apsw-sqlite3mc in the place of apsw, which cannot encrypt files"
        fix = "Run 'pip uninstall --yes apsw', then 'pip install apsw-sqlite3mc'"
        yield Finding("SQLITE_FILE_ENCRYPTION", "true", problem, fix)


def _can_encrypt_files() -> bool:
    import apsw  # noqa: PLC0415  # takes time to load, and only who asks for encryption need wait for it

    return hasattr(apsw, "mc_version")


def _sessions(settings: Settings) -> Iterator[Finding]:
    url = settings.session_redis_url
    if url is not None and settings.session_type not in _SHARED:
        problem = f"is set, but SESSION_TYPE={settings.session_type} does not use it"
        yield Finding(
            "SESSION_REDIS_URL", str(url), problem, "Set SESSION_TYPE to redis or valkey, or remove it", "warning"
        )


def _servers_in_use(settings: Settings) -> list[Server]:
    """Return the servers that a connection may be made to; what is said about others does not matter."""
    used: set[ServerName] = set()
    if settings.cache_backend == "redis":
        used.add("redis")
    if settings.cache_backend == "valkey":
        used.add("valkey")
    if settings.cache_backend is None and (settings.cache_auto_configure or settings.multi_instance_mode):
        used.add(preferred_server(settings))
    servers = [settings.server(name) for name in sorted(used)]
    if settings.session_type in _SHARED:
        servers.append(settings.of_cache(SESSION).server("valkey" if settings.session_type == "valkey" else "redis"))
    return servers


def _server(settings: Settings, server: Server, *, speaks_tls: bool) -> Iterator[Finding]:
    prefix = server.name.upper()
    for host in server.exposed_hosts():
        problem = "is another machine, and without TLS passwords and records would travel readable to it"
        tls = "Write it as rediss://" if server.for_sessions else f"Set {prefix}_TLS=true"
        fix = f"{tls}, or allow it with {prefix}_PLAINTEXT_HOSTS={host}"
        if settings.cache_backend is None and not server.for_sessions:
            fix += ", or set CACHE_BACKEND=sqlite to use no server"
        yield Finding(_named_by(settings, server, prefix), host, problem, fix)
    if server.tls and server.unix_socket is not None:
        yield Finding(f"{prefix}_TLS", "true", "does not work over a Unix socket", f"Set {prefix}_TLS=false")
    certificates = {"CA": server.tls_ca, "CERT": server.tls_cert, "KEY": server.tls_key}
    for part, path in certificates.items():
        variable = f"{prefix}_TLS_{part}"
        if path is None:
            continue
        if not server.tls and not speaks_tls:
            yield Finding(variable, str(path), "is set, but TLS is off", f"Set {prefix}_TLS=true, or remove it")
        elif server.tls and not path.is_file():
            yield Finding(variable, str(path), "is not a file", "Correct the path")
    if (server.tls_cert is None) != (server.tls_key is None):
        missing, present = ("CERT", "KEY") if server.tls_cert is None else ("KEY", "CERT")
        problem = f"is not set, but {prefix}_TLS_{present} is: a certificate and its key belong together"
        yield Finding(f"{prefix}_TLS_{missing}", "", problem, "Set both or neither")
    yield from _cluster(settings, server, prefix)


def _cluster(settings: Settings, server: Server, prefix: str) -> Iterator[Finding]:
    if server.cluster and server.sentinels is not None:
        problem = f"and {prefix}_SENTINELS exclude each other"
        yield Finding(f"{prefix}_CLUSTER", "true", problem, "Remove one of them")
    if server.cluster and server.unix_socket is not None:
        problem = "and a Unix socket exclude each other: the nodes of a cluster are known by host and port"
        yield Finding(
            f"{prefix}_CLUSTER", "true", problem, f"Set {prefix}_HOST and {prefix}_PORT instead of the socket"
        )
    if server.cluster and server.db != 0 and server.for_sessions:
        problem = f"means database {server.db}, which does not exist in a cluster: it has database 0 alone"
        fix = "Write /0, or remove it: sessions are told from caches by their keys"
        yield Finding("SESSION_REDIS_URL", str(settings.session_redis_url), problem, fix)
    elif server.cluster and server.db != 0:
        yield Finding(
            f"{prefix}_DB", str(server.db), "does not exist in a cluster, which has database 0 alone", "Set it to 0"
        )


def _named_by(settings: Settings, server: Server, prefix: str) -> str:
    """Return the variable that names the server's host."""
    if server.for_sessions:
        return "SESSION_REDIS_URL"
    if server.sentinels is not None:
        return f"{prefix}_SENTINELS"
    url = settings.valkey_url if server.name == "valkey" else settings.redis_url
    return f"{prefix}_URL" if url is not None and url.host is not None else f"{prefix}_HOST"

"""Checks of the Redis or Valkey server: who gets in, what our user may do, what outlives a crash, what is evicted.

What our user may not ask is said to be unknown, which is how it should be: the administrator of the server knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from openalgo_cache.backends.resp.rights import COMMANDS, COMMANDS_OF_ANNOUNCERS, patterns
from openalgo_cache.cli.checks.finding import error, ok, warning
from openalgo_cache.cli.serverlook import Seen, look_at
from openalgo_cache.cli.session import Session
from openalgo_cache.cli.shapes.doctor import Check
from openalgo_cache.errors import CacheError
from openalgo_cache.settings import Server
from openalgo_cache.settings.server import SESSION

_GUIDE: Final = "docs/hardening.md has the lines"
_OLDEST: Final = (6, 2)
_APART: Final = 1.0
"""Seconds between two clocks that are worth a warning."""
_NEARLY_FULL: Final = 0.9
_EVERYBODY: Final = frozenset({"*", "0.0.0.0", "::", "-::*"})  # noqa: S104  # what is looked for


def check_server(session: Session) -> Iterator[Check]:
    """Look at the servers on which caches and sessions are kept."""
    try:
        choice = session.choice()
        used = {"": choice.meant or choice.backend, SESSION: session.settings.session_type}
        servers: dict[str, Server] = {}
        for cache, backend in used.items():
            if backend in {"redis", "valkey"}:
                server = session.settings.of_cache(cache).server("valkey" if backend == "valkey" else "redis")
                servers.setdefault(server.address, server)
        for server in servers.values():
            for seen in look_at(server):
                for judge in _JUDGES:
                    yield from judge(seen)
    except CacheError as problem:
        yield error("server", str(problem), "Do what the message says; then look again")


def version(seen: Seen) -> Iterator[Check]:
    """Say which version it is. Of security updates only its packager knows."""
    brand = "Valkey" if "valkey_version" in seen.info else "Redis"
    written = seen.info.get("valkey_version") or seen.info.get("redis_version")
    if written is None:
        yield ok("server", f"{seen.address} answers; its version cannot be told from here")
    elif tuple(int(part) for part in written.split(".")[:2] if part.isdecimal()) < _OLDEST:
        yield error("server", f"{seen.address} is {brand} {written}", "Upgrade it: 6.2 is the oldest that is tested")
    else:
        yield ok("server", f"{seen.address} is {brand} {written}; see to it that it gets its security updates")


def login(seen: Seen) -> Iterator[Check]:
    """Say who gets in."""
    if not seen.open_to_strangers:
        yield ok("server login", f"{seen.address} answers nobody who has not logged in")
        return
    who = "every program of this machine" if _keeps_to_itself(seen) else "whoever reaches it"
    say = warning if _keeps_to_itself(seen) else error
    yield say(
        "server login",
        f"{seen.address} lets {who} in without a password, who can read, change and delete everything",
        f"Give the caches a user, and set 'user default off': {_GUIDE}",
    )


def rights(seen: Seen) -> Iterator[Check]:
    """Say what our user may do that the caches do not need."""
    if seen.user is not None:
        commands = seen.user.get("commands", "").split()
        needed = {f"+{command}" for command in (*COMMANDS, *COMMANDS_OF_ANNOUNCERS)}
        more = [word for word in commands if word.startswith("+") and word not in needed]
        keys = seen.user.get("keys", "").split()
        foreign = [key for key in keys if _pattern(key) not in patterns(seen.server.key_prefix)]
        if more or foreign:
            yield warning(
                "server rights",
                f"our user at {seen.address} may do more than the caches need: {' '.join([*more, *foreign])}",
                f"Give it these rights alone: {_GUIDE}",
            )
            return
    elif seen.administers or seen.reads_others:
        what = "ask for the server's configuration" if seen.administers else "read keys that are not the caches'"
        yield warning(
            "server rights",
            f"our user at {seen.address} may {what}, which the caches do not need",
            f"Give it the rights of a cache alone: {_GUIDE}",
        )
        return
    yield ok("server rights", f"our user at {seen.address} may do what the caches need, with their keys alone")


def encryption(seen: Seen) -> Iterator[Check]:
    """Say whether the line is encrypted, and whether there is another one that is not."""
    if not seen.server.tls:
        if seen.local:
            yield ok("server encryption", f"the line to {seen.address} does not leave this machine")
            return
        yield warning(
            "server encryption",
            f"passwords and records travel readable to {seen.address}",
            f"Let the server speak TLS, and set {seen.server.name.upper()}_TLS=true: {_GUIDE}",
        )
        return
    port = (seen.config or {}).get("port") or seen.info.get("tcp_port", "0")
    if port not in {"0", seen.address.rpartition(":")[2]}:
        yield warning(
            "server encryption",
            f"{seen.address} speaks TLS, and on port {port} also without",
            "Set 'port 0' on the server",
        )
    else:
        yield ok("server encryption", f"the line to {seen.address} is encrypted")


def exposure(seen: Seen) -> Iterator[Check]:
    """Say whether the server shields itself."""
    if seen.config is None:
        yield _unknown("server exposure", seen, "'bind' and 'protected-mode'")
        return
    everywhere = _EVERYBODY & set(seen.config.get("bind", "").split() or {"*"})
    is_protected = seen.config.get("protected-mode") == "yes"
    if everywhere and not is_protected and seen.open_to_strangers:
        yield error(
            "server exposure",
            f"{seen.address} listens on all networks, without protected mode and without a password",
            "Set 'bind' to the address that the caches use, 'protected-mode yes', and a user: " + _GUIDE,
        )
    elif everywhere and not seen.server.tls:
        yield warning(
            "server exposure",
            f"{seen.address} listens on all networks, without TLS",
            "Set 'bind' to the address that the caches use",
        )
    else:
        yield ok("server exposure", f"{seen.address} listens where it should")


def persistence(seen: Seen) -> Iterator[Check]:
    """Say whether state outlives a crash of the server."""
    if "aof_enabled" not in seen.info:
        yield _unknown("server persistence", seen, "'appendonly' and 'appendfsync'")
        return
    failed = [name for name in ("aof_last_write_status", "aof_last_bgrewrite_status") if seen.info.get(name) == "err"]
    if failed:
        yield error("server persistence", f"{seen.address} cannot write to its disk", "Look into the server's log")
    elif seen.info["aof_enabled"] != "1":
        yield warning(
            "server persistence",
            f"{seen.address} forgets what was written last when it crashes, {_precious(seen)} included",
            "Set 'appendonly yes' and 'appendfsync always' on the server",
        )
    elif seen.server.for_sessions:
        yield ok("server persistence", f"{seen.address} has sessions on its disk within a second")
    elif seen.config is None:
        yield _unknown("server persistence", seen, "'appendfsync', which should be 'always'")
    elif seen.config.get("appendfsync") != "always":
        yield warning(
            "server persistence",
            f"{seen.address} acknowledges what is not on its disk yet: a second of state can be lost",
            "Set 'appendfsync always' on the server",
        )
    else:
        yield ok("server persistence", f"{seen.address} has on its disk what it acknowledges")


def memory(seen: Seen) -> Iterator[Check]:
    """Say what happens when the memory is full."""
    policy = seen.info.get("maxmemory_policy") or (seen.config or {}).get("maxmemory-policy")
    most = int(seen.info.get("maxmemory") or "0")
    if policy is None:
        yield _unknown("server memory", seen, "'maxmemory' and 'maxmemory-policy'")
    elif policy.startswith("allkeys-"):
        yield error(
            "server memory",
            f"{seen.address} evicts whatever is there when it is full ({policy}), {_precious(seen)} included",
            "Set 'maxmemory-policy volatile-lru' or 'noeviction' on the server",
        )
    elif most == 0:
        yield warning(
            "server memory",
            f"{seen.address} takes all the memory there is, until the system ends it",
            "Set 'maxmemory' on the server",
        )
    elif int(seen.info.get("used_memory") or "0") > _NEARLY_FULL * most:
        yield warning("server memory", f"{seen.address} is nearly full ({policy})", "Raise 'maxmemory' on the server")
    else:
        yield ok("server memory", f"{seen.address} has a bound, and keeps what has no lifetime ({policy})")


def clock(seen: Seen) -> Iterator[Check]:
    """Say whether its clock and ours agree: it stands for those of the other hosts, by which locks are judged."""
    if seen.ahead is None:
        yield _unknown("server clock", seen, "the time")
    elif abs(seen.ahead) > _APART:
        way = "ahead of" if seen.ahead > 0 else "behind"
        yield warning(
            "server clock",
            f"the clock of {seen.address} is {abs(seen.ahead):.1f} s {way} this machine's",
            "Let a time service (NTP) set the clocks of all machines: locks and expiries are judged by them",
        )
    else:
        yield ok("server clock", f"the clock of {seen.address} agrees with this machine's")


def replicas(seen: Seen) -> Iterator[Check]:
    """Say whether another node would take over, where that is asked for."""
    if seen.info.get("role") == "slave":
        yield error("server replicas", f"{seen.address} is a replica", "Name the primary, or its Sentinels")
    elif seen.server.cluster or seen.server.sentinels is not None:
        if seen.info.get("connected_slaves") == "0":
            yield warning(
                "server replicas",
                f"{seen.address} has no replica: what it acknowledges is lost with it",
                "Add a replica",
            )
        else:
            yield ok("server replicas", f"{seen.address} has a replica")
        if (seen.config or {}).get("cluster-require-full-coverage") == "yes" and seen.server.cluster:
            yield warning(
                "server replicas",
                f"all of the cluster stops when a part of it is lost ({seen.address})",
                "Set 'cluster-require-full-coverage no'",
            )


_JUDGES: Final[tuple[Callable[[Seen], Iterator[Check]], ...]] = (
    *(version, login, rights, encryption, exposure),
    *(persistence, memory, clock, replicas),
)


def _precious(seen: Seen) -> str:
    """Return what is missed most if it is lost."""
    return "sessions" if seen.server.for_sessions else "running strategies"


def _unknown(check: str, seen: Seen, what: str) -> Check:
    return ok(check, f"{what} of {seen.address} cannot be told with our rights: ask the server's administrator")


def _keeps_to_itself(seen: Seen) -> bool:
    """Return whether only programs of this machine reach the server, as far as we can tell."""
    if not seen.local:
        return False
    return seen.config is None or not _EVERYBODY & set(seen.config.get("bind", "").split() or {"*"})


def _pattern(written: str) -> str:
    """Return a pattern of keys as it is given; ACL GETUSER of Redis 6 leaves its mark out."""
    return written if written.startswith(("~", "%")) else f"~{written}"

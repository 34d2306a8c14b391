"""Where records lie: every cache file of the folder, and the servers that the settings name.

They are found by looking, not by the catalogue: an application has caches of its own, and of other namespaces under the
same key ring.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from openalgo_cache.backends import registry
from openalgo_cache.backends.base import CacheBackend, Request, SupportsScan
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.backends.sqlite.backup import Backups, IsIntact
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.manager import CacheManager
from openalgo_cache.rotation.cachefiles import cache_files
from openalgo_cache.settings.server import SESSION, Server, ServerName

_SERVERS: Final[tuple[ServerName, ...]] = ("redis", "valkey")
_HAS_NOTHING: Final = "memory"
_FILES: Final = "sqlite"


@dataclass(frozen=True, slots=True)
class Place:
    """A cache file, or a server.

    Attributes:
        title: What people know it by.
        backend: Lists and exchanges what lies there, whatever cache it belongs to.
        prefixes: What the stored keys of a server that are ours begin with.
        backups: The backups of a file that is the only copy of what it holds.
    """

    title: str
    backend: CacheBackend
    prefixes: tuple[str, ...] = ("",)
    backups: Backups | None = None

    def records(self) -> Iterator[tuple[str, bytes, float | None]]:
        """Yield the stored key, record and expiry of every live entry."""
        assert isinstance(self.backend, SupportsScan)  # noqa: S101  # for the type checker: both kinds can
        for prefix in self.prefixes:
            for stored, entry in self.backend.scan(prefix):
                yield stored, entry.payload, entry.expires_at


def places(manager: CacheManager, is_intact: IsIntact) -> Generator[Place]:
    """Yield the places of an installation, each open until the next one is asked for.

    Args:
        manager: Of the installation.
        is_intact: Tells whether a record is as it was written; decides what of a damaged file comes back.

    Raises:
        ConfigurationError: The caches are in a backend that cannot be searched for what lies in it.
        BackendMisconfiguredError: A server refuses us.
    """
    found = servers(manager)  # first: if one cannot be used, nothing is begun
    settings, clock = manager.settings, manager.ground().clock
    for path, cipher, durable in cache_files(manager):
        backend = SQLiteBackend(
            path,
            None,
            durable=durable,
            is_intact=is_intact,
            wal=settings.sqlite_wal_mode,
            cipher=cipher,
            clock=clock,
        )
        with closing(backend):
            backups = Backups(path, is_intact, cipher) if durable else None
            yield Place(path.name, backend, backups=backups)
    for server in found:
        with closing(_on_server(manager, server, is_intact)) as everything:
            prefixes = (f"{server.key_prefix}:", f"{server.key_prefix}@")
            yield Place(f"{server.title} at {server.address}", everything, prefixes)


def servers(manager: CacheManager) -> list[Server]:
    """Return the servers that may hold records, that of the sessions included; of two names of one server, one.

    Raises:
        ConfigurationError: The caches are in a backend that cannot be searched for what lies in it.
    """
    settings, choice = manager.settings, manager.choice()
    used = {choice.backend, choice.meant}
    unknown = {name for name in (choice.backend, choice.meant) if name not in {*_SERVERS, _FILES, _HAS_NOTHING, None}}
    if unknown:
        raise ConfigurationError(
            f"the caches are in the backend {unknown.pop()!r}, which cannot be searched for what an old key sealed: "
            "'keys add' and 'keys activate' work, and the old key has to stay in the ring"
        )
    available = registry.available()
    found: dict[tuple[object, ...], Server] = {}
    for name in _SERVERS:
        asked = [settings.server(name)] if name in used or settings.server(name).configured else []
        if name == settings.session_type:
            asked.append(settings.of_cache(SESSION).server(name))
        for server in asked if name in available else []:
            found.setdefault((server.address, server.db, server.key_prefix), server)
    return list(found.values())


def _on_server(manager: CacheManager, server: Server, is_intact: IsIntact) -> CacheBackend:
    ground = manager.ground(SESSION if server.for_sessions else "")
    return registry.load(server.name).create(
        Request(
            cache="",
            namespace=None,
            prefix=f"{server.key_prefix}:",
            maxsize=None,
            durable=True,  # some of it is state, and an exchange counts when a replica has it
            is_intact=is_intact,
            subkey=lambda purpose: ground.ring().now.subkey(purpose, b""),
            settings=ground.settings,
            clock=ground.clock,
        )
    )

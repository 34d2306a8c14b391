"""The other instances on the servers of an installation, as they tell which keys they hold."""

from __future__ import annotations

from openalgo_cache.keyholders import FRESH, Holder
from openalgo_cache.manager import CacheManager
from openalgo_cache.rotation.places import servers
from openalgo_cache.settings.server import SESSION


def instances(manager: CacheManager) -> list[Holder]:
    """Return what every process said lately that shares a server with us, ourselves included.

    Raises:
        BackendUnavailableError: A server cannot be asked.
        BackendMisconfiguredError: It refuses us.
    """
    now = manager.ground().clock()
    found: list[Holder] = []
    for server in servers(manager):
        holders = manager.census.holders(server.name, SESSION if server.for_sessions else "")
        if holders is not None:
            found += [one for one in holders.roll().holders if abs(now - one.seen_at) <= FRESH]
    return found


def lacking(holders: list[Holder], key_id: int) -> list[str]:
    """Return the names of the instances that do not hold a key."""
    return sorted({one.instance for one in holders if key_id not in one.keys})


def sealing_otherwise(holders: list[Holder], key_id: int) -> list[str]:
    """Return the names of the instances that seal with another key than this one."""
    return sorted({one.instance for one in holders if one.active != key_id})

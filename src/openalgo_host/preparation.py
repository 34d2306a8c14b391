"""What has to be there before a host serves: its stores, the symbol master, and the administrator."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openalgo_host.administrator import Show, ensure_administrator
from openalgo_host.errors import StartError
from openalgo_host.master import ensure_master

if TYPE_CHECKING:
    from openalgo_host.host import Host
    from openalgo_host.options import Options

_log = logging.getLogger("openalgo_host")


def prepare(host: Host, options: Options, show: Show) -> None:
    """Make what is missing. Several instances that do so at once make one administrator and one symbol master.

    Args:
        host: The host.
        options: What master contract to import.
        show: Gets the administrator's credentials, if there was none.

    Raises:
        StartError: The master contract cannot be imported.
        CacheError: A store cannot be used.
    """
    _open_stores(host)
    ensure_master(host, options.master)
    if ensure_administrator(host, show):
        _log.info("Created the administrator; the credentials are shown this once")


def require_prepared(host: Host) -> None:
    """Bring this instance's symbol master in step with the others', where somebody has prepared the whole.

    For processes whose output is a log, in which credentials have no place.

    Raises:
        StartError: Nobody has.
        CacheError: A store cannot be used.
    """
    _open_stores(host)
    with host.database.reading() as session:
        if host.users.is_empty(session):
            raise StartError(
                "Nothing is prepared yet: run 'openalgo-host --prepare' once, with the same variables; it makes the "
                "symbol master and the administrator, and shows the credentials."
            )
    ensure_master(host, None)


def _open_stores(host: Host) -> None:
    """Open what would be opened later, so that what is wrong with it shows now."""
    host.manager.choice()  # logs which backend keeps the caches
    host.sessions.cache.size()

"""The host under a WSGI server that forks, such as gunicorn: ``gunicorn 'openalgo_host.wsgi:make_app()'``.

The server loads the application in each of its worker processes, after the fork (gunicorn's ``preload_app`` has to stay
off): each is a host of its own, with its own connections, threads and leases.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from openalgo_cache import CacheError, configure_cache_environment
from openalgo_host import logs
from openalgo_host.application import create_app
from openalgo_host.errors import StartError
from openalgo_host.host import Host
from openalgo_host.options import Options
from openalgo_host.preparation import require_prepared
from openalgo_host.server import local_url
from openalgo_host.signals import before_stopping

if TYPE_CHECKING:
    from flask import Flask

_BOOT_FAILED: Final = 3
"""The exit code on which gunicorn stops, where it would start a worker again and again."""


def make_app() -> Flask:
    """Open a host in this process, and return its application. It is closed when the process exits.

    Raises:
        SystemExit: The host cannot start; stderr says why.
    """
    logs.configure()
    try:
        return _open()
    except (StartError, CacheError, OSError) as error:
        print(f"openalgo-host cannot start. {error}", file=sys.stderr, flush=True)  # noqa: T201  # for who starts it
        raise SystemExit(_BOOT_FAILED) from None


def _open() -> Flask:
    settings = configure_cache_environment()
    options = Options.from_environment(os.environ)
    host = Host.open(settings, time.time, options.database_url, options.rates)
    atexit.register(host.close)  # lets go of leases, so that another instance takes over at once
    require_prepared(host)
    app = create_app(host, options)
    # Strategies end while they can still save something; streams of open pages would not end by themselves.
    before_stopping(host.watch.end, host.strategies.supervisor.stop)
    host.start(local_url(options.host, options.port))  # as deploy/gunicorn.conf.py binds it
    return app

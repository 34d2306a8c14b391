"""What the command does, from its arguments to its exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Final

from openalgo_cache import CacheError, Settings, configure_cache_environment
from openalgo_host import logs
from openalgo_host.administrator import ensure_administrator, renew_credentials
from openalgo_host.application import create_app
from openalgo_host.errors import StartError
from openalgo_host.host import Host
from openalgo_host.options import Options
from openalgo_host.preparation import prepare, require_prepared
from openalgo_host.server import address_of, is_local, reserve, serve
from openalgo_host.signals import before_stopping, shielded_from_signals

_log = logging.getLogger("openalgo_host")

STOPPED: Final = 0
FAILED: Final = 1


def run(arguments: Sequence[str] | None) -> int:
    """Run the host until it is stopped.

    Args:
        arguments: The command's; None for those of the process.

    Returns:
        0 if it served and was stopped, 1 if it could not start.

    Raises:
        KeyboardInterrupt: It was stopped before it served.
    """
    choices = _parse(arguments)
    logs.configure()
    try:
        settings = configure_cache_environment()
        options = Options.from_environment(os.environ)
        if choices.new_credentials:
            _renew(settings, options)
        elif choices.prepare:
            _prepare(settings, options)
        elif choices.check:
            _check(settings, options)
        else:
            _serve(settings, options)
    except (StartError, CacheError, OSError) as error:
        print(f"openalgo-host cannot start. {error}", file=sys.stderr)  # noqa: T201  # for the person who starts it
        return FAILED
    return STOPPED


def _serve(settings: Settings, options: Options) -> None:
    reserved = reserve(options.host, options.port)  # first: nobody waits for an import to learn that the port is taken
    with reserved:
        _log.info("openalgo-host %s, data in %s", version("openalgo-cache"), settings.cache_folder)
        host = Host.open(settings, time.time, options.database_url, options.rates)
        try:
            prepare(host, options, _show)
            if not is_local(reserved):
                _log.warning(
                    "HOST=%s opens the host to the network, without TLS: put a TLS proxy before it", options.host
                )
            app = create_app(host, options)
            with shielded_from_signals():
                host.start(address_of(reserved))
                # Strategies end while they can still save something; streams of open pages would not end by themselves.
                before_stopping(host.watch.end, host.strategies.supervisor.stop)
            with suppress(KeyboardInterrupt):
                _show(f"Serving {address_of(reserved)} (Ctrl-C stops it)")
                serve(app, reserved)
            _log.info("Stopped")
        finally:
            host.close()


def _prepare(settings: Settings, options: Options) -> None:
    host = Host.open(settings, time.time, options.database_url)
    try:
        prepare(host, options, _show)
    finally:
        host.close()


def _check(settings: Settings, options: Options) -> None:
    host = Host.open(settings, time.time, options.database_url)
    try:
        require_prepared(host)
    finally:
        host.close()


def _renew(settings: Settings, options: Options) -> None:
    host = Host.open(settings, time.time, options.database_url)
    try:
        if not ensure_administrator(host, _show):
            renew_credentials(host, _show)
    finally:
        host.close()


def _show(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # to the person who starts it, and to no log


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="openalgo-host", description="Serve the host application.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--prepare",
        action="store_true",
        help="make the tables, the symbol master and the administrator where they are missing, and stop",
    )
    what.add_argument(
        "--check",
        action="store_true",
        help="find out whether an instance can start, which gets the symbol master from the others, and stop",
    )
    what.add_argument(
        "--new-credentials",
        action="store_true",
        help="give the administrator a new password and API key, show them, and stop; the old ones end",
    )
    return parser.parse_args(arguments)

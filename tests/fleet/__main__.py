"""``make fleet``: several instances of the host that act as one, to try out. Ctrl-C ends them all."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tests.fleet.balancer import find_nginx
from tests.fleet.fleet import Fleet, Programs, running, servers
from tests.fleet.leftovers import new_folder, sweep
from tests.servers.postgres import find_postgres
from tests.servers.process import HOST
from tests.servers.programs import Brand, find

_PORT: Final = 8080
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK: Final = 1.0
"""Seconds between two looks at who is still there."""


def main() -> int:
    """Run a fleet until Ctrl-C, SIGTERM or the end of the terminal."""
    choices = _parse()
    for number in _STOPPING:
        signal.signal(number, _interrupt)
    programs = _programs("valkey" if choices.valkey else "redis")
    if programs is None:
        return 1
    if sweep():
        _say("Ended what a fleet that was killed had left running")
    with socket.socket() as probe:
        if probe.connect_ex((HOST, choices.port)) == 0:
            return _complain(f"Port {choices.port} is taken: choose another one, make fleet ARGS='--port 8081'.")
    with suppress(KeyboardInterrupt), new_folder() as folder:
        _run(folder, programs, choices)
    return 0


def _run(folder: Path, programs: Programs, choices: argparse.Namespace) -> None:
    """Run the fleet until somebody interrupts."""
    _say(f"Starting {programs.store.path.name} and PostgreSQL")
    options = {"instances": choices.instances, "port": choices.port, "sticky": choices.sticky}
    with servers(folder, programs) as shared, running(folder, *shared, programs.nginx, **options, tell=_say) as fleet:
        _introduce(fleet)
        try:
            _look_after(fleet)
        except KeyboardInterrupt:
            _say("Stopping everything")


def _introduce(fleet: Fleet) -> None:
    name, password, api_key = fleet.credentials
    rows = [(one.name, f"http://{one.address}", one.pid, one.log) for one in fleet.instances]
    rows += [
        (fleet.store.program.brand, fleet.store.address, fleet.store.pid, fleet.store.folder / "server.log"),
        ("PostgreSQL", f"{HOST}:{fleet.postgres.port}", fleet.postgres.pid, fleet.folder / "postgres" / "server.log"),
        ("nginx", fleet.url, fleet.nginx.pid, fleet.folder / "nginx" / "openalgo.log"),
    ]
    _say("")
    for row in [("", "address", "process", "log"), *rows]:
        _say("{:<12} {:<24} {:>8}  {}".format(*row))
    _say(f"\nUser: {name}\nPassword: {password}\nAPI key: {api_key}\n")
    _say(f"Serving {fleet.url} by turns. Try: kill -9 -{fleet.instances[0].pid}, and go on.")
    _say("Ctrl-C stops everything, and removes what it kept.")


def _look_after(fleet: Fleet) -> NoReturn:
    """Say who has ended, until somebody interrupts."""
    there = list(fleet.instances)
    while True:
        threading.Event().wait(_LOOK)
        for one in [one for one in there if not one.is_running()]:
            there.remove(one)
            _say(f"{one.name} has ended; the others go on")


def _programs(brand: Brand) -> Programs | None:
    store, postgres, nginx = find(brand), find_postgres(), find_nginx()
    packages = {
        "redis": "redis-server" if brand == "redis" else "valkey-server",
        "postgres": "postgresql",
        "nginx": "nginx-light",
    }
    if store is not None and postgres is not None and nginx is not None:
        return Programs(store, postgres, nginx)
    found = dict(zip(packages, (store, postgres, nginx), strict=True))
    missing = [package for name, package in packages.items() if found[name] is None]
    _complain(f"A fleet needs what is not on this machine. On Debian and Ubuntu: apt install {' '.join(missing)}")
    return None


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Begin with the end, which nothing interrupts."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


def _complain(text: str) -> int:
    print(text, file=sys.stderr, flush=True)
    return 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fleet", description="Run several instances of the host, as one.")
    parser.add_argument("--instances", type=int, default=3, metavar="N", help="how many (3)")
    parser.add_argument("--port", type=int, default=_PORT, help=f"of the balancer ({_PORT})")
    parser.add_argument("--valkey", action="store_true", help="Valkey in the place of Redis")
    parser.add_argument("--sticky", action="store_true", help="a visitor stays with one instance")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

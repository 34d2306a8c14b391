"""Several instances that act as one: gunicorn, nginx, a Redis or Valkey, and a PostgreSQL, all real, on loopback."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from openalgo_cache import Settings, files
from openalgo_cache.codec.keyring import KeyRing
from openalgo_host.host import Host
from tests.fleet.balancer import Nginx
from tests.fleet.instance import Instance
from tests.servers.fixtures import LOGIN, users
from tests.servers.postgres import PostgresProcess
from tests.servers.process import HOST, ServerProcess, free_port
from tests.servers.programs import Program

_DURABLE: Final[dict[str, str | list[str]]] = {"appendonly": "yes", "appendfsync": "always"}
"""What docs/redis.md asks of a server that keeps state."""


class Programs(NamedTuple):
    """What a fleet consists of, besides Python: where the programs are."""

    store: Program
    postgres: Path
    nginx: Path


class Credentials(NamedTuple):
    """Those of the administrator."""

    name: str
    password: str
    api_key: str


@dataclass(frozen=True)
class Fleet:
    """Several instances of the host behind a balancer, as :func:`running` starts them.

    Attributes:
        folder: Where everything lies.
        store: The Redis or Valkey.
        postgres: The PostgreSQL.
        instances: The instances.
        nginx: The balancer.
        credentials: The administrator's.
        variables: Those that all instances have.
    """

    folder: Path
    store: ServerProcess
    postgres: PostgresProcess
    instances: list[Instance]
    nginx: Nginx
    credentials: Credentials = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """Where the balancer serves."""
        return f"http://{HOST}:{self.nginx.port}"

    def argon2(self) -> Counter[str]:
        """Return how often the instances have computed Argon2, and what for, if that is counted (spy/)."""
        calls = Path(self.variables["ARGON2_CALLS"])
        return Counter(line.split()[0] for line in calls.read_text(encoding="ascii").splitlines())

    @contextmanager
    def joined(self, name: str) -> Iterator[Host]:
        """Join with a host in this process, which does not serve.

        Args:
            name: Its INSTANCE_ID.
        """
        settings = Settings.from_environment({**self.variables, "INSTANCE_ID": name}, dotenv=None)
        settings = replace(settings, sqlite_cache_path=_new(self.folder, name) / "cache")
        host = Host.open(settings, time.time, self.variables["DATABASE_URL"])
        try:
            yield host
        finally:
            host.close()

    def start(self) -> None:
        """Start all instances at once, and return when they are ready."""
        for one in self.instances:
            one.start()
        for one in self.instances:
            one.wait_until_ready()

    def stop(self) -> None:
        """Stop all instances at once."""
        for one in self.instances:
            one.ask_to_stop()
        for one in self.instances:
            one.stop()


@contextmanager
def servers(folder: Path, programs: Programs) -> Iterator[tuple[ServerProcess, PostgresProcess]]:
    """Start what a fleet shares: a server for caches and sessions, which keeps what it acknowledged, and a database."""
    if os.geteuid() == 0:
        folder.chmod(0o711)  # PostgreSQL runs as somebody else
    store = ServerProcess(programs.store, _new(folder, "store"), _DURABLE, login=LOGIN, users=users())
    postgres = PostgresProcess(programs.postgres, _new(folder, "postgres"))
    with ExitStack() as stack:
        for server in (store, postgres):
            stack.callback(server.stop)
            server.start()
        yield store, postgres


@contextmanager
def running(
    folder: Path,
    store: ServerProcess,
    postgres: PostgresProcess,
    nginx_program: Path,
    *,
    instances: int = 3,
    port: int | None = None,
    sticky: bool = False,
    apart: bool = False,
    variables: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Fleet]:
    """Start instances and their balancer, and stop them in the end.

    Args:
        folder: Where each gets a folder.
        store: The Redis or Valkey that they share.
        postgres: The PostgreSQL that they share; they get a database of their own.
        nginx_program: What to run before them.
        instances: How many.
        port: Of the balancer; any that is free if left out.
        sticky: Whether the balancer sends a visitor to the same instance each time.
        apart: Whether each instance seems to be on a machine of its own, and leaves the others' processes alone.
        variables: More variables of all instances.
        tell: Told what is being done.
    """
    shared = _variables(store, postgres.new_database(), _make_ring(_new(folder, "keys"))) | dict(variables or {})
    names = [f"instance-{number}" for number in range(1, instances + 1)]
    members = [Instance(name, _new(folder, name), shared, f"{name}.example" if apart else None) for name in names]
    tell("Making the symbol master and the administrator")
    found = re.fullmatch(r"User: (\S+)\nPassword: (\S+)\nAPI key: (\S+)\n", members[0].prepare())
    assert found is not None
    addresses = [one.address for one in members]
    nginx = Nginx(nginx_program, _new(folder, "nginx"), port or free_port(), addresses, sticky=sticky)
    fleet = Fleet(folder, store, postgres, members, nginx, Credentials(*found.groups()), shared)
    with ExitStack() as stack:
        tell(f"Starting {instances} instances and nginx")
        stack.callback(fleet.stop)
        fleet.start()
        stack.callback(nginx.stop)
        nginx.start()
        yield fleet


def _variables(store: ServerProcess, database: str, ring: Path) -> dict[str, str]:
    found = {name: value for name, value in store.settings().items() if not name.endswith("_timeout")}  # as at work
    server = {name.upper(): str(value) for name, value in found.items()}
    return {
        **server,
        "CACHE_BACKEND": store.program.brand,
        "SESSION_TYPE": store.program.brand,
        "CACHE_KEY_FILE": str(ring),
        "CACHE_NAMESPACE": f"fleet-{secrets.token_hex(4)}",  # others may use the same server
        "MULTI_INSTANCE_MODE": "true",
        "DATABASE_URL": database,
        "PROXY_HOPS": "1",
    }


def _make_ring(folder: Path) -> Path:
    """Make the key ring that all instances share, as ``openalgo-cache keys create --output`` does."""
    ring = folder / "ring"
    files.write_private_new(ring, KeyRing.generate().to_json())
    return ring


def _new(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(mode=0o700)
    return made

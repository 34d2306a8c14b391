"""A server as a process of the test's own: started, stopped, killed, frozen, and started again where it was."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.certificates import Pair
from tests.servers.programs import Program

HOST: Final = "127.0.0.1"
DEADLINE: Final = 20.0
"""Seconds that anything here may take."""
_POLL: Final = 0.01
_PORTS: Final = range(15_000, 22_700)
_BUS: Final = 10_000
"""What the port has more on which the members of a cluster talk. Both are below those that the system gives to
connections: a restarted server finds its own free again."""
_MOST_WORKERS: Final = 10
"""Processes of one run that have ports of their own."""
_given: Final = deque[int](maxlen=100)
"""The ports that were returned last: whoever asked for them may not listen yet."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user of a server."""

    username: str | None
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The terms on which a server speaks TLS.

    Attributes:
        authority: The certificate of who vouches for it, and for its clients.
        server: Its own certificate.
        client: The certificate to show to it; None if it asks for none.
    """

    authority: Path
    server: Pair
    client: Pair | None = None


class ServerProcess:
    """One Redis or Valkey that listens on this machine alone, with a folder, a port and a Unix socket of its own.

    Args:
        program: What to run.
        folder: An empty folder. A long path is too long for a socket: then there is none.
        options: Lines of its configuration, by their names; nothing is saved to disk unless they say so. Of a list,
            each is a line.
        login: The user that tests log in as. Without a name its password becomes ``requirepass``.
        users: Lines of an access control list, which replace the default user.
        tls: The terms of TLS; then there is no port without it.
        sentinel: Whether to run it as a Sentinel.
    """

    def __init__(
        self,
        program: Program,
        folder: Path,
        options: Mapping[str, str | list[str]] | None = None,
        *,
        login: Login | None = None,
        users: Iterable[str] = (),
        tls: Tls | None = None,
        sentinel: bool = False,
    ) -> None:
        self.program = program
        self.folder = folder
        self.login = login
        self.tls = tls
        self.port = free_port()
        self.socket: Path | None = folder / "server.sock"
        if sentinel or len(str(self.socket)) > 100:
            self.socket = None
        self._options = dict(options or {})
        self._users = list(users)
        self._sentinel = sentinel
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._running().pid

    @property
    def address(self) -> str:
        """Where it listens, as messages say it."""
        return f"{HOST}:{self.port}"

    def start(self) -> Self:
        """Start it, and return when it answers."""
        configuration = self.folder / "server.conf"
        if not self._sentinel or not configuration.exists():  # a Sentinel writes down there what it learns
            configuration.touch(mode=0o600)
            configuration.write_text("".join(f"{line}\n" for line in self._lines()), encoding="utf-8")
        with (self.folder / "server.log").open("ab") as log:
            self._popen = subprocess.Popen(
                [self.program.path, configuration, *(["--sentinel"] if self._sentinel else [])],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for whoever started it, who stops it when nobody needs it any more
            )
        wait_until(self._answers, f"{self.program.path.name} at {self.address} to answer")
        return self

    def stop(self) -> None:
        """End it in good order; nothing happens if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power failure would."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Stop it, if it runs, and start it with the same port and folder."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freeze it: connections stay, and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._running().send_signal(signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        """Return a client that may do everything, for a test's own look; the caller closes it."""
        options = {"retry": Retry(NoBackoff(), 0), **self._administrator(), **options}
        if self.socket is not None:  # the administrator's way in, whatever the port asks for
            return redis.Redis(unix_socket_path=str(self.socket), **options)
        return redis.Redis(host=HOST, port=self.port, **options)

    def ask(self, *words: str | int) -> Any:
        """Send one command as the administrator and return the reply."""
        with self.client(socket_timeout=DEADLINE) as client:
            return client.execute_command(*words)

    def settings(self, name: str | None = None) -> dict[str, Any]:
        """Return what ``Settings`` needs to find it, and the patience of a machine that is busy with something else.

        A test that takes its server away from a cache says itself how long an operation may take then.

        Args:
            name: ``redis`` or ``valkey``: whose variables; those of its own brand if left out.
        """
        prefix = name or self.program.brand
        found: dict[str, Any] = {"host": "localhost" if self.tls else HOST, "port": self.port}
        found["operation_timeout"] = DEADLINE
        if self.login is not None:
            found |= {"username": self.login.username, "password": self.login.password}
        if self.tls is not None:
            found |= {"tls": True, "tls_ca": self.tls.authority}
            if self.tls.client is not None:
                found |= {"tls_cert": self.tls.client.certificate, "tls_key": self.tls.client.key}
        return {f"{prefix}_{part}": value for part, value in found.items()}

    def log(self) -> str:
        """Return what it logged."""
        return (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def _lines(self) -> Iterable[str]:
        yield f"bind {HOST}"
        yield f"dir {self.folder}"
        if self.tls is None:
            yield f"port {self.port}"
        else:
            yield from ("port 0", f"tls-port {self.port}", f"tls-ca-cert-file {self.tls.authority}")
            yield from (f"tls-cert-file {self.tls.server.certificate}", f"tls-key-file {self.tls.server.key}")
            yield f"tls-auth-clients {'yes' if self.tls.client else 'no'}"
        if not self._sentinel and "save" not in self._options:
            yield 'save ""'
        if self.socket is not None:
            yield from (f"unixsocket {self.socket}", "unixsocketperm 700")
        if self._users:
            yield f"user {_ADMINISTRATOR.username} on >{_ADMINISTRATOR.password} ~* &* +@all"
            yield "user default off"
            yield from self._users
        elif self.login is not None and not self._sentinel:
            yield f"requirepass {self.login.password}"
        for name, value in self._options.items():
            for one in value if isinstance(value, list) else [value]:
                yield f"{name} {one}"

    def _administrator(self) -> dict[str, Any]:
        login = _ADMINISTRATOR if self._users else self.login
        return {"username": login.username, "password": login.password} if login is not None else {}

    def _answers(self) -> bool:
        if self._running().poll() is not None:
            raise AssertionError(f"{self.program.path.name} ended at once:\n{self.log()[-2000:]}")
        try:
            return bool(self.ask("PING"))
        except redis.BusyLoadingError:
            return False
        except redis.ResponseError:  # it refuses us, so it answers
            return True
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._popen is not None, "the server was not started"
        return self._popen

    def _end(self, number: signal.Signals) -> None:
        popen, self._popen = self._popen, None
        if popen is None:
            return
        popen.send_signal(number)
        popen.send_signal(signal.SIGCONT)  # a frozen one would never look
        try:
            popen.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


_ADMINISTRATOR: Final = Login(username="administrator", password="of-the-tests-alone")


def free_port() -> int:
    """Return a port on which nobody listens, and which nobody else in this run is about to use."""
    nth = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = random.randrange(_PORTS.start + nth % _MOST_WORKERS, _PORTS.stop, _MOST_WORKERS)
        if port in _given:
            continue
        with socket.socket() as probe, socket.socket() as bus:
            try:
                probe.bind((HOST, port))
                bus.bind((HOST, port + _BUS))
            except OSError:
                continue
            _given.append(port)
            return port


def wait_until(holds: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Return as soon as ``holds`` returns something true; fail if that takes longer than ``deadline`` seconds.

    What we oversleep does not count: a machine that is busy with something else keeps others waiting just so.
    """
    end = time.monotonic() + deadline
    while not holds():
        if (now := time.monotonic()) > end:
            raise AssertionError(f"waited {deadline:g} s in vain for {what}")
        time.sleep(_POLL)
        end += time.monotonic() - now - _POLL

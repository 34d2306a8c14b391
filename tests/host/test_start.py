"""The command: what it shows and leaves behind when it starts, is stopped, is killed, and starts again."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from openalgo_host.errors import StartError
from openalgo_host.options import Options
from openalgo_host.server import address_of, is_local, reserve
from tests.host.every_call import call_all
from tests.host.pypi import client_of
from tests.host_stacks import Stack

DEADLINE = 60.0
"""Seconds for which a test waits for a line before it fails."""


class Running:
    """The host as a process of its own, in a folder of its own.

    Args:
        folder: Where it runs.
        arguments: The command's.
        variables: Of its environment, besides those of the tests.
    """

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        environment = {**os.environ, "PORT": "0", "CACHE_AUTO_CONFIGURE": "false", **variables}
        environment.pop("HOST", None)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "openalgo_host", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.shown: list[str] = []
        self.logged: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=pipe, daemon=True)
            for pipe in ((self.process.stdout, self.shown), (self.process.stderr, self.logged))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Iterator[str], lines: list[str]) -> None:
        for line in pipe:
            lines.append(line.rstrip("\n"))
            self._lines.put(lines[-1])
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line that fits, on either stream."""
        while (line := self._lines.get(timeout=DEADLINE)) is not None:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in {self.shown} {self.logged}")

    def wait_until_it_serves(self) -> int:
        """Return the port."""
        return int(self.wait_for(r"Serving http://127\.0\.0\.1:(\d+) ")[1])

    def stop(self, number: int | None = None) -> int:
        """Ask for the end, as a service manager does or with a signal, and return the exit code."""
        default = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
        self.process.send_signal(default if number is None else number)
        return self.end()

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.end()

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    def secret(self, label: str) -> str:
        """Return what was shown under a label."""
        (line,) = [line for line in self.shown if line.startswith(f"{label}: ")]
        return line.removeprefix(f"{label}: ")


Start = Callable[..., Running]


@pytest.fixture
def start(stack: Stack, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start hosts in the test's folder and on its stack; they are killed when the test ends, however it ends."""
    started: list[Running] = []
    compiled = tmp_path_factory.getbasetemp() / "compiled"  # or each start would compile Flask and SQLAlchemy again

    def run(*arguments: str, **variables: str) -> Running:
        usual = {"PYTHONPYCACHEPREFIX": str(compiled), **stack.variables()}
        started.append(Running(tmp_path, *arguments, **(usual | variables)))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.kill()


class Browser:
    """Keeps cookies, follows nothing.

    Args:
        port: Of the host.
        cookie: What it sends.
    """

    def __init__(self, port: int, cookie: str = "") -> None:
        self._port = port
        self.cookie = cookie
        self.attributes = ""

    def ask(self, method: str, path: str, fields: dict[str, str] | None = None, **more: str) -> tuple[int, str]:
        """Return status and body of an answer; ``more`` are headers, such as ``X_Forwarded_For``."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        headers = {"Cookie": self.cookie, "Content-Type": "application/x-www-form-urlencoded"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        connection.request(method, path, urlencode(fields) if fields else None, headers)
        answer = connection.getresponse()
        if given := answer.getheader("Set-Cookie"):
            self.cookie, _, self.attributes = given.partition(";")
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def log_in(self, password: str) -> None:
        """Log the administrator in."""
        token = re.search(r'name="token" value="([^"]+)"', self.ask("GET", "/login")[1])
        assert token is not None
        fields = {"name": "admin", "password": password, "token": token[1]}
        assert self.ask("POST", "/login", fields)[0] == 303


def test_from_an_empty_folder_to_a_restart(start: Start, contract: Path) -> None:
    """The first start makes everything; the second finds it, with the session of the first and nothing shown again."""
    first = start(OPENALGO_HOST_MASTER=str(contract))
    port = first.wait_until_it_serves()
    assert [line.split(":")[0] for line in first.shown[:3]] == ["User", "Password", "API key"]
    assert any("Importing symbols: 100 %" in line for line in first.logged)

    browser = Browser(port)
    browser.log_in(first.secret("Password"))
    assert "RELIANCE" in browser.ask("GET", "/symbols?q=RELIANCE")[1]

    address, key = f"http://127.0.0.1:{port}", first.secret("API key")
    with client_of(address, key) as client:
        assert client.symbol(symbol="M&M", exchange="NSE")["data"]["token"] == "2031"
        futures = client.search(query="NIFTY FUT", exchange="NFO")["data"]
        assert [one["symbol"] for one in futures] == ["NIFTY26MAR26FUT"]
        assert client.symbol(symbol="NOSUCH", exchange="NSE")["code"] == 404
    with client_of(address, "wrong") as stranger:
        assert stranger.symbol(symbol="M&M", exchange="NSE")["code"] == 403
    assert len(call_all(address, key)) == 26  # of the subset, each

    assert first.stop() == 0
    secrets = [first.secret("Password"), first.secret("API key"), browser.cookie.partition("=")[2]]
    assert not [line for line in first.logged if "Traceback" in line or any(secret in line for secret in secrets)]

    token = "0123456789abcdef-of-the-diagnostics"
    second = start(PROXY_HOPS="1", DIAGNOSTICS_TOKEN=token)
    port = second.wait_until_it_serves()
    assert len(second.shown) == 1
    assert not [line for line in second.logged if "First start" in line or "Importing" in line]
    assert Browser(port, browser.cookie).ask("GET", "/symbols/NSE/M%26M")[0] == 200
    with client_of(f"http://127.0.0.1:{port}", key) as client:
        assert client.symbol(symbol="M&M", exchange="NSE")["status"] == "success"
    visitor = Browser(port)
    assert json.loads(visitor.ask("GET", "/health", X_Forwarded_For="127.0.0.1")[1]) == {"status": "healthy"}
    assert json.loads(visitor.ask("GET", "/health", X_Forwarded_For="::1", Authorization=f"Bearer {token}")[1])[
        "uptime"
    ]
    visitor.ask("GET", "/login", X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https")
    assert "Secure" in visitor.attributes
    assert second.stop(None if sys.platform == "win32" else signal.SIGINT) == 0
    assert not [line for line in second.logged if "Traceback" in line or token in line]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes to look at")
def test_all_files_are_private(stack: Stack, start: Start, tmp_path: Path, contract: Path) -> None:
    """The folder is 0700, every file in it 0600."""
    one = start(OPENALGO_HOST_MASTER=str(contract))
    Browser(one.wait_until_it_serves()).log_in(one.secret("Password"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "db").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o700
    assert ("openalgo_host.db" in modes) == (not stack.database_url)


@pytest.mark.parametrize("moment", ["First start", "Importing symbols: 0 %", "User: "])
def test_killed_at_the_first_start(start: Start, contract: Path, moment: str) -> None:
    """The next start completes what is missing, and credentials that were shown and not stored are shown anew."""
    killed = start(OPENALGO_HOST_MASTER=str(contract))
    killed.wait_for(moment)
    killed.kill()
    second = start(OPENALGO_HOST_MASTER=str(contract))
    browser = Browser(second.wait_until_it_serves())
    shown = second if any(line.startswith("Password") for line in second.shown) else killed
    browser.log_in(shown.secret("Password"))
    assert "8</strong> instruments" in browser.ask("GET", "/symbols")[1]


def test_stopped_at_the_first_start(start: Start, contract: Path) -> None:
    """In the middle of the import: 130, no traceback; the next start goes on."""
    stopped = start(OPENALGO_HOST_MASTER=str(contract))
    stopped.wait_for("First start")
    assert stopped.stop() in {0, 130}  # 0 if it was quicker than the signal
    assert not [line for line in stopped.logged if "Traceback" in line], stopped.logged
    second = start(OPENALGO_HOST_MASTER=str(contract))
    second.wait_until_it_serves()


_STOPPED = """
import signal
from openalgo_host.signals import shielded_from_signals, stop_on_signals

class Dropped:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

stop_on_signals()
with shielded_from_signals():
    print("nobody asked")
if {in_a_destructor}:
    Dropped()
try:
    with shielded_from_signals():
        if not {in_a_destructor}:
            signal.raise_signal(signal.SIGTERM)
        print("went on")
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("in_a_destructor", [True, False])
def test_a_stop_at_a_bad_moment_is_remembered(*, in_a_destructor: bool) -> None:
    """While threads begin, or where Python drops what a handler raises: it counts as soon as that is over."""
    code = _STOPPED.format(in_a_destructor=in_a_destructor)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["nobody", "asked", "went", "on", "stopped"], "")


def test_new_credentials_are_shown_on_demand(start: Start, contract: Path) -> None:
    """While the host runs: the old password and key end at once."""
    one = start(OPENALGO_HOST_MASTER=str(contract))
    browser = Browser(one.wait_until_it_serves())
    browser.log_in(one.secret("Password"))
    other = start("--new-credentials")
    assert other.end() == 0
    assert browser.ask("GET", "/symbols")[0] == 302
    assert other.secret("API key") != one.secret("API key")
    Browser(browser._port).log_in(other.secret("Password"))


def test_a_port_that_is_taken(start: Start, tmp_path: Path) -> None:
    """The message names the port and what to do; nothing was made before it was found out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = start(PORT=str(port))
        assert one.end() == 1
    (line,) = one.logged
    assert f"Port {port} on 127.0.0.1 is taken" in line
    assert "PORT=" in line
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"PORT": "80O0"}, "PORT='80O0' is not a port"),
        ({"PORT": "65536"}, "PORT='65536' is not a port"),
        ({"PORT": "-1"}, "PORT='-1' is not a port"),
        ({"OPENALGO_HOST_MASTER": "/no/such/file.csv"}, "there is no such file"),
        ({"DIAGNOSTICS_TOKEN": "tooshort" * 3}, "DIAGNOSTICS_TOKEN must be at least 32 random letters"),
        ({"DIAGNOSTICS_TOKEN": "with a space " * 3}, "take one from python -c"),
        ({"DIAGNOSTICS_TOKEN": "ü" * 40}, "take one from python -c"),
        ({"PROXY_HOPS": "one"}, "PROXY_HOPS='one' is not how many trusted proxies"),
        ({"PROXY_HOPS": "10"}, "give 0 for none"),
        ({"PROXY_HOPS": "-1"}, "give 0 for none"),
    ],
)
def test_variables_that_cannot_be_used(variables: dict[str, str], message: str) -> None:
    """Each is named, with what to do."""
    with pytest.raises(StartError, match=re.escape(message)):
        Options.from_environment(variables)


def test_no_secret_in_what_cannot_be_used() -> None:
    """Neither the message nor the options show the token."""
    with pytest.raises(StartError) as refused:
        Options.from_environment({"DIAGNOSTICS_TOKEN": "tooshort"})
    assert "tooshort" not in str(refused.value)
    assert "x" * 32 not in repr(Options.from_environment({"DIAGNOSTICS_TOKEN": "x" * 32}))


def test_empty_variables_count_as_not_set() -> None:
    """As in the settings of the cache."""
    assert Options.from_environment({"HOST": "", "PORT": " ", "OPENALGO_HOST_MASTER": ""}) == Options()


def test_an_address_that_is_not_ours() -> None:
    """The message names HOST."""
    with pytest.raises(StartError, match="HOST=192\\.0\\.2\\.1 is no address of this machine"):
        reserve("192.0.2.1", 0)


def test_any_free_port() -> None:
    """PORT=0 is for machines where many run; the address says which port it is."""
    with reserve("localhost", 0) as one, reserve("0.0.0.0", 0) as other:  # noqa: S104  # what is tested
        assert address_of(one) == f"http://127.0.0.1:{one.getsockname()[1]}"
        assert is_local(one)
        assert address_of(other) == f"http://127.0.0.1:{other.getsockname()[1]}"
        assert not is_local(other)


def test_a_contract_with_bad_rows_is_named(start: Start, contract: Path) -> None:
    """The start fails with the row, and the next start with a mended file goes on."""
    good = contract.read_text(encoding="utf-8")
    contract.write_text(good.replace(",65,CE", ",sixty,CE"), encoding="utf-8")
    one = start(OPENALGO_HOST_MASTER=str(contract))
    assert one.end() == 1
    assert "row 7" in one.logged[-1]
    assert not [line for line in one.logged if "Traceback" in line]
    contract.write_text(good, encoding="utf-8")
    second = start(OPENALGO_HOST_MASTER=str(contract))
    second.wait_until_it_serves()


@pytest.mark.on_files("the database is a file")
def test_a_database_that_is_none(start: Start, tmp_path: Path) -> None:
    """The start fails with the file's name, and leaves the file as it is."""
    database = tmp_path / "db" / "openalgo_host.db"
    database.parent.mkdir(mode=0o700)
    database.write_bytes(b"something else, of somebody's" * 100)
    one = start()
    assert one.end() == 1
    assert str(database) in one.logged[-1]
    assert not [line for line in one.logged if "Traceback" in line]
    assert database.read_bytes() == b"something else, of somebody's" * 100


def test_sessions_on_a_backend_that_is_not_there(start: Start) -> None:
    """The start fails and names the variables, rather than every page later."""
    one = start(SESSION_TYPE="valkey", VALKEY_HOST="localhost", VALKEY_PORT="1")
    assert one.end() == 1
    assert "Valkey at localhost:1" in one.logged[-1]
    assert "VALKEY_PORT" in one.logged[-1]


def test_two_first_starts_at_once(start: Start, contract: Path) -> None:
    """Both serve, and there is one administrator."""
    both = [start(OPENALGO_HOST_MASTER=str(contract)) for _ in range(2)]
    ports = [one.wait_until_it_serves() for one in both]
    (password,) = [line for one in both for line in one.shown if line.startswith("Password: ")]
    for port in ports:
        Browser(port).log_in(password.removeprefix("Password: "))

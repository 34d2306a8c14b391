"""HAProxy with the file of ``deploy/haproxy``: who gets which request, and how often."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.host.haproxy import CONFIGURATION, HAProxy, require_haproxy
from tests.host.test_start import Browser, Start, start
from tests.servers.process import DEADLINE, HOST, free_port

pytestmark = pytest.mark.server
__all__ = ["start"]  # a fixture of that module

Balance = Callable[..., HAProxy]


@pytest.fixture(scope="session")
def haproxy() -> Path:
    """The balancer's program."""
    return require_haproxy()


@pytest.fixture
def balance(haproxy: Path, tmp_path: Path) -> Iterator[Balance]:
    """Start balancers before instances at these ports."""
    started: list[HAProxy] = []

    def run(*ports: int, sticky: bool = False) -> HAProxy:
        folder = tmp_path / f"haproxy-{len(started)}"
        folder.mkdir()
        started.append(HAProxy(haproxy, folder, *ports, sticky=sticky))
        return started[-1]

    yield run
    for one in started:
        one.stop()


class Instance:
    """What stands in for an instance where it matters what arrives: it is ready, and takes down every other request.

    Args:
        answers: Whether it answers those, or closes the connection in silence.
        port: Where; any that is free if left out.
    """

    def __init__(self, *, answers: bool = True, port: int = 0) -> None:
        self._answers = answers
        self._listener = socket.create_server((HOST, port))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        with contextlib.suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(65_536).decode()
                is_check = request.startswith("GET /readyz ")
                if not is_check:
                    self.requests.append(request)
                if is_check or self._answers:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture
def instance() -> Iterator[Callable[..., Instance]]:
    """Start instances."""
    started: list[Instance] = []

    def run(**options: Any) -> Instance:
        started.append(Instance(**options))
        return started[-1]

    yield run
    for one in started:
        one.close()


class Answer(NamedTuple):
    """What a visitor gets."""

    status: int
    cookie: str


def ask(balancer: HAProxy, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """Send one request; ``headers`` are such as ``X_Forwarded_For``."""
    connection = http.client.HTTPConnection(HOST, balancer.port, timeout=DEADLINE)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    connection.close()
    return Answer(answer.status, answer.getheader("Set-Cookie", ""))


def test_the_file_is_whole(haproxy: Path) -> None:
    """As it is, for whoever may open what it names."""
    if os.geteuid() != 0:
        pytest.skip("only root may look into the folder that HAProxy locks itself into")
    checked = subprocess.run([haproxy, "-c", "-f", CONFIGURATION], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


@pytest.mark.soak
@pytest.mark.slow
def test_a_host_dies_and_comes_back(start: Start, balance: Balance, contract: Path) -> None:
    """It gets nothing while it is away; a visitor who logged in before it died is logged in after."""
    ports = [free_port(), free_port()]
    variables = {"OPENALGO_HOST_MASTER": str(contract), "PROXY_HOPS": "1"}
    first = start(PORT=str(ports[0]), **variables)
    first.wait_until_it_serves()
    second = start(PORT=str(ports[1]), **variables)
    second.wait_until_it_serves()
    balancer = balance(*ports)
    browser = Browser(balancer.port)
    browser.log_in(first.secret("Password"))

    def look() -> set[str]:
        before = len(balancer.served("GET", "/symbols"))
        assert [browser.ask("GET", "/symbols")[0] for _ in range(4)] == [200] * 4
        balancer.wait_for(r"\] GET /symbols 200", before + 4)
        return set(balancer.served("GET", "/symbols")[before:])

    assert look() == {"one", "two"}
    first.kill()
    assert look() == {"two"}, "who is refused by one goes on to the other"
    balancer.wait_for("openalgo/one is DOWN")
    assert look() == {"two"}
    start(PORT=str(ports[0]), **variables).wait_until_it_serves()
    balancer.wait_for("openalgo/one is UP")
    assert look() == {"one", "two"}


@pytest.mark.parametrize("path", ["/api/v1/placeorder", "/login"])
def test_what_may_change_something_is_sent_once(instance: Callable[..., Instance], balance: Balance, path: str) -> None:
    """Even if the instance dies before it answers; nobody can know whether it was carried out."""
    dying = [instance(answers=False), instance(answers=False)]
    balancer = balance(*(one.port for one in dying))
    assert ask(balancer, "POST", path, b"{}").status == 502
    assert sum(len(one.requests) for one in dying) == 1


@pytest.mark.parametrize("method, path", [("GET", "/symbols"), ("POST", "/api/v1/quotes")])
def test_what_only_reads_goes_on_to_another(
    instance: Callable[..., Instance], balance: Balance, method: str, path: str
) -> None:
    """The visitor sees nothing of the instance that died."""
    dying, living = instance(answers=False), instance()
    balancer = balance(dying.port, living.port)
    assert [ask(balancer, method, path, b"{}" if method == "POST" else None).status for _ in range(2)] == [200, 200]
    assert dying.requests
    assert len(living.requests) == 2


def test_an_order_that_could_not_be_sent_goes_on_to_another(
    instance: Callable[..., Instance], balance: Balance
) -> None:
    """An instance that refuses the connection has not carried out anything."""
    gone, living = instance(), instance()
    balancer = balance(gone.port, living.port)
    assert ask(balancer, "GET", "/").status == 200  # it is up
    gone.close()
    assert [ask(balancer, "POST", "/api/v1/placeorder", b"{}").status for _ in range(3)] == [200] * 3
    assert len([one for one in living.requests if one.startswith("POST")]) == 3


def test_an_instance_that_dies_leaves_the_rotation(instance: Callable[..., Instance], balance: Balance) -> None:
    """Until it is ready again; then it gets its share."""
    one, two = instance(), instance()
    balancer = balance(one.port, two.port)
    one.close()
    balancer.wait_for("openalgo/one is DOWN")
    assert [ask(balancer, "GET", "/").status for _ in range(4)] == [200] * 4
    assert len(two.requests) == 4
    back = instance(port=one.port)
    balancer.wait_for("openalgo/one is UP")
    assert [ask(balancer, "GET", "/").status for _ in range(4)] == [200] * 4
    assert (len(back.requests), len(two.requests)) == (2, 6)


def test_who_the_visitor_is(instance: Callable[..., Instance], balance: Balance) -> None:
    """What is forwarded of it is the balancer's own word, whatever the visitor says."""
    only = instance()
    balancer = balance(only.port)
    said: dict[str, Any] = {
        "X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Prefix": "/evil", "X_Forwarded_Port": "1", "X_Real_IP": "192.0.2.1", "Forwarded": "for=192.0.2.1",
    }  # fmt: skip
    assert ask(balancer, "GET", "/symbols?q=a-secret", None, Host="desk.example", **said).status == 200
    (request,) = only.requests
    found = sorted(re.findall(r"^(?:x-|forwarded).*$", request, re.MULTILINE | re.IGNORECASE))
    assert [line.strip().lower() for line in found] == [
        "x-forwarded-for: 127.0.0.1", "x-forwarded-host: desk.example", "x-forwarded-proto: http",
    ]  # fmt: skip
    balancer.wait_for(r"\] GET /symbols 200")
    assert "a-secret" not in balancer.logged()


def test_what_no_instance_needs_to_see(instance: Callable[..., Instance], balance: Balance) -> None:
    """Too large a body, one instance's figures by any spelling, and a webhook's secret in the log."""
    only = instance()
    balancer = balance(only.port)
    assert ask(balancer, "POST", "/api/v1/placeorder", b"x" * 65_537).status == 413
    assert [ask(balancer, "GET", path).status for path in ("/metrics", "/%6Detrics?a=b")] == [404, 404]
    assert only.requests == []
    assert ask(balancer, "POST", "/strategy/webhook/a-secret", b"{}").status == 200
    balancer.wait_for(r"\] POST /strategy/webhook/\.\.\. 200")
    assert "a-secret" not in balancer.logged()


def test_a_visitor_who_stays_with_an_instance(instance: Callable[..., Instance], balance: Balance) -> None:
    """By a cookie of the balancer's own, which says nothing about the visitor, and as long as the instance is up."""
    one, two = instance(), instance()
    balancer = balance(one.port, two.port, sticky=True)
    given = ask(balancer, "GET", "/").cookie
    assert re.fullmatch(r"openalgo_instance=(one|two); path=/; HttpOnly; SameSite=Lax", given)
    cookie = given.partition(";")[0]
    for _ in range(3):
        assert ask(balancer, "GET", "/", Cookie=cookie) == Answer(200, "")
    stayed, other = (one, two) if one.requests else (two, one)
    assert (len(stayed.requests), len(other.requests)) == (4, 0)
    stayed.close()
    assert ask(balancer, "GET", "/", Cookie=cookie).status == 200
    assert len(other.requests) == 1

"""What balancers and people are told about an instance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from openalgo_cache import BackendUnavailableError, on_behalf_of
from openalgo_host.application import create_app
from openalgo_host.database import Database
from openalgo_host.host import Host
from openalgo_host.options import Options
from tests.host.conftest import Hands, LogIn
from tests.host_stacks import Stack

TOKEN = "the-token-of-the-diagnostics-in-tests"
ELSEWHERE: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}


def test_all_is_well(stack: Stack, client: FlaskClient, hands: Hands) -> None:
    """The proposal's keys, and no reason."""
    hands.turn(90)
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "healthy",
        "instance": "openalgo-default",
        "cache_backend": stack.backend,
        "uptime": 90.0,
    }
    assert client.get("/livez").json == {"status": "alive"}
    assert client.get("/readyz").json == {"status": "ready"}


def test_a_lost_cache_is_degraded(client: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Still 200: or the balancer would remove every instance at once."""

    def fail(_backend: object, _key: str) -> None:
        raise BackendUnavailableError("the disk is gone")

    monkeypatch.setattr(type(host.sessions.cache._opened().backend), "get", fail)
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["status"], answer.json["reason"]) == ("degraded", "cache")
    assert client.get("/readyz").status_code == 200


def test_a_lost_delete_is_degraded(client: FlaskClient, host: Host) -> None:
    """Somebody has to see to it, and nobody is told whose."""
    cache = host.manager.get_cache("api_keys_verified")
    lost = cache._opened().lost
    assert lost is not None
    lost.note(["openalgo:api_keys_verified:~someone"], 0.0)
    answer = client.get("/health")
    assert answer.json is not None
    assert (answer.status_code, answer.json["status"], answer.json["reason"]) == (200, "degraded", "deletes")
    with on_behalf_of("openalgo_host.api_keys"):
        cache.get("key")
    after = client.get("/health").json
    assert after is not None
    assert after["status"] == "healthy"


def test_no_symbols_are_degraded(client: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master that cannot be read."""
    monkeypatch.setattr(type(host.symbols), "count", lambda _self: 0)
    answer = client.get("/health")
    assert answer.json is not None
    assert (answer.status_code, answer.json["status"], answer.json["reason"]) == (200, "degraded", "symbols")


def test_a_lost_database_is_unhealthy(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be served without it: 503, and no detail of what is wrong."""

    def fail(_self: Database) -> None:
        raise OperationalError("SELECT secret", {}, Exception("/path/of/mine"))

    monkeypatch.setattr(Database, "check", fail)
    answer = client.get("/health")
    assert answer.json is not None
    assert (answer.status_code, answer.json["status"], answer.json["reason"]) == (503, "unhealthy", "database")
    assert client.get("/readyz").json == {"status": "not ready"}
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200


def test_nothing_is_written(client: FlaskClient, host: Host) -> None:
    """Everybody may ask, so asking must not fill anything."""
    for path in ("/health", "/livez", "/readyz"):
        assert "Set-Cookie" not in client.get(path).headers
    assert host.sessions.cache._opened().backend.size() == 0


STRANGERS: list[tuple[str, dict[str, str]]] = [
    ("192.0.2.7", {}),
    ("", {}),  # a socket that is no address
    ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),
    ("127.0.0.1", {"X-Forwarded-For": ""}),
    ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}),
    ("127.0.0.1", {"X-Real-IP": "127.0.0.1"}),
    ("127.0.0.1", {"Via": "1.1 proxy"}),
    ("127.0.0.1", {"Host": "evil.example"}),  # a name of theirs that they let lead here
    ("127.0.0.1", {"Host": "127.0.0.1.evil.example"}),
    ("127.0.0.1", {"Host": "localhost.evil.example:5000"}),
    ("127.0.0.1", {"Host": "[::1"}),
    ("127.0.0.1", {"Host": ""}),
    ("192.0.2.7", {"Authorization": "Bearer " + "wrong" * 10}),
    ("192.0.2.7", {"Authorization": "Bearer"}),
    ("192.0.2.7", {"Authorization": "Bearer é"}),
    ("192.0.2.7", {"Authorization": f"Basic {TOKEN}"}),
    ("192.0.2.7", {"Authorization": TOKEN}),
    ("192.0.2.7", {"Cookie": "openalgo_session=" + "A" * 43}),
]


@pytest.mark.parametrize("hops", [0, 1])
def test_a_stranger_learns_the_status_alone(host: Host, hops: int) -> None:
    """Whoever is not surely on this machine, and brings no token: balancers need no more."""
    visitor = create_app(host, Options(diagnostics_token=TOKEN, proxy_hops=hops)).test_client()
    for address, headers in STRANGERS:
        answer = visitor.get("/health", headers=headers, environ_base={"REMOTE_ADDR": address})
        assert (answer.status_code, answer.json) == (200, {"status": "healthy"}), (address, headers)


def test_a_stranger_learns_no_reason(
    client: FlaskClient, host: Host, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right status of HTTP, and not what is wrong; nor does a login count that cannot be looked up."""
    assert log_in().status_code == 303

    def fail(_self: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("/path/of/mine"))

    monkeypatch.setattr(Database, "check", fail)
    monkeypatch.setattr(Database, "reading", fail)
    answer = client.get("/health", **ELSEWHERE)
    assert (answer.status_code, answer.json) == (503, {"status": "unhealthy"})


def test_a_lost_store_of_sessions(
    client: FlaskClient, log_in: LogIn, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is logged in is a stranger meanwhile, and gets the answer of one: at once, and with no failure."""
    assert log_in().status_code == 303

    def fail(_backend: object, _key: str) -> None:
        raise BackendUnavailableError("the disk is gone")

    for verb in ("get", "look"):
        monkeypatch.setattr(type(host.sessions.cache._opened().backend), verb, fail)
    monkeypatch.setattr(host.sessions._patience, "read", None)
    answer = client.get("/health", **ELSEWHERE)
    assert (answer.status_code, answer.json) == (200, {"status": "degraded"})
    assert client.get("/metrics").status_code == 503


def test_a_look_prolongs_no_session(client: FlaskClient, log_in: LogIn, host: Host, hands: Hands) -> None:
    """A program that asks again and again must not keep somebody logged in who has left; and nothing is written."""
    client.application.permanent_session_lifetime = timedelta(hours=1)
    assert log_in().status_code == 303
    for path in ("/health", "/metrics", "/diagnostics/cache-state") * 3:
        hands.turn(15 * 60)
        client.get(path, **ELSEWHERE)
    assert client.get("/symbols").status_code == 302


@pytest.mark.parametrize("hops", [0, 1])
def test_whoever_is_on_this_machine_learns_more(host: Host, hops: int) -> None:
    """Without a token, by any name of this machine, and with a proxy that was not used."""
    visitor = create_app(host, Options(proxy_hops=hops)).test_client()
    ways = {
        "127.0.0.1": "127.0.0.1:5000", "127.8.8.8": "localhost", "::1": "[::1]:5000",
        "::ffff:127.0.0.1": "LOCALHOST:5000",
    }  # fmt: skip
    for address, name in ways.items():
        answer = visitor.get("/health", headers={"Host": name}, environ_base={"REMOTE_ADDR": address})
        assert answer.json is not None
        assert set(answer.json) == {"status", "instance", "cache_backend", "uptime"}


def test_the_token_and_a_login_show_more(stack: Stack, host: Host, client: FlaskClient, log_in: LogIn) -> None:
    """From anywhere; without DIAGNOSTICS_TOKEN no token is the right one."""
    prober = create_app(host, Options(diagnostics_token=TOKEN)).test_client()
    answer = prober.get("/health", headers={"Authorization": f"Bearer {TOKEN}"}, **ELSEWHERE)
    assert answer.json is not None
    assert answer.json["cache_backend"] == stack.backend
    for none in (TOKEN, ""):
        strangers = client.get("/health", headers={"Authorization": f"Bearer {none}"}, **ELSEWHERE)
        assert strangers.json == {"status": "healthy"}
    assert log_in().status_code == 303
    seen = client.get("/health", **ELSEWHERE).json
    assert seen is not None
    assert seen["cache_backend"] == stack.backend

"""What balancers and people are told about an instance."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from openalgo_cache import BackendUnavailableError, on_behalf_of
from openalgo_host.database import Database
from openalgo_host.host import Host
from tests.host.conftest import Hands


def test_all_is_well(client: FlaskClient, hands: Hands) -> None:
    """The proposal's keys, and no reason."""
    hands.turn(90)
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "healthy",
        "instance": "openalgo-default",
        "cache_backend": "sqlite",
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

"""What the host tells of its caches, whom, and what never."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from openalgo_cache import BackendUnavailableError, CacheManager, Settings, on_behalf_of
from openalgo_host.application import create_app
from openalgo_host.diagnostics import percent
from openalgo_host.host import Host
from openalgo_host.options import Options
from tests.host.conftest import Credentials, Hands, LogIn
from tests.host_stacks import Stack
from tests.servers.process import wait_until

TOKEN = "the-token-of-the-diagnostics-in-tests"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}
PATHS = ("/diagnostics/cache-state", "/metrics")


@pytest.fixture
def prober(host: Host) -> FlaskClient:
    """A program that asks; it has to bring the token."""
    return create_app(host, Options(diagnostics_token=TOKEN)).test_client()


def state(prober: FlaskClient) -> dict[str, Any]:
    """Return what the diagnostics say."""
    answer = prober.get("/diagnostics/cache-state", headers=WITH_TOKEN)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert isinstance(answer.json, dict)
    return answer.json


def samples(prober: FlaskClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what is there to scrape, by name and labels."""
    answer = prober.get("/metrics", headers=WITH_TOKEN)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_the_keys_of_the_proposal(
    stack: Stack, prober: FlaskClient, host: Host, hands: Hands, credentials: Credentials
) -> None:
    """All of its example, with its types; and hits and misses as they were."""
    hands.turn(60)
    for key in (credentials.api_key, credentials.api_key, credentials.api_key, "wrong"):
        host.api_keys.caller(key)
    for _ in range(2):
        host.symbols.by_symbol("RELIANCE", "NSE")
    seen = state(prober)
    assert (seen["backend"], seen["instance_id"], seen["uptime"]) == (stack.backend, "openalgo-default", 60.0)
    keys = seen["caches"]["api_keys_verified"]
    assert (keys["size"], keys["encrypted"], keys["hit_rate"]) == (1, True, "40%"), "a load looks twice"
    assert keys["avg_latency_ms"] > 0
    symbols = seen["caches"]["symbols"]
    assert (symbols["size"], symbols["hit_rate"], symbols["encrypted"]) == (8, "100%", False)
    assert symbols["avg_latency_ms"] > 0
    assert symbols["memory_mb"] > 0
    assert (symbols["status"], keys["status"], seen["status"]) == ("healthy", "healthy", "healthy")

    def memory() -> float:
        host.api_keys.caller(credentials.api_key)
        return float(state(prober)["caches"]["api_keys_verified"]["memory_mb"])

    # Nothing of a server's is kept near before that has agreed to say what changes.
    wait_until(lambda: memory() > 0, "a copy to be near")


@pytest.mark.parametrize(
    "rate, shown", [(0.985, "98.5%"), (1, "100%"), (0.99999, "99.9%"), (0, "0%"), (0.57, "57%"), (1 / 3, "33.3%")]
)
def test_rates_as_the_proposal_shows_them(rate: float, shown: str) -> None:
    """One decimal, where there is one; nothing is rounded up to all."""
    assert percent(rate) == shown


def test_the_names_of_the_proposal(stack: Stack, prober: FlaskClient, host: Host, credentials: Credentials) -> None:
    """Its three figures, and counters, as prometheus-client's own parser reads them."""
    for _ in range(4):
        host.api_keys.caller(credentials.api_key)
    host.symbols.by_symbol("RELIANCE", "NSE")
    seen, name = samples(prober), ("cache", "api_keys_verified")
    assert seen["cache_hit_rate", (("backend", stack.backend), name)] == pytest.approx(0.6)
    assert seen["cache_size_entries", (name,)] == 1
    assert seen["cache_latency_ms", (name, ("operation", "get"))] > 0
    assert seen["openalgo_cache_hits_total", (name,)] == 3
    assert seen["openalgo_cache_misses_total", (name,)] == 2
    assert seen["cache_size_entries", (("cache", "symbols"),)] == 8


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer " + "wrong" * 10},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer é"},
    ],
)
def test_strangers_get_nothing(prober: FlaskClient, path: str, headers: dict[str, str]) -> None:
    """Not even from this machine: JSON that says what to do, and how to bring the token."""
    answer = prober.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["status"] == "error"
    assert "DIAGNOSTICS_TOKEN" in answer.json["message"]
    assert answer.headers["WWW-Authenticate"].lower().startswith("bearer")
    assert TOKEN not in answer.text + str(answer.headers)


def test_a_login_is_enough(client: FlaskClient, log_in: LogIn) -> None:
    """Whoever is logged in needs no token; without DIAGNOSTICS_TOKEN no token is right."""
    for path in PATHS:
        assert client.get(path, headers=WITH_TOKEN).status_code == 401
        assert client.get(path, headers={"Authorization": "Bearer "}).status_code == 401
    assert log_in().status_code == 303
    for path in PATHS:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


def test_many_wrong_tokens_lock_nobody_out(prober: FlaskClient) -> None:
    """They cost next to nothing, and the right one still opens."""
    started = time.monotonic()
    for number in range(500):
        wrong = {"Authorization": f"Bearer {TOKEN[:-3]}{number:03}"}
        assert prober.get("/metrics", headers=wrong).status_code == 401
    assert time.monotonic() - started < 10
    assert prober.get("/metrics", headers=WITH_TOKEN).status_code == 200


def test_nothing_that_is_secret_is_told(
    prober: FlaskClient, host: Host, credentials: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    """Values, keys, passwords, tokens: planted, and looked for in all answers and in the log."""
    caplog.set_level(logging.DEBUG)
    planted = ["secret-value", "secret-key", "secret-session", "192.0.2.99"]
    with on_behalf_of("openalgo_host.broker"):
        host.manager.get_cache("auth").set("secret-key", "secret-value")
        assert host.manager.get_cache("auth").get("secret-key") == "secret-value"
        host.manager.get_cache("broker").get("secret-key")
    host.login_attempts.count("192.0.2.99")
    host.api_keys.caller(credentials.api_key)
    host.api_keys.caller("secret-key")
    prober.get("/metrics", headers={"Authorization": "Bearer secret-key" + "x" * 40})
    prober.get("/symbols", headers={"Cookie": "openalgo_session=secret-session"})
    ring = host.manager.ring()
    hidden = [*planted, credentials.api_key, credentials.password, TOKEN, ring.subkey("blind", b"auth").hex()]
    for path in (*PATHS, "/health", "/livez", "/readyz"):
        answer = prober.get(path, headers=WITH_TOKEN)
        assert answer.status_code == 200
        assert not [one for one in hidden if one in answer.text + str(answer.headers)]
    assert not [one for one in hidden if one in caplog.text]
    assert TOKEN not in repr(prober.application) + repr(vars(prober.application))
    assert state(prober)["key_ring"]["fingerprint"] == ring.fingerprint()


def test_a_store_that_is_away(prober: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both answer and say so: which caches, and no size in place of a wrong one."""
    state(prober)

    def fail(*_arguments: object) -> None:
        raise BackendUnavailableError("the disk is gone")

    backend = type(host.sessions.cache._opened().backend)
    for verb in ("get", "look", "size", "get_many"):
        monkeypatch.setattr(backend, verb, fail)
    host.manager.get_cache("api_keys_verified")._last_size.took = 0.0
    with on_behalf_of("openalgo_host.api_keys"):
        host.manager.get_cache("api_keys_verified").get("any")
    seen = state(prober)
    assert seen["status"] == "unavailable"
    assert seen["caches"]["api_keys_verified"]["status"] == "unavailable"
    assert seen["caches"]["api_keys_verified"]["size"] is None
    assert seen["caches"]["api_keys_verified"]["errors"] >= 1
    metrics = samples(prober)
    assert metrics["openalgo_cache_available", (("cache", "api_keys_verified"),)] == 0
    assert ("cache_size_entries", (("cache", "api_keys_verified"),)) not in metrics


@pytest.fixture
def without_server(contract: Any, tmp_path: Any, hands: Hands) -> Iterator[Host]:
    """A host whose caches are on a server that does not answer, and never did."""
    settings = Settings(
        base_folder=tmp_path, cache_backend="redis", redis_port=1, multi_instance_mode=True, instance_id="instance-1"
    )
    CacheManager(Settings(base_folder=tmp_path, cache_auto_configure=False)).ring()
    opened = Host.open(settings, hands)
    yield opened
    opened.close()


def test_a_server_that_never_answered(without_server: Host) -> None:
    """The diagnostics are what one looks at then."""
    prober = create_app(without_server, Options(diagnostics_token=TOKEN)).test_client()
    seen = state(prober)
    assert (seen["backend"], seen["instance_id"], seen["multi_instance"]) == ("redis", "instance-1", True)
    assert prober.get("/metrics", headers=WITH_TOKEN).status_code == 200

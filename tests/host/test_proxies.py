"""Who is behind a proxy: attempts, cookies and addresses, and what visitors make up."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from openalgo_host.application import create_app
from openalgo_host.host import Host
from openalgo_host.options import Options
from tests.host.conftest import Credentials, token_in


def through(host: Host, hops: int) -> FlaskClient:
    """Return a browser of a host that trusts so many proxies."""
    return create_app(host, Options(proxy_hops=hops)).test_client()


def try_to_log_in(client: FlaskClient, name: str, password: str, **headers: str) -> TestResponse:
    """Send the form of the login page, as a proxy at 10.0.0.1 passes it on."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    proxy = {"REMOTE_ADDR": "10.0.0.1"}
    page = client.get("/login", headers=sent, environ_base=proxy)
    fields = {"name": name, "password": password, "token": token_in(page)}
    return client.post("/login", data=fields, headers=sent, environ_base=proxy)


@pytest.mark.parametrize(
    "hops, chain", [(1, "{made_up}, {visitor}"), (2, "{made_up}, {visitor}, 10.0.0.2"), (1, "{visitor}")]
)
def test_attempts_are_counted_for_whom_the_proxy_names(
    host: Host, credentials: Credentials, hops: int, chain: str
) -> None:
    """By what the trusted proxies say, whatever a visitor said before; another visitor is not held up."""
    client = through(host, hops)
    for number in range(10):
        forwarded = chain.format(made_up=f"198.51.100.{number}", visitor="203.0.113.5")
        assert try_to_log_in(client, credentials.name, "wrong", X_Forwarded_For=forwarded).status_code == 403
    for visitor, status in (("203.0.113.5", 429), ("203.0.113.6", 303)):
        forwarded = chain.format(made_up="198.51.100.99", visitor=visitor)
        answer = try_to_log_in(client, credentials.name, credentials.password, X_Forwarded_For=forwarded)
        assert answer.status_code == status


def test_without_a_proxy_nobody_is_believed(host: Host, credentials: Credentials) -> None:
    """PROXY_HOPS=0: a visitor who makes up an address for each attempt is one visitor."""
    client = through(host, 0)
    for number in range(10):
        answer = try_to_log_in(client, credentials.name, "wrong", X_Forwarded_For=f"198.51.100.{number}")
        assert answer.status_code == 403
    answer = try_to_log_in(client, credentials.name, credentials.password, X_Forwarded_For="198.51.100.11")
    assert answer.status_code == 429


@pytest.mark.parametrize("hops, is_secure", [(0, False), (1, True)])
def test_cookies_are_secure_where_the_proxy_has_tls(
    host: Host, credentials: Credentials, hops: int, is_secure: bool
) -> None:
    """By the word of a trusted proxy, of the session as of the form."""
    client = through(host, hops)
    forwarded = {"X_Forwarded_For": "203.0.113.5", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "algo.example"}
    answer = try_to_log_in(client, credentials.name, credentials.password, **forwarded)
    assert answer.status_code == 303
    (session,) = [cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith("openalgo_session")]
    assert ("Secure" in session) is is_secure
    form = through(host, hops).get("/login", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.6"})
    assert ("Secure" in form.headers["Set-Cookie"]) is is_secure

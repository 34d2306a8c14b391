"""Logging in and out: forms, passwords, rates, and where one is led afterwards."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from openalgo_host.administrator import renew_credentials
from openalgo_host.database import Base
from openalgo_host.host import Host
from openalgo_host.users import User, Users
from tests.host.conftest import Credentials, Hands, LogIn, token_in


@pytest.mark.each_database
def test_the_right_password_opens_the_pages(client: FlaskClient, log_in: LogIn) -> None:
    """A login leads to the symbols; before it, every page leads to the login."""
    assert client.get("/symbols").headers["Location"] == "/login?next=/symbols"
    answer = log_in()
    assert (answer.status_code, answer.headers["Location"]) == (303, "/symbols")
    assert client.get("/symbols").status_code == 200


def test_a_login_over_a_login_gets_a_new_number(client: FlaskClient, credentials: Credentials, log_in: LogIn) -> None:
    """Whoever planted a session of his own in somebody's browser does not share what comes after (session fixation)."""
    log_in()
    planted = client.get_cookie("openalgo_session")
    assert planted is not None
    client.delete_cookie("openalgo_session")
    page = client.get("/login")
    client.set_cookie("openalgo_session", planted.value)
    fields = {"name": credentials.name, "password": credentials.password, "token": token_in(page)}
    assert client.post("/login", data=fields).status_code == 303
    now = client.get_cookie("openalgo_session")
    assert now is not None
    assert now.value != planted.value
    client.set_cookie("openalgo_session", planted.value)
    assert client.get("/symbols").headers["Location"].startswith("/login")


def test_one_returns_to_the_page_that_was_asked_for(client: FlaskClient, log_in: LogIn) -> None:
    """With its query."""
    onward = client.get("/symbols?q=M%26M&exchange=NSE").headers["Location"]
    page = client.get(onward)
    assert 'name="next" value="/symbols?q=M%26M&amp;exchange=NSE"' in page.text
    assert log_in(next="/symbols?q=M%26M&exchange=NSE").headers["Location"] == "/symbols?q=M%26M&exchange=NSE"


@pytest.mark.parametrize(
    "elsewhere", ["https://example.com/", "//example.com", "/\\example.com", "javascript:alert(1)", "/a\nb", "symbols"]
)
def test_nobody_is_led_elsewhere(log_in: LogIn, elsewhere: str) -> None:
    """What does not lead to a page of this host is forgotten."""
    assert log_in(next=elsewhere).headers["Location"] == "/symbols"


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"name": "nobody"}, {"name": "", "password": ""}])
def test_a_wrong_login_is_refused_without_saying_what_was_wrong(log_in: LogIn, changes: dict[str, str]) -> None:
    """Name or password: the page does not tell which."""
    answer = log_in(**changes)
    assert answer.status_code == 403
    assert "Name or password is wrong." in answer.text
    assert "openalgo_session" not in answer.headers.get("Set-Cookie", "")


def test_an_unknown_name_takes_as_long(host: Host, credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is verified once either way, so that the time does not tell which names there are."""
    verified: list[str] = []
    users = Users(host.database, host.manager)
    hasher = users._hasher

    class Counting:
        def hash(self, password: str) -> str:
            return hasher.hash(password)

        def verify(self, known: str, password: str) -> bool:
            verified.append(known.rpartition("$")[0].rpartition("$")[0])
            return hasher.verify(known, password)

    monkeypatch.setattr(users, "_hasher", Counting())
    assert users.authenticate(credentials.name, "wrong") is None
    assert users.authenticate("nobody", "wrong") is None
    assert len(verified) == 2
    assert verified[0] == verified[1], "the same cost"


def test_a_form_from_elsewhere_is_refused(client: FlaskClient, log_in: LogIn, credentials: Credentials) -> None:
    """Without the token of the visitor's own page nothing is tried, and nothing is counted."""
    fields = {"name": credentials.name, "password": credentials.password}
    assert client.post("/login", data=fields).status_code == 400
    other = client.application.test_client()
    foreign = token_in(other.get("/login"))
    client.get("/login")
    assert client.post("/login", data=fields | {"token": foreign}).status_code == 400
    assert log_in().status_code == 303


def test_two_tabs_can_both_log_in(client: FlaskClient, credentials: Credentials) -> None:
    """The form of the first tab still works after the second was opened."""
    first = token_in(client.get("/login"))
    client.get("/login")
    fields = {"name": credentials.name, "password": credentials.password, "token": first}
    assert client.post("/login", data=fields).status_code == 303


@pytest.mark.each_database
def test_attempts_are_limited_for_each_address(client: FlaskClient, log_in: LogIn, hands: Hands) -> None:
    """After ten wrong ones even the right password has to wait, as long as the answer says."""
    for _ in range(10):
        assert log_in(password="wrong").status_code == 403
    refused = log_in()
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 301
    hands.turn(int(refused.headers["Retry-After"]))
    assert log_in().status_code == 303


def test_what_stands_for_one_visitor(client: FlaskClient, log_in: LogIn) -> None:
    """A whole network of IPv6 is one, and has one count; an address of IPv4 is one also where it is written as IPv6."""

    def wrong(address: str) -> int:
        client.environ_base["REMOTE_ADDR"] = address
        return log_in(password="wrong").status_code

    for visitor, same, other in (
        ("2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1"),
        ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
    ):
        assert [wrong(visitor) for _ in range(11)] == [403] * 10 + [429]
        assert (wrong(same), wrong(other)) == (429, 403)


def test_a_login_clears_the_count(client: FlaskClient, log_in: LogIn) -> None:
    """Who knows the password is not held up by earlier slips."""
    for _ in range(2):
        for _ in range(9):
            assert log_in(password="wrong").status_code == 403
        assert log_in().status_code == 303
        client.post("/logout", data={"token": token_in(client.get("/symbols"))})


def test_a_logout_needs_its_form(user: FlaskClient) -> None:
    """Another site cannot log anybody out; the button can."""
    assert user.post("/logout").status_code == 400
    assert user.post("/logout", data={"token": "é"}).status_code == 400
    assert user.get("/logout").status_code == 405
    assert user.get("/symbols").status_code == 200
    done = user.post("/logout", data={"token": token_in(user.get("/symbols"))})
    assert (done.status_code, done.headers["Location"]) == (303, "/login")
    assert user.get("/symbols").status_code == 302


def test_the_login_page_knows_who_is_logged_in(user: FlaskClient) -> None:
    """It leads on to the symbols."""
    assert user.get("/login").headers["Location"] == "/symbols"


@pytest.mark.each_database
def test_new_credentials_end_the_old_ones(
    user: FlaskClient, log_in: LogIn, host: Host, credentials: Credentials
) -> None:
    """Sessions, password and API key of before are worth nothing any more."""
    assert host.api_keys.caller(credentials.api_key) is not None
    shown: list[str] = []
    renew_credentials(host, shown.append)
    found = re.fullmatch(r"User: admin\nPassword: (\S+)\nAPI key: (\S+)", shown[0])
    assert found is not None
    assert user.get("/symbols").status_code == 302
    assert host.api_keys.caller(credentials.api_key) is None
    assert host.api_keys.caller(found[2]) is not None
    assert log_in().status_code == 403
    assert log_in(password=found[1]).status_code == 303


@pytest.mark.each_database
def test_the_password_is_kept_as_a_hash(host: Host, credentials: Credentials) -> None:
    """Argon2id; neither the password nor the API key is in any table of the database."""
    with host.database.reading() as session:
        user = session.get(User, 1)
        assert user is not None
        assert user.password_hash.startswith("$argon2id$")
        stored = [str(row) for table in Base.metadata.sorted_tables for row in session.execute(table.select())]
    assert len(stored) >= 2
    assert not [row for row in stored if credentials.password in row or credentials.api_key in row]


@pytest.mark.each_database
def test_a_name_that_no_user_can_have(log_in: LogIn) -> None:
    """Long, odd and broken names are wrong names, nothing else."""
    for name in ("x" * 60_000, "a\x00b", "'; DROP TABLE users; --", "\U0001f600"):
        assert log_in(name=name).status_code == 403

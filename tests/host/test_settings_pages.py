"""Settings: the password, the API key and the mode."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from openalgo_host.api_keys import ApiKey
from openalgo_host.host import Host
from tests.host.conftest import Credentials, LogIn, token_in

NEW = "a better password"


def change(user: FlaskClient, present: str, new: str = NEW, again: str | None = None) -> TestResponse:
    """Send the form for a new password."""
    token = token_in(user.get("/settings"))
    fields = {"token": token, "present": present, "new": new, "again": new if again is None else again}
    return user.post("/settings/password", data=fields)


def test_a_new_password(app: Flask, user: FlaskClient, log_in: LogIn, credentials: Credentials) -> None:
    """It counts at once, this browser stays logged in under a new number, and all others are logged out."""
    other = app.test_client()
    before = user.get_cookie("openalgo_session")
    assert before is not None
    other.set_cookie("openalgo_session", before.value)
    assert other.get("/settings").status_code == 200
    done = change(user, credentials.password)
    assert (done.status_code, done.headers["Location"]) == (303, "/settings")
    assert "The password is changed." in user.get("/settings").text
    after = user.get_cookie("openalgo_session")
    assert after is not None
    assert after.value != before.value
    assert other.get("/settings").status_code == 302
    user.delete_cookie("openalgo_session")
    assert log_in().status_code == 403
    assert log_in(password=NEW).status_code == 303


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"present": "wrong"}, "This is not the present password."),
        ({"new": "short"}, "Too short: take 10 characters at least."),
        ({"new": "x" * 1001}, "Too long: take 1000 characters at most."),
        ({"again": "something else"}, "The two are not the same."),
    ],
)
def test_a_password_that_cannot_be_changed(
    user: FlaskClient, log_in: LogIn, credentials: Credentials, changes: dict[str, str], problem: str
) -> None:
    """The page says what is wrong, beside the field; nothing is changed."""
    refused = change(user, **{"present": credentials.password, **changes})
    assert refused.status_code == 422
    assert f'role="alert">{problem}</p>' in refused.text
    assert 'aria-invalid="true"' in refused.text
    user.delete_cookie("openalgo_session")
    assert log_in().status_code == 303


def test_the_present_password_cannot_be_guessed(user: FlaskClient, credentials: Credentials) -> None:
    """Who found an open browser has ten attempts in five minutes."""
    for _ in range(10):
        assert change(user, "wrong").status_code == 422
    refused = change(user, credentials.password)
    assert refused.status_code == 429
    assert "Too many attempts." in refused.text


def test_the_key_is_shown_on_demand(user: FlaskClient, credentials: Credentials, host: Host) -> None:
    """In the answer to its form only."""
    assert credentials.api_key not in user.get("/settings").text
    shown = user.post("/settings/api-key", data={"token": token_in(user.get("/settings"))})
    assert credentials.api_key in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert credentials.api_key not in user.get("/settings").text
    with host.database.writing() as session:
        host.api_keys.remove(session, 1)
    gone = user.post("/settings/api-key", data={"token": token_in(user.get("/settings"))})
    assert gone.status_code == 404
    assert "There is no key: make one." in gone.text


def test_a_new_key_ends_the_old_one(user: FlaskClient, credentials: Credentials, host: Host) -> None:
    """On every instance, at once."""
    assert host.api_keys.caller(credentials.api_key) is not None
    token = token_in(user.get("/settings/api-key/renew"))
    shown = user.post("/settings/api-key/renew", data={"token": token}).text
    key = host.api_keys.shown(1)
    assert key is not None
    assert key in shown
    assert host.api_keys.caller(credentials.api_key) is None
    assert host.api_keys.caller(key) is not None


def test_a_key_that_another_ring_sealed(user: FlaskClient, host: Host) -> None:
    """It cannot be shown, but replaced."""
    with host.database.writing() as session:
        session.execute(update(ApiKey).values(sealed=b"x" * 40))
    page = user.post("/settings/api-key", data={"token": token_in(user.get("/settings"))})
    assert page.status_code == 503
    assert "make a new one" in page.text


def test_the_mode(user: FlaskClient, host: Host) -> None:
    """To live after a warning, and back; every page says which it is."""
    assert "Analyze<span" in user.get("/symbols").text
    question = user.get("/settings/mode")
    assert "trades with real money" in question.text
    user.post("/settings/mode", data={"token": token_in(question), "mode": "live"})
    assert not host.modes.analyses()
    assert "The mode is live now" in user.get("/settings").text
    assert "Live<span" in user.get("/symbols").text
    question = user.get("/settings/mode")
    assert "Switch to analyze" in question.text
    user.post("/settings/mode", data={"token": token_in(question), "mode": "analyze"})
    assert host.modes.analyses()


@pytest.mark.parametrize("path", ["password", "api-key", "api-key/renew", "mode"])
def test_forms_need_their_token(user: FlaskClient, host: Host, credentials: Credentials, path: str) -> None:
    """Another site can change nothing here, nor see anything."""
    fields = {"present": credentials.password, "new": NEW, "again": NEW, "mode": "live"}
    refused = user.post(f"/settings/{path}", data=fields)
    assert refused.status_code == 400
    assert credentials.api_key not in refused.text
    assert host.modes.analyses()
    assert host.users.authenticate(credentials.name, credentials.password) is not None
    assert host.api_keys.caller(credentials.api_key) is not None

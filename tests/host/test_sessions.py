"""Flask sessions on a cache: what the cookie and the store hold, who may use them, and requests that collide."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask
from flask.testing import FlaskClient

from openalgo_cache import BackendUnavailableError, CacheManager, Settings, UnsupportedValueError
from openalgo_cache.integrations.cached_session import CachedSession
from openalgo_cache.integrations.sessions import CacheSessions, renew_session
from tests.host.conftest import Hands


@pytest.fixture
def sessions(settings: Settings, hands: Hands) -> Iterator[CacheSessions]:
    """Sessions in an empty folder."""
    manager = CacheManager(settings, hands)
    yield CacheSessions(manager=manager, clock=hands)
    manager.close()


@pytest.fixture
def app(sessions: CacheSessions) -> Flask:
    """An application that puts what it is sent into its session, and returns what is there."""
    app = Flask("shop")
    app.testing = True
    sessions.init_app(app)

    @app.get("/untouched")
    def untouched() -> str:
        return "nothing"

    @app.get("/")
    def show() -> str:
        return repr(dict(sorted(flask.session.items())))

    @app.get("/set/<name>/<value>")
    def put(name: str, value: str) -> str:
        flask.session[name] = value
        return "set"

    @app.get("/nested/<value>")
    def nest(value: str) -> str:
        flask.session.setdefault("basket", {"items": []})["items"].append(value)
        return "appended"

    @app.get("/login")
    def log_in() -> str:
        renew_session()
        flask.session["user"] = 7
        return "in"

    @app.get("/logout")
    def log_out() -> str:
        flask.session.clear()
        return "out"

    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser."""
    return app.test_client()


@contextmanager
def request_with(app: Flask, cookie: str) -> Iterator[tuple[CachedSession, flask.Response]]:
    """A request under way: its session, and the response that it is answered with when the block ends."""
    with app.test_request_context(headers={"Cookie": f"session={cookie}"}) as context:
        session, response = context.session, app.response_class("done")
        assert isinstance(session, CachedSession)
        yield session, response
        app.session_interface.save_session(app, session, response)


def cookie_of(client: FlaskClient) -> str:
    """Return the number in the browser's cookie."""
    cookie = client.get_cookie("session")
    assert cookie is not None
    return cookie.value


def test_a_session_keeps_what_was_put_in(client: FlaskClient) -> None:
    """The next request of the same visitor finds it; another visitor does not."""
    client.get("/set/colour/blue")
    assert client.get("/").text == "{'colour': 'blue'}"
    assert client.application.test_client().get("/").text == "{}"


def test_values_come_back_as_they_were(app: Flask, client: FlaskClient) -> None:
    """Types survive, also those that JSON does not have."""
    kept: dict[str, Any] = {
        "tuple": (1, True, None),
        "set": {1, 2, 3},
        "when": datetime(2026, 3, 2, 8, 30, tzinfo=UTC),
        "price": Decimal("10.50"),
        "bytes": b"\x00\xff",
        "by number": {1: "one"},
    }
    with client.session_transaction() as session:
        session.update(kept)
    with client.session_transaction() as session:
        assert dict(session) == kept
        assert type(session["tuple"]) is tuple
        assert session["tuple"][1] is True


def test_the_cookie_holds_only_a_random_number(client: FlaskClient) -> None:
    """256 bits, out of reach for scripts and for other sites' forms; Secure where there is TLS."""
    plain = client.get("/set/secret/broker-token").headers["Set-Cookie"]
    value, attributes = plain.split("; ")[0], set(plain.split("; ")[1:])
    assert len(value.removeprefix("session=")) == 43
    assert attributes == {"HttpOnly", "Path=/", "SameSite=Lax"}
    over_tls = client.application.test_client().get("/set/a/b", base_url="https://localhost").headers["Set-Cookie"]
    assert "Secure" in over_tls.split("; ")


def test_the_store_tells_nothing(client: FlaskClient, tmp_path: Path) -> None:
    """Neither the number in the cookie nor what the session holds can be read from the files."""
    client.get("/set/secret/broker-token-4711")
    stored = b"".join(file.read_bytes() for file in (tmp_path / "db").iterdir() if file.is_file())
    assert b"broker-token-4711" not in stored
    assert cookie_of(client).encode() not in stored


def test_a_visitor_without_a_session_leaves_no_trace(client: FlaskClient, sessions: CacheSessions) -> None:
    """Reading an empty session, or emptying it, makes neither a row nor a cookie."""
    for path in ("/", "/untouched", "/logout"):
        assert "Set-Cookie" not in client.get(path).headers
    assert sessions.cache.size() == 0


def test_a_number_that_was_not_given_out_is_not_taken_up(client: FlaskClient, sessions: CacheSessions) -> None:
    """Whatever a cookie says, a new session gets a number of the host's own."""
    for planted in ("A" * 43, "short", "../../etc/passwd", "A" * 4000, "\u00e9"):
        client.set_cookie("session", planted)
        client.get("/set/colour/blue")
        assert cookie_of(client) not in {planted, ""}
        assert len(cookie_of(client)) == 43


def test_a_login_gets_a_new_number(app: Flask, client: FlaskClient) -> None:
    """What was there goes along; the number from before leads nowhere (session fixation)."""
    client.get("/set/colour/blue")
    before = cookie_of(client)
    client.get("/login")
    assert cookie_of(client) != before
    assert client.get("/").text == "{'colour': 'blue', 'user': 7}"
    thief = app.test_client()
    thief.set_cookie("session", before)
    assert thief.get("/").text == "{}"


def test_a_logout_removes_the_session(client: FlaskClient, sessions: CacheSessions) -> None:
    """The row is gone, the cookie too, and the number is worthless."""
    client.get("/set/colour/blue")
    number = cookie_of(client)
    client.get("/logout")
    assert client.get_cookie("session") is None
    assert sessions.cache.size() == 0
    client.set_cookie("session", number)
    assert client.get("/").text == "{}"


def test_a_change_inside_a_value_is_noticed(client: FlaskClient) -> None:
    """Nobody has to say that something was modified."""
    client.get("/nested/bread")
    client.get("/nested/butter")
    assert client.get("/").text == "{'basket': {'items': ['bread', 'butter']}}"


def test_reading_writes_nothing(client: FlaskClient, sessions: CacheSessions, hands: Hands) -> None:
    """A request that only reads leaves the record as it is, and sends no cookie."""
    client.get("/set/colour/blue")
    written = sessions.cache.stats()["sets"]
    record = sessions.cache.get(cookie_of(client))
    hands.turn(60)
    assert "Set-Cookie" not in client.get("/").headers
    assert sessions.cache.get(cookie_of(client)) == record
    assert sessions.cache.stats()["sets"] == written


def test_answers_that_depend_on_the_session_say_so(client: FlaskClient) -> None:
    """Shared caches must not mix visitors up; what never looked at the session can be shared."""
    assert "Cookie" in client.get("/").headers["Vary"]
    assert "Vary" not in client.get("/untouched").headers


def test_requests_that_change_different_fields_are_merged(app: Flask, client: FlaskClient) -> None:
    """Both changes are there afterwards, in whichever order the requests end."""
    client.get("/set/base/1")
    number = cookie_of(client)
    with request_with(app, number) as (one, _), request_with(app, number) as (other, _):
        one["mine"], other["yours"] = "a", "b"
        del other["base"]
    assert client.get("/").text == "{'mine': 'a', 'yours': 'b'}"


def test_threads_lose_no_change(app: Flask, client: FlaskClient) -> None:
    """Eight browsers' tabs at once, each with a field of its own: all are there."""
    client.get("/set/base/1")
    number = cookie_of(client)

    def use(tab: int) -> None:
        browser = app.test_client()
        browser.set_cookie("session", number)
        for step in range(5):
            assert browser.get(f"/set/tab{tab}/{step}").status_code == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    with client.session_transaction() as session:
        assert dict(session) == {"base": "1", **{f"tab{tab}": "4" for tab in range(8)}}


def test_the_second_change_of_one_field_is_refused(app: Flask, client: FlaskClient) -> None:
    """Nothing is overwritten in silence: the later request is answered with 409."""
    client.get("/set/stage/1")
    number = cookie_of(client)
    with request_with(app, number) as (one, refused), request_with(app, number) as (other, fine):
        one["stage"], other["stage"] = "2", "3"
    assert (fine.status_code, refused.status_code) == (200, 409)
    assert "Set-Cookie" not in refused.headers
    assert client.get("/").text == "{'stage': '3'}"


def test_the_same_change_twice_is_no_conflict(app: Flask, client: FlaskClient) -> None:
    """Two requests that agree are both fine."""
    client.get("/set/stage/1")
    number = cookie_of(client)
    with request_with(app, number) as (one, first), request_with(app, number) as (other, second):
        one["stage"] = other["stage"] = "2"
    assert (first.status_code, second.status_code) == (200, 200)


@pytest.mark.parametrize(
    "mine, theirs, result",
    [
        (["a", "b"], ["a", "c"], ["a", "c", "b"]),
        (["a", "b"], None, ["b"]),
        (None, ["a", "c"], ["c"]),
    ],
    ids=["both append", "one takes it away, one appends", "the other way round"],
)
def test_lists_that_are_appended_to_are_joined(
    app: Flask, client: FlaskClient, mine: list[str] | None, theirs: list[str] | None, result: list[str]
) -> None:
    """Messages that requests flash while others show them come through."""
    with client.session_transaction() as session:
        session.update(_flashes=["a"], other=1)
    number = cookie_of(client)
    with request_with(app, number) as (one, first), request_with(app, number) as (other, second):
        for session, value in ((one, mine), (other, theirs)):
            if value is None:
                session.pop("_flashes")
            else:
                session["_flashes"] = value
    assert (first.status_code, second.status_code) == (200, 200)
    with client.session_transaction() as session:
        assert session["_flashes"] == result


def test_a_session_that_was_ended_stays_ended(app: Flask, client: FlaskClient, sessions: CacheSessions) -> None:
    """A request that was under way during the logout does not bring the session back, nor its cookie."""
    client.get("/set/colour/blue")
    with request_with(app, cookie_of(client)) as (late, response):
        late["colour"] = "red"
        client.get("/logout")
    assert sessions.cache.size() == 0
    assert "Set-Cookie" not in response.headers


def test_a_login_during_a_logout_is_a_new_session(app: Flask, client: FlaskClient) -> None:
    """It holds what the login put in, and nothing of the session that was ended."""
    client.get("/set/colour/blue")
    with request_with(app, cookie_of(client)) as (late, response):
        late["user"] = 8
        late.renew()
        client.get("/logout")
    client.set_cookie("session", response.headers["Set-Cookie"].split(";")[0].removeprefix("session="))
    assert client.get("/").text == "{'user': 8}"


def test_clearing_takes_what_others_put_in_meanwhile(app: Flask, client: FlaskClient) -> None:
    """A login clears the session of whoever was there before: nothing of theirs may slip into the new one."""
    client.get("/set/colour/blue")
    with request_with(app, cookie_of(client)) as (login, response):
        login.clear()
        login.renew()
        login["user"] = 8
        client.get("/set/basket/theirs")
    client.set_cookie("session", response.headers["Set-Cookie"].split(";")[0].removeprefix("session="))
    assert client.get("/").text == "{'user': 8}"


def test_a_session_ends_at_the_end_of_the_trading_day(client: FlaskClient, hands: Hands) -> None:
    """At 03:00 in India, however much it is used."""
    client.get("/login")
    for _ in range(18):
        hands.turn(3600)
        assert client.get("/").text == "{'user': 7}"
    hands.turn(1799)  # 02:59:59
    assert client.get("/").text == "{'user': 7}"
    hands.turn(1)
    assert client.get("/").text == "{}"


def test_an_idle_session_ends_and_a_used_one_goes_on(app: Flask, client: FlaskClient, hands: Hands) -> None:
    """Use prolongs it, and is written down only when that gains a tenth of the idle time."""
    app.permanent_session_lifetime = timedelta(minutes=30)
    client.get("/login")
    for _ in range(6):
        hands.turn(29 * 60)
        assert client.get("/").text == "{'user': 7}"
    hands.turn(30 * 60)
    assert client.get("/").text == "{}"


def test_use_is_not_written_down_at_every_request(
    app: Flask, client: FlaskClient, sessions: CacheSessions, hands: Hands
) -> None:
    """With 30 minutes of idle time a record is written anew after three minutes, not before."""
    app.permanent_session_lifetime = timedelta(minutes=30)
    client.get("/login")
    begun = sessions.cache.get(cookie_of(client))["at"]
    hands.turn(179)
    client.get("/")
    assert sessions.cache.get(cookie_of(client))["at"] == begun
    hands.turn(1)
    client.get("/")
    assert sessions.cache.get(cookie_of(client))["at"] == begun + 180


def test_a_permanent_cookie_lasts_as_long_as_its_session(client: FlaskClient) -> None:
    """Until 03:00 in India, although Flask's own configuration says 31 days."""
    with client.session_transaction() as session:
        session.permanent = True
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert cookie.expires == datetime(2026, 3, 2, 21, 30, tzinfo=UTC)


def test_a_store_that_cannot_be_read_is_no_logout(
    client: FlaskClient, sessions: CacheSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is 503, the cookie stays, and the session is there when the store is back."""
    client.get("/login")
    sessions.cache.close()  # so that nothing of it is in memory

    def fail(_backend: object, _key: str) -> None:
        raise BackendUnavailableError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(type(sessions.cache.backend), "get", fail)
        refused = client.get("/")
        assert refused.status_code == 503
        assert "Set-Cookie" not in refused.headers
        assert client.get("/untouched").status_code == 200
    assert client.get("/").text == "{'user': 7}"


def test_who_is_patient_waits_for_the_store(
    app: Flask, client: FlaskClient, sessions: CacheSessions, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there are places for, until it is back; one more is refused at once."""
    client.get("/login")
    sessions.cache.close()  # so that nothing of it is in memory
    CacheSessions(app, manager=sessions._manager, clock=hands, patience=60, waiting=1)
    asked: queue.Queue[bool] = queue.Queue()

    def fail(_backend: object, _key: str) -> None:
        asked.put(True)
        raise BackendUnavailableError("the server is restarted")

    other = app.test_client()
    other.set_cookie("session", cookie_of(client))
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as broken:
        broken.setattr(type(sessions.cache.backend), "get", fail)
        waiting = pool.submit(client.get, "/")
        for _ in range(2):
            assert asked.get(timeout=20)
        assert other.get("/").status_code == 503
        assert not waiting.done()
        broken.undo()
        assert waiting.result(20).text == "{'user': 7}"
    assert other.get("/").text == "{'user': 7}"


def test_patience_ends(app: Flask, client: FlaskClient, sessions: CacheSessions, hands: Hands) -> None:
    """Then it is as without."""
    client.get("/login")
    sessions.cache.close()
    CacheSessions(app, manager=sessions._manager, clock=hands, patience=0.05)
    with pytest.MonkeyPatch.context() as broken:

        def fail(_backend: object, _key: str) -> None:
            raise BackendUnavailableError("the disk is gone")

        broken.setattr(type(sessions.cache.backend), "get", fail)
        for _ in range(10):  # the place is free again each time
            assert client.get("/").status_code == 503
    assert client.get("/").text == "{'user': 7}"


def test_a_store_that_cannot_be_written_is_told(
    app: Flask, client: FlaskClient, sessions: CacheSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page that claims to have changed the session does not go out; the application's own 503 page does."""

    @app.errorhandler(503)
    def page(_error: Exception) -> tuple[str, int]:
        return "come back later", 503

    client.get("/login")

    def fail(*_: object) -> None:
        raise BackendUnavailableError("the disk is full")

    monkeypatch.setattr(type(sessions.cache.backend), "compare_and_set", fail)
    refused = client.get("/set/colour/blue")
    assert (refused.status_code, refused.text) == (503, "come back later")


def test_a_planted_record_is_not_believed(client: FlaskClient, sessions: CacheSessions) -> None:
    """A sealed record that was copied to another number is no session there."""
    client.get("/login")
    mine, other = cookie_of(client), "B" * 43
    keyspace, backend = sessions.cache._opened().keyspace, sessions.cache.backend
    entry = backend.get(keyspace.stored(mine))
    assert entry is not None
    backend.set(keyspace.stored(other), entry)
    client.set_cookie("session", other)
    assert client.get("/").text == "{}"


def test_a_value_that_cannot_be_kept_names_its_field(app: Flask, client: FlaskClient) -> None:
    """The developer learns which field it is."""
    with pytest.raises(UnsupportedValueError, match=r"session\['handler'\]"), client.session_transaction() as session:
        session["handler"] = print


def test_flask_messages_work(app: Flask, client: FlaskClient) -> None:
    """Flashed by one request, shown once by the next."""

    @app.get("/flash")
    def flash() -> str:
        flask.flash("saved")
        return ""

    @app.get("/messages")
    def messages() -> list[str]:
        return [str(message) for message in flask.get_flashed_messages()]

    client.get("/flash")
    assert client.get("/messages").json == ["saved"]
    assert client.get("/messages").json == []


def test_an_application_needs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``CacheSessions(app)`` takes the manager of ``get_cache``, and touches nothing before a session is used."""
    from openalgo_cache import process
    from openalgo_cache.settings import override

    monkeypatch.setattr(process, "_managers", [])
    with override(Settings(base_folder=tmp_path)):
        app = Flask("small")
        CacheSessions(app)

        @app.get("/")
        def count() -> str:
            flask.session["seen"] = flask.session.get("seen", 0) + 1
            return str(flask.session["seen"])

        assert not (tmp_path / "db").exists()
        client = app.test_client()
        assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]
        process.default_manager().close()


def test_renewing_needs_these_sessions() -> None:
    """In an application with Flask's own sessions the mistake is named."""
    app = Flask("other")
    app.secret_key = "x"
    with app.test_request_context(), pytest.raises(RuntimeError, match="CacheSessions"):
        renew_session()

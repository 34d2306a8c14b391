"""``/events``: what open pages are told, how many can be, and when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from openalgo_cache import BackendUnavailableError
from openalgo_host.caller import Caller
from openalgo_host.host import Host
from openalgo_host.pages import events
from openalgo_host.sandbox.ticket import Ticket
from openalgo_host.watch import CrowdedError, Watch
from tests.host.conftest import Hands

WAITS = Ticket("dip", "RELIANCE", "NSE", "BUY", "MIS", "LIMIT", 1, price=1.0)
ALL = "retry: 1000\ndata: orders prices strategies\n\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that nothing is waited for."""
    monkeypatch.setattr("openalgo_host.watch._BEAT", 0.005)
    monkeypatch.setattr(events, "_PULSE", 0.05)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """One without topics, and with two places."""
    made = Watch(2)
    yield made
    made.close()


def fail(*_: object) -> None:
    """Take the place of what asks a store that is away."""
    raise BackendUnavailableError("the disk is gone")


def stream(user: FlaskClient) -> tuple[TestResponse, Iterator[str]]:
    """Begin a stream; return the answer, and what comes."""
    answer = user.get("/events", buffered=False)
    return answer, (part.decode() for part in answer.response if isinstance(part, bytes))


def after_pulses(parts: Iterator[str]) -> str:
    """Return the next part that says something."""
    return next(part for part in parts if part != ":\n\n")


def test_a_stream_tells_what_changed(user: FlaskClient, host: Host, hands: Hands) -> None:
    """Everything at first; then orders and prices when they change, and a sign of life in between."""
    answer, parts = stream(user)
    with closing(answer):
        assert answer.status_code == 200
        assert answer.mimetype == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Cache-Control"] == "no-store"
        assert next(parts) == ALL
        assert next(parts) == ":\n\n"
        hands.turn(1)
        number = host.orders.place(Caller(1), WAITS).id
        assert after_pulses(parts) == "data: orders\n\n"
        hands.turn(1)
        host.orders.cancel(Caller(1), number)
        assert after_pulses(parts) == "data: orders\n\n"
    assert host.watch.join(1) is not None


def test_prices_of_open_positions(user: FlaskClient, host: Host, hands: Hands) -> None:
    """They are told when they move."""
    host.orders.place(Caller(1), Ticket("x", "RELIANCE", "NSE", "BUY", "MIS", "MARKET", 1))
    answer, parts = stream(user)
    with closing(answer):
        assert next(parts) == ALL
        hands.turn(600)
        assert after_pulses(parts) == "data: prices\n\n"


def test_a_stream_ends_with_the_session(app: Flask, user: FlaskClient) -> None:
    """A logout in another tab of the browser ends it, and says why."""
    answer, parts = stream(user)
    with closing(answer):
        assert next(parts) == ALL
        cookie = user.get_cookie("openalgo_session")
        assert cookie is not None
        tab = app.test_client()
        tab.set_cookie("openalgo_session", cookie.value)
        page = tab.get("/symbols").text
        token = page.partition('name="token" value="')[2].partition('"')[0]
        assert tab.post("/logout", data={"token": token}).status_code == 303
        assert after_pulses(parts) == "event: logout\ndata:\n\n"
        assert next(parts, None) is None


def test_a_stream_ends_when_sessions_cannot_be_read(
    user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no logout: the page asks again, and is told what is wrong."""
    monkeypatch.setattr(events, "_UNSURE", 0.2)
    answer, parts = stream(user)
    with closing(answer):
        assert next(parts) == ALL
        monkeypatch.setattr(type(host.sessions.cache), "get", fail)
        assert [part for part in parts if part != ":\n\n"] == []


def test_a_stream_bears_a_moment_without_sessions(
    user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no place of the pages that wait, says nothing meanwhile, and then what has changed."""
    answer, parts = stream(user)
    with closing(answer):
        assert next(parts) == ALL
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(type(host.sessions.cache), "get", fail)
            meanwhile.setattr(host.sessions._patience, "read", None)
            assert next(parts) == ":\n\n"
            host.orders.place(Caller(1), WAITS)
            assert [next(parts) for _ in range(20)] == [":\n\n"] * 20
        assert after_pulses(parts) == "data: orders\n\n"


def test_a_stream_does_not_last(user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser begins another one."""
    monkeypatch.setattr(events, "_LASTS", 0.1)
    answer, parts = stream(user)
    with closing(answer):
        assert list(parts)[0] == ALL  # noqa: RUF015  # all of them: it ends


def test_there_are_places_for_some(user: FlaskClient, host: Host) -> None:
    """Whoever comes later is told when to come again, and gets the place of one who left, heard or not."""
    streams = [stream(user) for _ in range(16)]
    refused = user.get("/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    streams[0][0].close()
    again, parts = stream(user)
    assert next(parts) == ALL
    for answer in [again, *(answer for answer, _ in streams)]:
        answer.close()
    assert user.get("/events", buffered=False).status_code == 200


def test_the_end_of_the_host_ends_streams(user: FlaskClient, host: Host) -> None:
    """At once, and no new one begins."""
    answer, parts = stream(user)
    with closing(answer):
        assert next(parts) == ALL
        threading.Timer(0.01, host.watch.end).start()
        assert [part for part in parts if part != ":\n\n"] == []
    assert user.get("/events").status_code == 503


def test_nobody_looks_while_nobody_watches(watch: Watch) -> None:
    """The look of the last one is the last."""
    looks: list[int] = []

    def look(user_id: int) -> int:
        looks.append(user_id)
        return len(looks)

    watch.topic("all", 0, look)
    watcher = watch.join(7)
    assert watcher.wait(10) == ["all"]
    watcher.leave()
    watcher.leave()
    watch.end()
    watch.close()
    assert set(looks) == {7}
    assert not watch._watchers
    assert not watch._seen


def test_a_look_that_fails_takes_no_place(watch: Watch) -> None:
    """Three times, where there are two."""

    def fail(_user_id: int) -> None:
        raise KeyError

    watch.topic("all", 0, fail)
    for _ in range(3):
        with pytest.raises(KeyError):
            watch.join(1)


def test_what_fails_is_left_out(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """The others go on, and it is told of when it is over."""
    works: list[int] = []

    def look(_user_id: int) -> int:
        if not works:
            raise OperationalError("", None, Exception())
        return works[0]

    watch.topic("fails", 0, look)
    watch.topic("goes on", 0, lambda _: object())
    watcher = watch.join(1)
    assert watcher.wait(10) == ["goes on"]
    works.append(1)
    while "fails" not in watcher.wait(10):
        pass
    assert [record.message for record in caplog.records] == [
        "open pages: no news of fails until this is over: OperationalError"
    ]


def test_watching_goes_on_after_failures(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """It says so once."""
    failures: list[Exception] = []

    def look(_user_id: int) -> object:
        if failures:
            raise failures.pop(0)
        return object()

    watch.topic("all", 0, look)
    watcher = watch.join(1)
    failures += [OperationalError("", None, Exception()), BackendUnavailableError("gone"), KeyError("x")]
    while failures:
        watcher.wait(1)
    assert watcher.wait(10) == ["all"]
    assert [record.message for record in caplog.records] == [
        "open pages: no news of all until this is over: OperationalError",
        "looking for changes failed",
    ]


def test_as_many_as_there_are_places(watch: Watch) -> None:
    """Whoever they are."""
    watch.topic("all", 0, lambda _: 1)
    join: list[Callable[[], object]] = [lambda: watch.join(1), lambda: watch.join(2), lambda: watch.join(3)]
    join[0]()
    join[1]()
    with pytest.raises(CrowdedError):
        join[2]()

"""The pages of strategies: what they show, what their forms do, and that hostile names and logs are only shown."""

from __future__ import annotations

import io
import re
import secrets
from contextvars import Context
from typing import Any

import pytest
from flask.testing import FlaskClient
from markupsafe import escape
from werkzeug.test import TestResponse

from openalgo_cache import on_behalf_of
from openalgo_cache.backends.base import Entry, SupportsScan
from openalgo_host.host import Host
from openalgo_host.leases import Lease
from openalgo_host.strategies.runs import Outcome, Run
from openalgo_host.users import User
from tests.host.conftest import Hands, token_in

SOURCE = "print('hello')\n"
HOURS = {
    "scheduled": "on",
    "from": "09:15",
    "to": "15:30",
    "days": ["MON", "FRI"],
    "holidays": "2026-03-06, 2026-03-09",
}
HOSTILE = "</pre><script>alert(1)</script> {{ 7 * 7 }} \N{RIGHT-TO-LEFT OVERRIDE}"


def post(user: FlaskClient, path: str, **fields: object) -> TestResponse:
    """Send a form with its token, as it is sent with a file."""
    data = {"token": token_in(user.get("/settings")), **fields}
    return user.post(path, data=data, content_type="multipart/form-data")


def add(user: FlaskClient, **fields: object) -> str:
    """Add a strategy and return its number."""
    done = post(user, "/strategies/add", **{"name": "first", "source": SOURCE, **fields})
    assert done.status_code == 303, done.text
    return str(done.headers["Location"]).rpartition("/")[2]


def ran(host: Host, strategy_id: str, log: str = "", **run: Any) -> Lease:
    """Have a strategy run, as the supervisor does, on an instance called ``east``."""
    with on_behalf_of("openalgo_host.strategies.charge"):
        lease, means = host.leases.take(f"strategy/{strategy_id}", 60), host.strategies._means
        assert lease is not None
        means.states.begin(strategy_id, lease.fence)
        version = means.runs.begin(strategy_id, lease).version
        wish = next(one.wanted_since for one in means.configs.all() if one.id == strategy_id) or 0.0
        record = Run("east", "machine", 4711, 0.0, host.clock(), wish, **run)
        means.runs.save(strategy_id, record, version, lease)
        means.tails.publish(strategy_id, log)
    return lease


def shown(text: str) -> str:
    """Return what a reader sees of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_an_empty_list_says_what_to_do(user: FlaskClient) -> None:
    """And every page leads to it."""
    page = user.get("/strategies").text
    assert "No strategies." in page
    assert 'href="/strategies/add"' in page
    assert '<a href="/strategies" >Strategies</a>' in user.get("/orders").text


def test_from_add_to_remove(user: FlaskClient, host: Host, hands: Hands) -> None:
    """A strategy is added, seen, changed, started, stopped, and removed after a question."""
    number = add(user, name=" first ", **HOURS)
    one = f"/strategies/{number}"
    page = shown(user.get(one).text)
    assert "first is added. It runs when you start it." in page
    assert "stopped" in page
    assert "09:15 to 15:30, MON FRI, except on 2 holidays, once it is started" in page
    assert host.strategies.source(1, number) == SOURCE

    assert post(user, f"{one}/start").headers["Location"] == one
    page = shown(user.get(one).text)
    assert "first is to start on 02 Mar 2026, 09:15:00 IST." in page
    assert user.get(f"{one}/remove").status_code == 409
    assert post(user, f"{one}/remove").status_code == 303
    assert "Only a strategy that is stopped can be removed: stop it first." in user.get(one).text
    assert post(user, f"{one}/change", name="second").status_code == 303
    assert host.strategies.get(1, number).schedule is None
    assert "second" in shown(user.get("/strategies").text)

    assert post(user, f"{one}/stop", where="list").headers["Location"] == "/strategies"
    assert "second is stopped." in user.get("/strategies").text
    assert "Remove second?" in user.get(f"{one}/remove").text
    assert post(user, f"{one}/remove").headers["Location"] == "/strategies"
    assert "second is removed." in user.get("/strategies").text
    for path in ("", "/now", "/change", "/remove"):
        assert user.get(one + path).status_code == 404
    for path in ("/change", "/source", "/start", "/stop", "/remove"):
        assert post(user, one + path, source=SOURCE).status_code == 404


def test_how_a_run_is(user: FlaskClient, host: Host, hands: Hands) -> None:
    """Instance, process, log and what it keeps; how it ended; and what can be done then."""
    number = add(user)
    one = f"/strategies/{number}"
    assert "It has printed nothing yet." in user.get(one).text
    assert "It has saved nothing yet." in user.get(one).text
    host.strategies.start(1, number)
    lease = ran(host, number, log="bought 10\nwaiting")
    host.strategies.save_state(1, number, {"values": {"held": 10}, "orders": {}}, 0, lease.fence)
    page = user.get(one)
    assert page.text.endswith("</html>")
    assert "running Runs always Started 02 Mar 2026, 08:30:00 IST Instance east, process 4711" in shown(page.text)
    assert "<pre><span>bought 10\n</span><span>waiting\n</span></pre>" in page.text
    assert "&#34;held&#34;: 10" in page.text
    assert "orders" not in page.text.partition('id="kept"')[2]
    rows = shown(user.get("/strategies/rows").text)
    assert "first running east 02 Mar 2026, 08:30:00 IST Stop first" in rows
    assert user.get(f"{one}/now").text in page.text

    assert "first is about to end." in shown(post_and_follow(user, f"{one}/stop"))
    assert "ending" in shown(user.get("/strategies/rows").text)
    ran(host, number, outcome=Outcome.STOPPED, exit=-15)
    assert "Last exit SIGTERM" in shown(user.get(one).text)
    ran(host, number, outcome=Outcome.FAILED, exit=-99)
    assert "Last exit signal 99" in shown(user.get(one).text)
    hands.turn(1)
    host.strategies.start(1, number)
    hands.turn(1)
    ran(host, number, outcome=Outcome.FAILED, exit=1, failures=1)
    page = user.get(one)
    assert "failed" in shown(page.text)
    assert "Last exit 1" in shown(page.text)
    assert {f"{one}/start", f"{one}/stop"} <= set(re.findall(r'action="([^"]+)"', page.text))


def post_and_follow(user: FlaskClient, path: str) -> str:
    """Send a form, and return the page that it leads to."""
    return user.get(post(user, path).headers["Location"]).text


def test_a_program_from_a_file(user: FlaskClient, host: Host) -> None:
    """As it is on the disk, but for the mark at its beginning; what is typed gets one kind of ends of lines."""
    number = add(user, source="", file=(io.BytesIO(b"\xef\xbb\xbfprint('\xe2\x82\xb9')\r\n"), "one.py"))
    assert host.strategies.source(1, number) == "print('₹')\r\n"
    assert post(user, f"/strategies/{number}/source", source="\r\na = 1\r\nb = 2").status_code == 303
    assert host.strategies.source(1, number) == "\na = 1\nb = 2"
    form = user.get(f"/strategies/{number}/change").text
    assert "\n\na = 1\nb = 2</textarea>" in form  # a browser drops the first end of a line
    refused = post(user, f"/strategies/{number}/source", file=(io.BytesIO(b"\xff\xfe\x00"), "one.py"))
    assert refused.status_code == 422
    assert "The file is no text in UTF-8: choose the strategy&#39;s .py file." in refused.text
    assert "a = 1" in refused.text
    refused = post(user, f"/strategies/{number}/source", source=" ")
    assert refused.status_code == 422
    assert host.strategies.source(1, number) == "\na = 1\nb = 2"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": " "}, "A strategy's name has 1 to 100 characters that can be printed"),
    ({"name": HOSTILE}, "A strategy's name has 1 to 100 characters that can be printed"),
    ({"source": " \n"}, "A strategy's source is Python, up to 48 KiB"),
    ({"source": "é" * (24 * 1024) + "x"}, "A strategy's source is Python, up to 48 KiB"),
    ({"source": "\0"}, "A strategy's source is Python"),
    ({**HOURS, "from": "9:15"}, "A schedule's from is a time such as 09:15"),
    ({**HOURS, "to": ""}, "A schedule's to is a time such as 09:15"),
    ({**HOURS, "from": "15:30"}, "A schedule begins before it ends"),
    ({**HOURS, "days": []}, "The days of a schedule are a list of some of MON"),
    ({**HOURS, "days": ["<b>"]}, "The days of a schedule are a list of some of MON"),
    ({**HOURS, "holidays": "26.1.2026"}, "A holiday is a date such as 2026-01-26, not '26.1.2026'"),
    ({**HOURS, "holidays": "<script>"}, "A holiday is a date such as 2026-01-26, not '<script>'"),
    ({**HOURS, "holidays": "2026-01-26 " * 367}, "The holidays of a schedule are a list of up to 366 dates"),
]


def test_what_cannot_be(user: FlaskClient, host: Host) -> None:
    """The form says what to mend, and keeps what was typed."""
    there = host.strategies.add(1, "there", SOURCE)
    for fields, said in REFUSED:
        typed = {"name": "mine", "source": SOURCE, **fields}
        paths = ["/strategies/add"] if "source" in fields else ["/strategies/add", f"/strategies/{there.id}/change"]
        for path in paths:
            refused = post(user, path, **typed)
            assert refused.status_code == 422
            assert f'<p class="problem" role="alert">{escape(said)}' in refused.text
            assert "<script>" not in refused.text
            assert "name" in fields or 'value="mine"' in refused.text
            assert ('name="scheduled" checked' in refused.text) == ("scheduled" in fields)
    assert host.strategies.list(1) == [there]


def test_a_form_that_is_too_large(user: FlaskClient, host: Host) -> None:
    """The page says what may be sent."""
    refused = post(user, "/strategies/add", name="mine", source="x" * 70_000)
    assert refused.status_code == 413
    assert "A strategy&#39;s source has up to 48 KiB, and a form 64 KiB in all." in refused.text
    assert host.strategies.list(1) == []


def test_a_name_that_is_taken_and_too_many(user: FlaskClient, host: Host) -> None:
    """Sent twice, a form adds one."""
    add(user)
    assert "There is a strategy of this name already." in post(user, "/strategies/add", name="first", source="1").text
    for number in range(49):
        host.strategies.add(1, f"strategy {number}", SOURCE)
    assert "remove one first." in post(user, "/strategies/add", name="more", source="1").text
    assert user.get("/strategies").text.count('<tr role="row" id="strategy-') == 50


def test_nothing_that_a_strategy_says_is_obeyed(user: FlaskClient, host: Host) -> None:
    """Neither name, nor program, log, instance or what it keeps becomes a part of a page."""
    name = HOSTILE[:-1].strip()
    number = add(user, name=name, source=f"'''{HOSTILE}</textarea>'''")
    lease = ran(host, number, log=f"{HOSTILE}\n<img src=x onerror=alert(1)>")
    host.strategies.save_state(1, number, {"values": {HOSTILE: HOSTILE}}, 0, lease.fence)
    post(user, f"/strategies/{number}/start")
    for path in ("", f"/{number}", "/rows", f"/{number}/now", f"/{number}/change"):
        page = user.get(f"/strategies{path}")
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "{{ 7 * 7 }}" in page.text
        assert page.text.count("</textarea>") == page.text.count("<textarea")
    host.strategies.stop(1, number)
    ran(host, number, outcome=Outcome.STOPPED)
    assert "<script>alert" not in user.get(f"/strategies/{number}/remove").text


def test_another_ones_strategy_is_none(user: FlaskClient, host: Host) -> None:
    """It is not there: not listed, not seen, not changed, not started."""
    with host.database.writing() as session:
        other = User(name=f"other-{secrets.token_hex(4)}", password_hash="", created_at=0.0)
        session.add(other)
        session.flush()
        theirs = other.id
    number = host.strategies.add(theirs, "secret plan", SOURCE).id
    before = host.strategies.get(theirs, number)
    for path in ("", "/now", "/change", "/remove"):
        page = user.get(f"/strategies/{number}{path}")
        assert page.status_code == 404
        assert "secret plan" not in page.text
    for path in ("/start", "/stop", "/change", "/source", "/remove"):
        assert post(user, f"/strategies/{number}{path}", name="mine", source="1").status_code == 404
    assert host.strategies.get(theirs, number) == before
    assert "secret plan" not in user.get("/strategies").text
    add(user, name="secret plan")  # names are each user's own
    for made_up in ("ids", "x" * 16, "..%2f..%2fetc", "0" * 10_000):
        assert user.get(f"/strategies/{made_up}").status_code == 404


def test_forms_need_their_token_and_a_login(user: FlaskClient, host: Host) -> None:
    """Another site can change nothing here; who is not logged in is led to the login, and a script is told so."""
    mine = host.strategies.add(1, "mine", SOURCE)
    one = f"/strategies/{mine.id}"
    paths = ["/strategies/add", *(one + path for path in ("/change", "/source", "/start", "/stop", "/remove"))]
    for path in paths:
        assert user.post(path, data={"name": "x", "source": "x"}).status_code == 400
    user.delete_cookie("openalgo_session")
    for path in paths:
        assert user.post(path).headers["Location"] == "/login?next=/strategies"
    assert user.get(f"{one}/now").status_code == 401
    assert user.get("/strategies/rows").status_code == 401
    assert host.strategies.list(1) == [mine]


def test_what_cannot_be_read_is_left_alone(user: FlaskClient, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Records are damaged: pages say so, without a traceback, and write over nothing."""
    number = add(user)
    store = host.manager.get_cache("strategy_configs")._opened().backend
    assert isinstance(store, SupportsScan)
    kept = dict(store.scan())
    assert len(kept) > 0
    store.set_many({key: Entry(bytes(60), None) for key in kept})
    for one in ("", f"/{number}", "/rows", f"/{number}/now"):
        page = user.get(f"/strategies{one}")
        assert page.status_code == 503
        assert "What is kept here cannot be read" in page.text
    assert post(user, "/strategies/add", name="other", source=SOURCE).status_code == 503
    assert not [record for record in caplog.records if record.exc_info]
    assert {entry.payload for _, entry in store.scan()} == {bytes(60)}
    store.set_many(kept)
    assert "first" in user.get("/strategies").text
    assert len(host.strategies.list(1)) == 1


def test_who_has_to_wait_too_long_is_told(user: FlaskClient, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another one changes strategies."""
    monkeypatch.setattr("openalgo_host.strategies.configs._WAIT", 0.05)
    with on_behalf_of("openalgo_host.strategies.configs"), host.strategies._means.configs._cache.lock("ids"):
        page = Context().run(post, user, "/strategies/add", name="first", source=SOURCE)  # on nobody's behalf
    assert page.status_code == 503
    assert "Somebody else is changing this at the moment: try again shortly." in page.text


def test_the_revision_tells_every_change(user: FlaskClient, host: Host, hands: Hands) -> None:
    """Of configuration, run, log and state; of one's own strategies only."""
    seen = [host.strategies.revision(1)]

    def is_new() -> bool:
        seen.append(host.strategies.revision(1))
        assert seen[-1] == host.strategies.revision(1)
        return seen[-1] not in seen[:-1]

    number = add(user)
    assert is_new()
    hands.turn(1)
    host.strategies.start(1, number)
    assert is_new()
    lease = ran(host, number, log="one")
    assert is_new()
    with on_behalf_of("openalgo_host.strategies.charge"):
        host.strategies._means.tails.publish(number, "one\ntwo")
    assert is_new()
    host.strategies.save_state(1, number, {"values": {"held": 1}}, 0, lease.fence)
    assert is_new()
    host.strategies.add(2, "theirs", SOURCE)
    assert not is_new()

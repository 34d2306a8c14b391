"""The API's calls about strategies: what users may ask, and what a strategy's own key may not."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from openalgo_cache import on_behalf_of
from openalgo_host.host import Host
from openalgo_host.leases import Lease
from openalgo_host.strategies import UnknownStrategyError
from openalgo_host.strategies.runs import Run
from openalgo_host.users import User
from tests.host.conftest import Credentials

SOURCE = "print('hello')\n"


@pytest.fixture
def call(client: FlaskClient, credentials: Credentials) -> Any:
    """Call the API with the administrator's key, or another one."""

    def send(path: str, key: str = credentials.api_key, **fields: object) -> TestResponse:
        return client.post(f"/api/v1/strategy/{path}", json={"apikey": key, **fields})

    return send


def damage(host: Host, cache: str, strategy: str) -> Callable[[], None]:
    """Flip a bit of what the store has of a strategy; return what flips it back."""
    with on_behalf_of("openalgo_host.strategies.charge"):
        stack = host.manager.get_cache(cache)._opened()
    stored = stack.keyspace.stored(strategy)
    entry = stack.backend.get(stored)
    assert entry is not None
    flipped = entry.payload[:-1] + bytes([entry.payload[-1] ^ 1])
    stack.backend.set(stored, entry._replace(payload=flipped))
    return lambda: stack.backend.set(stored, entry)


def data(answer: TestResponse) -> Any:
    """Return what a call that succeeded brought."""
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    return answer.json["data"]


def message(answer: TestResponse, status: int) -> Any:
    """Return why a call was refused."""
    assert answer.status_code == status, answer.text
    assert answer.json is not None
    return answer.json["message"]


def key_of(host: Host, strategy_id: str, user_id: int = 1) -> str:
    """Give a run of a strategy a key, as the supervisor does."""
    lease, key = host.leases.take(f"strategy/{strategy_id}", 60), secrets.token_hex(32)
    assert lease is not None
    begin(host, strategy_id, lease.fence)
    with host.database.writing() as session:
        host.api_keys.add(session, user_id, key, host.clock(), lease)
    return key


def begin(host: Host, strategy_id: str, fence: int) -> None:
    """Let a run begin, as the supervisor does."""
    with on_behalf_of("openalgo_host.strategies.charge"):
        host.strategies._means.states.begin(strategy_id, fence)


def another_user(host: Host) -> str:
    """Add a user, and return a key of theirs."""
    key = secrets.token_hex(32)
    with host.database.writing() as session:
        user = User(name="other", password_hash="", created_at=0.0)
        session.add(user)
        session.flush()
        host.api_keys.add(session, user.id, key, 0.0)
    return key


def test_from_add_to_remove(call: Any) -> None:
    """A strategy is added, seen, changed, started, stopped and removed."""
    hours = {"from": "09:15", "to": "15:30", "days": ["MON"], "holidays": []}
    added = data(call("add", name=" first ", source=SOURCE, schedule=hours))
    assert (added["name"], added["state"], added["wanted"], added["schedule"]) == ("first", "stopped", False, hours)
    one = {"id": added["id"]}
    assert data(call("get", **one)) == {**added, "source": SOURCE}
    started = data(call("start", **one))
    assert (started["state"], started["wanted"]) == ("scheduled", True)
    assert started["next_start"] == 1_772_423_100.0
    assert message(call("remove", **one), 400) == "Only a strategy that is stopped can be removed: stop it first"
    assert data(call("change", **one, schedule=None, name="second"))["state"] == "starting"
    assert [view["name"] for view in data(call("list"))] == ["second"]
    assert data(call("stop", **one))["state"] == "stopped"
    assert data(call("log", **one)) == {"log": ""}
    assert data(call("state", **one)) == {"version": 0, "state": {}}
    assert call("remove", **one).json == {"status": "success", "message": "Strategy removed"}
    assert data(call("list")) == []
    assert message(call("get", **one), 404) == "Strategy not found"


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"name": ""}, {"name": ["Field may not be empty."]}),
        ({"name": "a\x1b[2J"}, {"name": ["Has characters that cannot be printed."]}),
        ({"name": "n" * 101}, "A strategy's name has 1 to 100 characters that can be printed"),
        ({"source": " "}, "A strategy's source is Python, up to 48 KiB (a request may carry 64 KiB in all)"),
        ({"source": "x" * (48 * 1024 + 1)}, "A strategy's source is Python, up to 48 KiB"),
        ({"source": "\0"}, "A strategy's source is Python"),
        ({"source": "\ud800"}, "A strategy's source is text in UTF-8"),
        ({"source": ["x"]}, {"source": ["Not a valid string."]}),
        ({"schedule": {"from": "9"}}, "A schedule's from is a time such as 09:15"),
        ({"schedule": "always"}, {"schedule": ["Not a valid mapping type."]}),
        ({"command": "rm"}, {"command": ["Unknown field."]}),
    ],
)
def test_what_cannot_be_added(call: Any, fields: dict[str, Any], said: Any) -> None:
    """The answer says why."""
    answer = message(call("add", **{"name": "one", "source": SOURCE, **fields}), 400)
    assert answer == said or answer.startswith(said)
    assert data(call("list")) == []


def test_names_that_would_be_paths(call: Any, host: Host) -> None:
    """A name is a name: what lies on the disk is called by the strategy's number, and no number can be made up."""
    names = ("../../etc/passwd", "C:\\Windows", "strategy_configs", "ids")
    added = [data(call("add", name=name, source=SOURCE)) for name in names]
    assert tuple(one["name"] for one in added) == names
    assert all(one["id"].isalnum() for one in added)
    for made_up in ("../..", "ids", f"{added[0]['id']}/source", "0" * 16, "x" * 16):
        assert message(call("get", id=made_up), 404) == "Strategy not found"
        assert message(call("remove", id=made_up), 404) == "Strategy not found"
    assert message(call("add", name="ids", source=SOURCE), 400) == "There is a strategy of this name already"


def test_not_more_than_fifty(call: Any, host: Host) -> None:
    """Of one user."""
    for number in range(50):
        host.strategies.add(1, f"strategy {number}", SOURCE)
    assert message(call("add", name="one more", source=SOURCE), 400).startswith("There are 50 strategies already")


def test_the_strategies_of_others_are_not_found(call: Any, host: Host) -> None:
    """Neither seen nor changed, by whatever call."""
    other, strategy = another_user(host), data(call("add", name="mine", source=SOURCE))["id"]
    assert data(call("list", other)) == []
    for path in ("get", "change", "start", "stop", "remove", "log", "state"):
        assert message(call(path, other, id=strategy), 404) == "Strategy not found"
    assert data(call("add", other, name="mine", source=SOURCE))["name"] == "mine"
    with pytest.raises(UnknownStrategyError):
        host.strategies.save_state(2, strategy, {}, 0, 1)


def test_a_strategys_key_manages_nothing(call: Any, host: Host) -> None:
    """It is for its own state, and for orders."""
    strategy, other = (data(call("add", name=name, source=SOURCE))["id"] for name in ("one", "other"))
    key = key_of(host, strategy)
    fields: dict[str, dict[str, object]] = {"add": {"name": "new", "source": SOURCE}, "list": {}}
    for path in ("list", "add", "get", "change", "start", "stop", "remove", "log"):
        said = message(call(path, key, **fields.get(path, {"id": strategy})), 403)
        assert said == "A strategy's key cannot manage strategies"
    assert message(call("state", key, id=other), 403) == "A strategy's key is for its own state only"
    assert message(call("state/save", key, id=other, version=0, state={}), 403)
    assert data(call("state", key)) == data(call("state", key, id=strategy)) == {"version": 0, "state": {}}


def test_a_state(call: Any, host: Host, credentials: Credentials) -> None:
    """A run saves its own, version by version; its user looks at it."""
    strategy = data(call("add", name="one", source=SOURCE))["id"]
    key = key_of(host, strategy)
    saved = {"n": 1, "held": [1.5, None, True, "x"]}
    assert data(call("state/save", key, version=0, state=saved)) == {"version": 1}
    assert data(call("state/save", key, version=0, state=saved)) == {"version": 1}
    assert "load it, and decide anew" in message(call("state/save", key, version=0, state={}), 409)
    assert data(call("state", id=strategy)) == {"version": 1, "state": saved}
    assert message(call("state"), 400) == {"id": ["Missing data for required field."]}
    assert message(call("state/save", id=strategy, version=1, state={}), 403).startswith("Only a strategy's run")
    assert call("state/save", key, version=1, state={"n": "x" * 70_000}).status_code == 413


def test_a_run_that_was_overtaken(call: Any, host: Host) -> None:
    """Its state is closed to it as soon as the next one begins, even while its key is still known."""
    strategy = data(call("add", name="one", source=SOURCE))["id"]
    key = key_of(host, strategy)
    assert data(call("state/save", key, version=0, state={"n": 1})) == {"version": 1}
    fence = host.api_keys.caller(key).lease.fence  # type: ignore[union-attr]  # it has one
    begin(host, strategy, fence + 1)
    assert "a later run of this strategy has begun" in message(call("state/save", key, version=1, state={}), 403)
    assert Lease(f"strategy/{strategy}", fence) == host.api_keys.caller(key).lease  # type: ignore[union-attr]  # likewise


def test_a_damaged_record_is_its_own_strategys(call: Any, host: Host) -> None:
    """The others go on. It is kept, in the list of all as well, until what was written comes back from a backup."""
    damaged, other = (data(call("add", name=name, source=SOURCE))["id"] for name in ("one", "other"))
    for strategy in (damaged, other):
        data(call("start", id=strategy))
    mend = damage(host, "strategy_configs", damaged)
    assert [one["id"] for one in data(call("list"))] == [other]
    assert message(call("get", id=damaged), 503).startswith("What is kept here cannot be read")
    supervisor = host.strategies.supervisor
    supervisor._read()
    assert set(supervisor._configs) == {other}
    added = data(call("add", name="new", source=SOURCE))["id"]
    data(call("stop", id=other))
    assert call("remove", id=other).status_code == 200
    mend()
    assert [one["id"] for one in data(call("list"))] == [damaged, added]


def test_a_damaged_run_is_its_own_strategys(call: Any, host: Host) -> None:
    """Likewise with the record of what runs."""
    damaged, other = (data(call("add", name=name, source=SOURCE))["id"] for name in ("one", "other"))
    with on_behalf_of("openalgo_host.strategies.charge"):
        means = host.strategies._means
        for strategy in (damaged, other):
            lease = host.leases.take(f"strategy/{strategy}", 60)
            assert lease is not None
            version = means.runs.begin(strategy, lease).version
            means.runs.save(strategy, Run("east", "machine", 4711, 0.0, host.clock()), version, lease)
    damage(host, "running_strategies", damaged)
    assert {one["id"]: one["state"] for one in data(call("list"))} == {damaged: "stopped", other: "running"}

"""The API: the answers that the ``openalgo`` client expects, keys, and bodies that mean no good."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from openalgo_cache import Cache, Settings, on_behalf_of
from openalgo_host.api_keys import ApiKey, ApiKeys
from openalgo_host.host import Host
from openalgo_host.vault import VaultError
from tests.host.conftest import Credentials, Hands
from tests.host_stacks import Stack
from tests.servers.process import wait_until

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def key(credentials: Credentials) -> str:
    """The administrator's API key."""
    return credentials.api_key


def test_ping(client: FlaskClient, key: str) -> None:
    """Says that the key is right."""
    answer = client.post("/api/v1/ping", json={"apikey": key})
    assert answer.status_code == 200
    assert answer.json == {"status": "success", "data": {"message": "pong", "broker": "sandbox"}}


def test_symbol(client: FlaskClient, key: str) -> None:
    """Everything about one instrument, under OpenAlgo's names; a slash at the end makes no difference."""
    for path in ("/api/v1/symbol", "/api/v1/symbol/"):
        answer = client.post(path, json={"apikey": key, "symbol": "NIFTY26MAR2624000CE", "exchange": "NFO"})
        assert answer.json == {
            "status": "success",
            "data": {
                "symbol": "NIFTY26MAR2624000CE",
                "brsymbol": "NIFTY26MAR24000CE",
                "name": "NIFTY",
                "exchange": "NFO",
                "brexchange": "NFO",
                "token": "35002",
                "expiry": "26-MAR-26",
                "strike": 24000.0,
                "lotsize": 65,
                "instrumenttype": "CE",
                "tick_size": 0.05,
            },
        }


def test_an_unknown_symbol_is_404(client: FlaskClient, key: str) -> None:
    """The message names what was looked for."""
    answer = client.post("/api/v1/symbol", json={"apikey": key, "symbol": "NOSUCH", "exchange": "NSE"})
    assert answer.status_code == 404
    assert answer.json == {"status": "error", "message": "Symbol NOSUCH not found in exchange NSE"}


def test_search(client: FlaskClient, key: str) -> None:
    """All that fit, on all exchanges or on one; nothing found is a success without data."""
    found = client.post("/api/v1/search", json={"apikey": key, "query": "reliance"}).json
    assert found is not None
    assert found["message"] == "Found 2 matching symbols"
    assert {one["exchange"] for one in found["data"]} == {"NSE", "BSE"}
    one = client.post("/api/v1/search", json={"apikey": key, "query": "reliance", "exchange": "BSE"}).json
    assert one is not None
    assert [each["token"] for each in one["data"]] == ["500325"]
    none = client.post("/api/v1/search", json={"apikey": key, "query": "nosuch"})
    assert none.status_code == 200
    assert none.json == {"status": "success", "message": "No matching symbols found", "data": []}


@pytest.mark.parametrize("path", ["ping", "symbol", "search"])
def test_a_wrong_key_is_403(client: FlaskClient, key: str, path: str) -> None:
    """Whatever is asked for."""
    body = {"apikey": key[:-1] + "x", "symbol": "RELIANCE", "exchange": "NSE", "query": "RELIANCE"}
    wanted = {"ping": ("apikey",), "symbol": ("apikey", "symbol", "exchange"), "search": ("apikey", "query")}[path]
    answer = client.post(f"/api/v1/{path}", json={name: body[name] for name in wanted})
    assert answer.status_code == 403
    assert answer.json == {"status": "error", "message": "Invalid openalgo apikey"}


@pytest.mark.parametrize(
    "body, wrong",
    [
        ({}, dict.fromkeys(("apikey", "symbol", "exchange"), "Missing data for required field.")),
        (
            {"apikey": "k", "symbol": " ", "exchange": None},
            {"symbol": "Field may not be empty.", "exchange": "Field may not be null."},
        ),
        (
            {"apikey": "k", "symbol": 7, "exchange": ["NSE"]},
            dict.fromkeys(("symbol", "exchange"), "Not a valid string."),
        ),
        ({"apikey": {"$ne": ""}, "symbol": "A", "exchange": "B"}, {"apikey": "Not a valid string."}),
        ({"apikey": "k", "symbol": "A" * 201, "exchange": "B"}, {"symbol": "Longer than maximum length 200."}),
        ({"apikey": "k", "symbol": "A\x00", "exchange": "B"}, {"symbol": "Has characters that cannot be printed."}),
        ({"apikey": "k", "symbol": "\ud800", "exchange": "B"}, {"symbol": "Has characters that cannot be printed."}),
        ({"apikey": "k", "symbol": "A", "exchange": "B", "sybmol": "C"}, {"sybmol": "Unknown field."}),
    ],
)
def test_wrong_fields_are_named(client: FlaskClient, key: str, body: dict[str, Any], wrong: dict[str, str]) -> None:
    """All of them at once, with 400."""
    answer = client.post("/api/v1/symbol", data=json.dumps(body), headers=JSON)
    assert answer.status_code == 400
    assert answer.json == {"status": "error", "message": {name: [what] for name, what in wrong.items()}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'{"apikey": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"apikey": ' + b"9" * 10_000 + b"}",
        b'{"apikey": NaN, "symbol": Infinity, "exchange": -Infinity}',
        b'{"apikey": "' + b"\\ud800" * 100 + b'", "symbol": "A", "exchange": "B"}',
        b'{"\\ud800": 1}',
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_hostile_bodies_are_refused(client: FlaskClient, key: str, body: bytes) -> None:
    """Always 400, always JSON."""
    answer = client.post("/api/v1/symbol", data=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["status"] == "error"


def test_only_json_is_read(client: FlaskClient, key: str) -> None:
    """A form, which another site could send, is refused."""
    answer = client.post("/api/v1/ping", data={"apikey": key})
    assert answer.status_code == 400
    assert answer.json is not None
    assert "application/json" in answer.json["message"]


def test_a_large_body_is_refused(client: FlaskClient, key: str) -> None:
    """Beyond 64 KiB nothing is parsed."""
    answer = client.post("/api/v1/ping", data=b'{"apikey": "' + b"x" * 66_000 + b'"}', headers=JSON)
    assert answer.status_code == 413
    assert answer.json is not None
    assert answer.json["status"] == "error"


def test_failures_of_the_api_are_json(client: FlaskClient) -> None:
    """An unknown call and a wrong method, too."""
    for answer, status in ((client.post("/api/v1/nosuch"), 404), (client.get("/api/v1/ping"), 405)):
        assert answer.status_code == status
        assert answer.json is not None
        assert answer.json["status"] == "error"


def test_live_trading_takes_a_broker(host: Host, client: FlaskClient, key: str, hands: Hands) -> None:
    """Whoever is not connected is told to log in there; looking is free, and so is everything in analyze mode."""
    order = {"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "quantity": 10}
    bodies: dict[str, dict[str, Any]] = {
        "placeorder": order, "placesmartorder": {**order, "position_size": 20}, "basketorder": {"orders": [order]},
        "modifyorder": {**order, "orderid": "9"}, "cancelorder": {"orderid": "9"}, "cancelallorder": {},
        "closeposition": {},
    }  # fmt: skip

    def statuses() -> set[int]:
        hands.turn(1)  # to a second in which nothing was ordered yet
        return {
            client.post(f"/api/v1/{call}", json={"apikey": key, **body}).status_code for call, body in bodies.items()
        }

    assert statuses() == {200, 400}
    host.modes.set_analyses(on=False)
    assert statuses() == {403}
    refused = client.post("/api/v1/placeorder", json={"apikey": key, **order})
    assert refused.json is not None
    assert "log in to your broker" in refused.json["message"]
    assert client.post("/api/v1/orderbook", json={"apikey": key}).status_code == 200
    host.broker.connect(1)
    assert statuses() == {200, 400}
    host.broker.revoke(1)
    assert statuses() == {403}
    host.modes.set_analyses(on=True)
    assert statuses() == {200, 400}


def test_the_database_is_asked_once_for_each_key(
    host: Host, client: FlaskClient, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right keys are remembered in the shared cache, wrong ones in this process."""
    asked: list[str] = []
    hashed: list[str] = []
    is_there, verify = ApiKeys._is_there, ApiKeys._verify

    def counting(self: ApiKeys, digest: str) -> bool:
        asked.append(digest)
        return is_there(self, digest)

    def hashing(self: ApiKeys, digest: str) -> Any:
        hashed.append(digest)
        return verify(self, digest)

    monkeypatch.setattr(ApiKeys, "_is_there", counting)
    monkeypatch.setattr(ApiKeys, "_verify", hashing)
    for _ in range(3):
        assert host.api_keys.caller(key) == (1, None)
    assert (len(asked), len(hashed)) == (1, 1)
    for _ in range(3):
        assert host.api_keys.caller("wrong") is None
    assert (len(asked), len(hashed)) == (2, 1)


def test_a_key_that_was_seen_is_not_hashed_again(
    host: Host, key: str, stack: Stack, settings: Settings, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whomever: an instance that loses the cache of right keys would have all of them to hash at once."""
    assert host.api_keys.caller(key) == (1, None)
    with closing(Host.open(settings, hands, stack.database_url)) as other:
        assert other.api_keys.caller(key) == (1, None)
        monkeypatch.setattr(other.api_keys, "_hasher", None)
        with on_behalf_of("openalgo_host.api_keys"):
            host.api_keys._right.clear()

        def is_loaded_again() -> bool:
            assert other.api_keys.caller(key) == (1, None)
            with on_behalf_of("openalgo_host.api_keys"):
                (known,) = other.api_keys._believed.values()
            return str(known).startswith("$argon2id$")

        wait_until(is_loaded_again, "the other one to hear of it")
        with host.database.writing() as session:
            row = session.scalars(select(ApiKey)).one()
            row.hash = host.api_keys._hasher.hash("another key")
        with on_behalf_of("openalgo_host.api_keys"):
            host.api_keys._right.clear()

        def is_checked_again() -> bool:
            try:
                other.api_keys.caller(key)
            except AttributeError:  # there is no hasher
                return True
            return False

        wait_until(is_checked_again, "the other one to hear of it")


def test_a_forged_row_is_no_key(host: Host, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to the database, and not make the slow hash, cannot give himself a key."""
    with host.database.writing() as session:
        row = session.scalars(select(ApiKey)).one()
        row.hash = host.api_keys._hasher.hash("another key")
    assert host.api_keys.caller(key) is None
    with host.database.writing() as session:
        session.scalars(select(ApiKey)).one().hash = "no hash at all"
    assert host.api_keys.caller(key) is None


def test_an_owner_can_see_the_key(host: Host, key: str) -> None:
    """It lies encrypted in the database, for the row that it belongs to."""
    assert host.api_keys.shown(1) == key
    assert host.api_keys.shown(2) is None
    with host.database.writing() as session:
        row = session.scalars(select(ApiKey)).one()
        assert key.encode() not in row.sealed
        row.digest = "0" * 64
    with pytest.raises(VaultError, match="api_keys"):
        host.api_keys.shown(1)


def test_no_cache_holds_a_key(host: Host, key: str) -> None:
    """What the caches are asked is a keyed hash, also the one that stays in this process."""
    host.api_keys.caller(key)
    host.api_keys.caller("wrong-key-4711")
    invalid: Cache = host.manager.get_cache("api_keys_invalid")
    with on_behalf_of("openalgo_host.api_keys"):
        assert all("wrong-key-4711" not in str(kept) for kept in invalid)
    host.manager.close()
    folder = host.settings.cache_folder
    stored = b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())
    assert key.encode() not in stored
    assert b"wrong-key-4711" not in stored


def test_a_key_that_is_revoked_meanwhile_is_not_remembered(
    host: Host, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revocation comes between the look-up and the moment when the key would be remembered."""
    verify = ApiKeys._verify

    def revoking(self: ApiKeys, digest: str) -> Any:
        found = verify(self, digest)
        with host.database.writing() as session:
            ended = self.remove(session, 1)
        self.forget(ended)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(ApiKeys, "_verify", revoking)
        host.api_keys.caller(key)
    assert host.api_keys.caller(key) is None

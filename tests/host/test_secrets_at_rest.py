"""What a copy of all stores tells: files, tables, and a server's keys and values hold no secret that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import flask
import pytest
from flask import Flask
from flask.testing import FlaskClient

from openalgo_cache import Settings
from openalgo_host.application import create_app
from openalgo_host.database import Base
from openalgo_host.host import Host
from openalgo_host.telegram import Preferences
from openalgo_host.webhooks import Order
from tests.host.conftest import Credentials, LogIn, token_in
from tests.host.test_strategy_calls import key_of
from tests.host_stacks import Stack
from tests.security.planted import Planted
from tests.servers.process import ServerProcess

pytestmark = pytest.mark.each_database

CHAT = 3_261_940_358_172_649
"""The number of a chat on Telegram, in eight bytes as well as in digits."""
KEPT = (
    "auth", "feed_token", "broker", "api_keys_verified", "strategy_webhook", "user_strategies", "strategy_state",
    "strategy_configs", "telegram_preferences", "session",
)  # fmt: skip
"""The caches that hold something secret by then."""


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> Settings:
    """Settings with an audit log of every look."""
    return replace(stack.settings(tmp_path), cache_audit_enabled=True)


@pytest.fixture
def app(host: Host) -> Flask:
    """The application, and a page that keeps something in the session."""
    app = create_app(host)

    @app.get("/keep/<what>")
    def keep(what: str) -> str:
        flask.session["kept"] = what
        return ""

    return app


@pytest.fixture
def planted(host: Host, client: FlaskClient, log_in: LogIn, credentials: Credentials) -> Planted:
    """Everything secret that a host has, used so that all caches hold it."""
    found = Planted()
    for place, secret in (("password", credentials.password), ("API key", credentials.api_key)):
        found.know(place, secret)
    assert log_in().status_code == 303
    found.know("form token", token_in(client.get("/settings")))
    assert client.get(f"/keep/{found.secret('session')}").status_code == 200
    cookie = client.get_cookie("openalgo_session")
    assert cookie is not None
    found.know("number of the session", cookie.value)
    host.broker.connect(1)
    tokens = host.broker.tokens(1)
    assert tokens is not None
    assert host.broker.name_for(1) == "paper"
    found.know("broker token", tokens.auth)
    found.know("feed token", tokens.feed)
    token = host.webhooks.token(1, host.webhooks.add(1, "w", Order("RELIANCE", "NSE", "MIS", 1, ("BUY",))).id)
    assert host.webhooks.find(found.know("webhook", token)) is not None
    assert host.webhooks.list(1) != []
    host.telegram.set(1, Preferences(enabled=True, chat_id=CHAT, username=found.secret("Telegram")))
    assert host.telegram.get(1).chat_id == CHAT
    found.know("chat", str(CHAT))
    strategy = host.strategies.add(1, "s", f"KEY = '{found.secret('source of a strategy')}'").id
    key = found.know("key of a run", key_of(host, strategy))
    state = {"version": 0, "state": {"values": {"note": found.secret("state of a strategy")}}}
    assert client.post("/api/v1/strategy/state/save", json={"apikey": key, **state}).status_code == 200
    for wrong in (found.secret("wrong key"), credentials.api_key):
        client.post("/api/v1/ping", json={"apikey": wrong})
    found.know("the next API key", host.api_keys.renew(1, host.clock()))
    assert host.api_keys.caller(found.places["the next API key"]) is not None
    host.users.change_password(1, found.secret("next password"))
    return found


def test_no_store_tells_a_secret(stack: Stack, host: Host, planted: Planted, tmp_path: Path) -> None:
    """While the host runs, and when it has ended; neither plain, nor in hexadecimal, nor in base64."""
    assert len(planted.places) == 16
    assert [name for name in KEPT if not host.manager.get_cache(name)._opened().backend.size()] == []
    assert shown(stack, host, planted, tmp_path) == []
    host.manager.close()
    assert shown(stack, host, planted, tmp_path) == []


def test_what_is_plain_is_found(stack: Stack, host: Host, planted: Planted, tmp_path: Path) -> None:
    """Or the search would prove nothing."""
    secret = planted.places["session"]
    (tmp_path / "plain").write_bytes(b"\0\xff" + secret.encode() + CHAT.to_bytes(8, "big"))
    with host.database.writing() as session:
        values = {"name": secret.encode().hex(), "password_hash": "", "created_at": 0.0}
        session.execute(Base.metadata.tables["users"].insert().values(**values))
    expected = [("table users", "session"), (str(tmp_path / "plain"), "session"), (str(tmp_path / "plain"), "chat")]
    if stack.server is not None:
        with stack.server.client() as client:
            client.hset(f"{stack.namespace}:plain", mapping={"field": secret[::-1]})
            expected.append(("a hash of the server", "session"))
            assert set(shown(stack, host, planted, tmp_path)) >= set(expected)
            client.delete(f"{stack.namespace}:plain")
    assert set(shown(stack, host, planted, tmp_path)) >= set(expected[:3])


def shown(stack: Stack, host: Host, planted: Planted, folder: Path) -> list[tuple[str, str]]:
    """Return which secrets can be read where."""
    return [
        (where, place)
        for where, content in everything(stack, host, folder)
        for place in (
            *planted.found_in(content.decode("latin-1")),
            *(["chat"] if CHAT.to_bytes(8, "big") in content or CHAT.to_bytes(8, "little") in content else []),
        )
    ]


def everything(stack: Stack, host: Host, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the content of every file, table, key and value."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    yield from ((str(path), path.read_bytes()) for path in files)
    with host.database.reading() as session:
        for table in Base.metadata.sorted_tables:
            values = [value for row in session.execute(table.select()) for value in row]
            yield f"table {table.name}", b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in values)
    if stack.server is not None:
        yield from on_server(stack.server)


def on_server(server: ServerProcess) -> Iterator[tuple[str, bytes]]:
    """Yield all keys and values of a server, whosoever they are."""
    with server.client() as client:
        keys = list(client.scan_iter(count=1_000))
        assert keys
        yield "keys of the server", b"\n".join(keys)
        for key in keys:
            kind = client.type(key).decode()
            if kind == "none":  # somebody else's, which ended meanwhile
                continue
            commands = {
                "string": ("GET", key), "hash": ("HGETALL", key), "list": ("LRANGE", key, 0, -1),
                "set": ("SMEMBERS", key), "zset": ("ZRANGE", key, 0, -1), "stream": ("XRANGE", key, "-", "+"),
            }  # fmt: skip
            yield f"a {kind} of the server", b"\n".join(_flat(client.execute_command(*commands[kind])))


def _flat(reply: object) -> Iterator[bytes]:
    if isinstance(reply, dict):
        reply = list(reply.items())
    if isinstance(reply, list | tuple | set):
        for part in reply:
            yield from _flat(part)
    else:
        yield reply if isinstance(reply, bytes) else str(reply).encode()

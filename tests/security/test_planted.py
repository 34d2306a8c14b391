"""Fifty secrets, each in a place of its own, and a tour through everything that puts something out: none is shown."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from openalgo_cache import CacheError, Settings, cache_trace
from openalgo_cache.audit import Event
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.manager import CacheManager
from openalgo_cache.transfer.exporting import export_caches
from openalgo_host.administrator import ensure_administrator
from openalgo_host.application import create_app
from openalgo_host.database import Database, url_of
from openalgo_host.host import Host
from tests.cli import conftest as command_line
from tests.cli.conftest import Run
from tests.host.conftest import MORNING
from tests.security.attack import Attack
from tests.security.planted import Outlet, Planted
from tests.servers.process import HOST, ServerProcess, free_port

ENCRYPTED = (
    "auth", "feed_token", "broker", "api_keys_verified", "strategy_webhook", "user_strategies", "running_strategies",
    "strategy_configs", "telegram_credentials",
)  # fmt: skip
BLINDED = ("auth", "feed_token", "broker", "api_keys_verified", "strategy_webhook", "telegram_credentials")
run = command_line.run


@pytest.fixture
def planted() -> Planted:
    """The secrets."""
    return Planted()


@pytest.fixture
def outlet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outlet]:
    """Everything that is put out, every level of every log included."""
    handler, root = Outlet(), logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield handler
    for warning in caught:
        handler.put("a warning", str(warning.message))
    root.removeHandler(handler)
    root.setLevel(before)


def test_no_planted_secret_is_shown(  # everything that puts something out
    planted: Planted,
    outlet: Outlet,
    attack: Attack,
    run: Run,
    tmp_path: Path,
    redis_server: ServerProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In no log, error, repr, statistic, line of the audit log, page or command, as it is or encoded."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        _settings(planted, outlet, run, tmp_path)
        _servers(planted, outlet, redis_server)
        manager = CacheManager(_installation(planted, outlet, tmp_path))
        stack.callback(manager.close)
        _values(planted, outlet, manager)
        _keys(planted, outlet, manager)
        _host(planted, outlet, tmp_path)
        _files(planted, outlet, manager, tmp_path)
    _commands(planted, outlet, run, tmp_path)
    assert len(planted.places) >= 50
    assert len(outlet.texts) > 500
    shown = [(place, where, text) for where, text in outlet.texts for place in planted.found_in(text)]
    for place in planted.places:
        where = [f"{where}: {text[:300]}" for found, where, text in shown if found == place]
        attack.tried(succeeded=bool(where), what=f"{place}, shown by {where[:3]}")


test_no_planted_secret_is_shown = pytest.mark.attack("log", "planted secrets")(test_no_planted_secret_is_shown)


def test_the_look_finds_secrets(planted: Planted) -> None:
    """As they are, and in the forms that anybody can undo: else it would prove nothing."""
    import base64
    from urllib.parse import quote

    secret = planted.secret("a pläce", like="pässword:")
    for text in (
        f"x{secret}x", secret.upper(), secret.encode().hex(), quote(secret), repr({"password": secret}),
        base64.b64encode(b"user:" + secret.encode()).decode(), base64.b64encode(secret.encode()).decode(),
    ):  # fmt: skip
        assert planted.found_in(text) == ["a pläce"], text
    assert planted.found_in("nothing") == []


# --- where they are planted -------------------------------------------------------------------------------------------


def _settings(planted: Planted, outlet: Outlet, run: Run, folder: Path) -> None:
    """Passwords in variables, right and wrong ones, and what is said of them."""
    lines = {
        "REDIS_PASSWORD": planted.secret("REDIS_PASSWORD"),
        "VALKEY_PASSWORD": planted.secret("VALKEY_PASSWORD"),
        "REDIS_URL": f"redis://ann:{planted.secret('the password in REDIS_URL')}@{HOST}:1/0",
        "SESSION_REDIS_URL": f"redis://ann:{planted.secret('the password in SESSION_REDIS_URL')}@{HOST}:1/0",
        "CACHE_ENCRYPTION_KEY": "cGw0bnQzZC1wbDRudDNkLXBsNG50M2QtcGw0bnQzZC0=",
        "CACHE_NAMESPACE": "planted",
    }
    planted.know("CACHE_ENCRYPTION_KEY", lines["CACHE_ENCRYPTION_KEY"])
    with suppress(CacheError):
        settings = Settings.from_environment(lines)
        for part in (settings, settings.server("redis"), settings.server("valkey"), vars):
            outlet.show(part)
    wrong = {
        "REDIS_URL": f"redis//ann:{planted.secret('the password in a wrong REDIS_URL')}@host",
        "VALKEY_URL": f"http://ann:{planted.secret('the password in a VALKEY_URL of another kind')}@host:x/y",
        "CACHE_ENCRYPTION_KEY": planted.secret("a wrong CACHE_ENCRYPTION_KEY"),
        "REDIS_SENTINELS": f"ann:{planted.secret('a password among Sentinels')}@host",
    }
    for name, value in wrong.items():
        _try(outlet, partial(Settings.from_environment, {name: value}))
    env = folder / "wrong.env"
    env.write_text(
        f'REDIS_PASSWORD="{planted.secret("a line of .env that never ends")}\n'
        f"REDIS_PASSWORD {planted.secret('a line of .env without a sign')}\n"
    )
    for command in ("info", "doctor", "stats"):
        for more in ((), ("--json",)):
            ran = run("--env-file", str(env), command, *more, **wrong)
            outlet.put(command, ran.out)
            outlet.put(command, ran.err)
            ran = run(command, *more, **lines)
            outlet.put(command, ran.out)
            outlet.put(command, ran.err)


def _servers(planted: Planted, outlet: Outlet, redis_server: ServerProcess) -> None:
    """Passwords that servers refuse, and servers that are not there."""
    for what, port in (("a password that a server refuses", redis_server.port), ("a password for nobody", free_port())):
        settings = Settings(
            cache_backend="redis", redis_port=port, redis_password=planted.secret(what), redis_timeout=0.5
        )
        manager = CacheManager(settings)
        cache = manager.get_cache("quotes", on_error="raise", encrypted=False)
        for act in (partial(cache.get, "key"), partial(cache.set, "key", 1), manager.choice, cache.health):
            _try(outlet, act)
        outlet.show(cache.stats() if what.endswith("nothing") else cache)
        manager.close()


def _installation(planted: Planted, outlet: Outlet, folder: Path) -> Settings:
    """A key ring whose every secret is known, in a folder with everything on."""
    ring = KeyRing.generate()
    secrets = re.findall(r'"(?:secret|root)": "([^"]+)"', ring.to_json().decode())
    for number, secret in enumerate(secrets):
        planted.know(f"secret {number} of the key ring", secret)
    (folder / "db").mkdir(mode=0o700, exist_ok=True)
    path = folder / "db" / ".cache_key"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(ring.to_json())
    outlet.show(ring)
    outlet.show(ring.active)
    for content in (secrets[0], f'{{"format": 1, "root": "{secrets[1]}"}}', f"{secrets[0]}=="):
        broken = folder / "broken"
        broken.touch(mode=0o600)
        broken.write_text(content)
        _try(outlet, RingFile(broken).load)
    return Settings(
        base_folder=folder,
        cache_auto_configure=False,
        cache_audit_enabled=True,
        cache_audit_caches=frozenset({"*"}),
        cache_metrics_enabled=True,
        cache_audit_log_path=folder / "db" / "cache_audit.log",
    )


class Telling:
    """A value that no cache takes, and that would tell if it were shown."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return self.secret


class TellingError(Exception):
    """What an application's loader raises."""


def _values(planted: Planted, outlet: Outlet, manager: CacheManager) -> None:
    """Values of every kind of cache, and values that are refused."""
    with cache_trace() as trace:
        for name in ENCRYPTED:
            cache = manager.get_cache(name)
            cache.set("key", {"token": planted.secret(f"a value of {name}")})
            cache.get("key")
            cache.get_many(["key", "other"])
            _everything(outlet, cache)
        custom = manager.get_cache("quotes", on_error="raise")
        hidden = planted.secret("a value that is no number")
        custom.set("key", hidden)
        _try(outlet, lambda: custom.incr("key"))
        for value in (
            Telling(planted.secret("the repr of a value")),
            planted.secret("a value that is too large") * 100_000,
            planted.secret("a value with a surrogate") + "\ud800",
        ):
            _try(outlet, partial(custom.set, "other", value))

        def load() -> str:
            raise TellingError(planted.places["what a loader raises"])

        planted.secret("what a loader raises")
        lasting = manager.get_cache("lasting", stale_for=60, ttl=1)
        with suppress(TellingError):
            lasting.get_or_set("key", load)
        stored = custom.backend
        stored.set("openalgo:quotes:garbage", _entry(planted.secret("a record that is none").encode()))
        custom.get("garbage")
        with suppress(CacheError):
            list(custom.items())
    outlet.show(trace)
    for step in trace:
        outlet.show(step)


def _entry(payload: bytes) -> Any:
    from openalgo_cache.backends.base import Entry

    return Entry(payload, None)


def _keys(planted: Planted, outlet: Outlet, manager: CacheManager) -> None:
    """Keys of caches that blind them, tags, locks, epochs and arguments."""
    with cache_trace() as trace:
        for name in BLINDED:
            cache = manager.get_cache(name)
            key = planted.secret(f"a key of {name}")
            cache.set(key, "value", tags=(planted.secret(f"a tag of {name}"),))
            for act in (
                lambda cache=cache, key=key: cache.get(key),
                lambda cache=cache, key=key: cache[key + "other"],
                lambda cache=cache, key=key: cache.pop(key),
                lambda cache=cache, key=key: cache.touch(key),
                lambda cache=cache: list(cache),
                lambda cache=cache, name=name: cache.clear(tag=planted.places[f"a tag of {name}"]),
            ):
                _try(outlet, act)
        auth = manager.get_cache("auth")
        with auth.lock(planted.secret("the name of a lock")) as fence:
            outlet.show(fence)
        outlet.show(auth.lock("another"))
        epoch = planted.secret("an epoch")
        auth.set("key", "value", epoch=epoch)
        auth.get("key", epoch=epoch)
        auth.get("key")
        for wrong in (planted.secret("a key with a line break") + "\n", planted.secret("a key that is too long") * 99):
            _try(outlet, partial(auth.get, wrong))
        _try(outlet, partial(auth.get, (planted.secret("a part of a tuple"), 1.5)))  # type: ignore[arg-type]

        @auth.cached("{token}")
        def ask(token: str) -> str:
            return token

        ask(planted.secret("an argument"))
    outlet.show(trace)


def _host(planted: Planted, outlet: Outlet, folder: Path) -> None:
    """What visitors and clients send to the host, and what it makes."""
    shown: list[str] = []
    settings = Settings(base_folder=folder / "host", cache_auto_configure=False, cache_audit_enabled=True)
    (folder / "host").mkdir(mode=0o700)
    host = Host.open(settings, lambda: MORNING)
    ensure_administrator(host, shown.append)  # shown once, to the person who starts it
    name, password, key = (line.rpartition(": ")[2] for line in shown[0].splitlines())
    planted.know("the administrator's password", password)
    planted.know("the administrator's API key", key)
    for part in (host, host.users, host.api_keys, host.sessions, host.database, host.leases):
        outlet.show(part)
    client = create_app(host).test_client()
    token = re.findall(r'name="token" value="([^"]+)"', client.get("/login").text)[0]
    form = {"name": name, "password": password, "token": token}
    _page(outlet, client, "/login", form | {"password": planted.secret("a wrong password")})
    client.post(
        "/login", data=form | {"name": planted.secret("a password in the field for the name")}
    )  # told its owner
    _page(outlet, client, "/login", form)
    cookie = client.get_cookie("openalgo_session")
    assert cookie is not None
    planted.know("the session's cookie", cookie.value)
    for path in ("/symbols", "/symbols?q=x", "/health", "/livez", "/readyz", "/nowhere", "/login"):
        _page(outlet, client, path)
    for body in (
        {"apikey": key},
        {"apikey": planted.secret("a wrong API key")},
        {"apikey": [planted.secret("an API key in a list")]},
        {"apikey": planted.secret("an API key with a line break") + "\n"},
    ):
        for call in ("ping", "symbol", "placeorder", "orderbook"):
            answer = client.post(f"/api/v1/{call}", json=body)
            outlet.put(f"/api/v1/{call}", answer.data)
    secret = planted.secret("the password in DATABASE_URL")
    for url in (f"postgresql://ann:{secret}@{HOST}:{free_port()}/x", f"mysql://ann:{secret}@x/y", f"://{secret}@"):
        _try(outlet, partial(_open_database, url, folder))
    host.close()


def _open_database(url: str, folder: Path) -> None:
    Database(url_of(url, folder)).create()


def _page(outlet: Outlet, client: FlaskClient, path: str, form: dict[str, str] | None = None) -> None:
    answer = client.get(path) if form is None else client.post(path, data=form)
    outlet.put(path, answer.data)
    visible = [f"{name}: {value}" for name, value in answer.headers if name != "Set-Cookie"]  # meant for the visitor
    outlet.put(path, "\n".join(visible))


def _files(planted: Planted, outlet: Outlet, manager: CacheManager, folder: Path) -> None:
    """What lies in files: lines of the audit log, exports, stores, journals."""
    manager.audit().record_now(Event("auth", "GET", manager.get_cache("auth").shown("key"), __name__))
    export_caches(folder / "export.oac", [manager.get_cache(name) for name in ENCRYPTED], manager=manager)
    outlet.show(manager)
    outlet.show(manager.choice())
    outlet.put("health", str(manager.health(probe=True)))
    outlet.put("stats", str(manager.get_stats()))
    manager.close()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name not in {".cache_key", "broken", "wrong.env"} and "quotes" not in file.name:
            outlet.put(f"the file {file.name}", file.read_bytes())
            outlet.put("the name of a file", file.name)


def _commands(planted: Planted, outlet: Outlet, run: Run, folder: Path) -> None:
    """Every command that looks."""
    variables = {"CACHE_AUTO_CONFIGURE": "false", "CACHE_AUDIT_ENABLED": "true", "CACHE_AUDIT_CACHES": "*"}
    hidden = planted.secret("a value that was set by hand")
    commands = (
        f"set broker by-hand {hidden}", "get broker by-hand", "get auth key", "delete broker by-hand", "info", "stats",
        "doctor", "keys list", "keys verify", "list user_strategies", "audit tail", "audit verify", "audit search",
        "audit search --cache auth", "access list", "access check auth blueprints.auth", "symbols status",
        "list broker",
    )  # fmt: skip
    for command in commands:
        for more in ((), ("--json",)):
            ran = run(*command.split(), *more, **variables)
            assert "Usage:" not in ran.err, command
            outlet.put(command, ran.out)
            outlet.put(command, ran.err)


# --- what is put out --------------------------------------------------------------------------------------------------


def _try(outlet: Outlet, act: Callable[[], object]) -> None:
    """Do something, and take what it returns or raises."""
    try:
        result = act()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
        outlet.error(error)
    else:
        if not isinstance(result, str | dict):  # what was asked for, and given to who asked
            outlet.show(result)


def _everything(outlet: Outlet, cache: Any) -> None:
    outlet.show(cache)
    outlet.show(cache.policy)
    outlet.show(cache.backend)
    outlet.put("stats", str(cache.stats()))
    outlet.put("health", str(cache.health(probe=True)))
    for part in cache._opened().__slots__:
        outlet.show(getattr(cache._opened(), part))

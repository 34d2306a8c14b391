"""What people and programs give: settings, master contracts, cookies, calls of the API."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import flask
import pytest
from argon2 import PasswordHasher

from openalgo_cache import CacheManager, Settings
from openalgo_cache.errors import (
    ConfigurationError,
    InvalidKeyError,
    SymbolImportError,
    UnreadableRecordError,
    UnsupportedValueError,
)
from openalgo_cache.integrations.merge import SessionConflict, merge
from openalgo_cache.integrations.sessions import CacheSessions
from openalgo_cache.keys import text
from openalgo_cache.policy.rulesfile import load_rules
from openalgo_cache.settings import InvalidSettingsError
from openalgo_cache.symbols import COLUMNS
from openalgo_cache.symbols.source import Problems, read_rows
from openalgo_host import passwords
from openalgo_host.administrator import ensure_administrator
from openalgo_host.application import create_app
from openalgo_host.host import Host
from openalgo_host.limits import Rate, Rates
from tests.security.fuzz.judging import SECRET, Run, Target, split

_KEY: Final = "9wQ5dQh4qW0yq3bJmD8Jz0mJ1q0p7m6c2k8VtBzX1sE="


@contextmanager
def _settings(folder: Path) -> Iterator[Run]:
    path = folder / ".env"
    secrets = {"REDIS_PASSWORD": SECRET, "VALKEY_PASSWORD": SECRET, "CACHE_ENCRYPTION_KEY": _KEY}

    def run(data: bytes) -> None:
        way, data = split(data, 2)
        environ = dict(secrets)
        if way == 1:  # as an environment, which has no zeros in it
            for line in data.decode(errors="surrogateescape").replace("\0", "").splitlines():
                name, _, value = line.partition("=")
                environ[name] = value if name not in secrets else SECRET
            settings = Settings.from_environment(environ, None)
        else:
            path.write_bytes(data)
            settings = Settings.from_environment(environ, path)
        shown = [repr(settings), *map(str, settings.check()), *map(str, settings.describe())]
        shown += [repr(settings.server("redis")), repr(settings.server("valkey"))]
        if any(SECRET in one or _KEY in one for one in shown):
            raise AssertionError("a secret was told")

    yield run


@contextmanager
def _contracts(folder: Path) -> Iterator[Run]:
    path = folder / "contract.csv.gz"
    head = ",".join(COLUMNS).encode() + b"\n"

    def run(data: bytes) -> None:
        way, data = split(data, 5)
        problems = Problems()
        if way == 0:
            rows = read_rows(io.BytesIO(data), problems, lambda _: None)
        elif way == 1:
            rows = read_rows(io.BytesIO(head + data), problems, lambda _: None)
        elif way == 2:
            rows = read_rows(io.StringIO(data.decode(errors="surrogateescape")), problems, lambda _: None)
        else:
            path.write_bytes(data if way == 3 else gzip.compress(head + data))
            rows = read_rows(path, problems, lambda _: None)
        for _, (series, *_rest) in rows:
            if not series.exchange.isprintable():
                raise AssertionError("an unprintable text was imported")
        for _, what in problems.listed:
            if not what.isprintable():
                raise AssertionError("a finding cannot be printed")

    yield run


@contextmanager
def _cookies(folder: Path) -> Iterator[Run]:
    manager = CacheManager(Settings(base_folder=folder, cache_backend="memory", cache_auto_configure=False))
    app = flask.Flask(__name__)
    sessions = CacheSessions(app, manager=manager)
    manager._caches.pop("session", None)
    manager.get_cache("session", backend="memory", encrypted=True, blinded=True, on_error="raise")
    sessions._cache = manager.get_cache("session")
    sessions._cache.set("A" * 43, {"at": 0.0, "fields": {"user": b"\xb5" + SECRET.encode()}})

    @app.route("/", methods=["GET", "POST"])
    def page() -> str:
        if flask.request.method == "POST":
            flask.session["seen"] = 1
        return str("user" in flask.session)

    def run(data: bytes) -> None:
        way, data = split(data, 3)
        if way == 2:  # what two requests made of one session
            fields = [{"messages": part} for part in data.split(b"|", 2)]
            merge(fields[0], fields[-1], fields[len(fields) // 2])
            return
        cookie = data.decode("latin-1")
        answer = app.test_client(use_cookies=False).open(
            "/", method="POST" if way else "GET", environ_overrides={"HTTP_COOKIE": cookie}
        )
        if answer.status_code != 200 or (answer.text != "False" and "A" * 43 not in cookie):
            raise AssertionError(f"a cookie that nobody gave out: {answer.status_code} {answer.text[:20]}")

    yield run
    manager.close()


@contextmanager
def _calls(folder: Path) -> Iterator[Run]:
    cheap = partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
    patched = pytest.MonkeyPatch()
    patched.setattr(passwords, "PasswordHasher", cheap)  # how long Argon2 takes is no concern of this
    settings = Settings(base_folder=folder, cache_auto_configure=False)
    host = Host.open(settings, lambda: 1_772_420_400.0, rates=Rates(*[Rate(10**9, 1)] * 3))
    row = ("RELIANCE", "RELIANCE-EQ", "RELIANCE", "NSE", "NSE", "2885", "", "0", "1", "EQ", "0.05", "")
    host.symbols.import_master([dict(zip(COLUMNS, row, strict=True))])
    shown: list[str] = []
    ensure_administrator(host, shown.append)
    key = shown[0].rpartition("API key: ")[2].split()[0].encode()
    client = create_app(host).test_client()
    trading = ("placeorder", "placesmartorder", "basketorder", "modifyorder", "multiquotes", "optionchain")
    first = ("/api/v1/ping", "/api/v1/symbol", "/api/v1/search", "/login", "/health", "/api/v1/")
    paths = (*first, *(f"/api/v1/{call}" for call in trading))

    def run(data: bytes) -> None:
        way, data = split(data, len(paths))
        kind = "application/x-www-form-urlencoded" if paths[way] == "/login" else "application/json"
        answer = client.post(paths[way], data=data.replace(b"@KEY@", key), content_type=kind)
        if answer.status_code >= 500:
            raise AssertionError(f"{paths[way]}: {answer.status_code}")
        if key in answer.data and b"@KEY@" not in data:
            raise AssertionError("an API key was told")

    try:
        yield run
    finally:
        host.close()
        patched.undo()


@contextmanager
def _key_texts(_: Path) -> Iterator[Run]:
    def run(data: bytes) -> None:
        way, data = split(data, 3)
        key: object = data if way == 0 else data.decode(errors="surrogateescape")
        for _nth in range(data[0] if data and way == 2 else 0):
            key = (key, 1)
        text(key)  # type: ignore[arg-type]  # whatever callers give

    yield run


@contextmanager
def _rules(folder: Path) -> Iterator[Run]:
    path = folder / "rules.toml"
    folder.chmod(0o700)

    def run(data: bytes) -> None:
        path.write_bytes(data)
        path.chmod(0o600)
        rules = load_rules(path)
        for cache in (*rules.caches, "auth", "unknown"):
            if rules.grant(cache).rights("no module is called so"):
                repr(rules.grant(cache).describe("read"))

    yield run


TARGETS: Final = (
    Target("settings", _settings, (InvalidSettingsError,)),
    Target("rules", _rules, (ConfigurationError,)),
    Target("contracts", _contracts, (SymbolImportError,)),
    Target("cookies", _cookies, (SessionConflict, UnreadableRecordError, UnsupportedValueError)),
    Target("calls", _calls),
    Target("key-texts", _key_texts, (InvalidKeyError,)),
)

"""Copies to, from and between real servers, which are killed, full, strict, or several."""

from __future__ import annotations

import random
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import BackendUnavailableError, Cache, CacheManager, copy_cache, export_caches, import_caches
from openalgo_cache.codec.codec import Contents
from openalgo_cache.options import Options
from tests.cli.conftest import Run, run
from tests.servers.process import ServerProcess, wait_until
from tests.stacks import manager
from tests.transfer.test_copy import VALUES, counts

__all__ = ["run"]  # a fixture

pytestmark = pytest.mark.server

Open = Callable[..., Cache]
KINDS: tuple[Options, ...] = ({}, {"encrypted": True}, {"encrypted": True, "blinded": True})


@pytest.fixture
def open_cache(tmp_path: Path) -> Iterator[Callable[..., Open]]:
    """Make what opens caches of one installation on any backend; those on servers are cleared in the end.

    The namespace is the test's own, since servers are shared.
    """
    namespace = f"copy-{secrets.token_hex(6)}"
    with ExitStack() as exits:

        def make(**settings: Any) -> Open:
            made = manager(tmp_path, cache_namespace=namespace, **settings)
            made.ring()

            def open_on(backend: str, name: str, **options: Any) -> Cache:
                cache = made.new_cache(name, **{"backend": backend, "maxsize": None, "on_error": "raise", **options})
                exits.callback(cache.close)
                if backend != "sqlite":
                    exits.callback(try_to, cache.clear)
                return cache

            return open_on

        yield make


def contents(cache: Cache) -> dict[str, Contents | None]:
    """Return what a cache holds, by the text of the key; each record has to verify. Generations of tags are its own."""
    stack = cache._opened()
    prefix = stack.keyspace.prefix
    found: dict[str, Contents | None] = {}
    for stored, entry in stack.backend.scan(prefix):  # type: ignore[attr-defined]  # all of these list
        held = stack.codec.contents_of(stored, entry.payload)
        if held is not None and not stored.startswith(prefix + "!g"):
            tags = tuple((tag, 0) for tag, _ in held.extras.tags)
            found[stored.removeprefix(prefix)] = held._replace(extras=held.extras._replace(tags=tags))
    return found


def fill(cache: Cache) -> None:
    """Store something of every kind."""
    for key, value in VALUES.items():
        cache.set(key, value, ttl=None)
    cache.set("an hour", 1, ttl=3_600.0625)
    cache.set("tagged", 2, tags=("user:ann",))
    cache.set("large", random.Random(3).randbytes((1 << 20) - 8))


@pytest.mark.parametrize("kind", KINDS, ids=["signed", "encrypted", "blinded"])
def test_round_the_houses(
    open_cache: Callable[..., Open], redis_server: ServerProcess, valkey_server: ServerProcess, kind: Options
) -> None:
    """SQLite, Redis, Valkey, and back to SQLite's place by a file: all arrives, to the millisecond, each time."""
    on = open_cache(**redis_server.settings(), **valkey_server.settings())
    first = on("sqlite", "quotes", **kind)
    fill(first)
    wanted = contents(first)
    for source, target in (("sqlite", "redis"), ("redis", "valkey")):
        report = copy_cache(on(source, "quotes", **kind), on(target, "quotes", **kind))
        assert counts(report) == {"moved": len(VALUES) + 3}
        assert contents(on(target, "quotes", **kind)) == wanted
        again = copy_cache(on(source, "quotes", **kind), on(target, "quotes", **kind))
        assert counts(again) == {"unchanged": len(VALUES) + 3}
    first.clear()
    assert counts(copy_cache(on("valkey", "quotes", **kind), first)) == {"moved": len(VALUES) + 3}
    assert contents(first) == wanted
    for key, value in VALUES.items():
        assert (type(first.get(key)), first.get(key)) == (type(value), value)
    first.clear(tag="user:ann")
    assert first.get("tagged") is None
    assert on("redis", "quotes", **kind).get("tagged") == 2


def test_a_strict_server(open_cache: Callable[..., Open], redis_secured: ServerProcess) -> None:
    """TLS and the rights of docs/redis.md are enough."""
    on = open_cache(**redis_secured.settings())
    source, target = on("sqlite", "auth"), on("redis", "auth")
    source.set_many({f"user {number}": "token" for number in range(100)})
    assert counts(copy_cache(source, target)) == {"moved": 100}
    assert target.get("user 7") == "token"


def test_a_cluster(open_cache: Callable[..., Open], redis_cluster: Any) -> None:
    """Entries spread over its nodes, and are found there again."""
    on = open_cache(**redis_cluster.settings())
    source, target = on("sqlite", "running_strategies"), on("redis", "running_strategies")
    source.set_many({f"s{number}": number for number in range(100)})
    wanted = contents(source)
    assert counts(copy_cache(source, target)) == {"moved": 100}
    source.clear()
    assert counts(copy_cache(target, source)) == {"moved": 100}
    assert contents(source) == wanted


def test_an_export_from_a_server(open_cache: Callable[..., Open], redis_server: ServerProcess, tmp_path: Path) -> None:
    """A file that was made on a server is imported into files."""
    on = open_cache(**redis_server.settings())
    source, target = on("redis", "auth"), on("sqlite", "auth")
    fill(source)
    files: CacheManager = manager(tmp_path)
    export_caches(tmp_path / "x", [source], manager=files)
    assert counts(import_caches(tmp_path / "x", manager=files, open_cache=lambda _: target)[0]) == {
        "moved": len(VALUES) + 3
    }
    assert contents(target) == contents(source)
    files.close()


COPY = """
import os, sys
from pathlib import Path
from openalgo_cache import CacheManager, Settings, copy_cache
folder, namespace, name, port = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
manager = CacheManager(Settings(base_folder=folder, cache_namespace=namespace, redis_host="127.0.0.1", redis_port=port))
source, target = (manager.new_cache(name, backend=one, maxsize=None) for one in ("sqlite", "redis"))
copy_cache(source, target, progress=lambda report: os.write(1, b"%d\\n" % report.seen))
source.close()
target.close()
"""


@pytest.mark.parametrize("name", ["quotes", "running_strategies"])
def test_killed_copies(open_cache: Callable[..., Open], redis_server: ServerProcess, tmp_path: Path, name: str) -> None:
    """On a server, too, each run leaves whole entries only, and the last one does the rest."""
    on = open_cache(**redis_server.settings())
    source, target = on("sqlite", name), on("redis", name)
    source.set_many({f"M&M|NSE {number}": "x" * (number % 997) for number in range(600)}, ttl=9_999)
    wanted = contents(source)
    namespace = source._opened().keyspace.prefix.partition("@")[2].partition(":")[0]
    points = random.Random(name)
    command = [sys.executable, "-c", COPY, str(tmp_path), namespace, name, str(redis_server.port)]
    for _ in range(3):
        goal = points.randrange(600)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= goal:
                break
        process.kill()
        process.wait()
        process.stdout.close()
        assert contents(target).items() <= wanted.items()
    report = copy_cache(source, target)
    assert report.moved + report.unchanged == 600
    assert contents(target) == wanted


def test_a_server_that_is_killed(open_cache: Callable[..., Open], start_server: Callable[..., ServerProcess]) -> None:
    """With its log synced at every write nothing that was counted as moved is lost; the next copy does the rest."""
    server = start_server("redis", {"appendonly": "yes", "appendfsync": "always"})
    on = open_cache(**server.settings())
    source, target = on("sqlite", "running_strategies"), on("redis", "running_strategies")
    source.set_many({f"s{number}": {"legs": [number]} for number in range(500)})
    moved: list[int] = []

    def watch(report: Any) -> None:
        moved.append(report.moved)
        if report.moved >= 200:
            server.kill()

    with pytest.raises(BackendUnavailableError):
        copy_cache(source, target, progress=watch)
    server.restart()
    wait_until(lambda: try_to(target.size), "the server answers again")
    assert moved[-1] <= target.size() < 500
    report = copy_cache(source, target)
    assert report.unchanged >= moved[-1]
    assert report.moved + report.unchanged == 500
    assert contents(target) == contents(source)


def try_to(ask: Callable[[], object]) -> bool:
    """Return whether a store answers."""
    try:
        ask()
    except BackendUnavailableError:
        return False
    return True


def test_a_server_that_is_full(open_cache: Callable[..., Open], start_server: Callable[..., ServerProcess]) -> None:
    """It refuses, and that is an error, not a copy with holes; with more room the next copy does the rest."""
    server = start_server("redis", {"maxmemory": "4mb", "maxmemory-policy": "noeviction"})
    on = open_cache(**server.settings())
    source, target = on("sqlite", "quotes"), on("redis", "quotes")
    source.set_many({f"k{number}": random.Random(number).randbytes(50_000) for number in range(200)})
    with pytest.raises(BackendUnavailableError):
        copy_cache(source, target)
    server.ask("CONFIG", "SET", "maxmemory", "100mb")
    report = copy_cache(source, target)
    assert report.unchanged > 0
    assert report.moved + report.unchanged == 200
    assert contents(target) == contents(source)


def test_what_another_store_could_not_delete(
    open_cache: Callable[..., Open], start_server: Callable[..., ServerProcess]
) -> None:
    """A delete that the server has lost is not struck out by a copy from it, to it, or by the files' own deletes."""
    server = start_server("redis")
    on = open_cache(**server.settings() | {"redis_timeout": 0.5, "redis_operation_timeout": 0.25})
    files, remote = on("sqlite", "auth"), on("redis", "auth")
    for cache in (files, remote):
        cache.set_many({"revoked": "token", "other": "token"})
    server.pause()
    with pytest.raises(BackendUnavailableError):
        remote.delete("revoked")
    files.get("other")
    files.set("new", 1)
    assert (remote._opened().pending_deletes(), files._opened().pending_deletes()) == (1, 0)
    server.resume()
    wait_until(lambda: try_to(remote.backend.size), "the server answers again")
    files.delete("revoked")
    files.delete("other")
    report = copy_cache(remote, files)
    assert report.moved == 1
    assert remote._opened().pending_deletes() == 0
    assert (files.get("revoked"), files.get("other"), remote.get("revoked")) == (None, "token", None)


def test_the_command(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    redis_server: ServerProcess,
    valkey_server: ServerProcess,
) -> None:
    """`copy` by the names of the backends, with servers as the variables say; the backend in use stays."""
    namespace = f"copy-{secrets.token_hex(6)}"
    monkeypatch.chdir(tmp_path)
    environment = {
        "CACHE_NAMESPACE": namespace,
        "CACHE_BACKEND": "sqlite",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_server.port),
        "VALKEY_HOST": "127.0.0.1",
        "VALKEY_PORT": str(valkey_server.port),
        "COLUMNS": "80",
    }
    for name in ("auth", "settings", "running_strategies"):
        assert run("set", name, "key", f"of {name}", **environment).code == 0
    for source, target in (("sqlite", "redis"), ("redis", "valkey")):
        ran = run("copy", "--from", source, "--to", target, "--json", **environment)
        assert ran.code == 0
        assert {one["name"]: one["moved"] for one in ran.json["caches"]} == {
            "auth": 1,
            "settings": 1,
            "running_strategies": 1,
        }
    there = {**environment, "CACHE_BACKEND": "valkey"}
    got = run("get", "auth", "key", "--reveal", "--json", **there)
    assert got.json["value"] == "of auth"
    assert run("info", "--json", **environment).json["backend"]["name"] == "sqlite"
    for backend in ("redis", "valkey"):
        for name in ("auth", "settings", "running_strategies"):
            run("clear", name, "--yes", "--state", **{**environment, "CACHE_BACKEND": backend})


def test_a_server_that_is_not_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_server: Callable[..., ServerProcess]
) -> None:
    """Exit code 4 in both directions, and the last line says what to look at."""
    server = start_server("redis")
    monkeypatch.chdir(tmp_path)
    environment = {"CACHE_BACKEND": "sqlite", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port)}
    assert run("set", "settings", "key", "x", **environment).code == 0
    server.kill()
    for source, target in (("sqlite", "redis"), ("redis", "sqlite")):
        ran = run("copy", "--from", source, "--to", target, **environment)
        assert (ran.code, ran.out) == (4, "")
        assert ran.err.splitlines()[-1].startswith("error: Redis at ")
        assert "REDIS_PORT" in ran.err

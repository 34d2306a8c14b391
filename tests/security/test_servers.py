"""Weak point 19: what a cluster does not have, what the application's own password opens, and who else can read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import flask
import pytest
import redis
from flask import Flask

from openalgo_cache import CacheManager, Settings
from openalgo_cache.integrations.sessions import CacheSessions
from tests.security.attack import Attack
from tests.security.conftest import SUBJECTS
from tests.security.proposal import operations
from tests.security.proposal.sessions import RedisSessions
from tests.servers.fixtures import LOGIN, users
from tests.servers.groups import Cluster
from tests.servers.process import HOST, Login, ServerProcess, wait_until

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
PASSWORD = "password-of-the-server"
ABUSES: list[tuple[str | int, ...]] = [
    ("KEYS", "*"),
    ("GET", "others:secret"),
    ("SET", "others:secret", "mine"),
    ("DEL", "others:secret"),
    ("EVAL", "return redis.call('keys', '*')", 0),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("SWAPDB", 0, 1),
    ("CLIENT", "LIST"),
    ("CLIENT", "NO-EVICT", "on"),
    ("PUBLISH", "cache:invalidate", "{}"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "intruder", "on", "nopass", "~*", "&*", "+@all"),
    ("SLOWLOG", "GET"),
    ("LATENCY", "RESET"),
    ("MEMORY", "DOCTOR"),
    ("BGREWRITEAOF",),
    ("REPLICAOF", HOST, "1"),
    ("SHUTDOWN", "NOSAVE"),
]


@pytest.mark.xdist_group("groups")
@pytest.mark.attack("19", "sessions in a database that a cluster does not have")
@pytest.mark.parametrize("who", SUBJECTS)
def test_19_sessions_on_a_cluster(tmp_path: Path, redis_cluster: Cluster, attack: Attack, who: str) -> None:
    """Prefixes part sessions from caches, not the number of a database."""
    app = Flask("shop")
    app.secret_key = "a secret of the application"
    app.add_url_rule("/set", "set", lambda: flask.session.update(user="ann") or "set")
    app.add_url_rule("/", "show", lambda: flask.session.get("user", "nobody"))
    manager = CacheManager(Settings(base_folder=tmp_path, session_type="redis", **redis_cluster.settings()))
    if who == "proposal":
        node = redis_cluster.primaries[0]
        app.session_interface = RedisSessions(redis.Redis(host=HOST, port=node.port, db=operations.SESSION_DATABASE))
    else:
        CacheSessions(app, manager=manager)
    visitor = app.test_client()
    visitor.get("/set")
    attack.tried(succeeded=visitor.get("/").text != "ann")
    manager.close()


@pytest.fixture(params=SUBJECTS)
def thief(
    request: pytest.FixtureRequest, start_server: Callable[..., ServerProcess]
) -> Iterator[Callable[..., object]]:
    """Somebody who has the application's password, on a server that is set up as either side's guide has it."""
    if request.param == "proposal":
        server = start_server("redis", operations.REDIS_CONF, login=Login(username=None, password=PASSWORD))
        login = {"password": PASSWORD}
    else:
        server = start_server("redis", users=users(), login=LOGIN)
        login = {"username": LOGIN.username or "", "password": LOGIN.password}
    server.ask("SET", "others:secret", "theirs")
    with closing(redis.Redis(host=HOST, port=server.port, socket_timeout=10, **login)) as client:  # type: ignore[arg-type]
        client.ping()
        yield client.execute_command


@pytest.mark.attack("19", "a command that the application has no need of")
def test_19_rights_of_the_application(thief: Callable[..., object], attack: Attack) -> None:
    """The password opens the caches' own keys, with the commands that caches need."""
    for command in ABUSES:
        try:
            thief(*command)
            done = True
        except redis.exceptions.NoPermissionError:
            done = False
        except redis.ConnectionError:  # it is shut down
            done = command[0] == "SHUTDOWN"
        attack.tried(succeeded=done, what=command)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
@pytest.mark.attack("19", "the password in the list of processes")
@pytest.mark.parametrize("who", SUBJECTS)
def test_19_password_in_the_list_of_processes(tmp_path: Path, attack: Attack, who: str) -> None:
    """Every user of a machine can read what a program was started with."""
    environment = os.environ | {"REDIS_HOST": HOST, "REDIS_PORT": "1", "REDIS_PASSWORD": PASSWORD}
    command = [sys.executable, "-m", "openalgo_cache.cli", "doctor"]
    if who == "proposal":  # what the shell makes of it, with a program that waits in the place of redis-cli
        words = operations.TEST_CONNECTION.replace("redis-cli", f"{sys.executable} -c input()")
        command = words.replace("$REDIS_PASSWORD", PASSWORD).split()
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **quiet) as process:  # type: ignore[call-overload]
        seen: list[str] = []

        def look() -> bool:
            seen.extend(path.read_bytes().decode() for path in Path("/proc").glob(f"{process.pid}/cmdline"))
            return process.poll() is not None or (len(seen) > 20 and "python" in seen[-1])

        wait_until(look, "the program to be started")
        process.kill()
    assert any("python" in line for line in seen)
    attack.tried(succeeded=any(PASSWORD in line for line in seen))


@pytest.mark.attack("19", "a guide that puts the password on a command line")
@pytest.mark.parametrize("who", SUBJECTS)
def test_19_no_guide_shows_the_password(attack: Attack, who: str) -> None:
    """What people are told to type, they type."""
    texts = [operations.TEST_CONNECTION]
    if who == "ours":
        pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*")]
        texts = [page.read_text(encoding="utf-8") for page in pages if page.is_file()]
        assert len(texts) > 10
    pattern = re.compile(r"(redis|valkey)-cli\b[^\n`]*\s(-a|--pass)\s")
    attack.tried(succeeded=any(pattern.search(text) for text in texts), times=len(texts))

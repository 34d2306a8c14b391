"""Weak points 10 and 11: what was revoked, or changed elsewhere, and is served all the same."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from openalgo_cache import CacheError
from tests.faults.disks import SmallDisk
from tests.redis.near_workers import is_near
from tests.security.attack import Attack
from tests.security.conftest import SUBJECTS
from tests.security.proposal.instances import CHANNEL, Instance
from tests.security.subjects import OnFile, OnServer
from tests.servers.process import DEADLINE, HOST, ServerProcess, wait_until
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.server

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
BYPASS = 2.5
"""Seconds after which nothing near may be served on a line that is dead: 2, and what the machine takes."""


# 10: what is deleted stays deleted, also if the store could not be told


def revoke(cache: Any) -> None:
    """Delete Ann's token, as well as that can be done now; the caller is told if it can't."""
    with pytest.raises((CacheError, sqlite3.Error, redis.RedisError)):
        cache.delete("ann")


@pytest.mark.attack("10", "a delete on a full disk, then a restart")
@pytest.mark.parametrize("who", SUBJECTS)
def test_10_revocation_on_a_full_disk(tmp_path: Path, attack: Attack, who: str) -> None:
    """The token is served neither now, nor by the next process, nor when there is space again."""
    (tmp_path / who).mkdir()
    try:
        small = SmallDisk(tmp_path / who / "db")
    except OSError as error:
        pytest.skip(str(error))
    with small, closing(OnFile(who, tmp_path)) as subject:
        subject.cache("auth").set("ann", "token of ann")
        subject.cache("auth").set("bob", "token of bob")
        small.fill()
        revoke(subject.cache("auth"))
        attack.tried(succeeded=subject.cache("auth").get("ann") is not None, what="at once")
        subject.restart()
        attack.tried(succeeded=subject.cache("auth").get("ann") is not None, what="after a restart")
        small.free()
        attack.tried(succeeded=subject.cache("auth").get("ann") is not None, what="with space again")
        assert subject.cache("auth").get("bob") == "token of bob"


@pytest.mark.attack("10", "a delete while Redis is down, then a restart")
@pytest.mark.parametrize("who", SUBJECTS)
@pytest.mark.parametrize("restarts", [False, True])
def test_10_revocation_while_the_server_is_down(
    tmp_path: Path, start_server: Callable[..., ServerProcess], attack: Attack, who: str, *, restarts: bool
) -> None:
    """The server comes back with all that it had; the token is not served from it."""
    server = start_server("redis", DURABLE)
    with closing(OnServer(who, tmp_path, server)) as subject:
        subject.cache("auth").set("ann", "token of ann")
        subject.cache("auth").set("bob", "token of bob")
        server.kill()
        revoke(subject.cache("auth"))
        if restarts:
            subject.restart()
        server.start()
        found = []

        def is_back() -> bool:
            found.append(subject.cache("auth").get("ann"))
            return bool(subject.cache("auth").get("bob") == "token of bob")

        wait_until(is_back, "the server to be found again")
        attack.tried(succeeded=found != [None] * len(found), times=len(found) if who == "ours" else 1)


# 11: what one instance changes, the others do not serve, nor delete


@contextmanager
def instances(who: str, folder: Path, server: ServerProcess, port: int | None = None, **more: Any) -> Iterator[Any]:
    """Start two instances, whose copies are of a value ``old``; the second is reached through ``port``."""
    server.ask("FLUSHALL")
    with ExitStack() as stack:
        first, second = (stack.enter_context(closing(OnServer(who, folder, server, at=at))) for at in (None, port))
        first.cache("quotes").set("key", "old")
        one, two = first.cache("quotes"), second.cache("quotes")
        if who == "proposal":
            places = (server.port, port or server.port)
            clients = [redis.Redis(host=HOST, port=place, health_check_interval=1) for place in places]
            one, two = (
                stack.enter_context(closing(Instance(cache, client, **more)))
                for cache, client in zip((one, two), clients, strict=True)
            )
            assert two.get("key") == "old"
        else:
            wait_until(lambda: two.get("key") == "old" and is_near(two, "key"), "the value to be near")
        yield one, two, first


@pytest.mark.attack("11", "a message that deletes what was just written")
@pytest.mark.parametrize("who", SUBJECTS)
def test_11_a_message_ends_copies_alone(tmp_path: Path, redis_server: ServerProcess, attack: Attack, who: str) -> None:
    """When the other instance has heard of a change, the new value is still in the store."""
    with instances(who, tmp_path, redis_server) as (one, two, subject):
        one.set("key", "new")
        if who == "proposal":
            assert two.handled.wait(10)
        else:
            wait_until(lambda: two.get("key") != "old", "the change to be heard")
        attack.tried(succeeded=subject.read("quotes", "key") is None)


@pytest.mark.attack("11", "a forged message that deletes")
@pytest.mark.parametrize("who", SUBJECTS)
def test_11_forged_message(tmp_path: Path, redis_server: ServerProcess, attack: Attack, who: str) -> None:
    """Who may publish, and nothing else, can take no value from the store."""
    with instances(who, tmp_path, redis_server) as (_, two, subject):
        message = json.dumps({"cache": "quotes", "key": "key"})
        for channel in (CHANNEL, "openalgo:!changes", "__redis__:invalidate", "__keyspace@0__:openalgo:quotes:key"):
            redis_server.ask("PUBLISH", channel, message)
            if who == "proposal":
                assert two.handled.wait(10)
                wait_until(lambda: subject.read("quotes", "key") is None, "the deletion")
            attack.tried(succeeded=subject.read("quotes", "key") is None, what=channel)
            if who == "proposal":
                break
        assert (two.get("key") == "old") is (who == "ours")


@pytest.mark.attack("11", "an instance that never hears of a change")
@pytest.mark.parametrize("who", SUBJECTS)
def test_11_changes_are_heard(tmp_path: Path, redis_server: ServerProcess, attack: Attack, who: str) -> None:
    """``listen(callback)`` is none of redis-py's; what an instance changes is not old for ever in the others."""
    letter = {"to_the_letter": True} if who == "proposal" else {}
    with instances(who, tmp_path, redis_server, **letter) as (one, two, _):
        one.set("key", "new")
        deadline = time.monotonic() + (1.0 if who == "proposal" else DEADLINE)
        while (found := two.get("key")) == "old" and time.monotonic() < deadline:
            time.sleep(0.01)
        attack.tried(succeeded=found == "old")


@pytest.mark.attack("11", "a line that is dead, unnoticed")
@pytest.mark.parametrize("who", SUBJECTS)
def test_11_dead_line(tmp_path: Path, redis_server: ServerProcess, attack: Attack, who: str) -> None:
    """Nothing near is served 2 s after the last byte was heard, and nothing old when the line is whole again."""
    with (
        Proxy(redis_server.port) as line,
        instances(who, tmp_path, redis_server, line.port) as (one, two, _),
    ):
        line.cut()
        one.set("key", "new")
        cut = time.monotonic()
        while two.get("key") == "old" and time.monotonic() - cut < BYPASS:
            time.sleep(0.01)
        attack.tried(succeeded=two.get("key") == "old", what="behind the cut")
        line.heal()
        if who == "ours":
            found = []

            def is_new() -> bool:
                found.append(two.get("key"))
                return bool(found[-1] == "new")

            wait_until(is_new, "the new value")
            attack.tried(succeeded="old" in found, what="when it is whole again", times=len(found))

"""A server is killed while something is deleted, and comes back with what it had: nobody is served it again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from openalgo_cache.cache import Cache
from openalgo_cache.errors import BackendUnavailableError
from tests.faults.processes import Process
from tests.servers.process import ServerProcess
from tests.stacks import manager

pytestmark = pytest.mark.server

DURABLE: Final = {"appendonly": "yes", "appendfsync": "always"}
BRANDS: Final = pytest.mark.parametrize("brand", ["redis", "valkey"])
PATIENCE: Final = 10.0

OTHER: Final = """
import json, sys
from pathlib import Path
from openalgo_cache.errors import BackendUnavailableError
from tests.stacks import manager
cache = manager(Path(sys.argv[1]), **json.loads(sys.argv[2])).get_cache("auth")
while line := sys.stdin.readline().split():
    try:
        print(getattr(cache, line[0])(*line[1:]), flush=True)
    except BackendUnavailableError as error:
        print("noted" if "noted, and not served" in str(error) else error, flush=True)
"""


def settings(server: ServerProcess, brand: str) -> dict[str, Any]:
    """Return the settings of a manager on a server."""
    return {"backend": brand, **server.settings(brand)}


def read_until_it_is_back(cache: Cache) -> None:
    """Read until the server answers again; what was to be deleted is never served meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while cache.get("other") != "good":
        assert cache.get("key") is None
        assert time.monotonic() < deadline, "the server was not found again"
        time.sleep(0.005)
    assert cache.get("key") is None


@BRANDS
@pytest.mark.parametrize("verb", ["delete", "pop", "clear"])
def test_a_server_is_killed_and_comes_back(
    tmp_path: Path, start_server: Callable[..., ServerProcess], brand: str, verb: str
) -> None:
    """The delete is carried out before anything else is read, by whoever reads first."""
    server = start_server(brand, DURABLE)
    house = manager(tmp_path, **settings(server, brand))
    cache = house.get_cache("auth")
    cache.set_many({"key": "revoked", "other": "good"}, ttl=1000)
    assert cache.get("key") == cache.get("key") == "revoked"
    server.kill()
    with pytest.raises(BackendUnavailableError, match="noted, and not served"):
        cache.clear() if verb == "clear" else getattr(cache, verb)("key")
    assert cache.get("key") is None
    server.start()
    if verb == "clear":
        deadline = time.monotonic() + PATIENCE
        while cache.stats()["pending_deletes"]:
            assert cache.get("key") is cache.get("other") is None
            assert time.monotonic() < deadline, "the server was not found again"
            time.sleep(0.005)
        assert cache.size() == 0
    else:
        read_until_it_is_back(cache)
        assert cache.stats()["pending_deletes"] == 0
        assert cache.size() == 1
    cache.set("key", "fresh", ttl=1000)
    assert cache.get("key") == "fresh"
    house.close()


@BRANDS
def test_whoever_lost_the_delete_is_killed_too(
    tmp_path: Path, start_server: Callable[..., ServerProcess], brand: str
) -> None:
    """Another process, whose near tier had the key, and one that starts later both know."""
    server = start_server(brand, DURABLE)
    of_the_server = settings(server, brand)
    told = json.dumps(of_the_server)
    house = manager(tmp_path, **of_the_server)
    cache = house.get_cache("auth")
    cache.set_many({"key": "revoked", "other": "good"}, ttl=1000)
    with Process(OTHER, tmp_path, told) as loser:
        assert loser.ask("get key") == cache.get("key") == cache.get("key") == "revoked"
        server.kill()
        assert loser.ask("delete key") == "noted"
        assert cache.get("key") is None
        loser.kill()
    server.start()
    read_until_it_is_back(cache)
    assert cache.stats()["pending_deletes"] == 0
    with Process(OTHER, tmp_path, told) as later:
        assert later.ask("get other") == "good"
        assert later.ask("get key") == "None"
    house.close()


@BRANDS
def test_a_server_that_is_full_can_delete(
    tmp_path: Path, start_server: Callable[..., ServerProcess], brand: str
) -> None:
    """Without room for writes deletes work on, and none is lost."""
    server = start_server(brand, {"maxmemory": "3mb", "maxmemory-policy": "noeviction"})
    house = manager(tmp_path, **settings(server, brand))
    cache = house.get_cache("auth")
    cache.set("key", "revoked", ttl=1000)
    with server.client() as client:
        client.config_set("maxmemory", "1mb")
    cache.set("other", "x" * 100_000, ttl=1000)
    assert cache.get("other") is None
    assert cache.delete("key")
    assert cache.get("key") is None
    assert cache.stats()["pending_deletes"] == 0
    house.close()

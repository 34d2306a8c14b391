"""Weak point 9: which store an installation trusts, and what it does when that store refuses it or is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import BackendMisconfiguredError, CacheManager, Settings
from openalgo_cache.settings import server as server_settings
from tests.faults.processes import Process
from tests.security.attack import Attack
from tests.security.conftest import SUBJECTS
from tests.security.proposal import configuration
from tests.security.proposal.manager import SecureCacheManager
from tests.servers.process import HOST, Login, ServerProcess

pytestmark = pytest.mark.server

USED_BEFORE_IT_IS_CONFIGURED = """
import os, sys
from openalgo_cache import configure_cache_environment, get_cache
one, other = get_cache("one"), get_cache("other")
os.environ |= {"CACHE_BACKEND": "sqlite", "SQLITE_CACHE_PATH": sys.argv[1]}
configure_cache_environment()
one.set("key", "value")
print(other.get("key"), one.get("key"))
"""


@contextmanager
def started(who: str, folder: Path, **settings: Any) -> Iterator[Any]:
    """Start an installation as the application does, and yield its manager."""
    home = folder / who
    home.mkdir(exist_ok=True)
    house: Any
    if who == "proposal":
        environment = {name.upper(): str(value) for name, value in settings.items()}
        configuration.configure_cache_environment(environment)
        configuration.validate_cache_configuration(environment)
        house = SecureCacheManager(home, environment)
    else:
        house = CacheManager(Settings(base_folder=home, **settings))
    yield house
    house.close()


def works(cache: Any) -> bool:
    """Return whether a value can be stored and read again."""
    with suppress(BackendMisconfiguredError):
        cache.set("key", "value")
        return bool(cache.get("key") == "value")
    return False


@pytest.mark.attack("09", "a Redis that appears where nobody configured one")
@pytest.mark.parametrize("who", SUBJECTS)
def test_09_server_that_appears(
    tmp_path: Path,
    start_server: Callable[..., ServerProcess],
    monkeypatch: pytest.MonkeyPatch,
    attack: Attack,
    who: str,
) -> None:
    """Whoever holds the usual port tomorrow neither hides yesterday's entries nor gets tomorrow's."""
    server = start_server("redis")
    monkeypatch.setitem(server_settings._UNCONFIGURED, "port", server.port)  # the usual port, for once
    server.stop()
    with started(who, tmp_path, redis_port=server.port) as house:
        house.get_cache("settings").set("analyze_mode", True)
    server.start()
    with started(who, tmp_path, redis_port=server.port) as house:
        hidden = house.get_cache("settings").get("analyze_mode") is not True
        house.get_cache("settings").set("analyze_mode", True)
    attack.tried(succeeded=hidden or server.ask("DBSIZE") > 0)


@pytest.mark.attack("09", "a wrong password taken for a server that is away")
@pytest.mark.parametrize("who", SUBJECTS)
@pytest.mark.parametrize("named", [True, False])
def test_09_wrong_password(
    tmp_path: Path, start_server: Callable[..., ServerProcess], attack: Attack, who: str, *, named: bool
) -> None:
    """A server that refuses us is a mistake of the configuration, not a reason to store elsewhere."""
    server = start_server("redis", login=Login(username=None, password="right"))
    settings = {"redis_host": HOST, "redis_port": server.port, "redis_password": "wrong"}
    with started(who, tmp_path, **settings, **({"cache_backend": "redis"} if named else {})) as house:
        attack.tried(succeeded=works(house.get_cache("settings")))


@pytest.mark.attack("09", "several instances, each falling back to a store of its own")
@pytest.mark.parametrize("who", SUBJECTS)
def test_09_no_fallback_with_several_instances(
    tmp_path: Path, start_server: Callable[..., ServerProcess], attack: Attack, who: str
) -> None:
    """With several instances there is one store: without it there is none."""
    server = start_server("redis")
    server.stop()
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("A" * 43 + "=")
    settings: dict[str, Any] = {"cache_backend": "redis", "redis_host": HOST, "redis_port": server.port}
    settings |= {"multi_instance_mode": True, "instance_id": "instance-1", "cache_key_file": key}
    with started(who, tmp_path, **settings) as house:
        attack.tried(succeeded=works(house.get_cache("settings")))
    if who == "ours":
        assert not list(tmp_path.rglob("*.db"))


@pytest.mark.attack("09", "a cache that is asked for before it is configured")
@pytest.mark.parametrize("who", SUBJECTS)
def test_09_asked_for_before_it_is_configured(tmp_path: Path, attack: Attack, who: str) -> None:
    """A handle from import time uses what is configured by the time it is used; caches are not mixed up."""
    if who == "proposal":
        environment: dict[str, str] = {"REDIS_PORT": "1"}
        house = SecureCacheManager(tmp_path, environment)
        configuration.configure_cache_environment(environment)
        house.get_cache("one").set("key", "value")
        found = f"{house.get_cache('other').get('key')} {house.get_cache('one').get('key')}"
        house.close()
    else:
        with Process(USED_BEFORE_IT_IS_CONFIGURED, tmp_path / "cache", cwd=tmp_path) as process:
            found = process.hear()
    attack.tried(succeeded=found != "None value", what=found)

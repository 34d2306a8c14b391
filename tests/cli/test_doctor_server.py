"""doctor and servers: a careless one shows all that is wrong with it, one set up as the guide says shows nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from openalgo_cache import CacheManager
from openalgo_cache.backends.resp.rights import acl_line
from openalgo_cache.cli.checks import server as checks
from openalgo_cache.cli.serverlook import Seen, look_at
from openalgo_cache.errors import BackendMisconfiguredError
from openalgo_cache.settings import Settings
from tests.cli.conftest import Ran, Run
from tests.servers.process import HOST, Login, ServerProcess, free_port, wait_until
from tests.servers.programs import Brand, require

pytestmark = pytest.mark.server

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy" / "redis"
BRANDS: Final[tuple[Brand, ...]] = ("redis", "valkey")
CARELESS: Final[dict[str, str | list[str]]] = {
    "bind": "* -::*",
    "protected-mode": "no",
    "maxmemory": "50mb",
    "maxmemory-policy": "allkeys-lru",
}


def environment(settings: dict[str, Any]) -> dict[str, str]:
    """Return settings as variables."""
    values = {
        name.upper(): str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()
    }
    return values | {"CACHE_BACKEND": next(iter(settings)).partition("_")[0]}


def found(ran: Ran) -> dict[str, str]:
    """Return how the checks of the server ended, the worst of each."""
    return {one["check"]: one["status"] for one in reversed(ran.json["checks"]) if one["check"].startswith("server")}


def judged(seen: Seen, judge: Callable[[Seen], Iterator[Any]]) -> list[str]:
    """Return how a judge judges."""
    return [one["status"] for one in judge(seen)]


@pytest.mark.parametrize("brand", BRANDS)
def test_a_careless_server(brand: Brand, start_server: Callable[..., ServerProcess], run: Run) -> None:
    """Everything is found, and each finding has its fix; nothing is changed there."""
    server = start_server(brand, CARELESS)
    ran = run("doctor", "--json", **environment(server.settings()))
    assert found(ran) == {
        "server": "ok",
        "server login": "error",
        "server rights": "warning",
        "server encryption": "ok",  # the line of this test does not leave the machine
        "server exposure": "error",
        "server persistence": "warning",
        "server memory": "error",
        "server clock": "ok",
    }
    assert ran.code == 5
    assert all(one["fix"] for one in ran.json["checks"] if one["status"] != "ok")
    assert server.ask("DBSIZE") == 0


@pytest.mark.parametrize("brand", BRANDS)
def test_a_server_that_only_its_machine_reaches(
    brand: Brand, start_server: Callable[..., ServerProcess], run: Run
) -> None:
    """It may do without a password, which is a warning; and a policy that spares state is none."""
    options: dict[str, str | list[str]] = {"appendonly": "yes", "maxmemory": "50mb", "maxmemory-policy": "noeviction"}
    ran = run("doctor", "--json", **environment(start_server(brand, options).settings()))
    states = found(ran)
    assert (states["server login"], states["server exposure"], states["server memory"]) == ("warning", "ok", "ok")
    assert states["server persistence"] == "warning"
    assert ran.code == 0


class Deployed:
    """A server with the files of ``deploy/redis``, its certificates from the script that is there."""

    def __init__(self, brand: Brand, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.fail("there is no openssl") if os.environ.get("CI") else pytest.skip("there is no openssl")
        self.certificates = folder / "certificates"
        subprocess.run(
            [DEPLOY / "make-certificates.sh", self.certificates, "localhost", HOST], check=True, capture_output=True
        )
        acl = (DEPLOY / "users.acl").read_text(encoding="utf-8")
        acl = acl.replace("ADMINISTRATORS_PASSWORD", "of-the-administrator").replace(">PASSWORD", ">of-the-caches")
        (folder / "users.acl").write_text(acl, encoding="utf-8")
        self.port = free_port()
        lines = (DEPLOY / "hardened.conf").read_text(encoding="utf-8")
        lines = lines.replace("CERTIFICATES", str(self.certificates)).replace("USERS_ACL", str(folder / "users.acl"))
        lines = lines.replace("tls-port 6379", f"tls-port {self.port}") + f"dir {folder}\n"
        (folder / "server.conf").write_text(lines, encoding="utf-8")
        with (folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen([require(brand).path, folder / "server.conf"], stdout=log, stderr=log)
        wait_until(lambda: "Ready to accept" in (folder / "server.log").read_text(encoding="utf-8"), "the server")
        self.settings: dict[str, Any] = {
            f"{brand}_host": "localhost",
            f"{brand}_port": self.port,
            f"{brand}_username": "openalgo",
            f"{brand}_password": "of-the-caches",
            f"{brand}_tls": True,
            f"{brand}_tls_ca": self.certificates / "ca.crt",
            f"{brand}_tls_cert": self.certificates / "client.crt",
            f"{brand}_tls_key": self.certificates / "client.key",
        }

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def deployed(server_folder: Callable[[], Path]) -> Iterator[Deployed]:
    """A server as the guide has it; the Valkey of the tests was built without TLS."""
    server = Deployed("redis", server_folder())
    yield server
    server.stop()


def test_a_server_as_the_guide_has_it(deployed: Deployed, run: Run, tmp_path: Path) -> None:
    """The doctor has nothing to say; caches work; nobody gets in without TLS, a certificate or the password."""
    brand = next(iter(deployed.settings)).partition("_")[0]
    ran = run("doctor", "--json", **environment(deployed.settings))
    assert set(found(ran).values()) == {"ok"}, ran.out
    assert len(found(ran)) == 8
    assert any("cannot be told with our rights" in one["what"] for one in ran.json["checks"])

    def use(**other: Any) -> object:
        given = {f"{brand}_{name}": value for name, value in other.items()}
        house = CacheManager(Settings(base_folder=tmp_path, cache_backend=brand, **deployed.settings | given))
        cache = house.get_cache("running_strategies")
        try:
            cache.set("key", {"a": 1})
            return cache.get("key")
        finally:
            house.close()

    assert use() == {"a": 1}
    for wrong in (
        {"tls": False, "tls_ca": None, "tls_cert": None, "tls_key": None},
        {"tls_cert": None, "tls_key": None},
        {"tls_ca": None},
        {"password": "wrong"},
        {"username": None, "password": None},
    ):
        with pytest.raises(BackendMisconfiguredError):
            use(**wrong)


def test_the_private_keys_are_private(deployed: Deployed) -> None:
    """From their first byte, since the script's umask says so; and it replaces nothing."""
    keys = list(deployed.certificates.glob("*.key"))
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    before = {path.name: path.read_bytes() for path in deployed.certificates.iterdir()}
    subprocess.run(
        [DEPLOY / "make-certificates.sh", deployed.certificates, "localhost"], check=True, capture_output=True
    )
    assert {path.name: path.read_bytes() for path in deployed.certificates.iterdir()} == before


def test_what_a_look_cannot_show(start_server: Callable[..., ServerProcess]) -> None:
    """Clocks that differ, other machines, second ports, replicas: judged by what would be seen."""
    server = start_server("redis")
    (seen,) = look_at(Settings(**server.settings()).server("redis"))
    assert seen.ahead is not None
    assert abs(seen.ahead) < 1
    assert (
        judged(replace(seen, ahead=1.5), checks.clock) == judged(replace(seen, ahead=-9.0), checks.clock) == ["warning"]
    )
    assert judged(replace(seen, ahead=None), checks.clock) == ["ok"]
    away = replace(seen, local=False)
    assert judged(away, checks.encryption) == ["warning"]
    assert judged(away, checks.login) == ["error"]
    tls = replace(seen, server=replace(seen.server, tls=True), address="host:6380")
    assert judged(tls, checks.encryption) == ["warning"], "the other port is open, too"
    assert judged(replace(seen, info={**seen.info, "role": "slave"}), checks.replicas) == ["error"]
    cluster = replace(seen, server=replace(seen.server, cluster=True), info={"connected_slaves": "0"})
    assert judged(cluster, checks.replicas) == ["warning", "warning"]
    blind = replace(seen, info={}, config=None, user=None, administers=False, reads_others=False)
    for judge in (checks.version, checks.exposure, checks.persistence, checks.memory, checks.rights):
        assert judged(blind, judge) == ["ok"]
    assert judged(replace(blind, reads_others=True), checks.rights) == ["warning"]
    assert judged(replace(seen, info={"redis_version": "5.0.14"}), checks.version) == ["error"]
    full = {**seen.info, "maxmemory": "100", "used_memory": "99", "maxmemory_policy": "noeviction"}
    assert judged(replace(seen, info=full), checks.memory) == ["warning"]
    failing = {**seen.info, "aof_enabled": "1", "aof_last_write_status": "err"}
    assert judged(replace(seen, info=failing), checks.persistence) == ["error"]


def test_a_server_that_refuses_us(start_server: Callable[..., ServerProcess], run: Run) -> None:
    """The doctor says so, and goes on with the rest; without the password."""
    server = start_server("redis", login=Login(username=None, password="a-password"))
    ran = run(
        "doctor", "--json", **environment(server.settings() | {"redis_username": "", "redis_password": "a-wrong-one"})
    )
    assert ran.code == 5
    assert "a-wrong-one" not in ran.out + ran.err


def test_the_rights_are_the_same_everywhere() -> None:
    """The code's list, the page's line, and the file to deploy."""
    line = acl_line("openalgo", "PASSWORD")
    page = (ROOT / "docs" / "redis.md").read_text(encoding="utf-8")
    assert re.findall(r"^user .*", page, re.MULTILINE) == [line]
    assert line in (DEPLOY / "users.acl").read_text(encoding="utf-8").splitlines()

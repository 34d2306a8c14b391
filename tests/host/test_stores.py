"""The stores of Compose, natively: the files of ``deploy`` for Redis, Valkey and PostgreSQL, and hosts on them."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from openalgo_cache import CacheManager, Settings
from openalgo_host.administrator import ensure_administrator, renew_credentials
from openalgo_host.application import create_app
from openalgo_host.database import url_of
from openalgo_host.host import Host
from tests.deploy.composed import DEPLOY, composed
from tests.servers.postgres import PostgresProcess
from tests.servers.process import HOST, free_port, wait_until
from tests.servers.programs import Brand, require

pytestmark = pytest.mark.server

IN_THE_CONTAINER = "/run/secrets/"
_NUMBERS: Final = itertools.count()


@pytest.fixture(scope="module")
def secrets(server_folder: Callable[[], Path]) -> Path:
    """What the script makes."""
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root can give files to the user of the image")
    if shutil.which("openssl") is None:
        pytest.fail("there is no openssl") if os.environ.get("CI") else pytest.skip("there is no openssl")
    folder = server_folder() / "secrets"
    subprocess.run([DEPLOY / "make-secrets.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def service(secrets: Path, postgres: PostgresProcess, tmp_path: Path) -> Path:
    """The file that leads to a database and a user as the script for the administrator has made them."""
    name = f"deployed_{next(_NUMBERS)}"  # in the place of openalgo: so the tests' server calls its own administrator
    psql = shutil.which("psql")
    assert psql is not None, "Debian's postgresql brings it"
    administrator = ["-h", HOST, "-p", str(postgres.port), "-U", "openalgo", "postgres"]
    subprocess.run(
        [psql, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", *administrator],
        input=(DEPLOY / "postgresql" / "roles.sql").read_text(encoding="utf-8").replace("openalgo", name),
        env={**os.environ, "DATABASE_PASSWORD_FILE": str(secrets / "database_password")},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = (secrets / "pg_service.conf").read_text(encoding="utf-8")
    lines = lines.replace("host=postgres", f"host={HOST}").replace("port=5432", f"port={postgres.port}")
    path = tmp_path / "pg_service.conf"
    path.write_text(lines.replace("=openalgo", f"={name}"), encoding="utf-8")
    return path


class Store:
    """A server with the configuration of Compose."""

    def __init__(self, brand: Brand, folder: Path, secrets: Path) -> None:
        self.brand = brand
        self.port = free_port()
        lines = (DEPLOY / "redis" / "container.conf").read_text(encoding="utf-8")
        for there, here in (
            ("bind * -::*", f"bind {HOST}"),
            ("port 6379", f"port {self.port}"),
            (IN_THE_CONTAINER, f"{secrets}/"),
            ("dir /data", f"dir {folder}"),
        ):
            assert there in lines
            lines = lines.replace(there, here)
        (folder / "server.conf").write_text(lines, encoding="utf-8")
        with (folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen([require(brand).path, folder / "server.conf"], stdout=log, stderr=log)
        password = (secrets / "cache_administrator_password").read_text(encoding="utf-8").strip()
        self.administrator = redis.Redis(HOST, self.port, username="administrator", password=password)
        wait_until(lambda: "Ready to accept" in (folder / "server.log").read_text(encoding="utf-8"), "the server")

    def stop(self) -> None:
        """End it."""
        self.administrator.close()
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(params=["redis", "valkey"])
def store(request: pytest.FixtureRequest, server_folder: Callable[[], Path], secrets: Path) -> Iterator[Store]:
    """A Redis, and a Valkey."""
    server = Store(request.param, server_folder(), secrets)
    yield server
    server.stop()


Join = Callable[[str], Host]


@pytest.fixture
def join(store: Store, secrets: Path, service: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Join]:
    """Open instances with the variables that Compose gives them."""
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    for name in ("ring", "cache.env"):  # which belong to the user that the image has
        shutil.chown(secrets / name, 0)
    more = ["compose.valkey.yaml"] if store.brand == "valkey" else []
    services = composed(*more)["services"]
    opened: list[Host] = []

    def run(name: str) -> Host:
        variables = {
            key: value.replace(IN_THE_CONTAINER, f"{secrets}/") for key, value in services[name]["environment"].items()
        }
        variables |= {"REDIS_HOST": HOST, "REDIS_PORT": str(store.port), "REDIS_PLAINTEXT_HOSTS": ""}
        settings = Settings.from_environment(variables, dotenv=Path(variables["OPENALGO_CACHE_ENV_FILE"]))
        folder = tmp_path / name
        folder.mkdir()
        settings = replace(settings, sqlite_cache_path=folder / "cache")
        opened.append(Host.open(settings, time.time, variables["DATABASE_URL"]))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def test_instances_need_no_more_rights_than_they_have(join: Join, store: Store, contract: Path) -> None:
    """Sessions, orders, limits, revocation, symbols, state and locks: the server has refused nothing."""
    first, second = join("instance-1"), join("instance-2")
    assert first.manager.choice().backend == store.brand
    first.symbols.import_master(contract)
    second.symbols.synchronise()
    assert second.symbols.count() == first.symbols.count() > 0

    shown: list[str] = []
    ensure_administrator(first, shown.append)
    _, password, key = re.findall(r": (\S+)", shown[0])
    browser, other = (create_app(one).test_client() for one in (first, second))
    token = re.findall(r'name="token" value="([^"]+)"', browser.get("/login").text)[0]
    assert browser.post("/login", data={"name": "admin", "password": password, "token": token}).status_code == 303
    cookie = browser.get_cookie("openalgo_session")
    assert cookie is not None
    other.set_cookie("openalgo_session", cookie.value)
    assert other.get("/symbols").status_code == 200

    order = {"apikey": key, "strategy": "test", "symbol": "RELIANCE", "exchange": "NSE", "action": "BUY"}
    order |= {"quantity": "1", "pricetype": "MARKET", "product": "MIS"}
    assert [one.post("/api/v1/placeorder", json=order).status_code for one in (browser, other)] == [200, 200]
    renew_credentials(first, shown.append)  # which ends the old key everywhere
    wait_until(lambda: other.post("/api/v1/ping", json={"apikey": key}).status_code == 403, "the other to hear of it")

    for host, name in ((first, "one"), (second, "two")):
        with closing(CacheManager(replace(host.settings, cache_access_rules=None))) as manager:
            state = manager.get_cache("running_strategies")
            with state.lock("a strategy", ttl=5):
                state.set("a strategy", {"owner": name})
            manager.get_cache("strategy_configs").set("a strategy", {"name": "one"}, tags=("user:1",))
            manager.get_cache("auth").get_or_set("a user", lambda: "a token")
            manager.get_cache("auth").clear()
    assert store.administrator.acl_log() == []
    assert store.administrator.config_get("append*")["appendfsync"] == "always"


def test_the_database_user_may_do_what_it_needs_alone(join: Join) -> None:
    """It makes the host's tables, and neither users nor databases, nor does it get into others."""
    join("instance-1").database.check()
    engine = create_engine(url_of("postgresql:///?service=openalgo", Path()))
    statements = ("CREATE ROLE another", "CREATE DATABASE another", "COPY users TO PROGRAM 'true'", "SET ROLE openalgo")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            with pytest.raises(ProgrammingError, match=r"permission denied|must be"):
                connection.execute(text(statement))
    engine.dispose()

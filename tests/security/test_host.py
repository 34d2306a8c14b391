"""Weak points 13 and 20: several instances that do a thing each, and what strangers and balancers make of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from openalgo_cache import Settings
from openalgo_cache.clock import system_clock
from openalgo_host.application import create_app
from openalgo_host.database import Database, url_of
from openalgo_host.host import Host
from openalgo_host.leases import Leases, check
from tests.host.conftest import cheap_passwords, token_in
from tests.security.attack import Attack
from tests.security.conftest import SUBJECTS
from tests.security.proposal import application
from tests.security.proposal.manager import SecureCacheManager
from tests.servers.process import ServerProcess

pytestmark = pytest.mark.server

__all__ = ["cheap_passwords"]  # a fixture, used by its name


class Instance:
    """One instance of an application on a shared Redis, and a stranger's browser.

    Args:
        who: Whose application.
        folder: What instances of one host share.
        server: The server.
        session_type: Where ours keeps its sessions.
    """

    def __init__(self, who: str, folder: Path, server: ServerProcess, session_type: str = "redis") -> None:
        self.who = who
        self.server = server
        if who == "proposal":
            environment = {name.upper(): str(value) for name, value in server.settings().items()}
            folder.mkdir(exist_ok=True)
            house = SecureCacheManager(folder, environment | {"CACHE_BACKEND": "redis"})
            self.app: Flask = application.create_app(house.get_cache, lambda: None)
            self.close: Callable[[], None] = house.close
        else:
            there = {"cache_backend": "redis", "session_type": session_type, **server.settings()}
            settings = Settings(base_folder=folder, **there)
            host = Host.open(settings, system_clock)
            self.app, self.close = create_app(host), host.close
        self.browser: FlaskClient = self.app.test_client()

    def ask(self) -> Any:
        """Return the answer to what a balancer asks."""
        return self.browser.get("/health" if self.who == "proposal" else "/readyz")

    def guess(self) -> int:
        """Try a password, and return the status of the answer."""
        fields = {"name": "admin", "password": "guessed"}
        if self.who == "ours":
            fields["token"] = token_in(self.browser.get("/login"))
        return self.browser.post("/login", data=fields).status_code


@pytest.fixture(params=SUBJECTS)
def start(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: ServerProcess, cheap_passwords: None
) -> Iterator[Callable[..., Instance]]:
    """Start an instance: ``start()``, or on a server of one's own."""
    with ExitStack() as stack:

        def start_one(server: ServerProcess = redis_server) -> Instance:
            instance = Instance(request.param, tmp_path / "home", server)
            stack.callback(instance.close)
            return instance

        redis_server.ask("FLUSHALL")
        yield start_one


def at_nine_fifteen(who: str, folder: Path, name: str, begin: Barrier) -> None:
    """Do what is on the schedule of an instance: place an order."""
    database = Database(url_of("", folder))
    leases = Leases(database, name)
    begin.wait()
    if who == "proposal":
        place_order(folder, name)
    elif (lease := leases.take("strategy of ann at 09:15", 60)) is not None:
        with database.writing() as session:
            check(session, lease)
            place_order(folder, name)
    database.close()


def place_order(folder: Path, name: str) -> None:
    """Send an order to the broker."""
    (folder / f"order of {name}").touch()


@pytest.mark.attack("13", "a strategy that every instance runs")
@pytest.mark.parametrize("who", SUBJECTS)
def test_13_a_strategy_runs_once(tmp_path: Path, attack: Attack, who: str) -> None:
    """Three processes have the same strategy on their schedule, and one places its order."""
    database = Database(url_of("", tmp_path))
    database.create()
    database.close()
    context = multiprocessing.get_context()
    begin = context.Barrier(3)
    three = [context.Process(target=at_nine_fifteen, args=(who, tmp_path, f"{n}", begin)) for n in range(3)]
    for process in three:
        process.start()
    for process in three:
        process.join()
        assert process.exitcode == 0
    orders = len(list(tmp_path.glob("order of *")))
    assert orders >= 1
    attack.tried(succeeded=orders > 1, what=orders, times=3)


@pytest.mark.attack("13", "guesses spread over several instances")
def test_13_attempts_are_counted_together(start: Callable[..., Instance], attack: Attack) -> None:
    """Ten attempts are ten attempts, however many instances there are."""
    instances = [start() for _ in range(3)]
    answers = [instance.guess() for _ in range(5) for instance in instances]
    assert set(answers) <= {403, 429}
    attack.tried(succeeded=answers.count(403) > application.ATTEMPTS, what=answers, times=len(answers))


@pytest.mark.attack("13", "guesses while the shared cache is away")
def test_13_attempts_are_counted_without_the_cache(
    tmp_path: Path, start_server: Callable[..., ServerProcess], cheap_passwords: None, attack: Attack
) -> None:
    """Who can make the server fail, or waits for it to, gets no more guesses for that."""
    server = start_server("redis")
    with closing(Instance("ours", tmp_path, server, session_type="filesystem")) as instance:
        server.kill()
        answers = [instance.guess() for _ in range(application.ATTEMPTS + 5)]
    assert set(answers) <= {403, 429}
    attack.tried(succeeded=answers.count(403) > application.ATTEMPTS, what=answers, times=len(answers))


@pytest.mark.attack("20", "an instance that is removed since the cache is lost")
def test_20_a_lost_cache_is_no_lost_instance(
    start: Callable[..., Instance], start_server: Callable[..., ServerProcess], attack: Attack
) -> None:
    """Every instance loses the same server at the same moment: the balancer must not remove all of them."""
    server = start_server("redis")
    instance = start(server)
    assert instance.ask().status_code == 200
    server.kill()
    attack.tried(succeeded=instance.ask().status_code != 200)
    if instance.who == "ours":
        told = instance.browser.get("/health")
        attack.tried(succeeded=told.status_code != 200)
        assert told.json is not None
        assert told.json["status"] == "degraded"
        assert instance.browser.get("/livez").json == {"status": "alive"}


@pytest.mark.attack("20", "a stranger who makes an instance write")
def test_20_a_look_writes_nothing(start: Callable[..., Instance], redis_server: ServerProcess, attack: Attack) -> None:
    """To ask how an instance is needs no login, so it must cost no more than a look.

    An instance writes by itself as well, every few seconds at most, such as which keys it holds. So a write counts
    as the stranger's where there are as many as looks.
    """
    instance = start()
    looks = 25
    for path in ["/health"] if instance.who == "proposal" else ["/health", "/livez", "/readyz"]:
        before = writes(redis_server)
        for _ in range(looks):
            instance.browser.get(path)
        attack.tried(succeeded=writes(redis_server) - before >= looks, what=path, times=looks)


def writes(server: ServerProcess) -> int:
    """Return how many commands that write a server has carried out."""
    names = ("set", "setex", "psetex", "del", "unlink", "exec")
    statistics = server.ask("INFO", "commandstats")
    return sum(int(statistics.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in names)


@pytest.mark.attack("20", "a stranger who learns what an instance is made of")
def test_20_balancers_are_told_the_status_alone(start: Callable[..., Instance], attack: Attack) -> None:
    """What balancers ask says whether, not what, where or for how long."""
    instance = start()
    for path in ["/health"] if instance.who == "proposal" else ["/livez", "/readyz"]:
        told = instance.browser.get(path).json
        assert told is not None
        attack.tried(succeeded=set(told) != {"status"}, what=told)

"""Open pages behind nginx, before gunicorn instances that are stopped and killed: events arrive, and go on."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.fleet.balancer import require_nginx
from tests.fleet.fleet import Fleet, Programs, running, servers
from tests.fleet.instance import Instance
from tests.fleet.people import Person
from tests.host.browser.conftest import Open, log_in
from tests.host.browser.test_restart import BUYS
from tests.host.conftest import Credentials
from tests.servers.postgres import require_postgres
from tests.servers.process import DEADLINE, HOST, wait_until
from tests.servers.programs import require

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.server, pytest.mark.soak]

EVENT = 1.0
"""Seconds from an order's answer to the event, by the median: a look takes place every half second."""
STOPPED = 5.0
"""Seconds within which an instance ends, with streams of open pages."""


@pytest.fixture
def fleet(server_folder: Callable[[], Path], port: int, contract: Path) -> Iterator[Fleet]:
    """Two instances behind nginx."""
    folder = server_folder()
    programs = Programs(require("redis"), require_postgres(), require_nginx())
    variables = {"OPENALGO_HOST_MASTER": str(contract)}
    with (
        servers(folder, programs) as (store, postgres),
        running(folder, store, postgres, programs.nginx, instances=2, port=port, variables=variables) as started,
    ):
        yield started


class Stream:
    """What an open page hears.

    Args:
        person: Whose page it is.
    """

    def __init__(self, person: Person) -> None:
        self._connection = http.client.HTTPConnection(HOST, person.port, timeout=DEADLINE)
        cookies = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
        self._connection.request("GET", "/events", headers={"Cookie": cookies})
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self.next() == ["orders", "prices", "strategies"]

    def next(self) -> list[str]:
        """Return the names that the next event brings; none if the stream has ended."""
        try:
            while line := self._answer.readline().decode():
                if line.startswith("data: "):
                    return line.split()[1:]
        except (OSError, http.client.HTTPException):  # cut off
            pass
        return []

    def close(self) -> None:
        """Leave."""
        self._connection.close()


@pytest.fixture
def person(fleet: Fleet) -> Person:
    """The administrator, logged in."""
    found = Person(7, *fleet.credentials, fleet.nginx.port)
    found.log_in()
    return found


def end_in_time(instance: Instance) -> float:
    """Stop an instance, and return how many seconds it took."""
    begun = time.monotonic()
    assert instance.stop() == 0
    took = time.monotonic() - begun
    assert took <= STOPPED
    return took


def take_back(fleet: Fleet, person: Person, instance: Instance) -> None:
    """Start an instance again, and wait until nginx, which leaves it out for a while, sends it requests."""
    instance.start()
    instance.wait_until_ready()
    before = len(fleet.nginx.requests())

    def is_back() -> bool:
        person.look("/livez")
        return any(one.instances == [instance.address] for one in fleet.nginx.requests()[before:])

    wait_until(is_back, f"{instance.name} to be sent requests")


def test_events_arrive_at_once_and_end_in_time(fleet: Fleet, person: Person) -> None:
    """Whoever the order went to, whoever the stream is of; and no stream keeps an instance from ending."""
    stream, took = Stream(person), []
    for number in range(20):
        assert person.order(f"order {number}").status == 200
        begun = time.monotonic()
        while "orders" not in stream.next():
            pass
        took.append(time.monotonic() - begun)
    stream.close()
    ended = []
    for instance in fleet.instances:
        streams = [Stream(person) for _ in range(8)]  # on both instances, by turns
        ended.append(end_in_time(instance))
        again = Stream(person)  # the other one takes it
        assert person.order(f"without {instance.name}").status == 200
        while "orders" not in again.next():
            pass
        for one in (again, *streams):
            one.close()
        take_back(fleet, person, instance)
    print(  # noqa: T201  # the figures are what it is for
        f"\nevents after {statistics.median(took):.2f} s, at most {max(took):.2f} s; "
        f"stopped in {', '.join(f'{one:.2f}' for one in ended)} s"
    )
    assert statistics.median(took) <= EVENT


def test_a_page_goes_on_at_another_instance(
    fleet: Fleet, person: Person, open_elsewhere: Open, complaints: list[str]
) -> None:
    """Each instance is stopped, and killed, under two open pages: orders and the strategy's new home appear on them."""
    strategy = open_elsewhere("/login?next=/strategies/add")
    log_in(strategy, Credentials(*fleet.credentials))
    strategy.get_by_label("Name").fill("buys once")
    strategy.get_by_label("Program").fill(BUYS)
    strategy.get_by_role("button", name="Add").click()
    strategy.get_by_role("button", name="Start buys once").click()
    expect(strategy.get_by_role("log")).to_contain_text("run 1 holds 10")
    orders = strategy.context.new_page()
    orders.goto("/orders")
    for page in (strategy, orders):
        expect(page.locator("#live")).to_have_text("Live")
        page.evaluate("window.kept = true")
    runs = 1
    for end in (end_in_time, Instance.kill):
        for instance in fleet.instances:
            is_owner = instance.name in (strategy.get_by_text("process").text_content() or "")
            end(instance)
            place(person, f"{end.__name__} {instance.name}")
            expect(orders.locator("tr[id^=order-]")).to_have_count(len(orders_of(person)))
            if is_owner:
                runs += 1
                expect(strategy.get_by_role("log")).to_contain_text(f"run {runs} holds 10")
                expect(strategy.get_by_text("process")).not_to_contain_text(instance.name)
            take_back(fleet, person, instance)
    assert runs > 1
    for page in (strategy, orders):
        expect(page.locator("#live")).to_have_text("Live")
        assert page.evaluate("window.kept"), "it recovered without being loaded again"
    orders.close()
    complaints[:] = [one for one in complaints if "net::ERR_" not in one and "50" not in one]  # between two instances


def place(person: Person, name: str) -> None:
    """Place an order, again and again until it is answered: the socket of a process that was killed may outlive it."""
    wait_until(lambda: person.order(name).status == 200, "an order to be answered")


def orders_of(person: Person) -> list[object]:
    """Return the order book, as the API has it."""
    answer = json.loads(person.call("orderbook").text)
    found: list[object] = answer["data"]["orders"]
    return found

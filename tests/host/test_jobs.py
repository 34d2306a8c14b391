"""Background work: in one of several instances, once a day where it is daily, and taken over when that one dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from openalgo_host.caller import Caller
from openalgo_host.database import Database, url_of
from openalgo_host.host import Host
from openalgo_host.jobs import TAKEOVER, Jobs
from openalgo_host.leases import FencedOffError, LeaseRow, Leases
from openalgo_host.sandbox.tables import Status
from openalgo_host.sandbox.ticket import Ticket
from openalgo_host.users import User
from tests.host.conftest import Credentials, Hands

HOUR = 3600.0
Open = Callable[[str], Jobs]


@pytest.fixture
def instance(address: str, hands: Hands, tmp_path: Path) -> Iterator[Open]:
    """Start another instance on the same database."""
    opened: list[Database] = []

    def open_one(name: str) -> Jobs:
        database = Database(url_of(address, tmp_path), hands)
        database.create()
        opened.append(database)
        return Jobs(database, Leases(database, name), hands)

    yield open_one
    for database in opened:
        database.close()


def make_user(session: Session, due: float) -> None:
    """Leave a trace in the transaction of a job: a user named after when it was due."""
    session.add(User(name=str(due), password_hash="", created_at=due))


def test_one_instance_works_until_it_dies(instance: Open, hands: Hands) -> None:
    """The other one takes over in less than ten seconds, and then the first one does nothing any more."""
    done: list[str] = []
    one, other = instance("one"), instance("other")
    one.at_each_beat(lambda: done.append("one"))
    other.at_each_beat(lambda: done.append("other"))
    for _ in range(20):
        one.beat()
        other.beat()
        hands.turn(1)
    assert done == ["one"] * 20
    assert TAKEOVER < 10
    for _ in range(round(TAKEOVER)):  # the first one is gone
        other.beat()
        hands.turn(1)
    other.beat()
    one.beat()  # it comes back
    assert set(done[20:]) == {"other"}


def test_a_day_begins_by_the_clock_that_all_share(instance: Open, hands: Hands) -> None:
    """An instance that is ahead would end a day while orders of that day are still placed."""
    jobs, dues = instance("one"), list[float]()
    jobs._clock = lambda: hands() + 90
    jobs.daily("dues", time(8, 31), lambda _session, due: dues.append(due))
    jobs.beat()
    hands.turn(59)
    jobs.beat()
    assert dues == [hands() + 1 - 24 * HOUR]
    hands.turn(1)
    jobs.beat()
    assert dues[1:] == [hands()]


def test_a_daily_job_is_done_once(instance: Open, hands: Hands) -> None:
    """In the whole fleet, whoever looks, and again after a day; what was missed for days is made up for once."""
    fleet = [instance(name) for name in ("one", "two", "three")]
    for jobs in fleet:
        jobs.daily("users", time(8, 0), make_user)

    def users() -> int:
        for _ in range(2):
            for jobs in fleet:
                jobs.beat()
        with fleet[0]._database.reading() as session:
            return session.scalar(select(func.count(User.id))) or 0

    assert users() == 1  # 08:30 in India: it was due at 8
    hands.turn(23 * HOUR)
    assert users() == 1
    hands.turn(HOUR)
    assert users() == 2
    hands.turn(72 * HOUR)
    assert users() == 3


def test_a_daily_job_that_fails_is_done_later(instance: Open) -> None:
    """Nothing of it stays, and nothing says that it was done."""
    jobs = instance("one")
    failing = True

    def work(session: Session, due: float) -> None:
        make_user(session, due)
        if failing:
            raise OSError("cut off")

    jobs.daily("users", time(8, 0), work)
    with pytest.raises(OSError, match="cut off"):
        jobs.beat()
    failing = False
    jobs.beat()
    jobs.beat()
    with jobs._database.reading() as session:
        assert session.scalar(select(func.count(User.id))) == 1


def test_a_paused_instance_does_no_daily_job(instance: Open, hands: Hands) -> None:
    """It was paused between its look at the lease and its work; another instance has taken over since."""
    one, other = instance("one"), instance("other")

    def take_over() -> None:
        hands.turn(TAKEOVER)
        other.beat()

    one.at_each_beat(take_over)
    one.daily("users", time(8, 0), make_user)
    with pytest.raises(FencedOffError):
        one.beat()
    with one._database.reading() as session:
        assert session.scalar(select(func.count(User.id))) == 0


def test_a_clock_that_goes_back_costs_no_lease(instance: Open, hands: Hands) -> None:
    """The lease is prolonged by the new time, so nobody else comes in between."""
    done: list[str] = []
    one, other = instance("one"), instance("other")
    one.at_each_beat(lambda: done.append("one"))
    other.at_each_beat(lambda: done.append("other"))
    one.beat()
    hands.turn(-HOUR)
    for _ in range(20):
        one.beat()
        other.beat()
        hands.turn(1)
    assert done == ["one"] * 21


def test_in_a_thread(instance: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It goes on after failures, says so once, and lets others take over at once when it is stopped."""
    monkeypatch.setattr("openalgo_host.jobs.BEAT", 0.001)
    failures: list[Any] = [OperationalError("", None, Exception()), OperationalError("", None, Exception()), KeyError()]
    went_on = threading.Event()

    def work() -> None:
        if failures:
            raise failures.pop(0)
        went_on.set()

    jobs = instance("one")
    jobs.at_each_beat(work)
    jobs.start()
    assert went_on.wait(10)
    jobs.stop()
    jobs.stop()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "background work waits until this is over: OperationalError",
        "background work failed",
    ]
    with jobs._database.reading() as session:
        lease = session.get(LeaseRow, "jobs")
        assert lease is not None
        assert lease.expires_at == 0


def test_pending_orders_end_with_their_day(host: Host, hands: Hands, credentials: Credentials) -> None:
    """At midnight in India; what is placed on the new day stays."""
    order = Ticket("test", "RELIANCE", "NSE", "BUY", "MIS", "LIMIT", 10, price=1.0)
    old = host.orders.place(Caller(1), order)
    host.jobs.beat()
    assert host.orders.order(1, old.id).status == Status.OPEN
    hands.turn(16 * HOUR)
    new = host.orders.place(Caller(1), order)
    host.jobs.beat()
    assert host.orders.order(1, old.id).status == Status.CANCELLED
    assert host.orders.order(1, new.id).status == Status.OPEN

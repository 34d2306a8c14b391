"""Leases in the host's database, SQLite and PostgreSQL: one holder at a time, and whoever is late is fenced off."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from openalgo_host.database import Database, url_of
from openalgo_host.leases import FencedOffError, Lease, Leases, check
from tests.host.conftest import Hands
from tests.servers.process import wait_until

Open = Callable[[], Database]


@pytest.fixture
def open_database(address: str, hands: Hands, tmp_path: Path) -> Iterator[Open]:
    """Open the database once more, as another instance does."""
    opened: list[Database] = []

    def open_one() -> Database:
        opened.append(Database(url_of(address, tmp_path), hands))
        opened[-1].create()
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


def write_under(database: Database, lease: Lease) -> None:
    """Do what a lease guards: here, make a user."""
    with database.writing() as session:
        check(session, lease)
        session.execute(
            text("INSERT INTO users (name, password_hash, created_at) VALUES (:name, '', 0)"), {"name": str(lease)}
        )


def count(database: Database) -> int:
    """Return how many users there are."""
    with database.reading() as session:
        return int(session.execute(text("SELECT count(*) FROM users")).scalar_one())


def test_one_of_two_instances_has_it(open_database: Open) -> None:
    """The other one does not get it, while whoever has it can prolong it under the same number."""
    one, other = Leases(open_database(), "one"), Leases(open_database(), "other")
    lease = one.take("scheduler", 10)
    assert lease == ("scheduler", 1)
    assert other.take("scheduler", 10) is None
    assert one.take("scheduler", 10) == lease
    assert other.take("something else", 10) is not None


def test_it_passes_on_when_it_expires(open_database: Open, hands: Hands) -> None:
    """Under a higher number; a prolonged one does not expire."""
    one, other = Leases(open_database(), "one"), Leases(open_database(), "other")
    one.take("scheduler", 10)
    hands.turn(9)
    one.take("scheduler", 10)
    hands.turn(9)
    assert other.take("scheduler", 10) is None
    hands.turn(1)
    assert other.take("scheduler", 10) == ("scheduler", 2)
    assert one.take("scheduler", 10) is None


def test_it_passes_on_when_it_is_released(open_database: Open) -> None:
    """At once; a late release by the former holder changes nothing."""
    one, other = Leases(open_database(), "one"), Leases(open_database(), "other")
    lease = one.take("scheduler", 10)
    assert lease is not None
    one.release(lease)
    assert other.take("scheduler", 10) == ("scheduler", 2)
    one.release(lease)
    assert one.take("scheduler", 10) is None


def test_two_processes_of_one_instance_are_two_holders(open_database: Open) -> None:
    """A process that was restarted does not take itself for the one that is still running."""
    assert Leases(open_database(), "one").take("scheduler", 10) is not None
    assert Leases(open_database(), "one").take("scheduler", 10) is None


def test_a_late_holder_is_fenced_off(open_database: Open, hands: Hands) -> None:
    """Paused beyond the lease, it writes nothing when it wakes up after somebody else took over."""
    database = open_database()
    one, other = Leases(database, "one"), Leases(open_database(), "other")
    lease = one.take("strategy 7", 10)
    assert lease is not None
    write_under(database, lease)
    hands.turn(10)
    taken = other.take("strategy 7", 10)
    assert taken is not None
    with pytest.raises(FencedOffError, match="strategy 7"):
        write_under(database, lease)
    assert count(database) == 1
    write_under(database, taken)
    assert count(database) == 2


def test_a_lease_that_nobody_took_over_still_counts(open_database: Open, hands: Hands) -> None:
    """Late, but nobody else was at work."""
    database = open_database()
    lease = Leases(database, "one").take("strategy 7", 10)
    assert lease is not None
    hands.turn(1_000)
    write_under(database, lease)


def test_nobody_takes_over_in_the_middle_of_a_write(open_database: Open, hands: Hands) -> None:
    """What was checked holds until the transaction ends: whoever wants the lease waits for it."""
    database = open_database()
    lease = Leases(database, "one").take("strategy 7", 10)
    assert lease is not None
    hands.turn(10)
    other = Leases(open_database(), "other")
    with ThreadPoolExecutor(1) as pool:
        with database.writing() as session:
            check(session, lease)
            taking = pool.submit(other.take, "strategy 7", 10)
            wait_until(taking.running, "the other one to try")
            assert not taking.done()
        assert taking.result(20) == ("strategy 7", 2)


def test_eight_that_want_it_at_once(open_database: Open) -> None:
    """One gets it, also where the row has to be made first, and the others hear that at once."""
    holders = [Leases(open_database(), f"instance {number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for name in ("first", "second", "third"):
            taken = list(pool.map(lambda one, name=name: one.take(name, 10), holders))
            assert [lease for lease in taken if lease is not None] == [(name, 1)]


def test_processes_that_start_at_once_make_the_tables_once(address: str, tmp_path: Path) -> None:
    """Of several instances one brings the tables up to date, and the others wait for it."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        assert pool.starmap(create_once, [(address, tmp_path)] * 3) == [None] * 3


def create_once(address: str, folder: Path) -> None:
    """Start as an instance does."""
    database = Database(url_of(address, folder))
    database.create()
    database.check()
    database.close()


def test_the_time_of_a_server_is_its_own(address: str, tmp_path: Path) -> None:
    """Hosts whose clocks differ agree; in SQLite there is one host."""
    database = Database(make_url(str(url_of(address, tmp_path))), None)
    database.create()
    with database.reading() as session:
        assert 1_700_000_000 < database.now(session) < 4_000_000_000
    database.close()

"""Leases in the host's database, SQLite and PostgreSQL: one holder at a time, and whoever is late is fenced off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from openalgo_cache import Settings
from openalgo_host.administrator import ensure_administrator
from openalgo_host.caller import Caller
from openalgo_host.database import Database, url_of
from openalgo_host.leases import FencedOffError, Lease, Leases, check
from openalgo_host.strategies.configs import Config
from tests.host.conftest import Hands, host_at
from tests.servers.postgres import PostgresProcess
from tests.servers.process import wait_until

Open = Callable[[], Database]

CREATE: Final = """
import sys
from pathlib import Path
from openalgo_host.database import Database, url_of

database = Database(url_of(sys.argv[1], Path(sys.argv[2])))
database.create()
database.check()
database.close()
"""


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


def test_who_has_it_is_seen_without_waiting(open_database: Open) -> None:
    """Others look every second: a holder that writes under its lease, or was paused in the middle, holds up none."""
    if not (database := open_database()).is_server:
        pytest.skip("in SQLite a writer waits for the other one")
    lease = Leases(database, "one").take("strategy 7", 10)
    assert lease is not None
    with database.writing() as session:
        check(session, lease)
        assert Leases(open_database(), "other").take("strategy 7", 10) is None


def test_nobody_waits_for_whoever_fell_silent(
    open_database: Open, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that is paused, or loses its machine, while it writes under its lease writes nothing."""
    monkeypatch.setattr("openalgo_host.database._LONGEST_SILENCE", 0.2)
    if not (database := open_database()).is_server:
        pytest.skip("in SQLite nobody else could take over")
    lease = Leases(database, "one").take("strategy 7", 10)
    assert lease is not None
    hands.turn(10)
    other = Leases(open_database(), "other")

    def write() -> None:
        with database.writing() as session:
            check(session, lease)
            session.execute(text("INSERT INTO users (name, password_hash, created_at) VALUES ('late', '', 0)"))
            assert other.take("strategy 7", 10) == ("strategy 7", 2)  # as soon as the server has ended this

    with pytest.raises(DBAPIError):
        write()
    assert count(database) == 0
    with pytest.raises(FencedOffError):
        write_under(database, lease)


@pytest.mark.server
def test_a_new_run_while_an_order_is_under_way(
    postgres: PostgresProcess, settings: Settings, hands: Hands, contract: Path
) -> None:
    """The order has the account and is about to look at the lease; who begins the run has the lease: neither waits."""
    with host_at(postgres.new_database(), settings, hands, contract) as host:
        ensure_administrator(host, lambda _text: None)
        lease = host.leases.take("strategy/1", 60)
        assert lease is not None
        late = Caller(1, Lease(lease.name, lease.fence - 1))
        with ThreadPoolExecutor(1) as pool, host.database.writing() as session:
            host.orders._lock(session, Caller(1))

            def begin() -> None:
                host.strategies._means.give_key(Config("1", 1, "one"), lease, "key")

            pool.submit(begin).result(10)
            with pytest.raises(FencedOffError):
                host.orders._lock(session, late)


def test_eight_that_want_it_at_once(open_database: Open) -> None:
    """One gets it, also where the row has to be made first, and the others hear that at once."""
    holders = [Leases(open_database(), f"instance {number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for name in ("first", "second", "third"):
            taken = list(pool.map(lambda one, name=name: one.take(name, 10), holders))
            assert [lease for lease in taken if lease is not None] == [(name, 1)]


def test_processes_that_start_at_once_make_the_tables_once(address: str, tmp_path: Path) -> None:
    """Of two instances one brings the tables up to date, and the other waits for it."""
    started = [subprocess.Popen([sys.executable, "-c", CREATE, address, str(tmp_path)]) for _ in range(2)]
    assert [one.wait(60) for one in started] == [0] * 2


def test_the_time_of_a_server_is_its_own(address: str, tmp_path: Path) -> None:
    """Hosts whose clocks differ agree; in SQLite there is one host."""
    database = Database(make_url(str(url_of(address, tmp_path))), None)
    database.create()
    with database.reading() as session:
        assert 1_700_000_000 < database.now(session) < 4_000_000_000
    database.close()

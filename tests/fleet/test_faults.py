"""What twenty people at work, and strategies, notice when an instance dies, or Redis does, or when all are restarted.

Orders are counted in the database: each was sent, under its own name, until somebody said that it was placed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from openalgo_host.host import Host
from openalgo_host.leases import LeaseRow
from openalgo_host.sandbox.tables import OrderRow, PositionRow, TradeRow
from openalgo_host.strategies.supervisor import TAKEOVER
from openalgo_host.users import User
from tests.fleet.fleet import Fleet
from tests.fleet.load import Load, under_load
from tests.fleet.people import Person
from tests.fleet.traders import Traders
from tests.servers.process import wait_until

pytestmark = [pytest.mark.server, pytest.mark.soak]

_PATIENCE = 120.0
_AWAY = 5.0
_LEFT_OUT = 6.0
"""Seconds for which the balancer asks nobody again who refused a connection, and a little more."""


def work_on(load: Load, requests: int) -> None:
    """Wait until so many more requests were answered."""
    enough = len(load.requests) + requests
    wait_until(lambda: len(load.requests) >= enough, f"{requests} more requests", _PATIENCE)


def check_sessions(load: Load) -> str:
    """Nobody was logged out, saw what is another's, or missed an order of the own; return the figures."""
    assert [one for one in load.requests if one.is_wrong] == []
    assert all(person.is_shown(person.look("/symbols")) for person in load.people)
    return f"{len(load.requests)} requests {load.tally()}, 0 of {len(load.people)} sessions lost, 0 wrong answers"


def check_orders(host: Host, load: Load) -> str:
    """Every order that was acknowledged is there once, under its number, traded once, and in the position."""
    total = 0
    for person in load.people:
        with host.database.reading() as session:
            user = session.scalar(select(User.id).where(User.name == person.name))
            orders = session.scalars(select(OrderRow).where(OrderRow.user_id == user)).all()
            trades = session.scalars(select(TradeRow).join(OrderRow).where(OrderRow.user_id == user)).all()
            held = sum(session.scalars(select(PositionRow.quantity).where(PositionRow.user_id == user)))
        there = {str(order.idempotency_key): str(order.id) for order in orders}
        placed = load.placed[person.name]
        assert placed.items() <= there.items(), "lost"
        assert len(orders) == len(there) == len(trades), "twice"
        assert len(there) <= len(placed) + 1, "somebody else's"
        assert held == person.quantity * sum(1 if order.action == "BUY" else -1 for order in orders)
        total += len(orders)
    return f"{total} orders of theirs, none lost, none twice"


def holder(host: Host, name: str) -> str:
    """Return which process has a lease, with its number."""
    with host.database.reading() as session:
        row = session.get(LeaseRow, name)
        assert row is not None
        return f"{row.holder} {row.fence}"


def test_each_instance_is_killed(fleet: Fleet, people: list[Person], auditor: Host, traders: Traders) -> None:
    """One after the other, and started again: nothing fails but what was under way there, and others go on in time."""
    killings, took = [], []
    with under_load(people) as load:
        work_on(load, 300)
        for one in fleet.instances:
            jobs, its, known = holder(auditor, "jobs"), traders.of(one.name), traders.runs()
            begin = time.monotonic()
            one.kill()
            killings.append((begin, time.monotonic()))
            first = traders.wait_for_new_runs(its, known, _PATIENCE)
            if jobs.startswith(f"{one.name} "):
                wait_until(lambda: holder(auditor, "jobs") != jobs, "another instance to do the jobs", _PATIENCE)  # noqa: B023
                first.append(time.monotonic())
            took += [moment - begin for moment in first]
            work_on(load, 100)
            one.start()
            one.wait_until_ready()
            work_on(load, 200)
    traders.finish()
    failed = load.failed()
    beyond = [one for one in failed if not any(one.was_under_way(*killing) for killing in killings)]
    print(f"\n3 killed: {check_sessions(load)}; {len(failed)} failed, of those {len(beyond)} not under way at a kill")
    print(
        f"taken over after {', '.join(f'{seconds:.1f}' for seconds in sorted(took))} s; {check_orders(auditor, load)}"
    )
    print(f"strategies: {traders.check()}")
    assert beyond == [], killings
    assert max(took) <= TAKEOVER
    for passed in fleet.nginx.requests():
        assert passed.status < 500 or passed.status in {502, 504}, passed
    assert len([passed for passed in fleet.nginx.requests() if passed.status >= 500]) == len(failed)


@pytest.mark.parametrize("sessions_apart", [False, True], ids=["with sessions", "without"], indirect=True)
def test_redis_is_away(
    fleet: Fleet, people: list[Person], auditor: Host, traders: Traders, *, sessions_apart: bool
) -> None:
    """Killed, and back with its data after five seconds: the API goes on, pages wait, and nobody is logged out."""
    runs = traders.runs()
    for person in people:  # an instance that has not seen a key yet has to check it slowly
        assert {person.at(one.port).call("funds").status for one in fleet.instances} == {200}
    with under_load(people, programs=5) as load:
        work_on(load, 500)
        hashed, begin = fleet.argon2(), time.monotonic()
        fleet.store.kill()
        ready = set()
        while time.monotonic() < begin + _AWAY:
            ready |= {one.status() for one in fleet.instances}
        health = fleet.instances[0].status("/health")
        fleet.store.start()
        back = time.monotonic()
        wait_until(lambda: all(one.is_shown(one.look("/symbols")) for one in people[-3:]), "pages to be back")
        recovered = time.monotonic() - back
        work_on(load, 500)
    traders.finish()
    hashed = fleet.argon2() - hashed
    slowest = max(one.ended - one.began for one in load.requests if one.what != "page" and begin <= one.began < back)
    print(f"\nbefore {load.tally(0, begin)}\naway {load.tally(begin, back)}\nafter {load.tally(back)}")
    print(f"{check_sessions(load)}; {check_orders(auditor, load)}")
    print(f"readiness {ready}, health {health}, pages back after {recovered:.1f} s")
    print(f"slowest call meanwhile {slowest:.2f} s, Argon2 computed {hashed.total()} times")
    print(f"strategies: longest pause {traders.longest_pause():.1f} s; {traders.check()}")
    assert ready == {health} == {200}
    assert hashed.total() < len(people) / 4, "many keys were hashed once more"
    assert load.failed() == []
    assert load.tally(begin, back)["order"][200] > 0
    assert traders.runs() == runs


@pytest.mark.parametrize("how", ["one after the other", "reloaded", "all at once"])
def test_a_restart_of_all(fleet: Fleet, people: list[Person], auditor: Host, traders: Traders, how: str) -> None:
    """In good order: nobody is logged out, no order is lost, and nothing fails while one is left."""
    with under_load(people) as load:
        work_on(load, 500)
        begin = time.monotonic()
        _RESTARTS[how](fleet, load)
        end = time.monotonic()
        work_on(load, 500)
        traders.work_on(5)
    traders.finish()
    failed = load.failed()
    print(f"\nrestarted {how} in {end - begin:.1f} s: {check_sessions(load)}; {check_orders(auditor, load)}")
    print(f"strategies: longest pause {traders.longest_pause():.1f} s; {traders.check()}")
    assert {one.status for one in failed} <= ({502} if how == "all at once" else set())
    assert all(one.was_under_way(begin, end + _LEFT_OUT) for one in failed)
    assert traders.longest_pause() <= TAKEOVER
    assert not [line for one in fleet.instances for line in one.logged().splitlines() if "Traceback" in line]


def _one_after_the_other(fleet: Fleet, load: Load) -> None:
    for one in fleet.instances:
        assert one.stop() == 0
        work_on(load, 100)
        one.start()
        one.wait_until_ready()


def _reloaded(fleet: Fleet, load: Load) -> None:
    for one in fleet.instances:
        one.reload()
        for sign, times in (("Symbol master: ", 2), ("Worker exiting", 1)):
            wait_until(lambda: one.logged().count(sign) == times, f"{one.name} to be reloaded", 60)  # noqa: B023
        work_on(load, 100)


def _all_at_once(fleet: Fleet, _load: Load) -> None:
    fleet.stop()
    fleet.start()


_RESTARTS: dict[str, Callable[[Fleet, Load], None]] = {
    "one after the other": _one_after_the_other,
    "reloaded": _reloaded,
    "all at once": _all_at_once,
}

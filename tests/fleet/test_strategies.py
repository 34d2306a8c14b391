"""Strategies whose instances are killed, stopped, paused and restarted: one run places at a time, each order once.

What they ordered is told by the database, and what they were told by their own diaries (traders.py).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import pytest

from openalgo_host.host import Host
from openalgo_host.strategies.charge import LEASE
from openalgo_host.strategies.supervisor import TAKEOVER
from tests.fleet.fleet import Fleet
from tests.fleet.instance import ROOT, environment
from tests.fleet.people import make_people
from tests.fleet.traders import Traders
from tests.servers.process import wait_until

pytestmark = [pytest.mark.server, pytest.mark.soak]

_AWAY: Final = 5.0
_PATIENCE: Final = 60.0
_AT_ONCE: Final = 4.0
"""Seconds within which a strategy of an instance that stops in good order runs elsewhere."""
_MANY: Final = 50
_IDLE: Final = """
import os, threading, time
with open({diary!r}, "a") as diary:
    diary.write(f"{{os.environ['STRATEGY_ID']}} {{time.monotonic()}}\\n")
threading.Event().wait()
"""


class Owner:
    """The instance that runs the first strategy, as it was before something happened to it.

    Args:
        fleet: The fleet.
        traders: The strategies.
    """

    def __init__(self, fleet: Fleet, traders: Traders) -> None:
        name = str(traders.view(traders.each[0]).instance)
        (self.instance,) = [one for one in fleet.instances if one.name == name]
        self.traders = traders.of(name)
        self.pids = [pid for one in self.traders if (pid := traders.view(one).pid) is not None]
        self.runs = [one.runs()[-1] for one in self.traders]


def is_gone(pid: int) -> bool:
    """Return whether no process of this number runs."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def shown(begin: float, moments: list[float]) -> str:
    """Return how long after something other things happened."""
    return f"{', '.join(f'{moment - begin:.1f}' for moment in moments)} s"


@pytest.mark.parametrize("how, within", [("kill", TAKEOVER), ("stop", _AT_ONCE)])
def test_the_owner_ends(fleet: Fleet, traders: Traders, how: str, within: float) -> None:
    """Killed, or stopped in good order: its processes end, and another instance goes on in time."""
    owner, known = Owner(fleet, traders), traders.runs()
    begin = time.monotonic()
    getattr(owner.instance, how)()
    first = traders.wait_for_new_runs(owner.traders, known, _PATIENCE)
    assert all(map(is_gone, owner.pids))
    owner.instance.start()
    owner.instance.wait_until_ready()
    traders.work_on(20)
    traders.finish()
    print(f"\n{how} -> first orders elsewhere after {shown(begin, first)}; {traders.check()}")
    assert max(first) - begin <= within


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"], indirect=True)
def test_the_owner_is_paused(fleet: Fleet, traders: Traders, *, apart: bool) -> None:
    """For longer than its lease: another one goes on; what it and its strategies still want is refused when it wakes.

    On the same machine whoever takes over ends the processes that the paused one had; those of another machine go on,
    and send what they want to the paused one, where it waits.
    """
    owner, known = Owner(fleet, traders), traders.runs()
    begin = time.monotonic()
    owner.instance.pause()
    first = traders.wait_for_new_runs(owner.traders, known, _PATIENCE)
    left = sum(not is_gone(pid) for pid in owner.pids)
    traders.work_on(20)
    woken = time.monotonic()
    owner.instance.resume()
    wait_until(lambda: all(map(is_gone, owner.pids)), "the end of the former processes")
    gone = time.monotonic()
    traders.work_on(20)
    late = sum(one.run in owner.runs for trader in traders.each for one in trader.placed(woken))
    traders.finish()
    print(
        f"\npaused -> first orders elsewhere after {shown(begin, first)}, when {left} of {len(owner.pids)} former "
        f"processes were left; woken -> they ended within {shown(woken, [gone])}, {late} were told of orders "
        f"from before the pause, and others {traders.refused(owner.runs)}; {traders.check()}"
    )
    assert max(first) - begin <= TAKEOVER
    assert left == (len(owner.pids) if apart else 0)
    assert owner.instance.status() == 200
    assert "Traceback" not in owner.instance.logged()


@pytest.mark.parametrize("where", ["before", "within"])
def test_a_holder_that_is_late(fleet: Fleet, auditor: Host, tmp_path: Path, where: str) -> None:
    """Paused before or within the transaction of an order: nobody waits for that, and the order is refused."""
    people = make_people(auditor, 2, fleet.nginx.port)
    traders = Traders(tmp_path / "traders", auditor, people[:1], starts=False)
    (trader,) = traders.each
    (tmp_path / "late").mkdir(mode=0o700)
    late = subprocess.Popen(
        [sys.executable, "-m", "tests.fleet.late", f"strategy/{trader.id}", str(traders.user(trader)), where],
        cwd=tmp_path / "late",
        env=environment({**fleet.variables, "INSTANCE_ID": "late", "PYTHONPATH": str(ROOT)}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        stopped = psutil.Process(late.pid)
        wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "the holder to be paused", _PATIENCE)
        begin = time.monotonic()
        traders.start(trader)
        traders.work_on(10, begin)
        took = trader.placed()[0].at - begin
        waited = [_time(lambda: people[0].order("meanwhile"), 200), _time(lambda: people[1].order("other"), 200)]
    finally:
        stopped.resume()
        said, _ = late.communicate(timeout=_PATIENCE)
    traders.finish()
    print(
        f"\npaused {where} an order -> the first order elsewhere after {took:.1f} s; two others took "
        f"{waited[0]:.2f} and {waited[1]:.2f} s; woken -> it was told {said.split()}"
    )
    assert said.split()[-1] == "FencedOffError"
    assert "placed" not in said.split()
    assert took <= TAKEOVER


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_all_are_restarted(fleet: Fleet, traders: Traders, how: str) -> None:
    """At once, in good order or not: the strategies run again in time after the first one is ready."""
    known = traders.runs()
    begin = time.monotonic()
    if how == "stopped":
        fleet.stop()
    else:
        for one in fleet.instances:
            one.kill()
    ended = time.monotonic()
    fleet.start()
    ready = time.monotonic()
    first = traders.wait_for_new_runs(traders.each, known, _PATIENCE)
    traders.work_on(20)
    traders.finish()
    print(
        f"\nall {how} within {shown(begin, [ended])}, ready again after {shown(begin, [ready])}, "
        f"first orders after {shown(begin, first)}; {traders.check()}"
    )
    assert max(first) <= max(ready, begin + TAKEOVER) + _AT_ONCE


@pytest.mark.parametrize("owner_too", [False, True], ids=["Redis", "Redis and the owner"])
def test_redis_is_away(fleet: Fleet, traders: Traders, *, owner_too: bool) -> None:
    """For five seconds: every strategy goes on in the same run, unless its instance dies meanwhile as well."""
    owner, known = Owner(fleet, traders), traders.runs()
    begin = time.monotonic()
    fleet.store.kill()
    if owner_too:
        owner.instance.kill()
    wait_until(lambda: time.monotonic() > begin + _AWAY, "the time that Redis is away")
    fleet.store.start()
    back = time.monotonic()
    meanwhile = sum(len(one.placed(begin)) for one in traders.each)
    if owner_too:
        traders.wait_for_new_runs(owner.traders, known, _PATIENCE)
    traders.work_on(1, back)
    first = [one.placed(back)[0].at for one in traders.each]
    traders.work_on(20)
    traders.finish()
    print(
        f"\nRedis away for {back - begin:.1f} s{', and the owner killed' if owner_too else ''}: {meanwhile} orders "
        f"meanwhile; first orders after it was back: {shown(back, first)}; {traders.check()}"
    )
    assert max(first) - back <= TAKEOVER
    if not owner_too:
        assert traders.runs() == known


def test_many_are_taken_over(fleet: Fleet, auditor: Host, tmp_path: Path) -> None:
    """As fast as their processes can be started, each once: whoever has many keeps the leases of those that run."""
    (person,) = make_people(auditor, 1, fleet.nginx.port)
    user = auditor.users.authenticate(person.name, person.password)
    assert user is not None
    diary = tmp_path / "diary"
    source = _IDLE.format(diary=str(diary))
    for number in range(_MANY):
        added = auditor.strategies.add(user.id, f"strategy {number}", source)
        auditor.strategies.start(user.id, added.id)

    def begun() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for line in diary.read_text(encoding="ascii").splitlines() if diary.exists() else ():
            number, at = line.split()
            found.setdefault(number, []).append(float(at))
        return found

    begin = time.monotonic()
    wait_until(lambda: len(begun()) == _MANY, "all of them", _PATIENCE)
    started = max(at for one in begun().values() for at in one) - begin
    wait_until(lambda: {one.state for one in auditor.strategies.list(user.id)} == {"running"}, "all to run", _PATIENCE)
    by = Counter(str(one.instance) for one in auditor.strategies.list(user.id))
    ((name, its),) = by.most_common(1)
    (victim,) = [one for one in fleet.instances if one.name == name]
    begin = time.monotonic()
    victim.kill()
    wait_until(lambda: sum(map(len, begun().values())) >= _MANY + its, "others to take over", _PATIENCE)
    took = sorted(one[-1] - begin for one in begun().values() if len(one) > 1)
    wait_until(lambda: time.monotonic() > begin + took[-1] + 2 * LEASE, "whether they are left alone")
    print(
        f"\n{_MANY} strategies, started within {started:.1f} s, {dict(by)}; the one with {its} killed -> the first ran "
        f"elsewhere after {took[0]:.1f} s, the last after {took[-1]:.1f} s"
    )
    assert sum(map(len, begun().values())) == _MANY + its, "one was started more than once"


def _time(ask: Callable[[], object], status: int) -> float:
    """Return how many seconds something takes that is answered with this status."""
    begin = time.monotonic()
    answer = ask()
    assert getattr(answer, "status", None) == status, answer
    return time.monotonic() - begin

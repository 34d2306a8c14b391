"""Strategies in a host that serves: started, failed, stopped, resumed, taken over, and never two at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from openalgo_cache import Settings
from openalgo_cache.strategies import HostUnavailableError, RunReplacedError, StaleStateError, StrategyState
from openalgo_host.host import Host
from openalgo_host.leases import FencedOffError
from openalgo_host.pages.formats import moment
from openalgo_host.strategies import RefusedStrategyError, UnknownStrategyError, charge, supervisor
from openalgo_host.strategies.child import MACHINE, end_leftover
from openalgo_host.strategies.runs import Run, Runs
from tests.host.conftest import Credentials, Hands
from tests.host.strategy_stage import LONG, MANY, PLACE, USER, Stage
from tests.host.test_strategy_calls import key_of
from tests.host_stacks import Stack
from tests.servers.process import wait_until


@pytest.fixture
def host(stack: Stack, settings: Settings, hands: Hands, contract: Path) -> Iterator[Host]:
    """A host that lets everybody call as often as they like."""
    opened = Host.open(settings, hands, stack.database_url, rates=MANY)
    opened.symbols.import_master(contract)
    yield opened
    opened.close()


@pytest.fixture
def stage(host: Host, hands: Hands, credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The host, serving; it looks after strategies more often than others do."""
    monkeypatch.setattr(supervisor, "BEAT", 0.1)
    made = Stage(host, hands, credentials)
    made.open()
    yield made
    made.close()


def test_its_environment_is_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has what it needs; nothing secret of the host's is there, and its own key is shown by no list and no log."""
    for name in ("DATABASE_URL", "CACHE_ENCRYPTION_KEY", "REDIS_PASSWORD", "SECRET_KEY", "PYTHONPATH"):
        monkeypatch.setenv(name, f"secret-of-{name}")
    source = """
import os, sys, json, pathlib
print(json.dumps(dict(os.environ)))
print("stdin", sys.stdin.read() == "", "main", __name__, sys.argv)
if sys.platform == "linux":
    print(os.environ["OPENALGO_API_KEY"] in pathlib.Path("/proc/self/environ").read_text())
    print(*(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/dev/fd/{n}")))
"""
    strategy = stage.run(source)
    began, environment, said, *more, ended = stage.log(strategy).splitlines()
    now = moment(stage.hands.now)
    assert (began, ended) == (f"--- {now}: started by openalgo-default", f"--- {now}: finished, exit code 0")
    names = json.loads(environment)
    assert not [text for text in (*names, *names.values()) if "secret" in text.lower()]
    assert names["HOST_SERVER"] == stage.address
    assert (names["STRATEGY_ID"], names["STRATEGY_NAME"], names["STRATEGY_DAY"]) == (
        strategy,
        "strategy 0",
        "2026-03-02",
    )
    assert names["OPENALGO_API_KEY"] == "(the run's API key)"
    assert said == "stdin True main __main__ ['<strategy strategy 0>']"
    if more:
        assert more[0] == "False"
        assert not [file for file in more[1].split() if ".db" in file or "socket" in file]


def test_it_fails_and_is_started_again(stage: Stage, hands: Hands) -> None:
    """After a pause that doubles; its last lines say why. An order that it had sent already is not placed again."""
    source = """
import os
with mine:
    mine["runs"] = mine.get("runs", 0) + 1
def place_and_fail(**order):
    answer = place(**order)
    if mine["runs"] == 1:
        raise ValueError("the answer is lost")
    return answer
print(mine.unanswered())
mine.order("entry", place_and_fail, **entry, quantity=mine["runs"])
if mine["runs"] == 2:
    os._exit(3)
"""
    strategy = stage.run(PLACE + source, "failed")
    assert stage.host.strategies.get(USER, strategy).last_exit == 1
    assert 'in place_and_fail\n    raise ValueError("the answer is lost")\nValueError: the answer is lost' in stage.log(
        strategy
    )
    hands.turn(1)
    stage.host.strategies.supervisor.wake()
    wait_until(lambda: stage.host.strategies.get(USER, strategy).last_exit == 3, "the second failure")
    assert "['entry']" in stage.log(strategy)
    assert "failed, exit code 1, starts again in 1 s" in stage.log(strategy)
    assert "failed, exit code 3, starts again in 2 s" in stage.log(strategy)
    hands.turn(1)
    assert stage.host.strategies.get(USER, strategy).state == "failed"
    hands.turn(1)
    stage.host.strategies.supervisor.wake()
    stage.wait(strategy, "finished")
    assert stage.values(strategy) == {"runs": 3}
    (order,) = stage.client.orderbook()["data"]["orders"]
    assert order["quantity"] == 1


def test_an_order_that_is_refused_for_good(stage: Stage) -> None:
    """Live trading without a session at the broker, and a symbol that is not there: the name is free again."""
    source = """
from openalgo import api
from openalgo_cache.strategies import OrderRefusedError, StrategyState
mine = StrategyState.load()
client = api(api_key=mine.api_key, host=mine.server)
for symbol in ("RELIANCE", "NOSUCH"):
    try:
        mine.order("entry", client.placeorder, symbol=symbol, exchange="NSE", action="BUY")
    except OrderRefusedError as error:
        print(symbol, "No session at the broker" in str(error), mine.unanswered())
"""
    stage.host.modes.set_analyses(on=False)
    assert stage.log(stage.run(source)).splitlines()[1:3] == ["RELIANCE True []", "NOSUCH True []"]


def test_it_is_stopped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it has started, and even if it will not hear of it; its key ends, and then it can be removed."""
    monkeypatch.setattr(charge, "_TO_END", 0.3)
    source = """
import os, signal, subprocess, sys, threading
if hasattr(signal, "SIGTERM"):
    signal.signal(signal.SIGTERM, lambda *_: print("no"))
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib = __import__("pathlib")
pathlib.Path("key").write_text(os.environ["OPENALGO_API_KEY"])
print("child", other.pid)
threading.Event().wait()
"""
    strategy = stage.run(source, "running")
    stage.wait_for_line(strategy, "child")
    other = psutil.Process(int(stage.log(strategy).split()[-1]))
    folder = stage.host.settings.cache_folder / "strategies" / strategy
    key = (folder / "key").read_text()
    assert stage.host.api_keys.caller(key) is not None
    with pytest.raises(RefusedStrategyError, match="stop it first"):
        stage.host.strategies.remove(USER, strategy)
    stage.host.strategies.stop(USER, strategy)
    stage.wait(strategy, "stopped")
    wait_until(lambda: not other.is_running() or other.status() == psutil.STATUS_ZOMBIE, "the end of its child")
    wait_until(lambda: stage.host.api_keys.caller(key) is None, "the end of its key")
    stage.host.strategies.remove(USER, strategy)
    assert not folder.exists()
    assert stage.host.strategies.list(USER) == []
    with pytest.raises(UnknownStrategyError):
        stage.host.strategies.get(USER, strategy)


def test_started_anew(stage: Stage) -> None:
    """Stopped and started at once it is a new run; one that has finished runs again when its user says so."""
    strategy = stage.run(LONG, "running")
    stage.wait_for_line(strategy, "run 1")
    stage.hands.turn(1)
    stage.host.strategies.stop(USER, strategy)
    stage.host.strategies.start(USER, strategy)
    stage.wait_for_line(strategy, "run 2")
    stage.hands.turn(1)
    stage.host.strategies.change(USER, strategy, source="print('changed')")
    stage.host.strategies.stop(USER, strategy)
    stage.host.strategies.start(USER, strategy)
    stage.wait(strategy, "finished")
    assert "changed" in stage.log(strategy)
    stage.hands.turn(1)
    stage.host.strategies.start(USER, strategy)
    wait_until(lambda: stage.log(strategy).count("changed") == 2, "the run after the last one")


@pytest.mark.parametrize("ahead", [30, -30])
def test_whoever_starts_it_has_another_clock(stage: Stage, ahead: float) -> None:
    """Than the instance that runs it: each wish is one run all the same, neither many nor none."""
    strategies = stage.host.strategies
    strategy = strategies.add(USER, "one", "print('done')").id
    for times in (1, 2):
        strategies._changed(USER, strategy, {"wanted_since": stage.hands.now + ahead + times})
        stage.wait(strategy, "finished")
        assert stage.log(strategy).count("done") == times


def test_a_restart_of_the_host(stack: Stack, stage: Stage, settings: Settings) -> None:
    """The strategy is resumed, knows its position, and the order book is as it was."""
    source = """
import threading
mine.order("entry", place, **entry, product="CNC", quantity=5)
with mine:
    mine["runs"] = mine.get("runs", 0) + 1
    mine["held"] = ask("/openposition", product="CNC")["quantity"]
print("ready", mine["runs"])
threading.Event().wait()
"""
    strategy = stage.run(PLACE + source, "running")
    stage.wait_for_line(strategy, "ready 1")
    orders = stage.client.orderbook()["data"]
    stage.close()
    stage.host = Host.open(settings, stage.hands, stack.database_url, rates=MANY)
    stage.open()
    stage.wait_for_line(strategy, "ready 2")
    assert stage.values(strategy) == {"runs": 2, "held": "5"}
    assert stage.client.orderbook()["data"] == orders


def test_two_days(stack: Stack, stage: Stage, settings: Settings) -> None:
    """The strategy of examples/ buys on Monday; the machine is off at night; on Tuesday it sells what it had bought."""
    source = (Path(__file__).parents[2] / "examples" / "strategies" / "two_days.py").read_text()
    hours = {"from": "09:15", "to": "15:30"}
    strategy = stage.run(source, "scheduled", schedule=hours)
    assert stage.host.strategies.get(USER, strategy).next_start == stage.hands.now + 45 * 60
    stage.hands.turn(45 * 60)
    stage.host.strategies.supervisor.wake()
    stage.wait_for_line(strategy, "bought 10 RELIANCE on 2026-03-02")
    stage.hands.turn(7 * 3600)
    stage.host.strategies.supervisor.wake()
    stage.wait(strategy, "scheduled")
    stage.close()

    stage.hands.turn(17 * 3600)
    stage.host = Host.open(settings, stage.hands, stack.database_url, rates=MANY)
    stage.open()
    stage.wait(strategy, "finished")
    assert "sold 10 RELIANCE on 2026-03-03, bought on 2026-03-02" in stage.log(strategy)
    (position,) = stage.client.positionbook()["data"]
    assert position["quantity"] == 0
    assert [order.action for order in stage.host.orders.orders(USER)] == ["BUY", "SELL"]


def test_it_is_taken_over(stack: Stack, stage: Stage, settings: Settings) -> None:
    """When its instance is silent for longer than its lease; what that one still sends is refused."""
    source = "import os, pathlib\npathlib.Path('key').write_text(os.environ['OPENALGO_API_KEY'])\n" + LONG
    strategy = stage.run(source, "running")
    stage.wait_for_line(strategy, "run 1")
    key = (stage.host.settings.cache_folder / "strategies" / strategy / "key").read_text()
    first, late = stage.host.strategies.get(USER, strategy), StrategyState.load(stage.address, key, patience=0)
    stage.freeze()
    other = Host.open(settings, stage.hands, stack.database_url, rates=MANY)
    other.strategies.supervisor._address = stage.address
    other.strategies.supervisor.beat()
    assert stage.host.strategies.get(USER, strategy) == first
    stage.hands.turn(charge.LEASE)
    other.strategies.supervisor.beat()
    second = other.strategies.get(USER, strategy)
    assert (second.state, second.pid == first.pid) == ("running", False)
    late["n"] = 1
    with pytest.raises(RunReplacedError):
        late.save()
    with pytest.raises(RunReplacedError):
        late.order("late", stage.client.placeorder, symbol="RELIANCE", exchange="NSE", action="BUY")
    assert stage.client.orderbook()["data"]["orders"] == []
    stage.host.strategies.supervisor.beat()
    assert stage.host.strategies.supervisor._charges == {}
    other.close()


@pytest.mark.parametrize("late", [FencedOffError("late"), RunReplacedError("late")])
def test_an_instance_that_is_paused_while_it_takes_over(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, late: Exception
) -> None:
    """It finds that another one was quicker, which is no failure."""

    def begin(*_: object) -> None:
        raise late

    strategy = host.strategies.add(USER, "one", LONG).id
    host.strategies.start(USER, strategy)
    monkeypatch.setattr(Runs, "begin", begin)
    host.strategies.supervisor.beat()
    assert host.strategies.supervisor._charges == {}
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_it_is_stopped_while_its_instance_is_away(stack: Stack, stage: Stage, settings: Settings) -> None:
    """Whoever looks after it next ends its key as well: what is left of it, on another machine, learns nothing more."""
    source = "import os, pathlib\npathlib.Path('key').write_text(os.environ['OPENALGO_API_KEY'])\n" + LONG
    strategy = stage.run(source, "running")
    stage.wait_for_line(strategy, "run 1")
    key = (stage.host.settings.cache_folder / "strategies" / strategy / "key").read_text()
    stage.freeze()
    stage.host.strategies.stop(USER, strategy)
    assert stage.host.api_keys.caller(key) is not None
    stage.hands.turn(charge.LEASE)
    other = Host.open(settings, stage.hands, stack.database_url, rates=MANY)
    other.strategies.supervisor.beat()
    assert other.strategies.get(USER, strategy).state == "stopped"
    assert stage.host.api_keys.caller(key) is None
    other.close()


def test_a_host_that_is_away_for_a_while(stack: Stack, stage: Stage, settings: Settings) -> None:
    """A save is tried until it is back; if it is not back in time, the error says so, and saving again is right."""
    strategy = stage.host.strategies.add(USER, "one", LONG)
    mine = StrategyState.load(stage.address, key_of(stage.host, strategy.id))
    hasty = StrategyState.load(stage.address, mine.api_key, patience=0)
    mine["n"] = hasty["n"] = 1
    stage.close()
    with pytest.raises(HostUnavailableError, match=stage.address):
        hasty.save()
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(mine.save)
        stage.host = Host.open(settings, stage.hands, stack.database_url, rates=MANY)
        stage.open()
        saving.result(20)
    assert stage.values(strategy.id) == {"n": 1}
    hasty.save()  # the same again
    hasty["n"] = 2
    hasty.save()
    mine["n"] = 3
    with pytest.raises(StaleStateError):
        mine.save()


def test_no_other_process_is_touched() -> None:
    """One that has the number of a run's process by now is left alone; the run's own is ended."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        started = psutil.Process(process.pid).create_time()
        run = Run("one", MACHINE, process.pid, started - 5, 0.0)
        assert not end_leftover(run)
        assert not end_leftover(replace(run, process_started=started, machine="another"))
        assert process.poll() is None
        assert end_leftover(replace(run, process_started=started))
        assert process.wait(10) is not None
        assert not end_leftover(replace(run, process_started=started))

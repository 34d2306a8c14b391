"""A host as a process, killed: what becomes of the strategies that it ran."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest

from openalgo_cache.strategies.calls import HostCalls
from tests.host.test_start import Running
from tests.host_stacks import Stack
from tests.servers.process import wait_until

SOURCE = """
import subprocess, sys, threading
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("other", other.pid, flush=True)
threading.Event().wait()
"""


LAST_WORDS = """
import signal, sys, threading
from openalgo_cache.strategies import StrategyState
mine = StrategyState.load()
def end(*_):
    mine["last words"] = mine.get("last words", 0) + 1
    mine.save()
    print("saved", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("there", flush=True)
while True:
    threading.Event().wait(0.1)
"""

DEAF = """
import signal, threading
signal.signal(signal.SIGTERM, lambda *_: print("deaf", flush=True))
print("there", flush=True)
while True:
    threading.Event().wait(0.1)
"""


def is_gone(pid: int) -> bool:
    """Return whether no process of this number runs."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_killed_host_leaves_no_strategy_behind(stack: Stack, tmp_path: Path, contract: Path) -> None:
    """The strategy's process, and what that had started, end with it."""
    host = Running(tmp_path, OPENALGO_HOST_MASTER=str(contract), **stack.variables())
    try:
        port = host.wait_until_it_serves()
        calls = HostCalls(f"http://127.0.0.1:{port}", host.secret("API key"), patience=10)
        strategy = calls.ask("/strategy/add", name="one", source=SOURCE)["data"]["id"]
        calls.ask("/strategy/start", id=strategy)

        def shown() -> list[str]:
            return str(calls.ask("/strategy/log", id=strategy)["data"]["log"]).split()

        wait_until(lambda: "other" in shown(), "the strategy")
        pids = calls.ask("/strategy/get", id=strategy)["data"]["pid"], int(shown()[-1])
        assert not any(map(is_gone, pids))
    finally:
        host.kill()
    wait_until(lambda: all(map(is_gone, pids)), "the end of the strategy")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there a process cannot be asked to end")
def test_a_host_that_stops_lets_strategies_save(tmp_path: Path, contract: Path) -> None:
    """It answers them until they have ended; asked twice, it does not wait for that."""
    for asked, saved in ((1, True), (2, False)):
        folder = tmp_path / str(asked)
        folder.mkdir()
        host = Running(folder, OPENALGO_HOST_MASTER=str(contract))
        port = host.wait_until_it_serves()
        calls = HostCalls(f"http://127.0.0.1:{port}", host.secret("API key"), patience=10)
        strategy = calls.ask("/strategy/add", name="one", source=LAST_WORDS if saved else DEAF)["data"]["id"]
        calls.ask("/strategy/start", id=strategy)
        wait_until(lambda: "there" in calls.ask("/strategy/log", id=strategy)["data"]["log"], "the strategy")  # noqa: B023
        if asked == 2:
            host.process.send_signal(signal.SIGTERM)
            (log,) = folder.glob("**/output.log")
            wait_until(lambda: "deaf" in log.read_text(encoding="utf-8"), "the strategy to be asked")  # noqa: B023
        assert host.stop() == 0
        (log,) = folder.glob("**/output.log")
        assert ("saved" in log.read_text(encoding="utf-8")) is saved

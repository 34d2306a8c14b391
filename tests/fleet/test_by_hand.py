"""``make fleet`` as somebody who tries it out: started, started twice, killed, started again, and ended by Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from openalgo_cache.strategies.calls import HostCalls
from tests.fleet.balancer import require_nginx
from tests.fleet.instance import ROOT
from tests.fleet.leftovers import processes
from tests.servers.postgres import require_postgres
from tests.servers.process import HOST, free_port, wait_until
from tests.servers.programs import require

pytestmark = [pytest.mark.server, pytest.mark.soak]

_START = 120.0
_SOURCE = """
import subprocess, sys, threading
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("there", flush=True)
threading.Event().wait()
"""


class ByHand:
    """A fleet that was started as ``make fleet`` starts it.

    Args:
        output: Where what it prints goes.
        port: Of its balancer.
    """

    def __init__(self, output: Path, port: int) -> None:
        self._output = output
        self._command = [sys.executable, "-m", "tests.fleet", "--port", str(port)]
        self.url = f"http://{HOST}:{port}"
        with output.open("wb") as file:
            self.process = subprocess.Popen(self._command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)

    def said(self) -> str:
        """Return what it printed."""
        return self._output.read_text(encoding="utf-8")

    def wait(self) -> None:
        """Return when it says that it serves."""
        wait_until(lambda: "Ctrl-C stops" in self.said() or self.process.poll() is not None, "the fleet", _START)
        assert self.process.poll() is None, self.said()

    @property
    def folder(self) -> Path:
        """Where it keeps everything."""
        found = re.search(r"(/\S+/openalgo-fleet-\w+)/", self.said())
        assert found is not None
        return Path(found[1])

    def run_a_strategy(self) -> None:
        """Add one that starts a process of its own, and wait until that is there."""
        key = re.search(r"^API key: (\w+)$", self.said(), re.MULTILINE)
        assert key is not None
        calls = HostCalls(self.url, key[1])
        number = calls.ask("/strategy/add", name="one", source=_SOURCE)["data"]["id"]
        calls.ask("/strategy/start", id=number)
        wait_until(lambda: "there" in calls.ask("/strategy/log", id=number)["data"]["log"], "the strategy")


def test_from_its_start_to_its_end(tmp_path: Path) -> None:
    """It prints where it is, leaves nothing when it is told to end, and nothing for long when it is killed."""
    require("redis"), require_postgres(), require_nginx()
    port, begin = free_port(), time.monotonic()
    first = ByHand(tmp_path / "first", port)
    try:
        first.wait()
        started = time.monotonic() - begin
        for told in (
            "instance-3 ",
            "nginx ",
            "PostgreSQL ",
            "User: admin",
            "Password: ",
            f"Serving {first.url} by turns",
        ):
            assert told in first.said()
        first.run_a_strategy()

        second = ByHand(tmp_path / "second", port)
        assert second.process.wait(_START) == 1
        assert second.said() == f"Port {port} is taken: choose another one, make fleet ARGS='--port 8081'.\n"
        assert processes(first.folder)
    finally:
        first.process.kill()
        first.process.wait()
    left = processes(first.folder)

    third = ByHand(tmp_path / "third", port)
    try:
        third.wait()
        assert third.said().startswith("Ended what a fleet that was killed had left running\n")
        assert not first.folder.exists()
        third.run_a_strategy()
        running = processes(third.folder)
    finally:
        end = time.monotonic()
        third.process.send_signal(signal.SIGINT)
        assert third.process.wait(_START) == 0
    took = time.monotonic() - end
    print(
        f"\nserves after {started:.1f} s; killed, {len(left)} processes were left, which the next start ended; "
        f"Ctrl-C ended {len(running)} within {took:.1f} s"
    )
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in [*left, *running])
    assert not third.folder.exists()
    assert third.said().endswith("Stopping everything\n")

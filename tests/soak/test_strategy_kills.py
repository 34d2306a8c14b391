"""A strategy that orders all the time, on a host that is killed again and again: no order is lost, none is doubled."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from openalgo_cache.symbols import COLUMNS
from openalgo_host.database import url_of
from openalgo_host.sandbox.tables import OrderRow
from openalgo_host.strategies.supervisor import TAKEOVER
from tests.host.test_start import Running
from tests.host_stacks import Stack
from tests.servers.process import wait_until

pytestmark = [pytest.mark.soak, pytest.mark.every_stack]

KILLS = 50
STARTING = 5
"""Each so manieth kill comes at a random moment from the start of the process on, not only while orders are placed."""

STRATEGY = """
import pathlib
from openalgo_cache.strategies import StrategyState
from openalgo_cache.strategies.calls import HostCalls

mine, calls = StrategyState.load(), HostCalls()

def place(**order):
    return {"status": "success", **calls.ask("/placeorder", **order)}

while not pathlib.Path("enough").exists() or mine.unanswered():
    n = mine.get("n", 0)
    side = "SELL" if n % 2 else "BUY"
    answer = mine.order(f"order {n}", place, symbol="RELIANCE", exchange="NSE", action=side, quantity=1)
    with mine:
        mine["n"] = n + 1
        mine["placed"] = [*mine.get("placed", []), int(answer["orderid"])]
        mine.forget_order(f"order {n}")
"""

MANY = "100000 per second"


class Killed:
    """A host in a folder, which is killed and started again.

    Args:
        folder: The folder.
        stack: What it stands on.
    """

    def __init__(self, folder: Path, stack: Stack) -> None:
        self._folder, self._stack = folder, stack
        self._master = folder / "contract.csv"
        row = "RELIANCE,RELIANCE-EQ,RELIANCE INDUSTRIES,NSE,NSE,2885,,0,1,EQ,0.05,"
        self._master.write_text("\n".join((",".join(COLUMNS), row, "")), encoding="utf-8")
        self.running = self.start()
        self.port = self.running.wait_until_it_serves()
        self._key = self.running.secret("API key")

    def start(self) -> Running:
        """Start it, or another instance."""
        return Running(
            self._folder,
            OPENALGO_HOST_MASTER=str(self._master),
            PYTHONPYCACHEPREFIX=str(self._folder / "compiled"),
            API_RATE_LIMIT=MANY,
            ORDER_RATE_LIMIT=MANY,
            **self._stack.variables(),
        )

    def ask(self, path: str, **fields: object) -> Any:
        """Return what the API answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"apikey": self._key, **fields})
        connection.request("POST", f"/api/v1/strategy/{path}", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def orders(self) -> list[int]:
        """Return the numbers of all orders that were ever placed, from the database itself."""
        engine = create_engine(url_of(self._stack.database_url, self._folder / "db"))
        try:
            with engine.connect() as connection:
                return list(connection.scalars(select(OrderRow.id).order_by(OrderRow.id)))
        finally:
            engine.dispose()


@pytest.fixture
def host(tmp_path: Path, stack: Stack) -> Iterator[Killed]:
    """A host that serves."""
    made = Killed(tmp_path, stack)
    yield made
    made.running.kill()


@pytest.mark.timeout(3600)
def test_no_order_is_lost_or_doubled(
    host: Killed, stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed 50 times at random moments; in the end what the strategy knows and the order book are the same."""
    seed = random.randrange(2**32)
    chance, resumed = random.Random(seed), []
    strategy = host.ask("add", name="soak", source=STRATEGY)["id"]
    host.ask("start", id=strategy)

    def version() -> int:
        return int(host.ask("state", id=strategy)["version"])

    def wait_until_it_orders() -> None:
        began, before = time.monotonic(), version()
        wait_until(lambda: version() > before + 4, "orders", 60)
        resumed.append(time.monotonic() - began)

    for kill in range(KILLS):
        if kill % STARTING == STARTING - 1:
            time.sleep(chance.uniform(0, 3))
        else:
            wait_until_it_orders()
            time.sleep(chance.uniform(0, 0.5))
        host.running.kill()
        host.running = host.start()
        if kill % STARTING != STARTING - 2:  # the next one comes before it serves, or after
            host.port = host.running.wait_until_it_serves()

    wait_until_it_orders()
    (tmp_path / "db" / "strategies" / strategy / "enough").touch()
    wait_until(lambda: host.ask("get", id=strategy)["state"] == "finished", "the end", 60)
    known = host.ask("state", id=strategy)["state"]
    placed, booked = known["values"]["placed"], host.orders()
    lost, doubled = set(placed) - set(booked), set(booked) - set(placed)
    with capsys.disabled():
        print(  # noqa: T201  # the figures of the run
            f"\n{stack.name}, seed {seed}: {KILLS} kills, {len(booked)} orders in the book, "
            f"{len(placed)} known to the strategy, "
            f"{len(lost)} lost, {len(doubled)} doubled; orders again after {max(resumed):.1f} s at the most"
        )
    assert known["orders"] == {}
    assert len(placed) == len(set(placed)) == known["values"]["n"]
    assert (lost, doubled) == (set(), set())


def test_taken_over_within_ten_seconds(host: Killed, stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two instances the one that runs the strategy is killed, five times; the other one goes on with it."""
    strategy = host.ask("add", name="soak", source=STRATEGY)["id"]
    host.ask("start", id=strategy)
    took = []
    for _ in range(5):
        wait_until(lambda: host.ask("get", id=strategy)["state"] == "running", "the strategy")
        pid, other = host.ask("get", id=strategy)["pid"], host.start()
        port = other.wait_until_it_serves()
        began = time.monotonic()
        host.running.kill()
        host.running, host.port = other, port
        wait_until(lambda: host.ask("get", id=strategy)["pid"] not in {None, pid}, "the next run")  # noqa: B023  # at once
        before = host.ask("state", id=strategy)["version"]
        wait_until(lambda: host.ask("state", id=strategy)["version"] > before, "its orders")  # noqa: B023  # likewise
        took.append(time.monotonic() - began)
    with capsys.disabled():
        print(f"\n{stack.name}: orders again after {', '.join(f'{one:.1f}' for one in took)} s")  # noqa: T201  # likewise
    assert max(took) <= TAKEOVER

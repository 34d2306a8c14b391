"""Strategies that order without a pause, and witness it: each writes down what it sends and what it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from openalgo_host.host import Host
from openalgo_host.sandbox.tables import OrderRow, PositionRow, TradeRow
from openalgo_host.strategies.strategies import StrategyView
from openalgo_host.users import User
from tests.fleet.people import Person
from tests.servers.process import wait_until

_SOURCE: Final = """
import json, os, secrets, time
from openalgo_cache.strategies import RunReplacedError, StrategyState
from openalgo_cache.strategies.calls import HostCalls

run, calls, diary = secrets.token_hex(4), HostCalls(), os.open({diary!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
order = {{"strategy": "trader", "symbol": "RELIANCE", "exchange": "NSE", "product": "MIS", "quantity": 1}}

def note(what, **more):
    line = json.dumps({{"what": what, "run": run, "at": time.monotonic(), **more}})
    os.write(diary, line.encode() + b"\\n")

def place(**fields):
    key = fields["idempotency_key"]
    note("sent", key=key)
    answer = {{"status": "success", **calls.ask("/placeorder", **fields)}}
    note("placed", key=key, order=int(answer["orderid"]))
    return answer

try:
    mine = StrategyState.load()
    number = mine.get("done", 0)
    note("began", number=number, open=mine.unanswered())
    while not os.path.exists({end!r}):
        number += 1
        action = "BUY" if number % 2 else "SELL"
        answer = mine.order(str(number), place, **order, action=action)  # counted: once each, whatever is killed
        note("counted", number=number, order=int(answer["orderid"]))
        mine.forget_order(str(number))
        mine["done"] = number  # saved with the next order's wish
        place(**order, action=action, idempotency_key=f"{{run}}/{{number}}")  # this run's own: shows who places
    mine.save()
    note("ended", number=number)
except RunReplacedError as error:
    note("refused", why=str(error))
    raise
"""


class Entry(NamedTuple):
    """A line of a diary."""

    what: str
    run: str
    at: float
    more: dict[str, Any]


@dataclass
class Trader:
    """A strategy of a person's, which trades until it is told to end.

    Attributes:
        person: Whose it is.
        id: Its number.
        folder: Where its diary is.
    """

    person: Person
    id: str
    folder: Path

    def diary(self) -> list[Entry]:
        """Return what its runs wrote down, as it happened."""
        path = self.folder / "diary"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Entry(one.pop("what"), one.pop("run"), one.pop("at"), one) for one in map(json.loads, lines)]

    def placed(self, since: float = 0.0) -> list[Entry]:
        """Return the orders that were acknowledged since a moment."""
        return [one for one in self.diary() if one.what == "placed" and one.at >= since]

    def runs(self) -> list[str]:
        """Return its runs, in the order in which they began."""
        return [one.run for one in self.diary() if one.what == "began"]

    def end(self) -> None:
        """Tell it to end after the order that is under way."""
        (self.folder / "end").touch()


class Traders:
    """Some strategies, and what came of their orders.

    Args:
        folder: Where their diaries go.
        host: A host of the fleet, to start them and to look.
        people: Whose they are, one each.
        starts: Whether to start them.
    """

    def __init__(self, folder: Path, host: Host, people: Sequence[Person], *, starts: bool = True) -> None:
        self._host = host
        with host.database.reading() as session:
            self._users = {name: number for number, name in session.execute(select(User.id, User.name))}
        self.each = [self._add(folder / person.name, person) for person in people]
        for one in self.each if starts else ():
            self.start(one)

    def user(self, trader: Trader) -> int:
        """Return the number of the user whose a strategy is."""
        return self._users[trader.person.name]

    def start(self, trader: Trader) -> None:
        """Start a strategy, on whatever instance."""
        self._host.strategies.start(self.user(trader), trader.id)

    def view(self, trader: Trader) -> StrategyView:
        """Return a strategy as its user sees it."""
        return self._host.strategies.get(self.user(trader), trader.id)

    def of(self, instance: str) -> list[Trader]:
        """Return those that an instance runs."""
        return [one for one in self.each if self.view(one).instance == instance]

    def work_on(self, orders: int, since: float | None = None, deadline: float = 60.0) -> None:
        """Wait until each was told of so many more orders."""
        begin = time.monotonic() if since is None else since
        for one in self.each:
            wait_until(lambda: len(one.placed(begin)) >= orders, f"{orders} orders of {one.person.name}", deadline)  # noqa: B023

    def wait_for_new_runs(self, of: Sequence[Trader], known: Sequence[str], deadline: float) -> list[float]:
        """Wait until another run of each of these was told of an order; return when each was told of its first one."""

        def told(trader: Trader) -> list[float]:
            return [one.at for one in trader.placed() if one.run not in known]

        for one in of:
            wait_until(lambda: told(one), f"another run of {one.person.name}'s", deadline)  # noqa: B023
        return [told(one)[0] for one in of]

    def runs(self) -> list[str]:
        """Return the runs of all."""
        return [run for one in self.each for run in one.runs()]

    def finish(self) -> None:
        """Let all end in their own time."""
        for one in self.each:
            one.end()
        for one in self.each:
            wait_until(lambda: self.view(one).state == "finished", f"{one.person.name}'s to finish", 60)  # noqa: B023

    def check(self) -> str:
        """Every order is there once, and one run after the other placed them; return the figures.

        Of what the strategies were told everything is in the order book, and of what is there every order is one that
        they sent. Each counted order has one key, whichever runs sent it. The order book numbers orders inside the
        transaction that has locked the account and looked at the lease, so its own order of them says which run placed
        when: no run places anything after a later one has.
        """
        counted = rows = runs = 0
        for one in self.each:
            entries, orders = one.diary(), self._orders(one)
            sent = {entry.more["key"] for entry in entries if entry.what == "sent"}
            told = {(entry.more["key"], entry.more["order"]) for entry in entries if entry.what == "placed"}
            there = {(str(order.idempotency_key), order.id) for order in orders}
            assert told <= there, "an order that was acknowledged is lost"
            assert {key for key, _ in there} <= sent, "somebody else's"

            numbers = [entry.more["number"] for entry in entries if entry.what == "counted"]
            answers = {(entry.more["number"], entry.more["order"]) for entry in entries if entry.what == "counted"}
            last = max(numbers)
            assert sorted(number for number, _ in answers) == list(range(1, last + 1)), "lost, or twice"
            assert len({number for _, number in answers}) == last
            assert {number for key, number in there if "/" not in key} == {number for _, number in answers}
            assert [entry.more["number"] for entry in entries if entry.what == "ended"] == [last]

            placing = [
                str(order.idempotency_key).split("/")[0] for order in orders if "/" in str(order.idempotency_key)
            ]
            blocks = [run for run, _ in groupby(placing)]
            assert blocks == [run for run in one.runs() if run in set(placing)], "two runs placed at a time"
            for earlier, later in pairwise(blocks):
                first = next(order.id for order in orders if str(order.idempotency_key).startswith(f"{later}/"))
                assert all(
                    entry.more["order"] < first for entry in entries if (entry.what, entry.run) == ("placed", earlier)
                )
            counted, rows, runs = counted + last, rows + len(orders), runs + len(one.runs())
        return f"{rows} orders, {counted} of them counted, in {runs} runs: none lost, none twice, no two runs at a time"

    def longest_pause(self) -> float:
        """Return the longest time between two orders of which one of them was told, in seconds."""
        told = [[entry.at for entry in one.placed()] for one in self.each]
        return max(later - earlier for moments in told for earlier, later in pairwise(moments))

    def refused(self, runs: Sequence[str]) -> list[str]:
        """Return what some runs were told when they were refused."""
        diaries = (entry for one in self.each for entry in one.diary())
        return [str(entry.more["why"]) for entry in diaries if entry.what == "refused" and entry.run in runs]

    def _add(self, folder: Path, person: Person) -> Trader:
        folder.mkdir(mode=0o700, parents=True)
        source = _SOURCE.format(diary=str(folder / "diary"), end=str(folder / "end"))
        added = self._host.strategies.add(self._users[person.name], "trader", source)
        return Trader(person, added.id, folder)

    def _orders(self, trader: Trader) -> list[OrderRow]:
        """Return the orders of a strategy, in the order in which they were placed; each was traded once."""
        with self._host.database.reading() as session:
            its = OrderRow.user_id == self.user(trader)
            orders = list(session.scalars(select(OrderRow).where(its).order_by(OrderRow.id)))
            trades = session.scalars(select(TradeRow).join(OrderRow).where(its)).all()
            position = PositionRow.user_id == self.user(trader)
            held = sum(session.scalars(select(PositionRow.quantity).where(position)))
        assert len(orders) == len(trades)
        assert held == sum(order.quantity if order.action == "BUY" else -order.quantity for order in orders)
        return orders

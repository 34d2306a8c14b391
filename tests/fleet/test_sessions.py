"""Twenty people on three instances, each request on the next one: everybody is known everywhere, or nowhere."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from openalgo_host.users import User
from tests.fleet.fleet import Fleet
from tests.fleet.people import Answer, Person
from tests.servers.process import wait_until

pytestmark = [pytest.mark.server, pytest.mark.soak]

_REQUESTS = 2_000
_LATE = 0.1
"""Seconds after which nobody may accept what was revoked."""
_LONGER = 0.4
"""Seconds for which it is asked for, after that."""


def on_each(fleet: Fleet, person: Person) -> list[Person]:
    """Return somebody at each instance, past the balancer."""
    return [person.at(one.port) for one in fleet.instances]


def test_everybody_is_known_everywhere(fleet: Fleet, people: list[Person]) -> None:
    """2,000 requests: no page and no order book is another's, and each key is checked slowly once, for the fleet.

    Each key is used for the first time on all instances at once. Argon2 is counted where it is computed (spy/).
    """
    rounds = _REQUESTS // len(people) // 2
    before = fleet.argon2()

    def use(person: Person) -> list[bool]:
        here = on_each(fleet, person)
        with ThreadPoolExecutor(len(here)) as at_once:
            first = list(at_once.map(lambda one: one.order("one"), here))
        seen = [answer.status == 200 for answer in first]
        placed = {json.loads(answer.text)["orderid"] for answer in first}
        seen.append(len(placed) == 1)
        for _ in range(rounds):
            seen.append(person.is_shown(person.look("/symbols")))
            seen.append(person.is_own_book(person.call("orderbook"), placed))
        return seen

    passed = len(fleet.nginx.requests())
    begin = time.monotonic()
    with ThreadPoolExecutor(len(people)) as pool:
        seen = [one for person in pool.map(use, people) for one in person]
    took = time.monotonic() - begin
    slow = fleet.argon2() - before
    by = Counter(one.instances[-1] for one in fleet.nginx.requests()[passed:])
    print(
        f"\n{by.total()} requests of {len(people)} sessions in {took:.1f} s, by instance {sorted(by.values())}: "
        f"{seen.count(False)} wrong; Argon2 computed {slow.total()} times for {len(people)} keys, {dict(slow)}"
    )
    assert seen.count(False) == 0
    assert slow == Counter(verify=len(people))
    assert min(by.values()) > _REQUESTS / 4


class Try(NamedTuple):
    """What somebody was told at an instance: how, from when on it was asked for, and whether it was accepted."""

    what: str
    began: float
    accepted: bool


class Insisting:
    """Asks for something at each instance again and again, from before it is revoked until long after.

    Args:
        here: Somebody at each instance.
        what: What is asked for, by a name: how it is asked for, and the status that says that it was accepted.
    """

    def __init__(self, here: list[Person], what: dict[str, tuple[Callable[[Person], Answer], int]]) -> None:
        self._here = here
        self._what = what
        self._stopping = threading.Event()
        self.tries: list[Try] = []

    def until_long_after(self, revoke: Callable[[], float]) -> list[tuple[str, float]]:
        """Revoke it meanwhile; return what was still accepted, and how long after the revocation it was asked for."""
        with ExitStack() as stack:
            for person in self._here:
                for name, (ask, status) in self._what.items():
                    thread = threading.Thread(target=self._insist, args=(person, name, ask, status))
                    stack.callback(thread.join)
                    thread.start()
            stack.callback(self._stopping.set)
            enough = 3 * len(self._here) * len(self._what)
            wait_until(lambda: len(self.tries) >= enough, "everything to be in everybody's memory")
            revoked = revoke()
            wait_until(lambda: time.monotonic() > revoked + _LATE + _LONGER, "long after")
        assert all(one.accepted for one in self.tries[: len(self._here)])
        return [(one.what, one.began - revoked) for one in self.tries if one.accepted and one.began > revoked]

    def _insist(self, person: Person, name: str, ask: Callable[[Person], Answer], status: int) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            self.tries.append(Try(name, began, ask(person).status == status))


def test_revoked_here_is_revoked_everywhere(fleet: Fleet, people: list[Person]) -> None:
    """Broker tokens, a key, a password end on every instance within 100 ms, whatever each had in its memory."""
    late: list[tuple[str, float]] = []
    tries = Counter[str]()
    with fleet.joined("office") as host:
        host.modes.set_analyses(on=False)  # so that an order takes a session at the broker
        for person in people:
            here = on_each(fleet, person)
            account = host.users.authenticate(person.name, person.password)
            assert account is not None
            number = account.id
            host.broker.connect(number)

            def end_the_session_at_the_broker() -> float:
                host.broker.revoke(number)  # noqa: B023
                return time.monotonic()

            def end_key_and_password() -> float:
                with host.database.writing() as session:
                    user = session.get(User, number)  # noqa: B023
                    assert user is not None
                    host.users.set_password(user, "another one")
                    ended = host.api_keys.remove(session, number)  # noqa: B023
                host.api_keys.forget(ended)
                host.users.forget(number)  # noqa: B023
                return time.monotonic()

            tokens = Insisting(here, {"broker token": (lambda one: one.order("once"), 200)})
            late += tokens.until_long_after(end_the_session_at_the_broker)
            others = Insisting(
                here, {"key": (lambda one: one.call("ping"), 200), "session": (lambda one: one.look("/symbols"), 200)}
            )
            late += others.until_long_after(end_key_and_password)
            tries.update(one.what for one in (*tokens.tries, *others.tries))
    latest = max((after for _, after in late), default=0.0)
    stale = [(what, after) for what, after in late if after > _LATE]
    print(
        f"\n{len(people)} people revoked, {dict(tries)} requests: {len(stale)} were accepted that were sent more than "
        f"{_LATE * 1000:g} ms after; {len(late)} sent after it at all, the latest {latest * 1000:.0f} ms"
    )
    assert stale == []

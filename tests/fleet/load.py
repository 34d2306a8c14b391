"""Load: people who look at pages, ask the API and place orders, and what came of every request."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tests.fleet.people import Answer, Person

_PACE = 0.5
"""Seconds that a person rests after a page, a look into the order book, and an order: small machines carry twenty."""


class Request(NamedTuple):
    """What came of a request.

    Attributes:
        what: ``page``, ``read`` or ``order``.
        began: When it was sent, in seconds of the monotonic clock.
        ended: When it was answered.
        status: Of the answer, or 0 if there was none.
        is_wrong: Whether it was answered, and not as it should have been: with what is another's, without an order that
            was acknowledged before, or with a status that is neither success nor that of a server's failure. A session
            that is not known any more is of the last kind.
    """

    what: str
    began: float
    ended: float
    status: int
    is_wrong: bool = False

    @property
    def failed(self) -> bool:
        """Whether the server, or nobody, answered that it could not."""
        return self.status == 0 or self.status >= 500

    def was_under_way(self, begin: float, end: float) -> bool:
        """Return whether it was sent before something had ended, and answered after that had begun."""
        return self.began <= end and begin <= self.ended


class Load:
    """What some people do until they are told to stop.

    Args:
        people: Who. They are logged in, and have placed no order yet.
        programs: How many of them look at no pages, but call the API alone.
    """

    def __init__(self, people: Sequence[Person], programs: int = 0) -> None:
        self.people = people
        self._lookers = {person.name for person in people[programs:]}
        self.requests: list[Request] = []
        self.placed: dict[str, dict[str, str]] = {person.name: {} for person in people}
        self._stopping = threading.Event()

    def failed(self) -> list[Request]:
        """Return those that the server could not answer."""
        return [one for one in self.requests if one.failed]

    def tally(self, begin: float = 0.0, end: float = float("inf")) -> dict[str, dict[int, int]]:
        """Return how many of what were answered how, of those that were sent between two moments."""
        counts = Counter((one.what, one.status) for one in list(self.requests) if begin <= one.began < end)
        kinds = sorted({what for what, _ in counts})
        return {
            kind: {status: counts[kind, status] for what, status in sorted(counts) if what == kind} for kind in kinds
        }

    def run(self, person: Person) -> None:
        """Do what one person does."""
        placed = self.placed[person.name]
        for number in itertools.count():
            if self._stopping.is_set():
                return
            if person.name in self._lookers:
                self._note("page", lambda: person.look("/symbols"), person.is_shown)
            self._note("read", lambda: person.call("orderbook"), lambda book: person.is_own_book(book, placed.values()))
            name = f"{person.name}/{number}"
            # As a strategy does: the same order, under the same name, until somebody says that it is placed.
            action = "SELL" if number % 2 else "BUY"  # so that nobody's money is used up
            while (answer := self._order(person, name, action)).status != 200:
                if self._stopping.wait(_PACE):
                    return
            placed[name] = json.loads(answer.text)["orderid"]
            self._stopping.wait(_PACE)

    def stop(self) -> None:
        """Let everybody stop after the request that is under way."""
        self._stopping.set()

    def _order(self, person: Person, name: str, action: str) -> Answer:
        return self._note("order", lambda: person.order(name, action=action), lambda answer: answer.status == 200)

    def _note(self, what: str, ask: Callable[[], Answer], is_right: Callable[[Answer], bool]) -> Answer:
        began = time.monotonic()
        answer = ask()
        request = Request(what, began, time.monotonic(), answer.status)
        self.requests.append(request._replace(is_wrong=not request.failed and not is_right(answer)))
        return answer


@contextmanager
def under_load(people: Sequence[Person], programs: int = 0) -> Iterator[Load]:
    """Let people do things meanwhile; they have stopped when this ends. ``programs`` of them call the API alone."""
    load = Load(people, programs)
    threads = [threading.Thread(target=load.run, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join()

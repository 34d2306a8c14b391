"""People who use the fleet: each has an account, an API key, and a browser that goes through the balancer."""

from __future__ import annotations

import http.client
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from openalgo_host.host import Host
from openalgo_host.users import User
from tests.servers.process import HOST

PATIENCE: Final = 30.0
"""Seconds for which a browser waits for an answer."""


class Answer(NamedTuple):
    """An answer; the status is 0 if there was none."""

    status: int
    text: str


@dataclass
class Person:
    """Somebody with an account.

    Attributes:
        quantity: How many shares this person orders at a time, and nobody else does.
        name: The account's name.
        password: Its password.
        api_key: Its key.
        port: Of the balancer, or of an instance.
        cookies: What the browser keeps.
    """

    quantity: int
    name: str
    password: str
    api_key: str
    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def at(self, port: int) -> Person:
        """Return the same person, with what the browser keeps, at another port."""
        return replace(self, port=port, cookies=dict(self.cookies))

    def look(self, path: str) -> Answer:
        """Open a page."""
        return self._ask("GET", path, b"", {})

    def log_in(self) -> None:
        """Log in, with the form of the login page."""
        token = re.search(r'name="token" value="([^"]+)"', self.look("/login").text)
        assert token is not None
        fields = {"name": self.name, "password": self.password, "token": token[1]}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._ask("POST", "/login", urlencode(fields).encode(), form)
        assert answer.status == 303, answer

    def call(self, name: str, **fields: Any) -> Answer:
        """Call the API."""
        body = json.dumps({"apikey": self.api_key, **fields}).encode()
        return self._ask("POST", f"/api/v1/{name}", body, {"Content-Type": "application/json"}, with_cookies=False)

    def order(self, name: str, **fields: Any) -> Answer:
        """Place an order for shares, under a name of one's own.

        Args:
            name: The idempotency key.
            **fields: Others than the usual ones.
        """
        usual = {"symbol": "RELIANCE", "exchange": "NSE", "action": "BUY", "pricetype": "MARKET", "product": "MIS"}
        usual |= {"quantity": str(self.quantity), "strategy": self.name}
        return self.call("placeorder", idempotency_key=name, **usual | fields)

    def is_shown(self, answer: Answer) -> bool:
        """Return whether a page is this person's own."""
        return answer.status == 200 and re.findall(r'<span class="who">([^<]+)</span>', answer.text) == [self.name]

    def is_own_book(self, answer: Answer, placed: Iterable[str]) -> bool:
        """Return whether an order book is this person's own, by the quantity that nobody else orders, and whole.

        Args:
            answer: To the call ``orderbook``.
            placed: The numbers of orders that were acknowledged before it was asked for, today.
        """
        if answer.status != 200:
            return False
        orders = json.loads(answer.text)["data"]["orders"]
        own = {order["quantity"] for order in orders} <= {self.quantity}
        return own and {order["orderid"] for order in orders} >= set(placed)

    def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str], *, with_cookies: bool = True
    ) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        if with_cookies and self.cookies:
            headers = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return Answer(0, "")
        finally:
            connection.close()
        if with_cookies:
            for line in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies[name] = value
        return Answer(answer.status, text)


def make_people(host: Host, count: int, port: int, kind: str = "person") -> list[Person]:
    """Give some people accounts and API keys.

    Args:
        host: A host of the fleet.
        count: How many.
        port: Where they go.
        kind: How their names begin.
    """
    people = [
        Person(number, f"{kind}-{number:02}", secrets.token_urlsafe(12), secrets.token_hex(32), port)
        for number in range(1, count + 1)
    ]
    with host.database.writing() as session:
        for person in people:
            user = User(name=person.name, created_at=host.clock())
            host.users.set_password(user, person.password)
            session.add(user)
            session.flush()
            host.api_keys.add(session, user.id, person.api_key, host.clock())
    return people

"""Two hosts on one stack: what one of them ends, the other one ends too, whatever it has in its memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from openalgo_cache import Settings
from openalgo_host.api_keys import ApiKeys
from openalgo_host.application import create_app
from openalgo_host.host import Host
from openalgo_host.telegram import Preferences
from openalgo_host.webhooks import Order
from tests.host.conftest import Credentials, Hands, LogIn, host_at
from tests.host_stacks import Stack
from tests.servers.process import wait_until

pytestmark = pytest.mark.every_stack

_NOTICED = 0.1
"""Seconds within which instances on a server hear of a change. On files each look sees it: there is nothing to hear."""
_TRIES = 20
"""A machine that is busy with something else is no finding: it has to be as quick once, and right until then."""


@pytest.fixture
def second(
    stack: Stack, settings: Settings, hands: Hands, contract: Path, host: Host, tmp_path: Path
) -> Iterator[Host]:
    """Another host: on files another process of the installation, on servers an instance with a folder of its own."""
    if stack.server is not None:
        settings = replace(
            settings,
            cache_key_file=settings.cache_folder / ".cache_key",
            sqlite_cache_path=tmp_path / "second" / "cache",
            instance_id="second",
        )
    with host_at(stack.database_url, settings, hands, contract) as opened:
        yield opened


class Both:
    """The two hosts, the first of which makes changes.

    Args:
        stack: What they stand on.
        here: The first one.
        there: The second one.
    """

    def __init__(self, stack: Stack, here: Host, there: Host) -> None:
        self.here, self.there = here, there
        self._at_once = stack.server is None

    def see(self, before: Callable[[], object], change: Callable[[], object], after: Callable[[], object]) -> float:
        """Let the second one keep what it is asked for, change it at the first one, and wait for the second one.

        Args:
            before: Asks the second one; true as long as nothing is changed.
            change: Changes something at the first one.
            after: Asks the second one; true as soon as it knows.

        Returns:
            The seconds that took.
        """
        assert all(before() for _ in range(3))
        change()
        began = time.monotonic()
        if self._at_once:
            assert after()
        else:
            wait_until(after, "the other host to know")
        assert after()
        return time.monotonic() - began


@pytest.fixture
def both(stack: Stack, host: Host, second: Host, credentials: Credentials) -> Both:
    """The two hosts, with an administrator."""
    return Both(stack, host, second)


def quick(change: Callable[[int], float]) -> None:
    """Make changes until one of them is heard of as quickly as it has to be."""
    took: list[float] = []
    while not took or took[-1] >= _NOTICED:
        assert len(took) < _TRIES, took
        took.append(change(len(took)))


def test_a_key_ends(both: Both, credentials: Credentials) -> None:
    """With the next one, which the other host takes."""
    keys, caller = [credentials.api_key], both.there.api_keys.caller

    def renew(_number: int) -> float:
        took = both.see(
            lambda: caller(keys[-1]),
            lambda: keys.append(both.here.api_keys.renew(1, both.here.clock())),
            lambda: caller(keys[-2]) is None,
        )
        assert caller(keys[-1]) is not None
        return took

    quick(renew)


def test_a_session_at_the_broker_ends(both: Both) -> None:
    """Its tokens, and its name."""
    here, there = both.here.broker, both.there.broker

    def revoke(_number: int) -> float:
        here.connect(1)
        return both.see(
            lambda: there.tokens(1) and there.name_for(1),
            lambda: here.revoke(1),
            lambda: there.tokens(1) is None and there.name_for(1) is None,
        )

    quick(revoke)


def test_a_webhook_ends(both: Both) -> None:
    """Switched off, it is unknown; switched on, it is known again."""
    webhooks, find = both.here.webhooks, both.there.webhooks.find
    number = webhooks.add(1, "chart", Order("RELIANCE", "NSE", "MIS", 1, ("BUY",))).id
    token = webhooks.token(1, number)

    def switch(_number: int) -> float:
        took = both.see(
            lambda: find(token), lambda: webhooks.set_active(1, number, on=False), lambda: find(token) is None
        )
        webhooks.set_active(1, number, on=True)
        assert find(token) is not None
        return took

    quick(switch)


def test_the_mode_changes(both: Both) -> None:
    """From paper to live, and back: no host goes on as before."""
    analyses = both.there.modes.analyses

    def change(number: int) -> float:
        on = number % 2 == 1
        return both.see(lambda: analyses() != on, lambda: both.here.modes.set_analyses(on=on), lambda: analyses() == on)

    quick(change)


def test_preferences_change(both: Both) -> None:
    """Whom to tell, and where."""
    known = both.there.telegram.get

    def change(number: int) -> float:
        old, wanted = known(1), Preferences(enabled=True, chat_id=number)
        return both.see(lambda: known(1) == old, lambda: both.here.telegram.set(1, wanted), lambda: known(1) == wanted)

    quick(change)


def test_sessions_end_with_the_password(
    both: Both, client: FlaskClient, log_in: LogIn, credentials: Credentials
) -> None:
    """Logged in at one host, known at the other; with another password that is over at both."""
    browser, passwords = create_app(both.there).test_client(), [credentials.password]

    def change(number: int) -> float:
        client.delete_cookie("openalgo_session")
        assert log_in(password=passwords[-1]).status_code == 303
        cookie = client.get_cookie("openalgo_session")
        assert cookie is not None
        browser.set_cookie("openalgo_session", cookie.value)
        passwords.append(f"another password {number}")
        took = both.see(
            lambda: browser.get("/symbols").status_code == 200,
            lambda: both.here.users.change_password(1, passwords[-1]),
            lambda: browser.get("/symbols").status_code == 302,
        )
        assert client.get("/symbols").status_code == 302
        return took

    quick(change)


def test_a_key_is_checked_slowly_once(both: Both, credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """By sixteen callers on both hosts at once: Argon2 runs once. A wrong key is looked for, and not hashed."""
    slow: list[str] = []
    looked: list[str] = []
    is_there = ApiKeys._is_there

    def look(self: ApiKeys, digest: str) -> bool:
        looked.append(digest)
        return is_there(self, digest)

    monkeypatch.setattr(ApiKeys, "_is_there", look)
    for one in (both.here, both.there):
        monkeypatch.setattr(one.api_keys, "_hasher", Counting(slow, one.api_keys._hasher.verify))

    def call(number: int) -> object:
        return (both.here, both.there)[number % 2].api_keys.caller(credentials.api_key)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(call, range(64))) == [(1, None)] * 64
    assert len(slow) == 1
    looked.clear()
    for _ in range(5):
        assert both.here.api_keys.caller("wrong") is None
        assert both.there.api_keys.caller("wrong") is None
        assert call(0) == call(1) == (1, None)
    assert (len(looked), len(slow)) == (2, 1)


class Counting:
    """A hasher that counts.

    Args:
        seen: Gets what is verified.
        verify: Verifies it.
    """

    def __init__(self, seen: list[str], verify: Callable[[str, str], bool]) -> None:
        self._seen, self._verify = seen, verify

    def verify(self, known: str, given: str) -> bool:
        """Verify, and count."""
        self._seen.append(given)
        return self._verify(known, given)

"""Broker sessions: their tokens, when they end, and who is told so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from openalgo_cache import Settings, on_behalf_of
from openalgo_host.broker import Broker, BrokerSessionRow, Tokens
from openalgo_host.host import Host
from tests.host.conftest import Hands, host_at

HOUR = 3600.0
pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture
def host(address: str, settings: Settings, hands: Hands, contract: Path) -> Iterator[Host]:
    """A host on each kind of database."""
    with host_at(address, settings, hands, contract) as opened:
        yield opened


def test_tokens_of_a_session(host: Host) -> None:
    """There are none before one connects; each connection brings new ones."""
    assert (host.broker.tokens(1), host.broker.name_for(1)) == (None, None)
    host.broker.connect(1)
    first = host.broker.tokens(1)
    assert first is not None
    assert (first.broker, host.broker.name_for(1)) == ("paper", "paper")
    assert host.broker.tokens(1) == first
    host.broker.connect(1)
    second = host.broker.tokens(1)
    assert second is not None
    assert len({first.auth, first.feed, second.auth, second.feed}) == 4
    assert first.auth not in repr(first)
    assert first.feed not in repr(first)


def test_a_revoked_session_has_no_tokens(host: Host) -> None:
    """Not in the caches, and not in the database either; to revoke twice does no harm."""
    host.broker.connect(1)
    assert host.broker.tokens(1) is not None
    for _ in range(2):
        host.broker.revoke(1)
        assert (host.broker.tokens(1), host.broker.name_for(1)) == (None, None)
    host.broker.revoke(2)
    with host.database.reading() as session:
        row = session.scalars(select(BrokerSessionRow)).one()
    assert (row.revoked, row.auth_token, row.feed_token) == (True, b"", b"")


def test_a_session_ends_at_the_hour(host: Host, hands: Hands) -> None:
    """At three in the morning in India, in the caches as in the database, whenever it was last asked for."""
    host.broker.connect(1)
    hands.turn(18.5 * HOUR - 1)
    assert host.broker.tokens(1) is not None
    assert host.broker.name_for(1) == "paper"
    hands.turn(1)
    assert (host.broker.tokens(1), host.broker.name_for(1)) == (None, None)
    host.manager.close()  # the caches are opened anew, and the database is asked
    assert (host.broker.tokens(1), host.broker.name_for(1)) == (None, None)
    host.broker.connect(1)
    assert host.broker.tokens(1) is not None


def test_a_token_that_is_kept_past_the_hour_is_not_served(
    host: Host, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read a moment before three, and comes into the cache a moment after: for the whole day that begins."""
    load = Broker._load

    def slow(self: Broker, user_id: int) -> Tokens:
        found = load(self, user_id)
        hands.turn(2)
        return found

    host.broker.connect(1)
    hands.turn(18.5 * HOUR - 1)
    monkeypatch.setattr(Broker, "_load", slow)
    host.broker.tokens(1)
    host.broker.name_for(1)
    assert (host.broker.tokens(1), host.broker.name_for(1)) == (None, None)


def test_a_revocation_while_tokens_are_loaded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before it does not come back into a cache after it."""
    load = Broker._load

    def revoking(self: Broker, user_id: int) -> Tokens:
        found = load(self, user_id)
        self.revoke(user_id)
        return found

    for ask in (host.broker.tokens, host.broker.name_for):
        host.broker.connect(1)
        with monkeypatch.context() as patched:
            patched.setattr(Broker, "_load", revoking)
            ask(1)
        assert ask(1) is None


def test_nobody_is_told_no_for_long(host: Host) -> None:
    """That there is no session is not kept: one that begins in another process is seen at once."""
    assert host.broker.tokens(1) is None
    with host.database.writing() as session:
        seal = host.broker._vault.seal
        session.add(
            BrokerSessionRow(
                user_id=1,
                broker="paper",
                auth_token=seal("broker_sessions.auth_token/1", "auth"),
                feed_token=seal("broker_sessions.feed_token/1", "feed"),
                connected_at=host.clock(),
                revoked=False,
            )
        )
    assert host.broker.tokens(1) == Tokens("paper", "auth", "feed", host.clock())


def test_tokens_of_another_row_are_none(host: Host) -> None:
    """Whoever can write to the database cannot make one token of another."""
    host.broker.connect(1)
    with host.database.writing() as session:
        row = session.scalars(select(BrokerSessionRow)).one()
        row.auth_token = row.feed_token
    assert host.broker.tokens(1) is None


def test_tokens_of_two_sessions_are_no_pair(host: Host, hands: Hands) -> None:
    """Somebody connects anew while the tokens are asked for, and one of the two comes from the session before."""
    host.broker.connect(1)
    with on_behalf_of("openalgo_host.broker"):
        old = host.broker._feed.get_or_set("feed-1", lambda: ("old", host.clock()))
        hands.turn(1)
        host.broker.connect(1)
        host.broker._feed.set("feed-1", old)
    now = host.broker.tokens(1)
    assert now is not None
    assert (now.connected_at, now.feed != "old") == (host.clock(), True)

"""Strategies with webhooks: what their owners do with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from openalgo_cache import Settings
from openalgo_host.host import Host
from openalgo_host.vault import VaultError
from openalgo_host.webhooks import Order, RefusedWebhookError, StrategyRow, UnknownWebhookError, Webhook
from tests.host.conftest import Hands, host_at

ORDER = Order("RELIANCE", "NSE", "MIS", 10)
REFUSED = [
    ("", ORDER, "up to 64 characters"),
    ("x" * 65, ORDER, "up to 64 characters"),
    (" x", ORDER, "up to 64 characters"),
    ("a\nb", ORDER, "up to 64 characters"),
    ("taken", ORDER, "'taken' already"),
    ("x", replace(ORDER, symbol="NOSUCH"), "NOSUCH not found"),
    ("x", replace(ORDER, product="ABC"), "one of CNC, NRML, MIS"),
    ("x", replace(ORDER, actions=()), "some of BUY, SELL"),
    ("x", replace(ORDER, actions=("BUY", "HOLD")), "some of BUY, SELL"),
    ("x", replace(ORDER, quantity=-1), "from 1 to"),
    ("x", Order("NIFTY26MAR26FUT", "NFO", "NRML", 64), "lots of 65"),
    ("x", Order("NIFTY", "NSE_INDEX", "MIS", 1), "an index"),
]
"""Names and orders that cannot be, and what is said of them."""
pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture
def host(address: str, settings: Settings, hands: Hands, contract: Path) -> Iterator[Host]:
    """A host on each kind of database."""
    with host_at(address, settings, hands, contract) as opened:
        yield opened


def test_its_owner_sees_it(host: Host) -> None:
    """With what it orders, and the token; others see nothing of it."""
    added = host.webhooks.add(1, "breakout", ORDER)
    assert added == Webhook(added.id, 1, "breakout", True, ORDER)  # all there is, in order
    assert list(host.webhooks.list(1)) == [added]
    assert list(host.webhooks.list(2)) == []
    token = host.webhooks.token(1, added.id)
    assert host.webhooks.find(token) == added
    assert host.webhooks.find(token + "x") is None
    for act in (host.webhooks.token, host.webhooks.renew_token, host.webhooks.remove):
        with pytest.raises(UnknownWebhookError, match=f"Strategy {added.id} not found"):
            act(2, added.id)
    assert host.webhooks.find(token) == added


def test_a_change_is_seen_at_once(host: Host) -> None:
    """Though everything was in the caches before."""
    hooks = host.webhooks
    first, second = hooks.add(1, "a", ORDER), hooks.add(1, "b", replace(ORDER, quantity=0, actions=("SELL",)))
    token = hooks.token(1, second.id)
    assert (list(hooks.list(1)), hooks.find(token)) == ([first, second], second)
    assert not hooks.set_active(1, second.id, on=False).active
    assert (hooks.find(token), hooks.list(1)[1].active) == (None, False)
    hooks.set_active(1, second.id, on=True)
    assert hooks.find(token) == second
    renewed = hooks.renew_token(1, second.id)
    assert (hooks.find(token), hooks.find(renewed)) == (None, second)
    hooks.remove(1, second.id)
    assert (hooks.find(renewed), list(hooks.list(1))) == (None, [first])


def test_one_that_is_switched_off_while_it_is_looked_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before does not come into the cache afterwards."""
    hook = host.webhooks.add(1, "breakout", ORDER)
    token = host.webhooks.token(1, hook.id)

    def switching(row: StrategyRow) -> Webhook:
        if row.active:
            host.webhooks.set_active(1, hook.id, on=False)
        return hook

    with monkeypatch.context() as patched:
        patched.setattr("openalgo_host.webhooks._view", switching)
        host.webhooks.find(token)
    assert host.webhooks.find(token) is None


def test_what_cannot_be(host: Host) -> None:
    """Is refused, and the owner is told why."""
    host.webhooks.add(1, "taken", ORDER)
    for name, order, why in REFUSED:
        with pytest.raises(RefusedWebhookError, match=why):
            host.webhooks.add(1, name, order)
    assert [one.name for one in host.webhooks.list(1)] == ["taken"]


def test_a_quantity_that_the_message_says(host: Host) -> None:
    """Also of what is traded in lots."""
    order = Order("NIFTY26MAR26FUT", "NFO", "NRML")
    assert host.webhooks.add(1, "breakout", order).order == order


def test_a_token_of_another_row_is_none(host: Host) -> None:
    """Whoever can write to the database cannot make one strategy's token another's."""
    one, other = host.webhooks.add(1, "one", ORDER), host.webhooks.add(1, "other", ORDER)
    with host.database.writing() as session:
        rows = {row.id: row for row in session.scalars(select(StrategyRow))}
        rows[one.id].sealed = rows[other.id].sealed
    with pytest.raises(VaultError, match=r"strategies\.sealed"):
        host.webhooks.token(1, one.id)

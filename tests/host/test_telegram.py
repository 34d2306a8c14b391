"""What users want to be told by Telegram."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from openalgo_cache import Settings
from openalgo_host.host import Host
from openalgo_host.telegram import ALERTS, Preferences, PreferencesRow, RefusedPreferencesError
from tests.host.conftest import Hands, host_at

pytestmark = pytest.mark.usefixtures("credentials")


@pytest.fixture
def host(address: str, settings: Settings, hands: Hands, contract: Path) -> Iterator[Host]:
    """A host on each kind of database."""
    with host_at(address, settings, hands, contract) as opened:
        yield opened


def test_preferences(host: Host) -> None:
    """Nothing is wanted at first; a change is seen at once; who somebody is there lies encrypted and shows nowhere."""
    assert host.telegram.get(1) == Preferences(enabled=False, alerts=ALERTS)
    wanted = Preferences(enabled=True, alerts=("orders",), chat_id=-1001234567890, username="ann_of_mumbai")
    host.telegram.set(1, wanted)
    assert host.telegram.get(1) == wanted
    assert "ann" not in repr(wanted)
    assert "123" not in repr(wanted)
    host.telegram.set(1, Preferences(enabled=False, alerts=()))
    assert host.telegram.get(1) == Preferences(enabled=False, alerts=())
    host.telegram.set(1, wanted)
    with host.database.reading() as session:
        contact = session.scalars(select(PreferencesRow.contact)).one()
    assert b"ann_of_mumbai" not in contact


def test_what_cannot_be(host: Host) -> None:
    """Is refused, and the user is told why."""
    for wanted, why in (
        (Preferences(alerts=("weather",)), "some of orders"),
        (Preferences(enabled=True), "who you are"),
        (Preferences(username="@ann"), "letters, digits and underscores"),
        (Preferences(username="a" * 65), "letters, digits and underscores"),
        (Preferences(chat_id=2**52), "52 bits"),
    ):
        with pytest.raises(RefusedPreferencesError, match=why):
            host.telegram.set(1, wanted)
    assert host.telegram.get(1) == Preferences()

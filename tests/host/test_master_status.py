"""How the import of a symbol master went, for all instances to see."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from openalgo_cache import Settings
from openalgo_cache.symbols import generate_master
from openalgo_host import master
from openalgo_host.errors import StartError
from openalgo_host.host import Host
from openalgo_host.master import ensure_master
from openalgo_host.master_status import State, Status
from tests.host.conftest import Hands


@pytest.fixture
def host(address: str, settings: Settings, hands: Hands) -> Iterator[Host]:
    """A host without a master, on each kind of database."""
    opened = Host.open(settings, hands, address)
    yield opened
    opened.close()


def test_an_import(host: Host, contract: Path, hands: Hands) -> None:
    """There is nothing to say before it; then where it came from and how many there are."""
    assert host.master_status.latest() is None
    ensure_master(host, contract)
    assert host.master_status.latest() == Status(State.SUCCESS, "contract.csv", 8, hands.now, hands.now, "")


def test_a_generated_one_is_of_today(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in it has expired."""
    monkeypatch.setattr(master, "generate_master", partial(generate_master, rows=500))
    ensure_master(host, None)
    assert host.symbols.expiries("NFO", "NIFTY")[0] == "05-MAR-26"


def test_an_import_that_fails(host: Host, contract: Path, hands: Hands) -> None:
    """It says why, and the next one begins anew."""
    contract.write_text("no,contract\n")
    with pytest.raises(StartError):
        ensure_master(host, contract)
    failed = host.master_status.latest()
    assert failed is not None
    assert (failed.state, failed.total, failed.finished_at) == (State.ERROR, 0, hands.now)
    assert failed.error
    hands.turn(5)
    with host.master_status.importing("another") as done:
        assert host.master_status.latest() == Status(State.IMPORTING, "another", 0, hands.now, None, "")
        done(7)
    assert host.master_status.latest() == Status(State.SUCCESS, "another", 7, hands.now, hands.now, "")

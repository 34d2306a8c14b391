"""The strategy's side of its state, as far as no host is needed: what it takes, and what it says without one."""

from __future__ import annotations

import datetime
import socket
import subprocess
import sys
from typing import Any

import pytest

from openalgo_cache import CacheError, ConfigurationError, UnsupportedValueError
from openalgo_cache.strategies import HostUnavailableError, StrategyState
from openalgo_cache.strategies.calls import HostCalls


@pytest.fixture
def nowhere() -> str:
    """The address of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def mine(nowhere: str) -> StrategyState:
    """A state whose host is away."""
    return StrategyState(HostCalls(nowhere, "key", patience=0), 0, {})


def test_it_is_a_dict(mine: StrategyState) -> None:
    """With all that dicts have; what it holds is not shown."""
    mine["n"] = 1
    mine.update(held=["RELIANCE"])
    assert mine.setdefault("n", 2) == 1
    assert dict(mine) == {"n": 1, "held": ["RELIANCE"]}
    assert mine.pop("n") == 1
    assert list(mine) == ["held"]
    assert "RELIANCE" not in repr(mine)


@pytest.mark.parametrize(
    "value, where",
    [
        ((1, 2), r"\['a'\]\['b'\]\[0\]: tuple"),
        ({1: 2}, "a key is a str, not int"),
        (float("nan"), "float"),
        (datetime.date(2026, 3, 2), "date"),
        (b"", "bytes"),
    ],
)
def test_what_would_not_come_back_is_refused(mine: StrategyState, value: Any, where: str) -> None:
    """Before anything is sent; the message says where it is."""
    mine["a"] = {"b": [value]}
    with pytest.raises(UnsupportedValueError, match=where):
        mine.save()


def test_a_block_takes_back_what_an_exception_left_half_done(mine: StrategyState) -> None:
    """And what could not be saved stays, to be saved again."""
    with pytest.raises(ZeroDivisionError), mine:  # noqa: PT012  # what the block takes back
        mine["half"] = True
        mine["n"] = 1 / 0
    assert dict(mine) == {}
    with pytest.raises(HostUnavailableError), mine:
        mine["n"] = 1
    assert dict(mine) == {"n": 1}


def test_a_host_that_is_away_is_named(nowhere: str) -> None:
    """And the key is not."""
    with pytest.raises(HostUnavailableError, match=nowhere) as failed:
        StrategyState.load(nowhere, "secret-key", patience=0)
    assert isinstance(failed.value, CacheError)
    assert isinstance(failed.value, ConnectionError)
    assert "secret-key" not in str(failed.value)


@pytest.mark.parametrize("server", ["127.0.0.1:5000", "ftp://host", "http://"])
def test_an_address_that_is_none(server: str) -> None:
    """It is named, with an example."""
    with pytest.raises(ConfigurationError, match=r"such as http://127\.0\.0\.1:5000"):
        StrategyState.load(server, "key")


def test_without_a_host_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variables."""
    monkeypatch.delenv("HOST_SERVER", raising=False)
    with pytest.raises(ConfigurationError, match="HOST_SERVER and OPENALGO_API_KEY"):
        StrategyState.load()


def test_its_import_is_light() -> None:
    """A strategy's process loads neither a store nor cryptography for it."""
    heavy = "[m for m in ('apsw', 'cryptography', 'ormsgpack', 'flask') if m in sys.modules]"
    code = f"import openalgo_cache.strategies.run, sys; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""A host in a folder of its own, with a small symbol master and a clock that stands still."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from openalgo_cache import Settings
from openalgo_cache.symbols import COLUMNS
from openalgo_host import passwords
from openalgo_host.administrator import ensure_administrator
from openalgo_host.application import create_app
from openalgo_host.host import Host
from tests.host_stacks import Stack

MORNING = 1_772_420_400.0
"""2026-03-02 08:30 in India."""

_ROWS = (
    "RELIANCE,RELIANCE-EQ,RELIANCE INDUSTRIES,NSE,NSE,2885,,0,1,EQ,0.05,",
    "RELIANCE,RELIANCE,RELIANCE INDUSTRIES,BSE,BSE,500325,,0,1,EQ,0.05,",
    "M&M,M&M-EQ,MAHINDRA & MAHINDRA,NSE,NSE,2031,,0,1,EQ,0.05,",
    "NIFTY,NIFTY 50,NIFTY 50,NSE_INDEX,NSE_INDEX,26000,,0,1,INDEX,0.05,",
    "NIFTY26MAR26FUT,NIFTY26MARFUT,NIFTY,NFO,NFO,35001,26-MAR-26,0,65,FUT,0.1,",
    "NIFTY26MAR2624000CE,NIFTY26MAR24000CE,NIFTY,NFO,NFO,35002,26-MAR-26,24000,65,CE,0.05,",
    "NIFTY26MAR2624000PE,NIFTY26MAR24000PE,NIFTY,NFO,NFO,35003,26-MAR-26,24000,65,PE,0.05,",
    "USDINR27MAR2683.25CE,USDINR26MAR83.25CE,USDINR,CDS,CDS,40001,27-MAR-26,83.25,1000,CE,0.0025,1000",
)


class Hands:
    """A clock that stands still until it is turned."""

    def __init__(self, now: float = MORNING) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return what it shows."""
        return self.now

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(frozen=True)
class Credentials:
    """What the first start shows."""

    name: str
    password: str
    api_key: str


@pytest.fixture
def hands() -> Hands:
    """The host's clock."""
    return Hands()


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> Settings:
    """Settings of an installation in an empty folder."""
    return stack.settings(tmp_path)


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address of a database that nobody has used yet: of each kind, for each test that asks for it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'host.db'}"
    return str(request.getfixturevalue("postgres").new_schema())


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A master contract of eight instruments."""
    path = tmp_path / "contract.csv"
    path.write_text("\n".join((",".join(COLUMNS), *_ROWS, "")), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords as ever, only faster: how long Argon2 takes is no concern of these tests."""
    monkeypatch.setattr(
        passwords, "PasswordHasher", partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages wait only for a moment for sessions that cannot be read."""
    monkeypatch.setattr("openalgo_host.host._PATIENCE", 0.2)


@pytest.fixture
def host(stack: Stack, settings: Settings, hands: Hands, contract: Path) -> Iterator[Host]:
    """A host with a master, and no user yet."""
    with host_at(stack.database_url, settings, hands, contract) as opened:
        yield opened


@contextmanager
def host_at(address: str, settings: Settings, hands: Hands, contract: Path) -> Iterator[Host]:
    """Open a host on a database, with a master, and close it."""
    opened = Host.open(settings, hands, address)
    opened.symbols.import_master(contract)
    yield opened
    opened.close()


@pytest.fixture
def credentials(host: Host) -> Credentials:
    """Those of the administrator, who is there from now on."""
    shown: list[str] = []
    assert ensure_administrator(host, shown.append)
    found = re.fullmatch(r"User: (\S+)\nPassword: (\S+)\nAPI key: (\S+)", shown[0])
    assert found is not None
    return Credentials(*found.groups())


@pytest.fixture
def app(host: Host) -> Flask:
    """The host's application."""
    return create_app(host)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser."""
    return app.test_client()


LogIn = Callable[..., TestResponse]


@pytest.fixture
def log_in(client: FlaskClient, credentials: Credentials) -> LogIn:
    """Return a function that opens the login page and sends its form."""

    def send(**changes: str) -> TestResponse:
        page = client.get("/login")
        fields = {"name": credentials.name, "password": credentials.password, "token": token_in(page)}
        return client.post("/login", data=fields | changes)

    return send


@pytest.fixture
def user(client: FlaskClient, log_in: LogIn) -> FlaskClient:
    """A browser whose user is logged in."""
    assert log_in().status_code == 303
    return client


def token_in(page: TestResponse) -> str:
    """Return the token of the first form on a page."""
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]

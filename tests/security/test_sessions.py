"""Weak point 12: sessions in a store that somebody else can write to, and requests that run at once."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import ormsgpack
import pytest
from flask import Flask
from flask.testing import FlaskClient

from openalgo_cache import CacheManager, Settings
from openalgo_cache.codec.sealing import Unsealed
from openalgo_cache.integrations.sessions import CacheSessions
from tests.security.attack import Attack
from tests.security.canary import Canary
from tests.security.conftest import SUBJECTS
from tests.security.proposal.sessions import RedisSessions
from tests.servers.process import ServerProcess

pytestmark = pytest.mark.server

ADMIN = {"user": "admin"}


class Shop:
    """An application whose sessions are on a Redis, and a visitor who has one.

    Args:
        who: Whose sessions.
        folder: Where the key ring lies.
        server: The server.
    """

    def __init__(self, who: str, folder: Path, server: ServerProcess) -> None:
        server.ask("FLUSHALL")
        self.server = server
        self.meanwhile: Callable[[], Any] = lambda: None
        self.app = Flask("shop")
        self.app.testing = True
        self.app.secret_key = "a secret of the application"
        self._manager = CacheManager(Settings(base_folder=folder, session_type="redis", **server.settings()))
        self._redis = server.client()
        if who == "proposal":
            self.app.session_interface = RedisSessions(self._redis)
        else:
            CacheSessions(self.app, manager=self._manager)
        self.app.add_url_rule("/", view_func=lambda: dict(flask.session))
        self.app.add_url_rule("/set/<name>/<value>", view_func=self._put)
        self.visitor: FlaskClient = self.app.test_client()
        self.visitor.get("/set/basket/SBIN")
        (key,) = self._redis.scan_iter("openalgo:session*")
        self.key: str = key.decode()

    def _put(self, name: str, value: str) -> str:
        flask.session[name] = value
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return "set"

    def session(self) -> Any:
        """Return what the application takes for the visitor's session."""
        return self.visitor.get("/").json

    def plant(self, record: bytes) -> None:
        """Put something else in the place of the visitor's session."""
        self._redis.set(self.key, record)

    def stored(self) -> bytes:
        """Return what is stored."""
        found = self._redis.get(self.key)
        assert isinstance(found, bytes)
        return found

    def close(self) -> None:
        """Let go of the server."""
        self._manager.close()
        self._redis.close()


@pytest.fixture(params=SUBJECTS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, redis_server: ServerProcess) -> Iterator[Shop]:
    """A shop with either's sessions."""
    shop = Shop(request.param, tmp_path, redis_server)
    assert shop.session() == {"basket": "SBIN"}
    yield shop
    shop.close()


@pytest.mark.attack("12", "a pickle planted as a session")
def test_12_planted_session_runs_no_code(shop: Shop, canary: Canary, attack: Attack) -> None:
    """There is no fallback to pickle."""
    honest = shop.stored()
    for what, gadget in canary.pickles.items():
        shop.plant(gadget)
        shop.visitor.get("/")
        attack.tried(succeeded=canary.sang, what=what)
        canary.hush()
        shop.plant(honest)


@pytest.mark.attack("12", "a session that says user: admin")
def test_12_planted_session_is_not_believed(shop: Shop, attack: Attack) -> None:
    """Who can write to the store can log nobody in."""
    is_proposal = isinstance(shop.app.session_interface, RedisSessions)
    honest, key = shop.stored(), shop.key
    own_form = ormsgpack.packb({"at": 2e9, "fields": ADMIN})
    endless = struct.pack(">d", math.inf)
    forged = [
        ormsgpack.packb(ADMIN),
        own_form,
        endless + own_form,
        Unsealed().seal(key, own_form, 1, 0.0, math.inf),
        endless + Unsealed().seal(key, own_form, 1, 0.0, math.inf),
        honest[: -len(own_form)] + own_form,
    ]
    for record in forged[:1] if is_proposal else forged:
        shop.plant(record)
        attack.tried(succeeded=shop.session() == ADMIN, what=record)
        shop.plant(honest)


@pytest.mark.attack("12", "what a session holds, read in the store")
def test_12_session_is_unreadable(shop: Shop, attack: Attack) -> None:
    """A session is encrypted, and the number in the cookie is not in the store."""
    shop.visitor.get("/set/token/broker-token-of-ann")
    cookie = shop.visitor.get_cookie("session")
    assert cookie is not None
    number = cookie.value.split(".")[0]
    attack.tried(succeeded=b"broker-token-of-ann" in shop.stored() or number in shop.key)


@pytest.mark.attack("12", "a change lost to a request that ran at once")
def test_12_no_lost_update(shop: Shop, attack: Attack) -> None:
    """What one request stores while another runs is still there after that."""
    other, cookie = shop.app.test_client(), shop.visitor.get_cookie("session")
    assert cookie is not None
    other.set_cookie("session", cookie.value)
    shop.meanwhile = lambda: other.get("/set/order/42")
    shop.visitor.get("/set/alert/on")
    attack.tried(succeeded=shop.session() != {"basket": "SBIN", "alert": "on", "order": "42"}, what=shop.session())

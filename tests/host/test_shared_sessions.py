"""Sessions that instances share on a server: one cookie for all, no lost change, no logout while the server is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import flask
import pytest
from flask import Flask

from openalgo_cache import BackendMisconfiguredError, CacheManager, ConfigurationError, Settings
from openalgo_cache.cli.diagnosis import doctor
from openalgo_cache.cli.figures import stats
from openalgo_cache.cli.keyring import roll_call
from openalgo_cache.cli.session import Session
from openalgo_cache.expiry import until
from openalgo_cache.integrations.sessions import CacheSessions, renew_session
from openalgo_cache.rotation.places import servers
from openalgo_cache.rotation.rotating import Rotation
from openalgo_cache.settings import InvalidSettingsError
from openalgo_cache.settings.server import SESSION
from tests.servers.certificates import Authority
from tests.servers.fixtures import LOGIN, users
from tests.servers.process import HOST, Login, ServerProcess, Tls, wait_until

pytestmark = pytest.mark.server

_DATABASE = 9
"""Where the sessions are; the caches are in database 0."""
_SESSION_KEYS = "~openalgo:session:* ~openalgo:key.holders:* ~openalgo:!listeners"


class Instance:
    """An application and a manager of its own, as another host would have them."""

    def __init__(self, settings: Settings) -> None:
        self.manager = CacheManager(settings)
        self.app = Flask("shop")
        self.app.testing = True
        self.app.config["SESSION_KEY_PREFIX"] = "openalgo:session:"
        self.sessions = CacheSessions(self.app, manager=self.manager)
        self.app.add_url_rule("/", view_func=lambda: dict(flask.session))
        self.app.add_url_rule("/set/<name>/<value>", view_func=self._put)
        self.app.add_url_rule("/login", view_func=self._log_in)
        self.app.add_url_rule("/logout", view_func=self._log_out)

    def get(self, path: str, number: str | None = None) -> tuple[int, Any, str | None]:
        """Return status, JSON and the number in the cookie afterwards of a request with the number of a session."""
        browser = self.app.test_client()
        if number is not None:
            browser.set_cookie("session", number)
        answer, cookie = browser.get(path), browser.get_cookie("session")
        return answer.status_code, answer.json if answer.is_json else None, None if cookie is None else cookie.value

    def _put(self, name: str, value: str) -> dict[str, str]:
        flask.session[name] = value
        return {}

    def _log_in(self) -> dict[str, str]:
        renew_session()
        flask.session["user"] = "ann"
        return {}

    def _log_out(self) -> dict[str, str]:
        flask.session.clear()
        return {}


StartInstance = Callable[..., Instance]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartInstance]:
    """Start instances that share a key ring and nothing else of their folders."""
    with (
        closing(CacheManager(Settings(base_folder=tmp_path / "ring", cache_backend="sqlite"))) as first,
        ExitStack() as stack,
    ):
        first.ring()

        def begin(server: ServerProcess, **more: Any) -> Instance:
            brand = server.program.brand
            environ = {name.upper(): str(value) for name, value in server.settings().items() if value is not None}
            environ |= {
                "CACHE_BACKEND": "sqlite",
                "SESSION_TYPE": brand,
                "SESSION_REDIS": f"redis://{HOST}:{server.port}/{_DATABASE}",
                "CACHE_KEY_FILE": str(first.ring_path()),
                "SQLITE_CACHE_PATH": str(tmp_path / str(time.monotonic_ns()) / "cache"),
            }
            instance = Instance(Settings.from_environment(environ | more, None))
            stack.callback(instance.manager.close)
            return instance

        yield begin


@pytest.fixture(params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> ServerProcess:
    """A server without sessions."""
    found: ServerProcess = request.getfixturevalue(f"{request.param}_server")
    with found.client(db=_DATABASE) as client:
        client.flushdb()
    return found


def test_one_cookie_is_good_everywhere(server: ServerProcess, start: StartInstance) -> None:
    """What one instance put in, the other finds; a login there makes the old number worthless here."""
    one, other = start(server), start(server)
    _, _, before = one.get("/set/colour/blue")
    assert other.get("/", before)[1] == {"colour": "blue"}
    _, _, after = other.get("/login", before)
    assert after != before
    assert one.get("/", after)[1] == {"colour": "blue", "user": "ann"}
    wait_until(lambda: one.get("/", before)[1] == {}, "the number from before the login to be worthless")


def test_sessions_are_where_they_should_be(server: ServerProcess, start: StartInstance) -> None:
    """In their own database, under the proposal's prefix, and gone there too at the end of the trading day."""
    one = start(server)
    one.get("/login")
    now, ends = time.time(), until("03:00").expires_at(time.time())
    with server.client(db=_DATABASE) as client:
        (key,) = client.scan_iter("openalgo:session:*")
        assert key.startswith(b"openalgo:session:~")
        assert abs(client.pttl(key) / 1000 - (ends - now)) < 2
        assert b"ann" not in (client.get(key) or b"")
    with server.client(db=0) as client:
        assert client.get(key) is None
    assert [found.db for found in servers(one.manager) if found.for_sessions] == [_DATABASE]
    assert one.manager.health(probe=True)["caches"]["session"]["status"] == "healthy"


def test_instances_lose_no_change(server: ServerProcess, start: StartInstance) -> None:
    """Requests at the same time on two instances, each with a field of its own: all are there."""
    instances = start(server), start(server)
    _, _, number = instances[0].get("/login")

    def use(instance: int) -> list[int]:
        return [instances[instance].get(f"/set/from{instance}/{step}", number)[0] for step in range(20)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(use, range(2))) == [[200] * 20] * 2
    assert instances[0].get("/", number)[1] == {"user": "ann", "from0": "19", "from1": "19"}


def test_another_key_seals_sessions_too(redis_server: ServerProcess, start: StartInstance) -> None:
    """On their own server; whoever was logged in still is."""
    one = start(redis_server)
    with redis_server.client(db=_DATABASE) as client:
        client.flushdb()
        _, _, number = one.get("/login")
        (key,) = client.scan_iter("openalgo:session:*")
        before = client.get(key)
        assert Rotation(one.manager, pause=lambda _: None).rotate().left == ()
        assert client.get(key) != before
    assert one.get("/", number)[1] == {"user": "ann"}


def test_a_logout_reaches_the_other_instance(server: ServerProcess, start: StartInstance) -> None:
    """Although that has a copy in its memory."""
    one, other = start(server), start(server)
    _, _, number = one.get("/login")
    for _ in range(3):
        assert other.get("/", number)[1] == {"user": "ann"}
    one.get("/logout", number)
    wait_until(lambda: other.get("/", number)[1] == {}, "the logout to be noticed")


def test_a_server_that_is_away_is_no_logout(start: StartInstance, start_server: Callable[..., ServerProcess]) -> None:
    """The answer is 503 and the cookie stays; when the server is back, so is the session."""
    server = start_server("redis")
    one, other = start(server), start(server, REDIS_OPERATION_TIMEOUT="0.25")
    _, _, number = one.get("/login")
    server.pause()
    assert other.get("/", number)[::2] == (503, number)
    assert other.manager.health(probe=True)["status"] == "unavailable"
    server.resume()
    wait_until(lambda: other.get("/", number)[:2] == (200, {"user": "ann"}), "the session to be there again")


def test_sessions_may_be_on_another_server(start: StartInstance, start_server: Callable[..., ServerProcess]) -> None:
    """With a login of its own; what goes wrong there names the variable."""
    server = start_server("redis", login=Login(username=None, password="of-the-sessions"))
    url = f"redis://:of-the-sessions@{HOST}:{server.port}/1"
    elsewhere = {"REDIS_PORT": "1", "REDIS_PASSWORD": ""}
    one = start(server, SESSION_REDIS=url, **elsewhere)
    _, _, number = one.get("/login")
    assert one.get("/", number)[1] == {"user": "ann"}
    assert "of-the-sessions" not in repr(one.manager.settings)
    refused = start(server, SESSION_REDIS=f"redis://{HOST}:{server.port}/1", **elsewhere)
    with pytest.raises(BackendMisconfiguredError, match=r"Redis \(SESSION_REDIS_URL\) at .* asks for a password"):
        refused.sessions.cache.get("x")


def test_sessions_over_tls_with_few_rights(
    start: StartInstance, start_server: Callable[..., ServerProcess], authority: Authority
) -> None:
    """A server that wants a certificate, and a user that may touch the keys of sessions alone."""
    tls = Tls(
        authority=authority.certificate,
        server=authority.issue("sessions", "localhost", HOST),
        client=authority.issue("client"),
    )
    assert _SESSION_KEYS in (Path(__file__).parents[2] / "docs" / "host.md").read_text(encoding="utf-8")
    rights = [line.replace("~openalgo:* ~openalgo@*", _SESSION_KEYS) for line in users()]
    server = start_server("redis", login=LOGIN, users=rights, tls=tls)
    url = f"rediss://{LOGIN.username}:{quote(LOGIN.password)}@{HOST}:{server.port}/{_DATABASE}"
    elsewhere = {"SESSION_REDIS": url, "REDIS_PORT": "1", "REDIS_USERNAME": "", "REDIS_PASSWORD": ""}
    one, other = (start(server, **elsewhere) for _ in range(2))
    _, _, number = one.get("/login")
    for _ in range(3):
        assert other.get("/", number)[1] == {"user": "ann"}
    assert other.get("/set/colour/blue", number)[0] == 200
    one.get("/logout", number)
    wait_until(lambda: other.get("/", number)[1] == {}, "the logout to be noticed")
    holders = one.manager.census.holders("redis", SESSION)
    assert holders is not None
    wait_until(lambda: holders.roll().holders, "the instances to tell which keys they hold")
    with server.client() as client:
        assert client.acl_log() == []
    assert LOGIN.password not in repr(one.manager.settings)

    for variables, named in (
        ({"REDIS_TLS_CA": ""}, "REDIS_TLS_CA"),
        ({"REDIS_TLS_CERT": "", "REDIS_TLS_KEY": ""}, "REDIS_TLS_CERT"),
        ({"SESSION_REDIS": url.replace("rediss:", "redis:"), "REDIS_TLS": ""}, "SESSION_REDIS_URL"),
    ):
        with pytest.raises(BackendMisconfiguredError, match=named) as refused:
            start(server, **elsewhere | variables).sessions.cache.get("x")
        assert LOGIN.password not in str(refused.value)


@pytest.mark.parametrize(
    "variables, problem",
    [
        ({"SESSION_REDIS_URL": "redis://sessions.test/1"}, "SESSION_REDIS_URL=.*another machine.*rediss://"),
        (
            {"SESSION_REDIS_URL": "redis://localhost:6379/1", "REDIS_CLUSTER": "true"},
            "SESSION_REDIS_URL=.*database 1, which",
        ),
    ],
)
def test_what_cannot_work_is_said_at_once(variables: dict[str, str], problem: str) -> None:
    """Plain text to another machine, and a second database of a cluster."""
    with pytest.raises(InvalidSettingsError, match=problem):
        Settings.from_environment({"SESSION_TYPE": "redis", "CACHE_BACKEND": "sqlite", **variables}, None)


def test_another_prefix_is_refused(tmp_path: Path) -> None:
    """Rather than being ignored."""
    app = Flask("shop")
    app.config["SESSION_KEY_PREFIX"] = "shop:"
    with (
        closing(CacheManager(Settings(base_folder=tmp_path))) as manager,
        pytest.raises(ConfigurationError, match="begin with 'openalgo:session:'"),
    ):
        CacheSessions(app, manager=manager)


def test_the_command_looks_at_the_server_of_the_sessions(
    redis_server: ServerProcess, start: StartInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many there are, who else holds keys, and how the server is, although the caches are in files."""
    with redis_server.client(db=_DATABASE) as client:
        client.flushdb()
    one = start(redis_server)
    one.get("/login")
    settings = one.manager.settings
    env_file = tmp_path / "of-the-command.env"
    env_file.write_text(
        f"CACHE_BACKEND=sqlite\nSESSION_TYPE=redis\nSESSION_REDIS=redis://{HOST}:{redis_server.port}/{_DATABASE}\n"
        f"CACHE_KEY_FILE={settings.cache_key_file}\nSQLITE_CACHE_PATH={settings.sqlite_cache_path}\nREDIS_PORT=1\n",
        encoding="utf-8",
    )
    stats(env_file, "session", as_json=True)
    assert json.loads(capsys.readouterr().out)["caches"][0]["entries"] == 1
    with Session(env_file) as session:
        wait_until(lambda: roll_call(session)[0].holders, "the instance to tell which keys it holds")
    doctor(env_file, as_json=True)
    assert f"{redis_server.address} is Redis" in capsys.readouterr().out

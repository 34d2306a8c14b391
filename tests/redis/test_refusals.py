"""A server that refuses us is not away: the error says what to correct, at once, and no secret."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.redis import RedisBackend
from openalgo_cache.backends.resp.backend import RespBackend
from openalgo_cache.backends.valkey import ValkeyBackend
from openalgo_cache.errors import BackendMisconfiguredError, BackendUnavailableError
from openalgo_cache.settings import Settings
from tests.redis.stores import PREFIX, backend, manager
from tests.servers.certificates import Authority
from tests.servers.process import HOST, Login, ServerProcess, Tls, free_port

pytestmark = pytest.mark.server

SECRET = "hunter2-of-the-tests"


@pytest.fixture
def refuses(caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Use a server that must refuse, at once, naming a variable and no secret; return the message."""

    def check(variables: dict[str, Any], variable: str, tested: type[RespBackend] | None = None, **more: Any) -> str:
        brand = next(iter(variables)).partition("_")[0]
        impatient = {f"{brand}_operation_timeout": 0.25, f"{brand}_timeout": 10.0, **more}
        store = backend(variables, tested or RedisBackend, **impatient)
        started = time.monotonic()
        with caplog.at_level(logging.DEBUG), pytest.raises(BackendMisconfiguredError) as caught:
            store.get(PREFIX + "key")
        assert time.monotonic() - started < 8  # it has not waited for the connection's time to be over
        store.close()
        text = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(store)
        assert SECRET not in text
        assert variable in str(caught.value)
        assert variables[f"{store.name}_host"] in str(caught.value)
        return str(caught.value)

    return check


@pytest.fixture
def tls_server(start_server: Callable[..., ServerProcess], tmp_path: Path) -> Callable[..., ServerProcess]:
    """Start a Redis with TLS, for these host names."""

    def start(*hosts: str) -> ServerProcess:
        authority = Authority(tmp_path)
        return start_server("redis", tls=Tls(authority=authority.certificate, server=authority.issue("server", *hosts)))

    return start


@pytest.mark.parametrize("name", ["redis", "valkey"])
def test_a_wrong_password(start_server: Callable[..., ServerProcess], refuses: Callable[..., str], name: str) -> None:
    """Neither the right one nor the wrong one shows."""
    server = start_server("redis", login=Login(username=None, password=SECRET))
    variables = server.settings(name) | {f"{name}_password": SECRET + "-wrong"}
    message = refuses(variables, f"{name.upper()}_PASSWORD", ValkeyBackend if name == "valkey" else None)
    assert "login" in message


def test_no_password(start_server: Callable[..., ServerProcess], refuses: Callable[..., str]) -> None:
    """The server asks for one, and there is none."""
    server = start_server("redis", login=Login(username=None, password=SECRET))
    assert "asks for a password" in refuses(server.settings() | {"redis_password": None}, "REDIS_PASSWORD")


def test_a_user_with_too_few_rights(start_server: Callable[..., ServerProcess], refuses: Callable[..., str]) -> None:
    """The page with the rights is named."""
    login = Login(username="reader", password=SECRET)
    server = start_server("redis", login=login, users=[f"user reader on >{SECRET} ~* -@all +ping"])
    assert "docs/redis.md" in refuses(server.settings(), "REDIS_USERNAME")


def test_a_password_that_nobody_asked_for(
    start_server: Callable[..., ServerProcess], refuses: Callable[..., str]
) -> None:
    """It would be sent to whoever listens there."""
    refuses(start_server("redis").settings() | {"redis_password": SECRET}, "REDIS_PASSWORD")


def test_a_certificate_of_somebody_else(
    tls_server: Callable[..., ServerProcess], refuses: Callable[..., str], tmp_path: Path
) -> None:
    """The authority that we trust has not signed it."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other").certificate
    refuses(tls_server("localhost", HOST).settings() | {"redis_tls_ca": other}, "REDIS_TLS_CA")


def test_a_certificate_for_another_host(tls_server: Callable[..., ServerProcess], refuses: Callable[..., str]) -> None:
    """A genuine one, of another server."""
    assert "certificate" in refuses(tls_server("redis.example.com").settings(), "REDIS_HOST")


def test_a_certificate_that_is_missing(redis_secured: ServerProcess, refuses: Callable[..., str]) -> None:
    """The server wants one of ours."""
    refuses(redis_secured.settings() | {"redis_tls_cert": None, "redis_tls_key": None}, "REDIS_TLS_CERT")


def test_plain_text_to_a_tls_port(tls_server: Callable[..., ServerProcess], refuses: Callable[..., str]) -> None:
    """Nothing is sent twice, and the password is not shown."""
    server = tls_server("localhost")
    refuses(server.settings() | {"redis_tls": False, "redis_tls_ca": None, "redis_password": SECRET}, "REDIS_TLS")


def test_tls_to_a_plain_port(redis_server: ServerProcess, authority: Authority, refuses: Callable[..., str]) -> None:
    """It is no TLS that comes back."""
    variables = redis_server.settings() | {"redis_tls": True, "redis_tls_ca": authority.certificate}
    refuses(variables, "REDIS_TLS", redis_timeout=1.0)


def test_a_file_that_is_no_certificate(
    redis_server: ServerProcess, refuses: Callable[..., str], tmp_path: Path
) -> None:
    """It is found before anything is sent."""
    (tmp_path / "ca.crt").write_text("no certificate")
    store = backend(redis_server.settings() | {"redis_tls": True, "redis_tls_ca": tmp_path / "ca.crt"})
    with pytest.raises(BackendMisconfiguredError, match="REDIS_TLS_CA"):
        store.get(PREFIX + "key")


def test_a_database_that_is_not_there(redis_server: ServerProcess, refuses: Callable[..., str]) -> None:
    """Redis has sixteen."""
    refuses(redis_server.settings() | {"redis_db": 4711}, "REDIS_DB")


def test_a_cluster_that_is_none(redis_server: ServerProcess, refuses: Callable[..., str]) -> None:
    """And a node of one that is taken for a single server."""
    refuses(redis_server.settings() | {"redis_cluster": True}, "REDIS_CLUSTER")


def test_a_key_that_holds_something_else(redis_server: ServerProcess, refuses: Callable[..., str]) -> None:
    """Another application uses our prefix; its value stays."""
    redis_server.ask("DEL", PREFIX + "key")
    redis_server.ask("LPUSH", PREFIX + "key", "value")
    refuses(redis_server.settings(), "REDIS_KEY_PREFIX")
    assert redis_server.ask("LLEN", PREFIX + "key") == 1
    redis_server.ask("DEL", PREFIX + "key")


def test_a_server_on_another_machine_needs_tls() -> None:
    """The settings refuse it where they name it; a node that is announced is refused like it."""
    store = backend({"redis_host": "redis.example.com", "redis_port": 1})
    with pytest.raises(BackendMisconfiguredError, match="REDIS_PLAINTEXT_HOSTS"):
        store.get(PREFIX + "key")
    store.close()


def test_a_service_that_no_sentinel_knows(redis_sentinels: Any, start_server: Callable[..., ServerProcess]) -> None:
    """A wrong name is a mistake, and Sentinels that do not answer are an outage."""
    variables = redis_sentinels.settings()
    sentinels = variables["redis_sentinels"]
    store = backend({"redis_sentinels": type(sentinels)("wrong", sentinels.addresses)})
    with pytest.raises(BackendMisconfiguredError, match="REDIS_SENTINELS"):
        store.get(PREFIX + "key")
    store.close()
    store = backend({"redis_sentinels": type(sentinels)("any", ((HOST, free_port()),))})
    with pytest.raises(BackendUnavailableError):
        store.get(PREFIX + "key")
    store.close()


def test_a_cache_does_not_take_a_refusal_for_a_miss(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """Every verb raises, in a cache that goes on without a store that is away."""
    server = start_server("redis", login=Login(username=None, password=SECRET))
    made = manager(tmp_path, server.settings() | {"redis_password": "wrong"})
    cache = made.get_cache("quotes")
    for verb in (lambda: cache.get("k"), lambda: cache.set("k", 1), lambda: cache.delete("k"), cache.clear):
        with pytest.raises(BackendMisconfiguredError):
            verb()
    made.close()


def test_the_tls_of_the_libraries_is_ours() -> None:
    """Both encrypt a connection in a step that we replace: so the terms are made once, and trust nobody besides."""
    for tested in (backend({}).driver, backend({}, ValkeyBackend).driver):
        assert callable(tested.library.SSLConnection._wrap_socket_with_ssl)
    assert Settings().server("redis").tls is False

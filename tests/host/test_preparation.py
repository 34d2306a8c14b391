"""What has to be there before a host serves: made once, by whoever comes first, and missed by those that only serve."""

from __future__ import annotations

import atexit
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from openalgo_cache import Settings
from openalgo_host import command, wsgi
from openalgo_host.host import Host
from openalgo_host.options import Options
from openalgo_host.preparation import prepare
from openalgo_host.wsgi import make_app
from tests.host.conftest import Hands
from tests.host_stacks import Stack
from tests.servers.process import ServerProcess

_SEVERAL = 4


@pytest.fixture
def hosts(
    request: pytest.FixtureRequest, stack: Stack, address: str, settings: Settings, hands: Hands, tmp_path: Path
) -> Iterator[list[Host]]:
    """Several instances with folders of their own, which share a database, a server and a key ring, all empty."""
    server: ServerProcess = stack.server or request.getfixturevalue("redis_server")
    first = Host.open(settings, hands, address)
    first.close()
    shared: dict[str, Any] = {
        **server.settings(),
        "cache_backend": server.program.brand,
        "cache_key_file": settings.cache_folder / ".cache_key",
        "cache_namespace": f"test-{secrets.token_hex(4)}",
    }
    opened = [
        Host.open(
            replace(
                settings,
                sqlite_cache_path=tmp_path / str(number) / "cache",
                instance_id=f"instance-{number}",
                **shared,
            ),
            hands,
            address,
        )
        for number in range(_SEVERAL)
    ]
    yield opened
    for one in opened:
        one.close()


@pytest.mark.server
def test_several_prepare_at_once(hosts: list[Host], contract: Path) -> None:
    """One administrator, whose credentials one of them shows, and one symbol master."""
    shown: list[str] = []
    with ThreadPoolExecutor(_SEVERAL) as pool:
        list(pool.map(lambda host: prepare(host, Options(master=contract), shown.append), hosts))
    assert len(shown) == 1
    with hosts[0].database.reading() as session:
        assert session.execute(text("SELECT count(*), max(name) FROM users")).one() == (1, "admin")
        assert session.execute(text("SELECT count(*) FROM api_keys")).scalar_one() == 1
    assert {host.symbols.count() for host in hosts} == {8}
    assert len({host.symbols.stats()["version"] for host in hosts}) == 1
    key = shown[0].rpartition(" ")[2]
    assert all(host.api_keys.caller(key) is not None for host in hosts)


def test_nobody_has_prepared(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker does not make an administrator, whose password would go to a log: it stops, and says what to do."""
    monkeypatch.setattr(wsgi, "configure_cache_environment", lambda: settings)
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    for variable in ("DATABASE_URL", "HOST", "PORT"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SystemExit) as stopped:
        make_app()
    for close in at_exit:
        close()
    assert stopped.value.code == 3
    said = capsys.readouterr()
    assert "openalgo-host --prepare" in said.err
    assert "Password" not in said.out + said.err


def test_whether_an_instance_can_start(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, contract: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found out without serving, and without making or showing anything."""
    monkeypatch.setattr(command, "configure_cache_environment", lambda: settings)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("OPENALGO_HOST_MASTER", str(contract))
    assert command.run(["--check"]) == command.FAILED
    assert "openalgo-host --prepare" in capsys.readouterr().err
    assert command.run(["--prepare"]) == command.STOPPED
    capsys.readouterr()
    assert command.run(["--check"]) == command.STOPPED
    assert capsys.readouterr().out == ""

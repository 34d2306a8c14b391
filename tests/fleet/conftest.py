"""Fleets for tests: of real processes, on servers that the tests share or of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from openalgo_cache.symbols import COLUMNS
from openalgo_host.host import Host
from tests.fleet.balancer import require_nginx
from tests.fleet.fleet import Fleet, Programs, running, servers
from tests.fleet.instance import may_name_machines
from tests.fleet.people import Person, make_people
from tests.fleet.traders import Traders
from tests.servers.fixtures import LOGIN, users
from tests.servers.postgres import require_postgres
from tests.servers.process import ServerProcess
from tests.servers.programs import require

_ROWS = (
    "RELIANCE,RELIANCE-EQ,RELIANCE INDUSTRIES,NSE,NSE,2885,,0,1,EQ,0.05,",
    "M&M,M&M-EQ,MAHINDRA & MAHINDRA,NSE,NSE,2031,,0,1,EQ,0.05,",
    "INFY,INFY-EQ,INFOSYS,NSE,NSE,1594,,0,1,EQ,0.05,",
)

_UNBOUNDED = dict.fromkeys(("API_RATE_LIMIT", "ORDER_RATE_LIMIT"), "1000 per second")


@pytest.fixture(scope="session")
def nginx() -> Path:
    """The balancer's program."""
    return require_nginx()


@pytest.fixture(scope="session")
def small_master(server_folder: Callable[[], Path]) -> dict[str, str]:
    """What makes a host import a master contract of three instruments."""
    path = server_folder() / "contract.csv"
    path.write_text("\n".join((",".join(COLUMNS), *_ROWS, "")), encoding="utf-8")
    return {"OPENALGO_HOST_MASTER": str(path)}


@pytest.fixture
def apart(request: pytest.FixtureRequest) -> bool:
    """Whether each instance seems to be on a machine of its own."""
    return bool(getattr(request, "param", False))


@pytest.fixture
def sessions_apart(request: pytest.FixtureRequest) -> bool:
    """Whether sessions are on a server of their own, which may not be killed."""
    return bool(getattr(request, "param", False))


@pytest.fixture(params=["redis", "valkey"])
def fleet(
    request: pytest.FixtureRequest,
    server_folder: Callable[[], Path],
    nginx: Path,
    small_master: dict[str, str],
    *,
    apart: bool,
    sessions_apart: bool,
) -> Iterator[Fleet]:
    """Three instances on servers of their own, which may be killed."""
    folder = server_folder()
    programs = Programs(require(request.param), require_postgres(), nginx)
    if apart and not may_name_machines():
        pytest.skip("unshare --uts, which gives a process another name of the machine, is not allowed here")
    counted = {"PYTHONPATH": str(Path(__file__).with_name("spy")), "ARGON2_CALLS": str(folder / "argon2")}
    variables = _UNBOUNDED | small_master | counted
    with ExitStack() as stack:
        store, postgres = stack.enter_context(servers(folder, programs))
        if sessions_apart:
            own = ServerProcess(programs.store, server_folder(), login=LOGIN, users=users())
            stack.callback(own.stop)
            variables["SESSION_REDIS_URL"] = f"redis://{own.start().address}/0"
        yield stack.enter_context(running(folder, store, postgres, nginx, apart=apart, variables=variables))


@pytest.fixture
def auditor(fleet: Fleet) -> Iterator[Host]:
    """A host that serves nobody, and looks."""
    with fleet.joined("auditor") as host:
        yield host


@pytest.fixture
def people(fleet: Fleet) -> list[Person]:
    """Twenty people, logged in."""
    with fleet.joined("reception") as host:
        made = make_people(host, 20, fleet.nginx.port)
    for person in made:
        person.log_in()
    return made


@pytest.fixture
def traders(fleet: Fleet, auditor: Host, tmp_path: Path) -> Traders:
    """Three strategies, of three people, that have begun to trade."""
    started = Traders(tmp_path / "traders", auditor, make_people(auditor, 3, fleet.nginx.port, "trader"))
    started.work_on(10, 0.0)
    return started

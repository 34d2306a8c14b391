"""A fleet from its start to its end, in one go: what the long tests look at for minutes, once each."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fleet.fleet import running
from tests.fleet.people import Person, make_people
from tests.fleet.traders import Traders
from tests.servers.postgres import PostgresProcess
from tests.servers.process import ServerProcess

pytestmark = [pytest.mark.server, pytest.mark.slow]

_AT_ONCE = 5.0


def test_two_instances_are_one(
    server_folder: Callable[[], Path],
    redis_server: ServerProcess,
    postgres: PostgresProcess,
    nginx: Path,
    small_master: dict[str, str],
    tmp_path: Path,
) -> None:
    """One login, one check of a key, orders placed once, whoever answers; one ends, and the other goes on with all."""
    with (
        running(server_folder(), redis_server, postgres, nginx, instances=2, variables=small_master) as fleet,
        fleet.joined("operator") as host,
    ):
        administrator = Person(0, *fleet.credentials, fleet.nginx.port)
        (somebody,) = make_people(host, 1, fleet.nginx.port)
        for person in (administrator, somebody):
            person.log_in()
        for _ in range(4):
            assert all(person.is_shown(person.look("/symbols")) for person in (administrator, somebody))
        answers = [somebody.order("first") for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 4
        assert len({answer.text for answer in answers}) == 1
        assert "\n".join(one.logged() for one in fleet.instances).count("was checked against its hash") == 1
        served = [passed.instances[-1] for passed in fleet.nginx.requests()]
        assert min(served.count(instance.address) for instance in fleet.instances) >= 7  # of 16; a line may be late

        traders = Traders(tmp_path, host, make_people(host, 1, fleet.nginx.port, "trader"))
        traders.work_on(3, 0.0)
        known, (trader,) = traders.runs(), traders.each
        one, other = sorted(fleet.instances, key=lambda instance: instance.name != traders.view(trader).instance)
        begin = time.monotonic()
        assert one.stop() == 0
        assert traders.wait_for_new_runs([trader], known, 20)[0] - begin < _AT_ONCE
        for _ in range(4):
            assert somebody.is_shown(somebody.look("/symbols"))
            assert somebody.order("first").text == answers[0].text
        traders.finish()
        traders.check()
        assert other.stop() == 0
        lines = [line for each in (one, other) for line in each.logged().splitlines()]
        assert not [line for line in lines if "Traceback" in line or "ERROR" in line]
        assert somebody.api_key not in "\n".join([*lines, *(passed.line for passed in fleet.nginx.requests())])

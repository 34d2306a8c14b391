"""Several hosts on one server, each with its own copy of the key ring, which somebody carries from one to the other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import CacheManager, Settings, files
from openalgo_cache.errors import KeyRingError
from openalgo_cache.rotation import rotating
from openalgo_cache.rotation.instances import instances, lacking
from openalgo_cache.rotation.rotating import KeyInUseError, Rotation
from tests.rotation.rings import ring_file
from tests.servers.process import ServerProcess
from tests.workers import wait_until

pytestmark = pytest.mark.server


class Host:
    """A host: a folder with a copy of the ring, and a manager that runs there."""

    def __init__(self, folder: Path, variables: dict[str, Any]) -> None:
        self.file = ring_file(folder)
        self.name = folder.name
        self.caches = CacheManager(Settings(base_folder=folder, instance_id=folder.name, **variables))

    def receive(self, other: Host) -> None:
        """Get the other host's ring, and take it over."""
        files.replace_private(self.file.path, other.file.path.read_bytes())
        wait_until(lambda: self.caches.ring().keys == other.file.load().keys, "the ring is noticed")

    def tells(self, active: int) -> bool:
        """Return whether the others know that it seals with this key."""
        holders = self.caches.census.holders("redis")
        assert holders is not None
        return any(one.instance == self.name and one.active == active for one in holders.roll().holders)


@pytest.fixture
def hosts(tmp_path: Path, redis_server: ServerProcess) -> Iterator[tuple[Host, Host]]:
    """Two hosts that run."""
    prefix = f"t{os.getpid()}-{time.monotonic_ns()}"
    variables = {
        **redis_server.settings(),
        "redis_key_prefix": prefix,
        "cache_backend": "redis",
        "multi_instance_mode": True,
    }
    ring_file(tmp_path / "one").load_or_create()
    files.ensure_folder(tmp_path / "two" / "db")
    files.write_private_new(ring_file(tmp_path / "two").path, ring_file(tmp_path / "one").path.read_bytes())
    with ExitStack() as exits:
        found = [Host(tmp_path / name, variables) for name in ("one", "two")]
        for host in found:
            exits.enter_context(closing(host.caches))
            host.caches.get_cache("running_strategies").set(host.name, [host.name])
        yield found[0], found[1]


def test_a_rotation_over_two_hosts(hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step waits for the other host, says what to do there, and nobody misses anything in between."""
    one, two = hosts
    monkeypatch.setattr(rotating, "SETTLES", 0.0)
    monkeypatch.setattr(rotating, "GRACE", 0.0)
    monkeypatch.setattr(rotating, "_MOST_LOOKS", 1)

    def settle(_seconds: float) -> None:
        wait_until(lambda: one.tells(one.file.load().active.id), "our own change is told")

    rotation = Rotation(one.caches, pause=settle)

    def everybody_reads() -> None:
        for host in hosts:
            assert dict(host.caches.get_cache("running_strategies").items()) == {"one": ["one"], "two": ["two"]}

    old = one.file.load().active.id
    with pytest.raises(KeyRingError, match=r"two does not hold it. Copy the key ring there"):
        rotation.rotate()
    assert one.file.load().active.id == old
    everybody_reads()
    two.receive(one)
    wait_until(lambda: not _lacks(one, two), "the other host tells that it holds the key")
    done = rotation.rotate()
    assert (done.resumed, done.late) == (True, ("two",))
    everybody_reads()
    two.caches.get_cache("running_strategies").set("two", ["two"])
    everybody_reads()
    with pytest.raises(KeyInUseError, match="two still seals with key"):
        rotation.retire(old)
    two.receive(one)
    wait_until(lambda: two.tells(done.active), "the other host tells that it seals with the key")
    again = rotation.rotate(then_retire=True)
    assert (again.resumed, again.active, again.retired, again.late) == (True, done.active, (old,), ())
    everybody_reads()
    two.receive(one)
    everybody_reads()


def _lacks(one: Host, two: Host) -> bool:
    return two.name in lacking(instances(one.caches), one.file.load().keys[-1].id)

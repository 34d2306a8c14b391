"""A rotation while two processes read and write all the time: nobody notices, and nothing is lost."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.rotation import rotating
from openalgo_cache.rotation.rotating import Rotation
from tests.rotation import load
from tests.rotation.rings import keys_in, resealed, ring_file
from tests.servers.process import ServerProcess
from tests.workers import PATIENCE, SPAWN, join, start

OWNERS = 2


def rotate_under_load(folder: Path, variables: dict[str, Any], records: int, server: ServerProcess | None) -> str:
    """Rotate and retire while two processes work; return how it went."""
    count = records // OWNERS
    with closing(load.installation(str(folder), variables)) as caches:
        load.fill(caches, OWNERS, count)
        old = ring_file(folder).load().active.id
    stop, told = SPAWN.Event(), SPAWN.Queue()
    busy = [SPAWN.Event() for _ in range(OWNERS)]
    workers = [
        start(load.work, str(folder), variables, owner, count, stop, busy[owner], told) for owner in range(OWNERS)
    ]
    for one in busy:
        assert one.wait(PATIENCE)
    began = time.monotonic()
    with closing(load.installation(str(folder), variables)) as caches:
        done = Rotation(caches).rotate(then_retire=True)
    took = time.monotonic() - began
    for one in busy:
        one.clear()
    for one in busy:  # everybody goes on after it
        assert one.wait(PATIENCE)
    stop.set()
    seen = [told.get(timeout=PATIENCE) for _ in workers]
    for worker in workers:
        join(worker)
    assert [one.wrong for one in seen] == [[], []]
    with closing(load.installation(str(folder), variables)) as caches:
        assert sorted(load.last_versions(caches, owner, count) for owner in range(OWNERS)) == sorted(
            one.versions for one in seen
        )
        assert load.counters(caches) == [sum(parts) for parts in zip(*(one.added for one in seen), strict=True)]
        assert list(keys_in(caches)) == [done.active]
    assert [key.id for key in ring_file(folder).load().keys] == [done.active]
    assert (done.retired, done.left) == ((old,), ())
    assert load.find_plain_text(folder, lambda: everything_on(server)) == []
    reads, writes = sum(one.reads for one in seen), sum(one.writes for one in seen)
    return (
        f"{records:,} records, {resealed(done.tallies):,} sealed anew in {took:.1f} s, beside {reads:,} reads and "
        f"{writes:,} writes of two processes: 0 failed, 0 lost, 0 in plain text, 0 of the old key"
    )


def place_of(request: pytest.FixtureRequest, backend: str) -> tuple[ServerProcess | None, dict[str, Any]]:
    """Return the server that is to hold everything, if it is to be one, and what settings lead there."""
    if backend == "sqlite":
        return None, {"cache_backend": backend}
    server: ServerProcess = request.getfixturevalue("start_server")(backend)
    return server, {"cache_backend": backend, **server.settings()}


def everything_on(server: ServerProcess | None) -> bytes:
    """Return all that a server holds."""
    if server is None:
        return b""
    with server.client() as client:
        return b"".join(b"%b %b\n" % (name, client.get(name) or b"") for name in client.scan_iter("*", count=1_000))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", pytest.param("redis", marks=[pytest.mark.server, pytest.mark.soak])])
def test_nobody_notices_a_rotation(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """No failed read, no lost update, no plain text; the old key is gone at the end."""
    monkeypatch.setattr(rotating, "SETTLES", 2.0)  # a change of the ring is noticed within one
    monkeypatch.setattr(rotating, "GRACE", 2.0)
    server, variables = place_of(request, backend)
    print(rotate_under_load(tmp_path, variables, 5_000, server))  # noqa: T201  # shown if it fails

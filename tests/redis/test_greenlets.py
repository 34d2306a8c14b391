"""Under eventlet and gevent greenlets and real threads share a cache; nobody stops anybody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import ServerProcess

pytestmark = pytest.mark.server

PATCHES = {
    "eventlet": "import eventlet; eventlet.monkey_patch(); spawn = eventlet.spawn; join = lambda g: g.wait()",
    "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import spawn, joinall as join",
}

PROGRAM = """
import json, os, signal, sys, time
from openalgo_cache import CacheManager, Settings
from openalgo_cache.locks import sleep as really_sleep, start_new_thread

given = json.loads(sys.argv[1])
settings = Settings(cache_backend=given["backend"], cache_near_enabled=False, redis_pool_size=4, **given["server"])
manager = CacheManager(settings)
cache = manager.get_cache("quotes")
report = {"errors": [], "wrong": 0, "longest": 0.0}
ended = []
ROUNDS = 20

def work(name):
    try:
        for number in range(ROUNDS):
            cache.set(name, [name, number])
            report["wrong"] += cache.get(name) != [name, number]
            if number % 5 == 0:
                cache.incr("count")
    except BaseException as error:
        report["errors"].append(repr(error))
    ended.append(name)

def tick():  # a greenlet that only wants its turn
    last = time.monotonic()
    while len(ended) < 11:
        time.sleep(0.001)
        now = time.monotonic()
        report["longest"], last = max(report["longest"], now - last), now

for number in range(3):
    start_new_thread(work, (f"thread-{number}",))
ticking = spawn(tick)
greenlets = [spawn(work, f"greenlet-{number}") for number in range(8)]
for greenlet in [*greenlets, ticking]:
    join([greenlet] if given["way"] == "gevent" else greenlet)
report["count"] = cache.get("count")

# The server freezes: greenlets go on, and it is found again by the one thread that looks.
os.kill(given["pid"], signal.SIGSTOP)
if given["timeout"] > 1:
    os.kill(given["pid"], signal.SIGCONT)
else:
    started = time.monotonic()
    report["frozen"] = [cache.get("count"), time.monotonic() - started]
    started = time.monotonic()
    for _ in range(100):
        cache.get("count")
    report["open"] = time.monotonic() - started
    os.kill(given["pid"], signal.SIGCONT)
    started = time.monotonic()
    while cache.get("count") is None and time.monotonic() - started < 10:
        time.sleep(0.01)
    report["back"] = time.monotonic() - started
manager.close()
print(json.dumps(report))
"""


def run(way: str, server: ServerProcess, folder: Path, timeout: float) -> dict[str, Any]:
    """Run the program under a way of monkey-patching, and return its report."""
    given = {
        "way": way,
        "backend": server.program.brand,
        "server": server.settings() | {f"{server.program.brand}_operation_timeout": timeout},
        "pid": server.pid,
        "timeout": timeout,
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PATCHES[way] + PROGRAM, json.dumps(given)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("way, brand", [("eventlet", "redis"), ("gevent", "valkey")])
def test_greenlets_and_threads_share_a_cache(
    request: pytest.FixtureRequest, start_server: Any, tmp_path: Path, way: str, brand: str
) -> None:
    """Each sees what it wrote, counts are right, and a greenlet that only wants its turn gets it."""
    if find_spec(way) is None:  # asked for, not imported: either changes the process that imports it
        pytest.skip(f"{way} is not installed")
    timeout = 30.0
    report = run(way, start_server(brand), tmp_path, timeout)
    assert report["errors"] == []
    assert report["wrong"] == 0
    assert report["count"] == 11 * 4
    assert report["longest"] < timeout / 2  # nobody has waited until an operation was given up


@pytest.mark.parametrize("way", ["eventlet", pytest.param("gevent", marks=pytest.mark.soak)])
def test_an_outage_under_greenlets(start_server: Any, tmp_path: Path, way: str) -> None:
    """The breaker's thread is a real one, and finds the server again."""
    if find_spec(way) is None:  # asked for, not imported: either changes the process that imports it
        pytest.skip(f"{way} is not installed")
    report = run(way, start_server("redis"), tmp_path, timeout=1.0)
    assert report["errors"] == []
    value, seconds = report["frozen"]
    assert value is None
    assert seconds < 2  # the time of an operation, and not twice
    assert report["open"] < 1  # not even that of one
    assert report["back"] < 3

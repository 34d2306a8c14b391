"""A process that is stopped through a whole rotation, and then goes on, writes nothing that nobody can read."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from openalgo_cache.rotation.rotating import Rotation
from tests.faults.processes import Process
from tests.rotation.rings import SkippingClock, keys_in, ring_file, waiting
from tests.stacks import manager
from tests.workers import wait_until

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")

WRITER = """
import os, signal, sys
from pathlib import Path
from openalgo_cache.backends.sqlite import SQLiteBackend
from tests.stacks import manager

folder, verb, moment = sys.argv[1:]
cache = manager(Path(folder)).get_cache("running_strategies")
cache.set_many({"s1": 1, "other": 1})

def stopping(real):
    def write(*arguments):
        if armed:
            armed.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(*arguments)
    return write

armed = []
if moment == "before the write":
    for name in ("set", "set_many", "compare_and_set"):
        setattr(SQLiteBackend, name, stopping(getattr(SQLiteBackend, name)))
if moment == "after the seal":
    from openalgo_cache.codec.codec import Codec
    encode = Codec.encode
    def encode_and_stop(*arguments):
        record = encode(*arguments)
        if armed:
            armed.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        return record
    Codec.encode = encode_and_stop
print("ready", flush=True)
sys.stdin.readline()
armed.append(True)
if verb == "set":
    cache.set("s1", 2)
elif verb == "set_many":
    cache.set_many({"s1": 2, "more": 3})
else:
    cache.incr("s1")
print("written", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "verb, moment",
    [
        ("set", "idle"),
        ("set", "after the seal"),
        ("set", "before the write"),
        ("set_many", "before the write"),
        ("incr", "after the seal"),
    ],
)
def test_a_stopped_process_writes_what_can_be_read(tmp_path: Path, verb: str, moment: str) -> None:
    """Whenever it was stopped: waiting for work, between sealing and storing, or on the way to the disk."""
    with Process(WRITER, tmp_path, verb, moment) as writer:
        assert writer.hear() == "ready"
        if moment == "idle":
            os.kill(writer.pid, signal.SIGSTOP)
        writer.tell()
        wait_until(lambda: psutil.Process(writer.pid).status() == psutil.STATUS_STOPPED, "it is stopped")
        old = ring_file(tmp_path).load().active.id
        clock = SkippingClock()
        with closing(manager(tmp_path, clock)) as caches:
            done = Rotation(caches, pause=waiting(caches, clock)).rotate(then_retire=True)
        assert done.retired == (old,)
        os.kill(writer.pid, signal.SIGCONT)
        assert writer.hear() == "written"
        with closing(manager(tmp_path)) as caches:
            assert list(keys_in(caches)) == [done.active]
            expected = {"s1": 2, "other": 1} | ({"more": 3} if verb == "set_many" else {})
            assert dict(caches.get_cache("running_strategies").items()) == expected


def test_a_newer_value_is_not_undone(tmp_path: Path) -> None:
    """What somebody wrote after the late write stays."""
    with Process(WRITER, tmp_path, "set", "before the write") as writer:
        assert writer.hear() == "ready"
        writer.tell()
        wait_until(lambda: psutil.Process(writer.pid).status() == psutil.STATUS_STOPPED, "it is stopped")
        clock = SkippingClock()
        with closing(manager(tmp_path, clock)) as caches:
            Rotation(caches, pause=waiting(caches, clock)).rotate(then_retire=True)
            cache = caches.get_cache("running_strategies")
            cache.set("s1", "newer")
            os.kill(writer.pid, signal.SIGCONT)
            assert writer.hear() == "written"
            cache.set("s1", "newest")
            assert cache.get("s1") == "newest"

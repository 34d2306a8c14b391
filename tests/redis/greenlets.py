"""A program under eventlet or gevent: greenlets and a real thread read a cache near, while another process writes."""

from __future__ import annotations

import sys

if sys.argv[1] == "eventlet":
    import eventlet

    eventlet.monkey_patch()
    spawn, pause = eventlet.spawn, eventlet.sleep
else:
    from gevent import monkey

    monkey.patch_all()
    import gevent

    spawn, pause = gevent.spawn, gevent.sleep

import os
import subprocess
import time
from pathlib import Path

from openalgo_cache.locks import start_new_thread
from tests.redis.near_workers import house, is_near

port, folder = int(sys.argv[2]), Path(sys.argv[3])
settings = {"redis_host": "127.0.0.1", "redis_port": port, "redis_operation_timeout": 20.0}
WRITER = f"""
import sys
from pathlib import Path
from tests.redis.near_workers import house
cache = house(Path({str(folder)!r}), {settings!r}).get_cache("greenlets")
for line in sys.stdin:
    cache.set("key", int(line))
    print(flush=True)
"""


def until(holds: object, what: str) -> None:
    """Let other greenlets run until something holds."""
    deadline = time.monotonic() + 10
    while not holds():  # type: ignore[operator]  # a function
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")
        pause(0.001)


def write_elsewhere(value: int) -> None:
    """Write in another process, which is not patched."""
    os.write(to_writer, b"%d\n" % value)
    os.read(from_writer, 1)


def say(word: str) -> None:
    """Tell the test how far it has come."""
    os.write(1, word.encode() + b"\n")


command = [sys.executable, "-c", WRITER]
writer = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert writer.stdin is not None
assert writer.stdout is not None
to_writer, from_writer = writer.stdin.fileno(), writer.stdout.fileno()
os.set_blocking(from_writer, True)
cache = house(folder, settings).get_cache("greenlets")
cache.set("key", 1)
reading = True


def read() -> None:
    """Keep the cache busy from a greenlet."""
    while reading:
        cache.get("key")
        pause(0)


greenlets = [spawn(read) for _ in range(5)]
until(lambda: cache.get("key") == 1 and is_near(cache, "key"), "the entry to be near")
say("near")
write_elsewhere(2)
until(lambda: cache.get("key") == 2, "the other's write")
say("changed")

seen: list[int] = []


def read_in_thread() -> None:
    """Read from a thread of the system, which shares the tier and no loop."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and 3 not in seen:
        seen.append(cache.get("key"))


until(lambda: is_near(cache, "key"), "the entry to be near again")
start_new_thread(read_in_thread, ())
write_elsewhere(3)
until(lambda: 3 in seen, "the thread to see the write")
say("thread")

pid = os.fork()
if pid == 0:
    try:
        until(lambda: cache.get("key") == 3 and is_near(cache, "key"), "the entry to be near in the child")
        write_elsewhere(4)
        until(lambda: cache.get("key") == 4, "the write in the child")
    except BaseException:  # noqa: BLE001  # whatever it is, the child ends here
        os._exit(1)
    os._exit(0)
deadline = time.monotonic() + 20
while os.waitpid(pid, os.WNOHANG)[0] == 0:
    pause(0.01)
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        sys.exit("the child is stuck")
until(lambda: cache.get("key") == 4, "the child's time to be over")
reading = False
say("fork")
writer.kill()
os._exit(0)

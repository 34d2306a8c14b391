"""A rotation that is killed, at any stage: nothing is lost, and the next one finishes it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from openalgo_cache.rotation.rotating import Rotation
from tests.faults.processes import Process
from tests.rotation.rings import SkippingClock, keys_in, ring_file, waiting
from tests.stacks import manager

RECORDS = 300

ROTATES = """
import sys
from pathlib import Path
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.rotation.rotating import Rotation
from tests.rotation.rings import SkippingClock
from tests.stacks import manager

folder, stage = Path(sys.argv[1]), sys.argv[2]

def halt():
    print("halted", flush=True)
    sys.stdin.readline()

def halting(kind, name, before):
    real = getattr(kind, name)
    def step(*arguments, **options):
        if before:
            halt()
        result = real(*arguments, **options)
        if not before:
            halt()
        return result
    setattr(kind, name, step)

if stage == "the key was added":
    halting(RingFile, "update", before=False)
elif stage == "the key is active":
    halting(Rotation, "_activate", before=False)
elif stage == "about to retire":
    halting(Rotation, "_retire", before=True)
clock = SkippingClock()
seen = lambda done, total: halt() if stage == "half is sealed anew" and done >= total // 2 else None
Rotation(manager(folder, clock), pause=clock.wait, progress=seen).rotate(then_retire=True)
"""


@pytest.mark.parametrize("stage", ["the key was added", "the key is active", "half is sealed anew", "about to retire"])
def test_the_next_rotation_finishes_it(tmp_path: Path, stage: str) -> None:
    """Until then, and afterwards, everything can be read."""
    everything = {f"k{number}": number for number in range(RECORDS)}
    with closing(manager(tmp_path)) as caches:
        caches.get_cache("quotes").set_many(everything)
        caches.get_cache("running_strategies").set("s1", "state")
    old = ring_file(tmp_path).load().active.id
    with Process(ROTATES, tmp_path, stage) as rotating:
        assert rotating.hear() == "halted"
        rotating.kill()
    begun = [key.id for key in ring_file(tmp_path).load().keys if key.id != old]
    with closing(manager(tmp_path)) as caches:
        assert dict(caches.get_cache("quotes").items()) == everything
        assert caches.get_cache("running_strategies").get("s1") == "state"
    clock = SkippingClock()
    with closing(manager(tmp_path, clock)) as caches:
        done = Rotation(caches, pause=waiting(caches, clock)).rotate(then_retire=True)
        assert done.resumed
        assert begun == [done.active]
        assert done.retired == (old,)
        assert keys_in(caches) == {done.active: RECORDS + 1}
        assert dict(caches.get_cache("quotes").items()) == everything
        assert caches.get_cache("running_strategies").get("s1") == "state"

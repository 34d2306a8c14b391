"""Real processes on one log: together, killed at any moment, on a full disk, in a folder that they may not write to."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from openalgo_cache.audit import AuditLog
from openalgo_cache.errors import AuditUnavailableError
from openalgo_cache.manager import CacheManager
from tests.audit.logs import GET, until, verified, verified_by
from tests.faults.disks import SmallDisk
from tests.faults.forks import NOBODY, Child, become_nobody, forks
from tests.faults.processes import Process
from tests.stacks import manager

TOGETHER: Final = """
import sys
from pathlib import Path
from tests.audit.logs import GET
from tests.stacks import manager
house = manager(Path(sys.argv[1]))
log = house.audit()
log.record_now(GET._replace(key=f"{sys.argv[2]} first"))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    log.record(GET._replace(key=f"{sys.argv[2]} {number}"))
    if number % 50 == 0:
        log.record_now(GET._replace(key=f"{sys.argv[2]} {number} at once"))
house.close()
"""

ENDLESS: Final = """
import sys
from pathlib import Path
from tests.audit.logs import GET
from tests.stacks import manager
log = manager(Path(sys.argv[1])).audit()
number = 0
while True:
    log.record(GET._replace(key=f"{sys.argv[2]} {number} soon"))
    if number % 20 == 0:
        log.record_now(GET._replace(key=f"{sys.argv[2]} {number} at once"))
        print(number, flush=True)
    number += 1
"""

HALFWAY = """
import os, signal, sys
from pathlib import Path
from tests.audit.logs import GET
from tests.stacks import manager
log = manager(Path(sys.argv[1])).audit()
log.record_now(GET._replace(key="whole"))
write = os.write
def write_half(descriptor, data):
    write(descriptor, data[:int(sys.argv[2])])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = write_half
log.record_now(GET._replace(key="half"))
"""


def keys_in(house: CacheManager) -> list[str]:
    """Return the keys of all events in a log's files."""
    content = b"".join(path.read_bytes() for path in house.audit().days.files().values())
    return [part.split(b'"')[0].decode() for part in content.split(b'"operation":"GET","key":"')[1:]]


@pytest.mark.parametrize("processes", [2, 10])
def test_processes_write_at_once(tmp_path: Path, processes: int) -> None:
    """To one file; every chain is whole, and every event is there once."""
    events = 300 // processes * 4
    with closing(manager(tmp_path)) as house:
        house.ring()
        started = [Process(TOGETHER, tmp_path, number, events) for number in range(processes)]
        for process in started:
            assert process.hear() == "ready"
        for process in started:
            process.tell()
        for process in started:
            with process:
                assert process.wait() == 0
        report = verified_by(house)
        assert report.findings == []
        assert report.chains == processes
        expected = {f"{process} first" for process in range(processes)}
        expected |= {f"{process} {number}" for process in range(processes) for number in range(events)}
        expected |= {f"{process} {number} at once" for process in range(processes) for number in range(0, events, 50)}
        found = keys_in(house)
        assert len(found) == len(expected)
        assert set(found) == expected


def test_killed_processes(tmp_path: Path) -> None:
    """At several moments, beside one that goes on: no false alarm, and nothing is lost that was said to be written."""
    chance = random.Random(4)
    with closing(manager(tmp_path)) as house:
        house.audit().record_now(GET)
        for life in range(6):
            with Process(ENDLESS, tmp_path, life) as process:
                heard = [process.hear() for _ in range(1 + chance.randrange(25))]
                time.sleep(chance.random() / 100)  # anywhere in what it does
                process.kill()
            house.audit().record_now(GET)
            report = verified_by(house)
            assert report.problems == []
            assert {finding.kind for finding in report.findings} <= {"not ended", "half-written"}
            assert {f"{life} {number} at once" for number in heard} <= set(keys_in(house))
    kinds = [finding.kind for finding in verified(tmp_path).findings]
    assert kinds.count("not ended") == 6


@pytest.mark.parametrize("written", [1, 200, 10_000])
def test_killed_in_the_middle_of_a_line(tmp_path: Path, written: int) -> None:
    """What is left of it is a note, before and after somebody goes on."""
    with Process(HALFWAY, tmp_path, written) as process:
        assert process.wait() == -9
    kinds = {finding.kind for finding in verified(tmp_path).findings}
    assert kinds == ({"not ended"} if written == 10_000 else {"not ended", "half-written"})
    with closing(manager(tmp_path)) as house:
        house.audit().record(GET)
    report = verified(tmp_path)
    assert report.problems == []
    assert {finding.kind for finding in report.findings} == kinds


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small file system for the log alone, where we may mount one."""
    try:
        small = SmallDisk(tmp_path / "log")
    except OSError as error:
        pytest.skip(str(error))
    with small:
        yield small


def record_until_refused(log: AuditLog, recorded: list[str]) -> None:
    """Record events without an end, and note their keys; the writer has met the disk before the queue is full."""
    for number in itertools.count():
        if number == 100:
            until(lambda: log.problem is not None)
        log.record(GET._replace(key=f"{number}"))
        recorded.append(f"{number}")


@pytest.mark.parametrize("policy", ["block", "raise"])
def test_a_full_disk(tmp_path: Path, disk: SmallDisk, policy: str) -> None:
    """Callers are told, nothing is dropped, and it goes on when there is space again."""
    path = disk.folder / "audit.log"
    settings: dict[str, Any] = {
        "cache_audit_log_path": path,
        "cache_audit_queue_size": 200,
        "cache_audit_on_full": policy,
    }
    with closing(manager(tmp_path, **settings)) as house:
        log = house.audit()
        log.record_now(GET._replace(key="before"))
        disk.fill()
        recorded = ["before"]
        with pytest.raises(AuditUnavailableError, match="No space left on device"):
            record_until_refused(log, recorded)
        with pytest.raises(AuditUnavailableError, match="CACHE_AUDIT_LOG_PATH"):
            log.record_now(GET._replace(key="refused"))
        assert log.pending() == 200
        disk.free()
        until(lambda: log.pending() == 0)
        log.record_now(GET._replace(key="after"))
        assert keys_in(house) == [*recorded, "after"]
    assert verified(tmp_path, **settings).findings == []


@forks
def test_a_folder_that_may_not_be_written_to() -> None:
    """The error says which variable leads elsewhere, and why."""
    folder = Path(tempfile.mkdtemp(prefix="openalgo-cache-"))
    try:
        (folder / "log").mkdir(mode=0o500)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            os.chown(folder / "log", NOBODY, NOBODY)

        def work() -> str:
            become_nobody()
            house = manager(folder, cache_audit_log_path=folder / "log" / "audit.log", cache_audit_on_full="raise")
            with suppress(OSError), closing(house):
                try:
                    house.audit().record_now(GET)
                except AuditUnavailableError as error:
                    return str(error)
            return "it was written"

        said = Child(work).result()
        assert "CACHE_AUDIT_LOG_PATH" in said
        assert "Permission denied" in said
    finally:
        shutil.rmtree(folder)

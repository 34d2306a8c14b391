"""The audit log: what is recorded is written, in a chain, by whoever uses it, and nothing is dropped."""

from __future__ import annotations

import os
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from openalgo_cache.audit import Event, upkeep
from openalgo_cache.audit.line import FIRST, chain_key, contents, read, verifies
from openalgo_cache.cache import Cache
from openalgo_cache.errors import AuditUnavailableError, BackendUnavailableError
from openalgo_cache.manager import CacheManager
from openalgo_cache.testing import FakeClock
from tests.audit.logs import GET, until, verified
from tests.faults.forks import Child, forks
from tests.faults.processes import Process
from tests.stacks import manager


def lines_of(house: CacheManager) -> list[dict[str, object]]:
    """Return what is in the files, in their order, every line verified, and every chain without a gap."""
    found: list[dict[str, object]] = []
    ends: dict[str, tuple[int, str]] = {}
    for path in house.audit().days.files().values():
        for raw in path.read_bytes().splitlines():
            line = read(raw)
            assert line is not None, raw
            key = chain_key(house.ring(), house.settings.cache_namespace or house.ring().id, line.head.writer)
            assert verifies(key, line)
            sequence, mac = ends.get(line.head.writer, (0, FIRST))
            assert (line.head.sequence, line.previous) == (sequence + 1, mac)
            ends[line.head.writer] = (line.head.sequence, line.head.mac)
            found.append(contents(line))
    return found


def test_nothing_is_made_before_the_first_event(tmp_path: Path) -> None:
    """Asking for the log, and closing it, leaves no file behind."""
    with closing(manager(tmp_path)) as house:
        assert house.audit() is house.audit()
    assert list(tmp_path.iterdir()) == []


def test_a_chain_begins_and_ends(tmp_path: Path) -> None:
    """Its first line names the process, its last one says that it ended in an orderly way."""
    clock = FakeClock()
    with closing(manager(tmp_path, clock, instance_id="one")) as house:
        house.audit().record(GET)
        house.audit().record(Event("auth", "CLEAR", None, "app", detail="3 entries"))
    start, get, clear, stop = lines_of(house)
    assert start["operation"] == "START"
    assert f"pid {os.getpid()}, version " in str(start["detail"])
    assert "after nothing" in str(start["detail"])
    assert {name: get[name] for name in list(get)[:8]} == {
        "timestamp": "2026-01-01T00:00:00.000000Z",
        "cache": "auth",
        "operation": "GET",
        "key": "~key",
        "caller": "blueprints.auth",
        "hit": True,
        "instance_id": "one",
        "detail": None,
    }
    assert clear["detail"] == "3 entries"
    assert stop["operation"] == "STOP"
    (path,) = house.audit().days.files().values()
    assert path == tmp_path / "db" / "cache_audit.2026-01-01.log"


def test_a_log_that_was_closed_opens_again(tmp_path: Path) -> None:
    """With a chain of its own, which says how the file looked before."""
    with closing(manager(tmp_path)) as house:
        house.audit().record(GET)
        house.audit().close()
        (path,) = house.audit().days.files().values()
        size = path.stat().st_size
        house.audit().record(GET)
    lines = lines_of(house)
    assert [line["operation"] for line in lines] == ["START", "GET", "STOP"] * 2
    assert f"after {path.name} {size} " in str(lines[3]["detail"])
    assert len({line["writer"] for line in lines}) == 2


def test_it_is_written_soon_without_anybody_s_doing(tmp_path: Path) -> None:
    """The thread writes; so ``tail`` shows what happens now."""
    with closing(manager(tmp_path)) as house:
        house.audit().record(GET)
        until(lambda: [line["operation"] for line in lines_of(house)] == ["START", "GET"])


def test_a_denial_is_on_the_disk_at_once(tmp_path: Path) -> None:
    """And so is all that was recorded before it."""
    with closing(manager(tmp_path)) as house:
        house.audit().record(GET)
        house.audit().record_now(Event("auth", "DENIED", "~key", "plugin"))
        assert [line["operation"] for line in lines_of(house)][1:] == ["GET", "DENIED"]
        assert house.audit().pending() == 0


def test_threads_record_at_once(tmp_path: Path) -> None:
    """Every event is written once, those of a thread in their order."""
    with closing(manager(tmp_path)) as house:

        def work(name: str) -> None:
            for number in range(300):
                house.audit().record(Event("auth", "GET", str(number), name))

        threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = lines_of(house)
    for number in range(8):
        assert [line["key"] for line in lines if line["caller"] == str(number)] == [str(one) for one in range(300)]


def test_the_file_is_the_owner_s_alone(tmp_path: Path) -> None:
    """Whatever the mask says."""
    mask = os.umask(0)
    try:
        with closing(manager(tmp_path)) as house:
            house.audit().record(GET)
    finally:
        os.umask(mask)
    for path in (tmp_path / "db").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_day_has_a_file(tmp_path: Path) -> None:
    """The chain goes on in the next; and when the clock goes back, it stays there."""
    clock = FakeClock()
    with closing(manager(tmp_path, clock)) as house:
        for seconds in (86_399.9, 0.2, -86_400, 2 * 86_400):
            clock.advance(seconds)
            house.audit().record(Event("auth", "GET", str(clock.now), None))
        house.audit().flush()
    days = house.audit().days.files()
    assert list(days) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [line["operation"] for line in lines_of(house)] == [
        *("START", "GET"),
        *("DAY", "GET", "GET"),
        *("DAY", "GET", "STOP"),
    ]
    assert len(days["2026-01-02"].read_bytes().splitlines()) == 3


@pytest.mark.parametrize(
    "hostile",
    [
        'a"b\\c',
        'k","writer":"' + "0" * 32 + '","sequence":1,"previous":"' + FIRST + '","mac":"' + FIRST + '"}',
        "a\nb\r\x00\x1f\u2028\x85",
        "\ud800",
        "ключ " + "\U0001f512" * 120,
        "x" * 100_000,
    ],
)
def test_no_text_forges_a_line(tmp_path: Path, hostile: str) -> None:
    """It comes back as it was (but not longer than 4096 characters), in one line."""
    with closing(manager(tmp_path)) as house:
        house.audit().record(Event(hostile, hostile, hostile, hostile, detail=hostile))
    start, event, stop = lines_of(house)
    assert (start["operation"], stop["operation"]) == ("START", "STOP")
    shown = hostile if len(hostile) <= 4096 else hostile[:4090] + " [cut]"
    assert [event[name] for name in ("cache", "operation", "key", "caller", "detail")] == [shown] * 5


def test_a_line_that_somebody_could_not_finish_is_set_apart(tmp_path: Path) -> None:
    """A signed line tells where it is, and what it was."""
    with closing(manager(tmp_path)) as house:
        house.audit().record(GET)
    (path,) = house.audit().days.files().values()
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"timestamp":"2026')
    with closing(manager(tmp_path)) as other:
        other.audit().record(GET)
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines.pop(3) == b'{"timestamp":"2026\n'
    mended = read(lines[5].rstrip())
    assert mended is not None
    assert contents(mended)["operation"] == "MENDED"
    assert str(contents(mended)["detail"]).startswith(f"at {size}, 18 bytes, sha256 ")


@forks
def test_a_forked_child_writes_a_chain_of_its_own(tmp_path: Path) -> None:
    """What its parent has in the queue is the parent's to write."""
    with closing(manager(tmp_path)) as house:
        for _ in range(50):
            house.audit().record(GET)

        def work() -> None:
            house.audit().record(GET)
            house.audit().close()

        Child(work).result()
        house.audit().record(GET)
    lines = lines_of(house)
    assert sorted([line["operation"] for line in lines].count(one) for one in ("START", "STOP")) == [2, 2]
    assert [line["operation"] for line in lines].count("GET") == 52


@pytest.mark.parametrize("policy", ["block", "raise"])
def test_a_full_queue_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    """Where the folder cannot be made, callers are told what to do, and nothing is dropped once it can."""
    (tmp_path / "db").write_text("in the way")
    with closing(manager(tmp_path, cache_audit_queue_size=100, cache_audit_on_full=policy)) as house:
        log = house.audit()
        for _ in range(100):
            log.record(GET)
        waits = 0.2 if policy == "block" else 1_000
        monkeypatch.setattr("openalgo_cache.audit.log._LONGEST_WAIT", waits)
        began = time.monotonic()
        with pytest.raises(AuditUnavailableError, match="CACHE_AUDIT_LOG_PATH"):
            log.record(GET)
        assert (time.monotonic() - began >= waits) is (policy == "block")
        assert log.pending() == 100
        monkeypatch.undo()
        (tmp_path / "db").unlink()
        until(lambda: log.pending() == 0)
        log.record_now(GET)
    assert [line["operation"] for line in lines_of(house)].count("GET") == 101


def test_heads_are_anchored(tmp_path: Path) -> None:
    """At the latest when the log is closed, outside of its files."""
    with closing(manager(tmp_path)) as house:
        house.audit().record(GET)
        house.audit().close()
        (writer, head), *others = house.get_cache("audit_heads").items()
        assert others == []
        last = lines_of(house)[-1]
        assert (writer, head["sequence"], head["closed"]) == (last["writer"], 3, True)


def test_heads_that_cannot_be_anchored_do_not_stop_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once; and they are anchored when their store is back."""
    with closing(manager(tmp_path)) as house:
        tried = []
        is_away = True

        def open_heads() -> Cache:
            tried.append(1)
            if is_away:
                raise BackendUnavailableError("the server is away")
            return opened()

        opened = house._open_heads
        monkeypatch.setattr(house, "_open_heads", open_heads)
        monkeypatch.setattr(upkeep, "_INTERVAL", 0.01)
        log = house.audit()
        log.record_now(GET)
        until(lambda: len(tried) > 2)
        log.record_now(GET)
        assert caplog.text.count("cannot be anchored at present: the server is away") == 1
        assert len(lines_of(house)) == 3
        is_away = False
        heads = house.get_cache("audit_heads")
        until(lambda: heads.size() == 1)


def test_whoever_forgets_to_close_loses_nothing(tmp_path: Path) -> None:
    """What is queued when the process ends is written, and the chain ended."""
    code = """import sys
from pathlib import Path
from tests.audit.logs import GET
from tests.stacks import manager
for _ in range(4):  # nobody keeps them, either
    log = manager(Path(sys.argv[1])).audit()
    for _ in range(75):
        log.record(GET)
"""
    with Process(code, tmp_path) as process:
        assert process.wait() == 0
    report = verified(tmp_path)
    assert report.findings == []
    assert (report.chains, report.lines) == (4, 300 + 2 * 4)


def test_the_queue_is_bounded_whatever_comes(tmp_path: Path) -> None:
    """Many threads, and a disk that takes nothing: not more waits than may, and each is told of what did not fit."""
    (tmp_path / "db").write_text("in the way")
    house = manager(tmp_path, cache_audit_queue_size=100, cache_audit_on_full="raise")
    refused = []

    def work() -> None:
        for _ in range(100):
            try:
                house.audit().record(GET)
            except AuditUnavailableError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 100 <= house.audit().pending() <= 108  # each thread may have looked just before another one
    assert len(refused) + house.audit().pending() == 800
    (tmp_path / "db").unlink()
    house.close()


@pytest.mark.parametrize("library", ["eventlet", "gevent"])
def test_greenlets(tmp_path: Path, library: str) -> None:
    """Under eventlet and gevent: greenlets and a real thread record, deny and close, and none waits for ever."""
    code = """import sys
if sys.argv[2] == "eventlet":
    import eventlet
    eventlet.monkey_patch()
    spawn, wait = eventlet.spawn, lambda one: one.wait()
else:
    from gevent import monkey
    monkey.patch_all()
    import gevent
    spawn, wait = gevent.spawn, lambda one: one.join()
import time
from pathlib import Path
from openalgo_cache.locks import start_new_thread
from tests.audit.logs import GET
from tests.stacks import manager
house = manager(Path(sys.argv[1]))
done = []
def work():
    for number in range(100):
        house.audit().record(GET)
        if number % 10 == 0:
            house.audit().record_now(GET)
            time.sleep(0)
    done.append(1)
workers = [spawn(work) for _ in range(5)]
start_new_thread(work, ())
for one in workers:
    wait(one)
while len(done) < 6:
    time.sleep(0.01)
house.close()
"""
    with Process(code, tmp_path, library) as process:
        assert process.wait() == 0
    report = verified(tmp_path)
    assert report.findings == []
    assert report.lines == 6 * 110 + 2

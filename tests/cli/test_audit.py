"""``audit verify``, ``audit tail`` and ``audit search``: what they find, print and leave alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from openalgo_cache.audit import Event
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.files import write_private_new
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from openalgo_cache.testing import FakeClock
from tests.audit.logs import DAY, GET, write_days
from tests.cli.conftest import Run
from tests.servers.process import ServerProcess
from tests.stacks import manager

MODULE: Final = [sys.executable, "-m", "openalgo_cache.cli"]
FIRST: Final = "cache_audit.2026-01-01.log"


def listing(folder: Path) -> dict[str, int]:
    """Return the files of a folder, with when each was last changed."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_verify_an_intact_log(run: Run, folder: Path) -> None:
    """It says what it looked at, and changes nothing."""
    write_days(folder)
    before = listing(folder / "db")
    ran = run("audit", "verify", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["intact"] is True
    assert (len(ran.json["files"]), ran.json["chains"], ran.json["heads"], ran.json["findings"]) == (3, 4, 4, [])
    assert "3 files: intact." in run("audit", "verify").out
    assert listing(folder / "db") == before


def test_verify_a_log_that_was_changed(run: Run, folder: Path) -> None:
    """It says where, and exits with 1; the same as JSON."""
    write_days(folder)
    path = folder / "db" / FIRST
    path.write_bytes(path.read_bytes().replace(b'"second 2"', b'"second 3"'))
    ran = run("audit", "verify", width=200)
    assert ran.code == 1
    assert f"FOUND  {FIRST}, line 8, writer " in ran.out
    assert "sequence 4: edited: was changed" in ran.out
    (finding,) = run("audit", "verify", "--json").json["findings"]
    assert (finding["kind"], finding["file"], finding["line"], finding["note"]) == ("edited", FIRST, 8, False)


def test_verify_where_there_is_nothing(run: Run, folder: Path) -> None:
    """No log is no finding, and none is made; nor a key ring."""
    ran = run("audit", "verify")
    assert ran.code == 0
    assert "There is no audit log at " in ran.out
    assert list(folder.iterdir()) == []


def test_verify_without_heads_or_ring(run: Run, folder: Path) -> None:
    """Without heads it says what it cannot know; without a key ring it can't do anything."""
    write_days(folder, days=1)
    for path in (folder / "db").glob("cache_audit_heads*"):
        path.unlink()
    ran = run("audit", "verify", "--json")
    assert ran.code == 0
    assert [finding["kind"] for finding in ran.json["findings"]] == ["heads unknown"]
    (folder / "db" / ".cache_key").unlink()
    assert run("audit", "verify").code == 3
    assert not (folder / "db" / ".cache_key").exists()


def test_verify_forged_heads(run: Run, folder: Path) -> None:
    """A head that somebody else wrote is a finding."""
    write_days(folder, days=1)
    import apsw

    with closing(apsw.Connection(str(folder / "db" / "cache_audit_heads.db"))) as store:
        store.execute("UPDATE cache SET value = zeroblob(length(value))")
    ran = run("audit", "verify", "--json")
    assert (ran.code, ran.json["findings"][0]["kind"]) == (1, "heads unreadable")


@pytest.fixture
def busy(folder: Path) -> CacheManager:
    """An installation in which several things happened."""
    clock = FakeClock()
    with closing(manager(folder, clock)) as house:
        auth, log = house.get_cache("auth"), house.audit()
        log.record(Event("auth", "GET", auth.shown("user_1"), "blueprints.auth", hit=True))
        log.record(Event("auth", "GET", auth.shown("user_2"), "blueprints.auth", hit=False))
        clock.advance(3600)
        log.record_now(Event("auth", "DENIED", auth.shown("user_1"), "plugins.one", detail="rule: blueprints.*"))
        clock.advance(DAY)
        log.record(Event("settings", "SET", "theme\n[31m", "app"))
    return house


@pytest.mark.parametrize(
    "criteria, found",
    [
        (["--cache", "auth"], ["GET", "GET", "DENIED"]),
        (["--key", "user_1"], ["GET", "DENIED"]),
        (["--key", "user_1", "--operation", "get"], ["GET"]),
        (["--denied"], ["DENIED"]),
        (["--caller", "plugins.*"], ["DENIED"]),
        (["--since", "2026-01-01T00:30", "--until", "2026-01-02"], ["DENIED"]),
        (["--since", "2026-01-02", "--cache", "settings"], ["SET"]),
        (["--since", "1s"], []),
        (["--operation", "GET", "--limit", "1"], ["GET"]),
    ],
)
@pytest.mark.usefixtures("busy")
def test_search(run: Run, criteria: list[str], found: list[str]) -> None:
    """By whatever is known; a key is typed as the application uses it."""
    ran = run("audit", "search", *criteria, "--json")
    assert [line["operation"] for line in ran.json["lines"]] == found
    assert ran.code == (0 if found else 1)
    assert ran.json["more"] is ("--limit" in criteria)


@pytest.mark.usefixtures("busy")
def test_what_is_shown(run: Run) -> None:
    """One line each, in which nothing steers the terminal."""
    out = run("audit", "tail", "-n", "2").out.splitlines()
    assert out[0] == (r"2026-01-02T01:00:00.000000Z openalgo-default SET settings theme\n[31m by app")
    assert out[1].endswith(" STOP")
    assert run("audit", "search", "--denied").out.endswith(" by plugins.one (rule: blueprints.*)\n")


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--denied", "--operation", "GET"]])
def test_what_cannot_be_searched_for(run: Run, arguments: list[str]) -> None:
    """The message says how it is written."""
    ran = run("audit", "search", *arguments)
    assert (ran.code, ran.out) == (2, "")


def test_what_does_not_verify_is_not_shown(run: Run, folder: Path) -> None:
    """But counted."""
    write_days(folder, days=1)
    path = folder / "db" / FIRST
    path.write_bytes(path.read_bytes().replace(b'"second 2"', b'"forged"'))
    for ran in (run("audit", "tail", "--json"), run("audit", "search", "--cache", "auth", "--json")):
        assert ran.json["unverified"] == 1
        assert "forged" not in ran.out


def test_tail_spans_days(run: Run, folder: Path) -> None:
    """Where the newest file has fewer lines, those before it are shown, too."""
    write_days(folder)
    lines = run("audit", "tail", "-n", "25", "--json").json["lines"]
    assert len(lines) == 25
    assert len({line["file"] for line in lines}) == 3
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    assert run("audit", "tail", "-n", "0", "--json").json["lines"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_follow_over_midnight_until_ctrl_c(folder: Path, form: list[str]) -> None:
    """What is logged shows, in the next day's file as well; Ctrl-C ends it quietly."""
    clock = FakeClock()
    with closing(manager(folder, clock)) as house:
        house.audit().record_now(GET._replace(key="before"))
        process = subprocess.Popen(
            [*MODULE, "audit", "tail", "-n", "1", "-f", *form],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        assert "before" in process.stdout.readline()
        house.audit().record_now(GET._replace(key="at once"))
        assert "at once" in process.stdout.readline()
        clock.advance(DAY)
        house.audit().record_now(GET._replace(key="next day"))
        assert "DAY" in process.stdout.readline()
        line = process.stdout.readline()
        assert "next day" in line
        if form:
            assert json.loads(line)["file"] == "cache_audit.2026-01-02.log"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.server
@pytest.mark.xdist_group("redis")
def test_instances_that_share_a_server(run: Run, folder: Path, redis_server: ServerProcess) -> None:
    """Each verifies its own files, by heads that lie on the server; those of the other are no concern of its."""
    write_private_new(folder / "ring", KeyRing.generate().to_json())
    shared = {name.upper(): str(value) for name, value in redis_server.settings().items()} | {
        "CACHE_BACKEND": "redis",
        "CACHE_KEY_FILE": str(folder / "ring"),
        "CACHE_NAMESPACE": "audited",
        "MULTI_INSTANCE_MODE": "true",
        "SESSION_TYPE": "redis",
    }
    instances = {
        name: shared | {"INSTANCE_ID": name, "SQLITE_CACHE_PATH": str(folder / name / "cache")} for name in ("a", "b")
    }
    for name, environment in instances.items():
        with closing(CacheManager(Settings.from_environment(environment, None))) as house:
            house.audit().record(GET._replace(caller=name))
    for environment in instances.values():
        ran = run("audit", "verify", "--json", **environment)
        assert (ran.code, ran.json["heads"], ran.json["chains"], ran.json["findings"]) == (0, 2, 1, [])
    (path,) = (folder / "a").glob("cache_audit*.log")
    path.unlink()
    assert run("audit", "verify", **instances["b"]).code == 0
    ran = run("audit", "verify", "--json", **instances["a"])
    assert (ran.code, [finding["kind"] for finding in ran.json["findings"]]) == (1, ["file missing"])

"""doctor: every fault that it looks for is found, named, and answered with what to do; nothing is changed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from openalgo_cache import accesslist
from openalgo_cache.backends import registry
from openalgo_cache.cli import session
from openalgo_cache.cli.checks import place
from openalgo_cache.cli.shapes.doctor import Diagnosis
from openalgo_cache.cli.shapes.stats import Stats
from openalgo_cache.manager import CacheManager
from tests.cli.conftest import Ran, Run, tree
from tests.cli.shapes_held import deviations

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes")


@pytest.fixture(autouse=True)
def plain_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests' folder lies is no finding."""
    monkeypatch.setattr(place, "_file_system_of", lambda _folder: "ext4")


def found(ran: Ran, check: str) -> list[dict[str, Any]]:
    """Return what a check found."""
    assert deviations(ran.json, Diagnosis) == []
    assert ran.json["errors"] == sum(one["status"] == "error" for one in ran.json["checks"])
    assert ran.json["warnings"] == sum(one["status"] == "warning" for one in ran.json["checks"])
    assert ran.code == (5 if ran.json["errors"] else 0)
    assert all((one["fix"] is None) == (one["status"] == "ok") for one in ran.json["checks"])
    return [one for one in ran.json["checks"] if one["check"] == check]


def statuses(ran: Ran, check: str) -> list[str]:
    """Return how a check ended."""
    return [one["status"] for one in found(ran, check)]


def test_all_is_well(run: Run) -> None:
    """In an empty folder and after the first use there is nothing to complain about."""
    assert "0 errors, 0 warnings" in run("doctor").out
    run("set", "settings", "k", "v")
    run("set", "auth", "k", "v")
    ran = run("doctor", "--json")
    assert ran.code == 0
    assert {one["status"] for one in ran.json["checks"]} == {"ok"}
    looked_at = {one["check"] for one in ran.json["checks"]}
    assert looked_at >= {"settings", "backend", "key ring", "clock", "folder", "files", "file system", "disk space"}
    assert looked_at >= {"sqlite", "cache files"}


def test_the_worst_comes_first(run: Run, folder: Path) -> None:
    """Errors stand before warnings, and warnings before what is well."""
    run("set", "settings", "k", "v")
    (folder / "db" / ".cache_key").unlink()
    order = [one["status"] for one in run("doctor", "--json", CACHE_ENCRYPTION_ENABLED="false").json["checks"]]
    assert order == sorted(order, key=["error", "warning", "ok"].index)
    assert {"error", "warning", "ok"} == set(order)


def test_settings_that_cannot_work(run: Run) -> None:
    """The doctor itself goes on where the settings keep everything else from starting."""
    ran = run("doctor", "--json", REDIS_PORT="x", CACHE_ENCRYPTION_ENABLED="false")
    assert sorted(statuses(ran, "settings")) == ["error", "warning"]
    assert "REDIS_PORT=x" in found(ran, "settings")[0]["what"]
    assert run("doctor", REDIS_PORT="x").code == 5


def test_doubtful_settings(run: Run) -> None:
    """A warning alone is no error."""
    ran = run("doctor", "--json", CACHE_ENCRYPTION_ENABLED="false", REDIS_PASSWRD="hunter2")
    assert statuses(ran, "settings") == ["warning", "warning"]
    assert ran.code == 0
    assert "hunter2" not in ran.out


def test_a_backend_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that cannot be chosen is an error with the message that starting would give."""
    monkeypatch.setattr(registry, "_NEEDS", {"redis": "a_package_that_is_not_installed"})
    ran = run("doctor", "--json", CACHE_BACKEND="redis")
    assert statuses(ran, "backend") == ["error"]
    assert "CACHE_BACKEND" in found(ran, "backend")[0]["what"]


def test_a_damaged_record_of_the_backend(run: Run, folder: Path) -> None:
    """It is left as it is, and the command that settles it is named."""
    run("set", "settings", "k", "v")
    (folder / "db" / ".cache_backend").write_bytes(b"\x00")
    assert statuses(run("doctor", "--json"), "backend") == ["warning", "ok"]


def test_a_lost_key_ring(run: Run, folder: Path) -> None:
    """Without cache files a missing ring is the first start; with them it is a loss."""
    run("set", "settings", "k", "v")
    (folder / "db" / ".cache_key").unlink()
    (check,) = found(run("doctor", "--json"), "key ring")
    assert check["status"] == "error"
    assert "backup" in check["fix"]
    assert not (folder / "db" / ".cache_key").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"garbage", b"\xff" * 44])
def test_an_unusable_key_ring(run: Run, folder: Path, content: bytes) -> None:
    """An empty or damaged ring is an error, and stays as it is."""
    run("set", "settings", "k", "v")
    ring = folder / "db" / ".cache_key"
    ring.write_bytes(content)
    assert statuses(run("doctor", "--json"), "key ring") == ["error"]
    assert ring.read_bytes() == content


@posix
def test_a_key_ring_that_others_can_read(run: Run, folder: Path) -> None:
    """The library would refuse it, so it is an error and not a warning."""
    run("set", "settings", "k", "v")
    (folder / "db" / ".cache_key").chmod(0o644)
    ran = run("doctor", "--json")
    assert statuses(ran, "key ring") == ["error"]
    assert "chmod 600" in found(ran, "key ring")[0]["what"]


def test_a_key_file_that_is_not_there(run: Run) -> None:
    """A ring that somebody named is not made, so it is missing."""
    assert statuses(run("doctor", "--json", CACHE_KEY_FILE="keys/ring"), "key ring") == ["error"]


def test_a_key_from_the_environment(run: Run) -> None:
    """It is used, and nothing of it is shown but the fingerprint."""
    key = "dGhpcyBrZXkgaXMgbm90IHJhbmRvbSBidXQgbG9uZyE="
    ran = run("doctor", "--json", CACHE_ENCRYPTION_KEY=key, CACHE_NAMESPACE="live")
    assert statuses(ran, "key ring") == ["ok"]
    assert key not in ran.out
    assert "CACHE_ENCRYPTION_KEY" in found(ran, "key ring")[0]["what"]


@posix
def test_a_folder_and_files_that_are_open_to_others(run: Run, folder: Path) -> None:
    """Each is named with the command that closes it."""
    run("set", "settings", "k", "v")
    (folder / "db").chmod(0o755)
    (folder / "db" / "cache_settings.db").chmod(0o664)
    (folder / "db" / "strangers.txt").write_text("not ours")
    (folder / "db" / "strangers.txt").chmod(0o666)
    ran = run("doctor", "--json")
    assert [one["fix"] for one in found(ran, "folder")] == [f"Run chmod 700 {folder / 'db'}"]
    assert found(ran, "files")[0]["fix"] == f"Run chmod 600 {folder / 'db' / 'cache_settings.db'}"
    assert statuses(ran, "files") == ["warning", "ok"]
    assert ran.code == 0


@posix
def test_links_audit_logs_and_leftovers(run: Run, folder: Path) -> None:
    """Whatever is ours is looked at, wherever the audit log lies."""
    run("set", "settings", "k", "v")
    (folder / "db" / "cache_quotes.db").symlink_to(folder / "elsewhere")
    (folder / "log").mkdir()
    for path in (folder / "log" / "audit.2026-11-24.jsonl", folder / "db" / ".cache_settings.db.1.tmp"):
        path.touch()
        path.chmod(0o640)
    ran = run("doctor", "--json", CACHE_AUDIT_LOG_PATH="log/audit.jsonl")
    told = [one["what"] for one in found(ran, "files") if one["status"] == "warning"]
    assert len(told) == 3
    for part in ("is a link to", "audit.2026-11-24.jsonl is open", ".cache_settings.db.1.tmp is open"):
        assert any(part in one for one in told), part


@posix
def test_folders_above_that_others_can_write(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could put another folder in the place of ours; where everybody's are kept apart, as in /tmp, they can't."""
    (folder / "open").mkdir()
    monkeypatch.chdir(folder / "open")
    run("set", "settings", "k", "v")
    assert statuses(run("doctor", "--json"), "folder") == ["ok"]
    (folder / "open").chmod(0o1777)
    assert statuses(run("doctor", "--json"), "folder") == ["ok"]
    (folder / "open").chmod(0o777)
    ran = run("doctor", "--json")
    assert found(ran, "folder")[0]["fix"] == f"Run chmod o-w {folder / 'open'}"
    (folder / "open").chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder / "open", 1234, -1)
        assert "user id 1234" in found(run("doctor", "--json"), "folder")[0]["what"]


def test_a_folder_that_a_web_server_hands_out(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess by its name, so a warning."""
    (folder / "public_html").mkdir()
    monkeypatch.chdir(folder / "public_html")
    assert "warning" in statuses(run("doctor", "--json"), "folder")


def test_rights_on_windows(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by the list of rights, where there are no modes; what cannot be told is no good sign."""
    run("set", "settings", "k", "v")
    monkeypatch.setattr(place, "_HAS_MODES", False)
    for strangers, status in (([], "ok"), (["WD"], "warning")):
        monkeypatch.setattr(accesslist, "read", lambda _folder, strangers=strangers: strangers)
        assert statuses(run("doctor", "--json"), "folder") == [status]
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(place, "_HAS_MODES", False)
    assert "warning" in statuses(run("doctor", "--json", CACHE_BACKEND="sqlite"), "folder"), "there is no icacls here"


def test_a_folder_that_is_none(run: Run, folder: Path) -> None:
    """A file in the folder's place is an error; the other checks go on."""
    (folder / "db").write_text("")
    ran = run("doctor", "--json")
    assert statuses(ran, "folder") == ["error"]
    assert statuses(ran, "disk space") == ["ok"]


def test_a_folder_that_cannot_be_written(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not write there cannot cache there."""
    run("set", "settings", "k", "v")
    monkeypatch.setattr(os, "access", lambda *_arguments, **_options: False)
    assert "error" in statuses(run("doctor", "--json"), "folder")


@pytest.mark.parametrize(
    "kind, status", [("nfs4", "error"), ("cifs", "error"), ("tmpfs", "warning"), ("xfs", "ok"), (None, "ok")]
)
def test_file_systems(run: Run, monkeypatch: pytest.MonkeyPatch, kind: str | None, status: str) -> None:
    """On a network neither locks nor the log work; in memory nothing outlives a restart."""
    monkeypatch.setattr(place, "_file_system_of", lambda _folder: kind)
    assert statuses(run("doctor", "--json"), "file system") == [status]


def test_a_synchronised_folder(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that copies files in mid-write is no friend of a database."""
    (folder / "OneDrive").mkdir()
    monkeypatch.chdir(folder / "OneDrive")
    assert statuses(run("doctor", "--json"), "file system") == ["warning"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's list of mounts")
def test_the_file_system_is_found_in_the_list_of_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest mount point above the folder counts, the last of two at one place, and spaces are escaped there."""
    monkeypatch.undo()
    mounts = tmp_path / "mountinfo"
    target = tmp_path / "my disk" / "db"
    target.mkdir(parents=True)
    disk = str(tmp_path / "my disk").replace(" ", "\\040")
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:1 / {disk} rw,relatime shared:1 - tmpfs tmpfs rw\n"
        f"3 2 0:2 / {disk} rw,relatime master:2 - nfs4 host:/share rw\n"
        f"4 1 0:3 / {tmp_path}/my rw - cifs //host/share rw\n"
    )
    monkeypatch.setattr(place, "_MOUNTS", mounts)
    assert place._file_system_of(target) == "nfs4"
    assert place._file_system_of(Path("/")) == "ext4"
    monkeypatch.setattr(place, "_MOUNTS", tmp_path / "none")
    assert place._file_system_of(target) is None


@pytest.mark.parametrize("free, status", [(10 << 20, "error"), (100 << 20, "warning"), (10 << 30, "ok")])
def test_disk_space(run: Run, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    """Little space is a warning, none an error."""
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  # what shutil returns
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1 << 40, 0, free))
    assert statuses(run("doctor", "--json"), "disk space") == [status]


@pytest.mark.parametrize(
    "version, status",
    [
        ("3.40.1", "error"),
        ("3.44.5", "error"),
        ("3.44.6", "ok"),
        ("3.50.6", "error"),
        ("3.50.7", "ok"),
        ("3.51.2", "error"),
        ("3.51.3", "ok"),
        ("3.54.1", "ok"),
        ("4.0.0", "ok"),
    ],
)
def test_versions_of_sqlite(run: Run, monkeypatch: pytest.MonkeyPatch, version: str, status: str) -> None:
    """The versions that can corrupt a file are told from those in which it is mended."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    assert statuses(run("doctor", "--json"), "sqlite") == [status]


def test_damaged_files(run: Run, folder: Path) -> None:
    """A damaged file is found by walking through it, is left as it is, and state is told from caches."""
    for name in ("settings", "running_strategies", "quotes"):
        run("set", name, "k", "v" * 200)
    (folder / "db" / "cache_settings.db").write_bytes(b"garbage" * 4096)
    path = folder / "db" / "cache_running_strategies.db"
    content = bytearray(path.read_bytes())
    content[4096 + 8 : 4096 + 100] = os.urandom(92)
    path.write_bytes(content)
    before = tree(folder)
    ran = run("doctor", "--json")
    fixes = {one["what"].partition(":")[0]: one["fix"] for one in found(ran, "cache files") if one["status"] == "error"}
    assert set(fixes) == {str(folder / "db" / "cache_settings.db"), str(path)}
    assert "Copy the folder away first" in fixes[str(path)]
    assert "fills itself again" in fixes[str(folder / "db" / "cache_settings.db")]
    assert tree(folder) == before


def test_copies_of_damaged_files(run: Run, folder: Path) -> None:
    """What a rebuild left is mentioned until somebody has looked at it."""
    run("set", "settings", "k", "v")
    (folder / "db" / "cache_settings.db").write_bytes(b"garbage" * 4096)
    run("set", "settings", "k", "v")
    (check,) = found(run("doctor", "--json"), "damaged copies")
    assert check["status"] == "warning"
    assert "cache_settings.damaged-1.db" in check["what"]


def test_a_database_of_somebody_else(run: Run, folder: Path) -> None:
    """Another program's file under our name is an error."""
    run("set", "settings", "k", "v")
    connection = apsw.Connection(str(folder / "db" / "cache_quotes.db"))
    connection.execute("CREATE TABLE users (name)")
    connection.close()
    assert statuses(run("doctor", "--json"), "cache files") == ["error", "ok"]


def test_backups_of_state(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State that is days old without a backup, or with an old one, is a warning; caches need none."""
    run("set", "settings", "k", "v")
    assert statuses(run("doctor", "--json"), "backups") == []
    run("set", "running_strategies", "s", "v")
    assert statuses(run("doctor", "--json"), "backups") == ["ok"]
    now = time.time()
    monkeypatch.setattr(session, "system_clock", lambda: now + 3 * 86_400)
    assert statuses(run("doctor", "--json"), "backups") == ["warning"]
    path = folder / "db" / "cache_running_strategies.db"
    shutil.copy(path, folder / "db" / "cache_running_strategies.backup-20260105.db")
    (folder / "db" / "cache_running_strategies.backup-20260105.db").chmod(0o600)
    assert "ago" in found(run("doctor", "--json"), "backups")[0]["what"]
    monkeypatch.setattr(session, "system_clock", lambda: 1_767_657_600.0)  # 2026-01-06
    assert found(run("doctor", "--json"), "backups")[0]["what"] == "running_strategies was backed up on 2026-01-05"


def test_clocks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands in the past, or went back since the last write, is found."""
    run("set", "settings", "k", "v", "--ttl", "none")
    monkeypatch.setattr(session, "system_clock", lambda: 1_000_000_000.0)
    ran = run("doctor", "--json")
    assert statuses(ran, "clock") == ["error", "warning"]
    assert "2001-09-09" in found(ran, "clock")[0]["what"]


def test_nothing_is_changed(run: Run, folder: Path) -> None:
    """Whatever is wrong, the doctor only looks."""
    run("set", "settings", "k", "v")
    run("set", "auth", "k", "v")
    (folder / "db" / "cache_auth.db").write_bytes(b"garbage" * 4096)
    (folder / "db" / ".cache_key").unlink()
    (folder / "db" / ".cache_backend").write_bytes(b"?")
    before = tree(folder)
    assert run("doctor").code == 5
    assert tree(folder) == before


def test_the_symbol_master(run: Run, folder: Path) -> None:
    """A master is read from end to end: sound, forged, and signed with another key ring are told apart."""
    assert found(run("doctor", "--json"), "symbol master") == []
    run("symbols", "generate", "m.csv", "--rows", "200")
    run("symbols", "import", "m.csv")
    (check,) = found(run("doctor", "--json"), "symbol master")
    assert check["status"] == "ok"
    assert "200 instruments" in check["what"]
    (path,) = (folder / "db").glob("cache_symbols-*.db")
    good = path.read_bytes()
    assert b"RELIANCE" in good
    path.write_bytes(good.replace(b"RELIANCE", b"DEFIANCE"))
    assert statuses(run("doctor", "--json"), "symbol master") == ["error"]
    path.write_bytes(good)
    (folder / "db" / ".cache_key").unlink()
    assert statuses(run("doctor", "--json"), "symbol master") == ["error"]
    (folder / "db" / "cache_symbols.current").write_text("nonsense")
    assert statuses(run("doctor", "--json"), "symbol master") == ["error"]


def lose(application: Callable[[], CacheManager], name: str) -> Path:
    """Let a deletion of a cache be lost; return the journal."""
    house = application()
    cache = house.get_cache(name)
    cache.set("key", "value")
    lost = cache._opened().lost
    assert lost is not None
    lost.note([cache._opened().keyspace.stored("key")], time.time())
    house.close()
    return lost.journal.path


def test_lost_deletes(run: Run, application: Callable[[], CacheManager], folder: Path) -> None:
    """Those that are to be carried out are counted, which carries none out."""
    lose(application, "auth")
    before = tree(folder)
    (seen,) = found(run("doctor", "--json"), "lost deletes")
    assert seen["status"] == "warning"
    assert "1 delete of auth" in seen["what"]
    ran = run("stats", "auth", "--json")
    assert deviations(ran.json, Stats) == []
    assert ran.json["caches"][0]["pending_deletes"] == 1
    assert "1 delete failed" in run("stats").out
    assert tree(folder) == before
    assert run("get", "auth", "key").code == 1
    assert statuses(run("doctor", "--json"), "lost deletes") == ["ok"]


@pytest.mark.parametrize("name, status", [("auth", "warning"), ("strategy_configs", "error")])
@pytest.mark.parametrize("size", [0, 5_000])
def test_a_damaged_journal(
    run: Run, application: Callable[[], CacheManager], folder: Path, name: str, status: str, size: int
) -> None:
    """What it held may be forgotten; only where nothing may be rebuilt somebody has to look."""
    path = lose(application, name)
    os.truncate(path, size)
    before = tree(folder)
    assert statuses(run("doctor", "--json"), "lost deletes") == [status]
    assert tree(folder) == before

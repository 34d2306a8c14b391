"""copy, export and import: between two backends of files, and through a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openalgo_cache import Cache, CacheManager, export_caches
from openalgo_cache.backends.base import Entry
from openalgo_cache.cli.shapes.transfers import Copied, Exported, Moved, Restored
from tests.cli.conftest import Run, tree
from tests.cli.shapes_held import deviations

Application = Callable[[], CacheManager]

COPY = ("copy", "--from", "sqlite", "--to", "elsewhere")


pytestmark = pytest.mark.usefixtures("elsewhere")


def fill(application: Application) -> None:
    """Store something in caches of every kind."""
    manager = application()
    manager.get_cache("settings").set("theme", "dark", ttl=300)
    manager.get_cache("auth").set("user_123", "t0ken")
    manager.get_cache("running_strategies").set("s1", {"legs": [1, 2]})
    manager.get_cache("quotes").set("M&M|NSE", 1.5)
    manager.get_cache("notes", encrypted=True, blinded=True).set("key", "note")
    manager.close()


def moved(caches: list[Moved]) -> dict[str, int]:
    """Return how many entries of each cache were moved."""
    return {one["name"]: one["moved"] for one in caches}


def harm(application: Application, name: str, key: str = "bad") -> None:
    """Put a record into a cache that cannot be verified."""
    manager = application()
    cache: Cache = manager.get_cache(name)
    stack = cache._opened()
    stack.backend.set(stack.keyspace.stored(key), Entry(b"rubbish", None))
    manager.close()


def test_all_caches_are_copied(run: Run, application: Application) -> None:
    """Those of the catalogue and others, however they are sealed; the application finds them on the other backend."""
    fill(application)
    ran = run(*COPY, "--json")
    assert ran.code == 0
    assert deviations(ran.json, Copied) == []
    assert moved(ran.json["caches"]) == {"settings": 1, "auth": 1, "running_strategies": 1, "quotes": 1, "notes": 1}
    manager = application()
    for name, key, value, options in (
        ("settings", "theme", "dark", {}),
        ("auth", "user_123", "t0ken", {}),
        ("running_strategies", "s1", {"legs": [1, 2]}, {}),
        ("quotes", "M&M|NSE", 1.5, {}),
        ("notes", "key", "note", {"encrypted": True, "blinded": True}),
    ):
        there = manager.new_cache(name, backend="elsewhere", **options)  # type: ignore[arg-type]
        assert there.get(key) == value
        there.close()
    manager.close()
    again = run(*COPY)
    assert again.code == 0
    assert "Copied 0 entries from sqlite to elsewhere." in again.out
    back = run("copy", "--from", "elsewhere", "--to", "sqlite", "--json")
    assert moved(back.json["caches"]) == {"settings": 0, "auth": 0, "running_strategies": 0}


def test_some_caches(run: Run, application: Application) -> None:
    """--cache chooses; what has nothing stored is left out, and makes no file."""
    fill(application)
    ran = run(*COPY, "--cache", "settings", "--cache", "broker", "--cache", "settings", "--json")
    assert moved(ran.json["caches"]) == {"settings": 1}
    assert "Copied 1 entry from sqlite to elsewhere." in run(*COPY, "--cache", "quotes").out
    made = {path.name for path in Path("elsewhere").glob("*.db")}
    made.discard("cache_key.holders.db")  # a command that takes a second tells other hosts which keys it holds
    assert made == {"cache_quotes.db", "cache_settings.db"}
    assert "nothing to copy" in run(*COPY, "--cache", "broker").out


def test_a_dry_run_leaves_no_trace(run: Run, application: Application, folder: Path) -> None:
    """It says what would be done; nothing is written, and no file of a cache is made for it."""
    fill(application)
    run(*COPY)
    for path in (folder / "db").glob("*.db*"):
        path.unlink()
    ran = run("copy", "--from", "elsewhere", "--to", "sqlite", "--dry-run")
    assert ran.code == 0
    assert "Would copy 3 entries from elsewhere to sqlite." in ran.out
    assert list((folder / "db").glob("*.db*")) == []
    assert "Copied 3 entries" in run("copy", "--from", "elsewhere", "--to", "sqlite").out
    assert "Would copy 0 entries" in run("copy", "--from", "elsewhere", "--to", "sqlite", "--dry-run").out


def test_in_an_empty_folder(run: Run, folder: Path) -> None:
    """There is nothing to copy, and nothing is made: no key ring, no file."""
    assert "nothing to copy" in run(*COPY).out
    assert tree(folder) == {}


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["copy", "--from", "memory", "--to", "sqlite"], "memory is that of each process"),
        (["copy", "--from", "sqlite", "--to", "memory"], "copy_cache"),
        (["copy", "--from", "sqlite", "--to", "sqlite"], "export and import"),
        (["copy", "--from", "sqlite", "--to", "nope"], "no backend 'nope'"),
        ([*COPY, "--cache", "symbols"], "symbols import"),
        ([*COPY, "--cache", "api_keys_invalid"], "memory is that of each process"),
        ([*COPY, "--cache", "No"], "a cache's name"),
        ([*COPY, "--overwrite", "--keep-existing"], "contradict"),
        (["copy", "--from", "sqlite"], "--to"),
    ],
)
def test_what_cannot_be_done(run: Run, application: Application, arguments: list[str], says: str) -> None:
    """A mistake on the command line, with the reason."""
    fill(application)
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in " ".join(ran.err.split())


def test_what_may_be_replaced(run: Run, application: Application) -> None:
    """By default what is older; --keep-existing nothing, --overwrite anything."""
    run("set", "quotes", "key", "old")
    run(*COPY)
    run("set", "quotes", "key", "new")
    assert run(*COPY, "--keep-existing", "--json").json["caches"][0]["kept"] == 1
    assert moved(run(*COPY, "--json").json["caches"]) == {"quotes": 1}
    back = ("copy", "--from", "elsewhere", "--to", "sqlite", "--cache", "quotes", "--json")
    run("set", "quotes", "key", "newest")
    assert run(*back).json["caches"][0]["kept"] == 1
    assert run("get", "quotes", "key", "--reveal", "--json").json["value"] == "newest"
    assert run(*back[:-1], "--overwrite", "--json").json["caches"][0]["moved"] == 1
    assert run("get", "quotes", "key", "--reveal", "--json").json["value"] == "new"


def test_records_that_cannot_be_verified(run: Run, application: Application) -> None:
    """They are counted, exit code 6; a state cache stops there, the others do not."""
    fill(application)
    harm(application, "settings")
    ran = run(*COPY, "--json")
    assert ran.code == 6
    assert {one["name"]: one["unreadable"] for one in ran.json["caches"]}["settings"] == 1
    harm(application, "running_strategies", "a")  # before s1
    ran = run(*COPY, "--overwrite", "--json")
    stopped = next(one for one in ran.json["caches"] if one["name"] == "running_strategies")
    assert ran.code == 6
    assert (stopped["moved"], stopped["unreadable"]) == (0, 1)
    assert "--skip-unreadable" in stopped["problem"]
    assert len(ran.json["caches"]) == 5
    ran = run(*COPY, "--skip-unreadable")
    assert ran.code == 6
    assert "unreadable" in ran.out
    assert run("list", "settings").code == 0


def test_without_the_key_ring(run: Run, application: Application, folder: Path) -> None:
    """Nothing can be read, and no new ring is made that would hide that."""
    fill(application)
    (folder / "db" / ".cache_key").unlink()
    for arguments in (COPY, ("export", "x.oac"), ("import", "x.oac")):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (3, "")
        assert "no key ring" in ran.err
    assert not (folder / "db" / ".cache_key").exists()


def test_export_and_import(run: Run, application: Application, folder: Path) -> None:
    """What was cleared comes back; state is exported when it is asked for or named."""
    fill(application)
    ran = run("export", "caches.oac", "--json")
    assert ran.code == 0
    assert deviations(ran.json, Exported) == []
    assert moved(ran.json["caches"]) == {"settings": 1, "auth": 1, "quotes": 1, "notes": 1}
    assert "Wrote 5 entries to all.oac" in run("export", "all.oac", "--include-state").out
    assert moved(run("export", "one.oac", "--cache", "running_strategies", "--json").json["caches"]) == {
        "running_strategies": 1
    }
    verified = run("import", "all.oac", "--dry-run", "--json")
    assert verified.code == 0
    assert deviations(verified.json, Restored) == []
    assert verified.json["caches"] == []
    assert {one["name"]: one["entries"] for one in verified.json["contents"]} == dict.fromkeys(
        ("settings", "auth", "running_strategies", "quotes", "notes"), 1
    )
    assert "genuine and complete" in run("import", "all.oac", "--dry-run").out
    for name in ("settings", "auth"):
        run("clear", name, "--yes")
    ran = run("import", "all.oac", "--json")
    assert ran.code == 0
    assert deviations(ran.json, Restored) == []
    assert moved(ran.json["caches"]) == {"settings": 1, "auth": 1, "running_strategies": 0, "quotes": 0, "notes": 0}
    assert run("get", "auth", "user_123", "--reveal", "--json").json["value"] == "t0ken"
    run("clear", "settings", "--yes")
    assert "Imported 1 entry from all.oac." in run("import", "all.oac", "--cache", "settings").out
    assert run("import", "all.oac", "--cache", "broker").code == 2


def test_into_another_folder(run: Run, application: Application, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the key ring at hand an import works anywhere; without it the error names the variable."""
    fill(application)
    run("export", "caches.oac")
    new = folder / "new"
    new.mkdir()
    monkeypatch.chdir(new)
    ran = run("import", "../caches.oac")
    assert (ran.code, ran.out) == (3, "")
    assert "CACHE_KEY_FILE" in ran.err
    assert list(new.iterdir()) == []
    ring = {"CACHE_KEY_FILE": "../db/.cache_key"}
    assert run("import", "../caches.oac", **ring).code == 0
    assert run("get", "settings", "theme", "--reveal", "--json", **ring).json["value"] == "dark"


def test_a_file_that_was_changed(run: Run, application: Application, folder: Path) -> None:
    """Exit code 6, one line, nothing imported; what is no export, or is not there, is said."""
    fill(application)
    run("export", "caches.oac")
    content = bytearray(Path("caches.oac").read_bytes())
    content[-30] ^= 1
    Path("harmed.oac").write_bytes(content)
    Path("cut.oac").write_bytes(Path("caches.oac").read_bytes()[:-40])
    Path("text.oac").write_text("x" * 100, encoding="ascii")
    run("clear", "settings", "--yes")
    for name in ("harmed.oac", "cut.oac", "text.oac"):
        for more in ((), ("--dry-run",)):
            ran = run("import", name, *more)
            assert (ran.code, ran.out) == (6, "")
            assert len(ran.err.splitlines()) == 1
    assert run("get", "settings", "theme").code == 1
    assert run("import", "nope.oac").code == 4


def test_a_file_that_is_there(run: Run, application: Application) -> None:
    """It is replaced with --force alone."""
    fill(application)
    Path("x.oac").write_text("precious", encoding="ascii")
    ran = run("export", "x.oac")
    assert (ran.code, ran.out) == (2, "")
    assert "--force" in ran.err
    assert Path("x.oac").read_text(encoding="ascii") == "precious"
    assert run("export", "x.oac", "--force").code == 0


def test_export_of_memory(run: Run) -> None:
    """Nobody can look there."""
    for arguments in (("export", "x.oac"), ("export", "x.oac", "--cache", "settings")):
        ran = run(*arguments, CACHE_BACKEND="memory")
        assert ran.code == 2
        assert "memory is that of each process" in ran.err
    assert not Path("x.oac").exists()


def test_unreadable_state_in_an_export(run: Run, application: Application) -> None:
    """There is no file, or, if that is said, one without those records; exit code 6 either way."""
    fill(application)
    harm(application, "running_strategies")
    ran = run("export", "x.oac", "--include-state")
    assert (ran.code, ran.out, Path("x.oac").exists()) == (6, "", False)
    assert run("export", "x.oac", "--include-state", "--skip-unreadable").code == 6
    assert run("import", "x.oac", "--dry-run").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c(application: Application, folder: Path) -> None:
    """It ends with 130, says how things are and how to go on; what is in the store is whole, and the rest follows."""
    manager = application()
    manager.get_cache("quotes", maxsize=None).set_many({f"k{number}": number for number in range(1_500)})
    manager.close()
    manager = application()
    export_caches("x.oac", [manager.get_cache("quotes", maxsize=None)], manager=manager)
    manager.get_cache("quotes").clear()
    manager.close()
    command = [sys.executable, "-m", "openalgo_cache.cli", "import", "x.oac", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    manager = application()
    cache = manager.get_cache("quotes", maxsize=None)
    while process.poll() is None and cache.size() < 100:
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Stopped. What was written stays" in json.loads(err)["error"]["message"]
    assert len(err.splitlines()) == 1
    assert all(key == f"k{value}" for key, value in cache.items())
    assert 100 <= cache.size() < 1_500
    manager.close()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)["caches"][0]
    assert report["moved"] + report["unchanged"] == 1_500


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_progress_is_drawn_on_a_terminal_only(application: Application) -> None:
    """On standard error, where somebody sees it."""
    import pty

    fill(application)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "openalgo_cache.cli", "export", "x.oac"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=follower, check=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(follower)
    assert "writing" in os.read(leader, 100_000).decode()
    os.close(leader)
    assert b"writing" not in done.stdout
    quiet = subprocess.run([*command, "--force"], capture_output=True, check=True)
    assert quiet.stderr == b""

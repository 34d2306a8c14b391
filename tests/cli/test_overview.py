"""info, stats and use: what is in effect, what is stored, what is recorded."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from openalgo_cache import CacheManager
from openalgo_cache.backends import registry
from openalgo_cache.cli.shapes.info import Info
from openalgo_cache.cli.shapes.stats import Stats
from openalgo_cache.cli.shapes.use import Used
from openalgo_cache.selection import probe
from openalgo_cache.selection.probe import Outcome, Probe
from tests.cli.conftest import Run, tree
from tests.cli.shapes_held import deviations
from tests.cli.toy_backend import ToyBackend

Application = Callable[[], CacheManager]

NO_CHOICE = {"CACHE_BACKEND": ""}
"""Nobody names a backend."""


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Redis answers, whatever may run on this machine."""
    monkeypatch.setattr(probe, "probe_server", lambda server: Probe(Outcome.ABSENT, "does not answer"))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Install a package that registers the backend `toy`; the environment that chooses it."""
    real = importlib.metadata.entry_points
    point = EntryPoint("toy", f"{ToyBackend.__module__}:ToyBackend", "openalgo_cache.backends")

    def entry_points(**selection: str) -> EntryPoints:
        return EntryPoints((*real(**selection), point))

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    yield {"CACHE_BACKEND": "toy"}
    ToyBackend.entries.clear()


def test_info_in_an_empty_folder(run: Run, folder: Path) -> None:
    """Before the first use it says what would be chosen, that nothing is recorded, and what will be made."""
    ran = run("info", "--json", **NO_CHOICE)
    report = ran.json
    assert ran.code == 0
    assert deviations(report, Info) == []
    assert report["backend"]["name"] == "sqlite"
    assert report["backend"]["source"] == "automatic"
    assert report["backend"]["recorded"] is False
    assert report["folder"] == str(folder / "db")
    assert report["folder_exists"] is False
    assert report["key_ring"] == {
        "path": str(folder / "db" / ".cache_key"),
        "exists": False,
        "id": None,
        "fingerprint": None,
        "active_key": None,
        "problem": None,
    }
    assert tree(folder) == {}
    shown = run("info", **NO_CHOICE).out
    assert "the first use records it" in " ".join(shown.split())
    assert "made at first use" in shown


def test_info_after_the_first_use(run: Run, application: Application) -> None:
    """Choice, ring and folder are there, and the ring is the one that the application has."""
    run("set", "settings", "k", "v", **NO_CHOICE)
    report = run("info", "--json", **NO_CHOICE).json
    assert report["backend"]["source"] == "recorded"
    assert report["backend"]["recorded"] is True
    manager = application()
    assert report["key_ring"]["fingerprint"] == manager.ring().fingerprint()
    assert report["key_ring"]["id"] == manager.ring().id
    manager.close()
    assert report["key_ring"]["id"] in "".join(run("info").out.split())


def test_info_names_the_source_of_each_setting(run: Run, folder: Path) -> None:
    """The environment wins over .env, and every variable is listed once."""
    (folder / ".env").write_text("BROKER_CACHE_TTL=60\nREDIS_PORT=7000\n")
    report = run("info", "--json", REDIS_PORT="7001").json
    settings = {line["variable"]: (line["value"], line["source"]) for line in report["settings"]}
    assert len(settings) == len(report["settings"]) > 50
    assert settings["BROKER_CACHE_TTL"] == ("60", ".env")
    assert settings["REDIS_PORT"] == ("7001", "environment")
    assert settings["REDIS_HOST"] == ("localhost", "default")
    assert report["env_file"] == str(folder / ".env")
    assert next(cache for cache in report["caches"] if cache["name"] == "broker")["lifetime"] == "60 s"
    shown = run("info").out
    assert "BROKER_CACHE_TTL" in shown
    assert "REDIS_HOST" not in shown
    assert "REDIS_HOST" in run("info", "--all").out


def test_an_env_file_by_name(run: Run, folder: Path) -> None:
    """--env-file reads another file, and relative paths start in its folder."""
    (folder / "srv").mkdir()
    (folder / "srv" / "live.env").write_text("INSTANCE_NAME=live-one\n")
    report = run("--env-file", "srv/live.env", "info", "--json").json
    assert report["env_file"] == str(folder / "srv" / "live.env")
    assert report["folder"] == str(folder / "srv" / "db")
    for bad in ("nowhere.env", "srv"):
        ran = run("--env-file", bad, "info", "--json")
        assert ran.code == 3
        assert bad in ran.error["message"]


def test_info_of_a_backend_that_cannot_be(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Info is there to find the mistake, so it goes on where the backend cannot be chosen."""
    monkeypatch.setattr(registry, "_NEEDS", {"redis": "a_package_that_is_not_installed"})
    ran = run("info", "--json", CACHE_BACKEND="redis")
    assert ran.code == 0
    assert ran.json["backend"]["name"] is None
    assert "CACHE_BACKEND" in ran.json["backend"]["why"]
    assert run("get", "settings", "k", CACHE_BACKEND="redis").code == 3


def test_settings_that_cannot_work(run: Run) -> None:
    """Every fault is reported at once, without a traceback, with exit code 3."""
    bad = {"REDIS_PORT": "none", "SESSION_EXPIRY_TIME": "late", "CACHE_ENCRYPTION_KEY": "hunter2"}
    for arguments in (["info"], ["stats"], ["get", "settings", "k"], ["use", "sqlite"], ["symbols", "search", "x"]):
        ran = run(*arguments, **bad)
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith("error: 3 settings of the cache cannot work:\n")
        assert {name for name in bad if name in ran.err} == set(bad)
        assert "hunter2" not in ran.err
        assert "Traceback" not in ran.err


def test_stats_of_an_empty_folder(run: Run) -> None:
    """Nothing is stored, which is no mistake; asked for one cache, the answer is no."""
    assert run("stats", "--json").json["caches"] == []
    assert "Nothing is stored" in run("stats").out
    assert run("stats", "--json").code == 0
    ran = run("stats", "auth", "--json")
    assert (ran.code, ran.json["caches"]) == (1, [])
    assert run("stats", "auth").code == 1


def test_stats_are_those_of_the_store(run: Run, application: Application) -> None:
    """Entries, sizes, ages and reads of what an application left there."""
    now = 1_800_000_000.0
    manager = CacheManager(application().settings, lambda: now)
    cache = manager.get_cache("user_strategies")
    cache.set_many({f"user_{n}": list(range(n)) for n in range(100)})
    cache.set("expired", "x", ttl=1)
    for _ in range(3):
        cache.get_many(["user_1", "user_2"])
    manager.close()
    report = run("stats", "--json").json
    assert deviations(report, Stats) == []
    (figures,) = report["caches"]
    assert figures["name"] == "user_strategies"
    assert figures["entries"] == 101
    assert figures["oldest_at"] == figures["newest_at"] == now
    assert figures["payload_bytes"] > 101 * 80
    assert figures["file_bytes"] > figures["payload_bytes"]
    assert figures["last_read_at"] == now
    assert figures["keys_read"] == 2
    assert figures["problems"] == []
    assert run("stats", "user_strategies", "--json").json["caches"] == [figures]
    shown = run("stats").out
    assert re.search(r"user_strategies +101 ", shown)
    assert "get_cache_stats()" in shown


def test_stats_while_the_application_writes(run: Run, application: Application) -> None:
    """An open file with a log beside it is read as it stands, and the application goes on."""
    manager = application()
    cache = manager.get_cache("settings")
    for number in range(5):
        cache.set("k", number)
        assert run("stats", "settings", "--json").json["caches"][0]["entries"] == 1
        assert cache.get("k") == number
    cache.set("l", 1)
    assert run("stats", "settings", "--json").json["caches"][0]["entries"] == 2
    manager.close()


def test_stats_do_not_rebuild_a_damaged_file(run: Run, folder: Path) -> None:
    """A file that is no database is reported, and left for the doctor and the application."""
    run("set", "settings", "k", "v")
    path = folder / "db" / "cache_settings.db"
    path.write_bytes(b"no database" * 1000)
    before = tree(folder)
    report = run("stats", "--json").json
    assert report["caches"][0]["problems"] == ["it is no readable database (NotADBError)"]
    assert "no readable database" in run("stats").out
    assert tree(folder) == before


def test_files_that_are_no_cache_are_not_listed(run: Run, folder: Path) -> None:
    """Copies, backups, recency and strangers in the folder are not taken for caches."""
    run("set", "settings", "k", "v")
    good = (folder / "db" / "cache_settings.db").read_bytes()
    for name in (
        "cache_settings.damaged-1.db",
        "cache_settings.backup-20260101.db",
        "cache_settings.recency.db",
        "cache_settings@other.db",
        "cache_UPPER.db",
        "other_settings.db",
        "cache_.db",
    ):
        (folder / "db" / name).write_bytes(good)
    assert [cache["name"] for cache in run("stats", "--json").json["caches"]] == ["settings"]


def test_a_namespace_sees_its_own_files(run: Run) -> None:
    """Two installations in one folder do not see each other's caches."""
    run("set", "settings", "k", "v")
    assert run("stats", "--json", CACHE_NAMESPACE="other").json["caches"] == []
    assert run("set", "quotes", "k", "v", CACHE_NAMESPACE="other").code == 0
    assert [one["name"] for one in run("stats", "--json", CACHE_NAMESPACE="other").json["caches"]] == ["quotes"]
    assert [one["name"] for one in run("stats", "--json").json["caches"]] == ["settings"]


def test_another_backend(run: Run, toy: dict[str, str], folder: Path) -> None:
    """A registered backend works with every command; what it cannot tell is left out."""
    assert run("info", "--json", **toy).json["backend"]["name"] == "toy"
    assert run("set", "settings", "k", "v", **toy).code == 0
    assert run("set", "quotes", "k", "v", **toy).code == 0
    assert run("get", "settings", "k", "--reveal", "--json", **toy).json["value"] == "v"
    report = run("stats", "--json", **toy).json
    assert deviations(report, Stats) == []
    assert [(one["name"], one["entries"], one["file"]) for one in report["caches"]] == [("settings", 1, None)]
    assert "settings" in run("stats", **toy).out
    assert run("stats", "quotes", "--json", **toy).json["caches"][0]["entries"] == 1
    ran = run("list", "settings", **toy)
    assert ran.code == 4
    assert "cannot list" in ran.err
    assert run("delete", "settings", "k", **toy).code == 0
    assert run("doctor", **toy).code == 0
    assert not (folder / "db" / "cache_settings.db").exists()


def test_use_records_a_backend(run: Run, folder: Path) -> None:
    """The record decides from then on, and says what it replaced."""
    ran = run("use", "memory", "--json", **NO_CHOICE)
    assert ran.code == 0
    assert deviations(ran.json, Used) == []
    assert ran.json["backend"] == "memory"
    assert ran.json["previous"] is None
    assert ran.json["in_effect"] is True
    assert ran.json["record"] == str(folder / "db" / ".cache_backend")
    assert run("info", "--json", **NO_CHOICE).json["backend"]["name"] == "memory"
    again = run("use", "sqlite", "--json", **NO_CHOICE).json
    assert (again["previous"], again["backend"]) == ("memory", "sqlite")
    assert run("info", "--json", **NO_CHOICE).json["backend"]["name"] == "sqlite"


def test_use_says_what_stays_behind(run: Run) -> None:
    """Entries in the files are counted, and the only copies among them are named."""
    run("set", "settings", "k", "v", **NO_CHOICE)
    run("set", "running_strategies", "s", "v", **NO_CHOICE)
    shown = " ".join(run("use", "memory", **NO_CHOICE).out.split())
    assert "running_strategies (1), settings (1)" in shown
    assert "The only copy of what they hold: running_strategies." in shown
    assert "copy --from" not in shown, "nothing can be copied into the memory of another process"
    assert "memory forgets everything" in shown
    assert "until 'openalgo-cache use sqlite'" in shown
    run("use", "sqlite", **NO_CHOICE)
    assert run("get", "settings", "k", **NO_CHOICE).code == 0


@pytest.mark.parametrize("backend", ["redis-cluster", "", "SQLITE", "../sqlite", "mem"])
def test_use_refuses_what_is_not_there(run: Run, folder: Path, backend: str) -> None:
    """A backend that this installation lacks is refused with a list of those it has."""
    ran = run("use", backend)
    assert ran.code == 2
    assert "memory" in ran.err
    assert "sqlite" in ran.err
    assert tree(folder) == {}


@pytest.mark.parametrize(
    "environment, decides",
    [
        ({"CACHE_BACKEND": "sqlite"}, "CACHE_BACKEND"),
        ({**NO_CHOICE, "CACHE_AUTO_CONFIGURE": "false"}, "CACHE_AUTO_CONFIGURE"),
    ],
)
def test_use_says_when_it_has_no_effect(run: Run, environment: dict[str, str], decides: str) -> None:
    """A variable that decides wins over the record; use tells which."""
    report = run("use", "memory", "--json", **environment).json
    assert (report["in_effect"], report["decided_by"]) == (False, decides)
    assert decides in run("use", "memory", **environment).out


def test_use_mends_a_damaged_record(run: Run, folder: Path) -> None:
    """What the doctor advises for a record that cannot be understood works."""
    (folder / "db").mkdir(mode=0o700)
    record = folder / "db" / ".cache_backend"
    record.write_text("{")
    assert run("doctor", **NO_CHOICE).out.count("openalgo-cache use BACKEND") == 1
    report = run("use", "sqlite", "--json", **NO_CHOICE).json
    assert (report["previous"], report["in_effect"]) == (None, True)

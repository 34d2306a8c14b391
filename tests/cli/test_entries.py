"""get, set, delete, keys and clear, beside an application that uses the same caches."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from openalgo_cache import MISSING, CacheManager
from openalgo_cache.cli.shapes.entries import Cleared, Deleted, Got, Keys, Stored
from openalgo_cache.options import Options
from tests.cli.conftest import Run, tree
from tests.cli.shapes_held import deviations

Application = Callable[[], CacheManager]


def test_what_is_set_is_what_the_application_gets(run: Run, application: Application) -> None:
    """A value that the command stores is a value of the application's, of the same type."""
    assert run("set", "settings", "theme", "dark").code == 0
    assert run("set", "quotes", "NIFTY", '{"ltp": 24000.5, "depth": [1, null, true]}', "--json-value").code == 0
    manager = application()
    assert manager.get_cache("settings").get("theme") == "dark"
    assert manager.get_cache("quotes").get("NIFTY") == {"ltp": 24000.5, "depth": [1, None, True]}
    manager.close()


def test_what_the_application_set_can_be_got(run: Run, application: Application) -> None:
    """The command reads what the application wrote, of encrypted caches too."""
    manager = application()
    manager.get_cache("auth").set("user_123", "the-token", ttl=300)
    manager.close()
    got = run("get", "auth", "user_123", "--reveal", "--json").json
    assert (got["found"], got["type"], got["size"], got["value"]) == (True, "str", 9, "the-token")


@pytest.mark.parametrize("name", ["settings", "auth", "quotes"])
def test_a_value_is_shown_only_when_asked_for(run: Run, name: str) -> None:
    """Of signed and encrypted caches alike, get tells type and size, and the value with --reveal alone."""
    run("set", name, "key", "s3cr3t-value")
    for arguments in (("get", name, "key"), ("get", name, "key", "--json")):
        ran = run(*arguments)
        assert ran.code == 0
        assert "s3cr3t-value" not in ran.out + ran.err
        assert "str" in ran.out
    assert "s3cr3t-value" in run("get", name, "key", "--reveal").out
    assert run("get", name, "key", "--reveal", "--json").json["value"] == "s3cr3t-value"


def test_values_that_json_cannot_hold_are_shown_as_python_writes_them(run: Run, application: Application) -> None:
    """`encoding` tells a value of JSON's from one that is only described."""
    manager = application()
    cache = manager.get_cache("mixed")
    values = {"day": datetime.date(2026, 3, 1), "pair": (1, 2), "raw": b"\x00x", "nan": float("nan"), "none": None}
    cache.set_many(values)
    manager.close()
    shown = {key: run("get", "mixed", key, "--reveal", "--json").json for key in values}
    assert {key: (got["encoding"], got["value"]) for key, got in shown.items()} == {
        "day": ("repr", "datetime.date(2026, 3, 1)"),
        "pair": ("repr", "(1, 2)"),
        "raw": ("repr", "b'\\x00x'"),
        "nan": ("repr", "nan"),
        "none": ("json", None),
    }
    assert "datetime.date(2026, 3, 1)" in run("get", "mixed", "day", "--reveal").out


def test_there_is_no_such_key(run: Run) -> None:
    """A key that is absent is an answer: exit code 1, and a shape that says so."""
    for name in ("settings", "auth", "never_used"):
        run("set", "settings", "other", "x")
        ran = run("get", name, "absent", "--json")
        assert ran.code == 1
        assert ran.json["found"] is False
        assert deviations(ran.json, Got) == []
        assert run("get", name, "absent").code == 1


@pytest.mark.parametrize(
    "given, lasts",
    [(["--ttl", "300"], 300.0), (["--ttl", "0.5"], 0.5), (["--ttl", "none"], None), ([], 3600.0)],
)
def test_lifetimes(run: Run, application: Application, given: list[str], lasts: float | None) -> None:
    """--ttl takes seconds or none; left out, the cache's own lifetime counts."""
    stored = run("set", "quotes", "key", "value", *given, "--json")
    assert stored.code == 0
    assert deviations(stored.json, Stored) == []
    manager = application()
    if lasts is None:
        assert stored.json["expires_at"] is None
        assert manager.get_cache("quotes").ttl("key") is None
    else:
        seen = manager.get_cache("quotes").get("key", MISSING)
        assert seen == "value" or lasts < 1
    manager.close()


@pytest.mark.parametrize("ttl", ["0", "-1", "nan", "inf", "1e300", "soon", "", "True"])
def test_impossible_lifetimes_are_refused(run: Run, folder: Path, ttl: str) -> None:
    """A lifetime that cannot be is a mistake on the command line, and nothing is stored."""
    ran = run("set", "quotes", "key", "value", "--ttl", ttl, "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.error["message"]
    assert run("get", "quotes", "key").code == 1


@pytest.mark.parametrize(
    "value", ["{", "NaN", "[Infinity]", "", "nil", "[" * 100_000, "1" * 5_000], ids=lambda value: value[:8]
)
def test_what_is_no_json_is_refused(run: Run, value: str) -> None:
    """--json-value takes JSON as the standard has it, however deep or long the nonsense is."""
    ran = run("set", "quotes", "key", value, "--json-value")
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert len(ran.err) < 100


def test_a_value_from_standard_input(run: Run) -> None:
    """A value of - is read, so that it is in no list of processes and no shell's history."""
    assert run("set", "auth", "user", "-", stdin="tok\nen\n").code == 0
    assert run("get", "auth", "user", "--reveal", "--json").json["value"] == "tok\nen"


def test_delete_says_how_many_were_there(run: Run) -> None:
    """Exit code 0 if every key was there, 1 otherwise; what is there goes either way."""
    for key in ("a", "b", "c"):
        run("set", "quotes", key, "x")
    assert run("delete", "quotes", "a", "a").code == 0
    ran = run("delete", "quotes", "b", "nope", "--json")
    assert (ran.code, ran.json) == (1, {"cache": "quotes", "asked": 2, "deleted": 1})
    assert deviations(ran.json, Deleted) == []
    assert run("list", "quotes").out.split() == ["c"]
    assert run("delete", "never_used", "x").code == 1


def test_keys_are_listed_one_a_line(run: Run) -> None:
    """Plain keys come out as they are, to be piped on; --prefix and --limit narrow them down."""
    for key in ("M&M|NSE", "NIFTY 50", "NIFTY 100", "auth-user@example.com", "08ABB", "[red]x[/red]"):
        run("set", "quotes", key, "x")
    listed = run("list", "quotes")
    assert listed.code == 0
    assert sorted(listed.out.splitlines()) == sorted(
        ["M&M|NSE", "NIFTY 50", "NIFTY 100", "auth-user@example.com", "08ABB", "[red]x[/red]"]
    )
    assert sorted(run("list", "quotes", "--prefix", "NIFTY ").out.splitlines()) == ["NIFTY 100", "NIFTY 50"]
    some = run("list", "quotes", "--limit", "2", "--json").json
    assert (len(some["keys"]), some["more"]) == (2, True)
    assert len(run("list", "quotes", "--limit", "0", "--json").json["keys"]) == 6
    assert deviations(some, Keys) == []
    assert run("list", "quotes", "--prefix", "zzz").code == 1


def test_keys_of_other_types_round_trip(run: Run, application: Application) -> None:
    """What keys prints, --typed-key reads: 2026 the int is not 2026 the text."""
    manager = application()
    cache = manager.get_cache("holidays")
    cache.set_many({2026: "int", "2026": "str", ("NSE", 1): "tuple", b"\x01": "bytes", "!i2026": "odd"})
    manager.close()
    listed = run("list", "holidays", "--json").json["keys"]
    assert {entry["key"]: entry["type"] for entry in listed} == {
        "!i2026": "int",
        "2026": "str",
        "!t3:NSE3:!i1": "tuple",
        "!x01": "bytes",
        "!s!i2026": "str",
    }
    for entry, value in (("!i2026", "int"), ("2026", "str"), ("!t3:NSE3:!i1", "tuple"), ("!s!i2026", "odd")):
        assert run("get", "holidays", entry, "--typed-key", "--reveal", "--json").json["value"] == value
    assert run("get", "holidays", "!i2026", "--reveal", "--json").json["value"] == "odd"
    assert run("set", "holidays", "!i2027", "next", "--typed-key").code == 0
    assert run("delete", "holidays", "!i2026", "--typed-key").code == 0
    manager = application()
    assert manager.get_cache("holidays").get(2027) == "next"
    assert manager.get_cache("holidays").get(2026) is None
    manager.close()


@pytest.mark.parametrize("key", ["!iabc", "!q", "!t99:x", "!x0g", "!b2", "!i 7", "!t" * 9000, "~x", "!"])
def test_typed_keys_that_are_none(run: Run, key: str) -> None:
    """A key that is not written as keys writes keys is refused in one line."""
    ran = run("get", "quotes", key, "--typed-key", "--json")
    assert ran.code in {1, 2}
    assert ran.code == 1 or ran.error["type"] == "InvalidKeyError"


def test_blinded_keys_cannot_be_listed(run: Run) -> None:
    """The command says why it cannot be done, and what can be; it never prints hashes as if they were keys."""
    run("set", "auth", "user_123", "x")
    for name in ("auth", "broker"):
        ran = run("list", name)
        assert (ran.code, ran.out) == (2, "")
        assert "keyed hashes" in ran.err
        assert f"'stats {name}'" in ran.err
        assert run("list", name, "--json").error["type"] == "UsageError"


def test_the_key_of_a_blinded_cache_is_not_repeated(run: Run) -> None:
    """Keys of blinded caches are secrets themselves: the stored hash is shown in their place."""
    run("set", "broker", "raw-api-key-77", "x")
    for arguments in (["get", "broker", "raw-api-key-77"], ["set", "broker", "raw-api-key-77", "y"]):
        for form in ([], ["--json"]):
            ran = run(*arguments, *form)
            assert ran.code == 0
            assert "raw-api-key-77" not in ran.out + ran.err


def test_clear_asks_first(run: Run) -> None:
    """Without --yes it asks; anything but yes, or nothing, leaves the cache as it is."""
    run("set", "quotes", "a", "x")
    for answer in ("", "n\n", "what\n"):
        ran = run("clear", "quotes", stdin=answer)
        assert ran.code == 1
        assert "Remove all of quotes (entries: 1)?" in ran.err
        assert ran.out == ""
    assert run("clear", "quotes", "--json").code == 2
    assert run("clear", "quotes", stdin="y\n").code == 0
    ran = run("clear", "quotes", "--yes", "--json")
    assert (ran.code, ran.json) == (0, {"cache": "quotes", "cleared": 0})
    assert deviations(ran.json, Cleared) == []


def test_clear_touches_only_its_own(run: Run) -> None:
    """Other caches keep what they have."""
    run("set", "quotes", "a", "x")
    run("set", "quotes_2", "a", "x")
    run("clear", "quotes", "--yes")
    assert run("get", "quotes_2", "a").code == 0


def test_state_is_cleared_only_by_name(run: Run) -> None:
    """The only copy of something goes when --state says so, and not by --yes alone."""
    run("set", "running_strategies", "s1", "x")
    ran = run("clear", "running_strategies", "--yes")
    assert ran.code == 2
    assert "--state" in ran.err
    assert run("get", "running_strategies", "s1").code == 0
    assert run("clear", "running_strategies", "--yes", "--state").code == 0
    assert run("get", "running_strategies", "s1").code == 1


@pytest.mark.parametrize("verb", [["get", "K"], ["set", "K", "v"], ["delete", "K"], ["list"], ["clear", "--yes"]])
@pytest.mark.parametrize("name, says", [("api_keys_invalid", "memory of each process"), ("symbols", "symbol master")])
def test_caches_that_are_elsewhere(run: Run, verb: list[str], name: str, says: str) -> None:
    """A cache in other processes' memory, and the symbol master, are refused with the reason."""
    ran = run(verb[0], name, *verb[1:])
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_on_the_memory_backend_nothing_can_be_seen(run: Run) -> None:
    """With CACHE_BACKEND=memory every command on entries says where the caches are."""
    for arguments in (["get", "settings", "k"], ["set", "settings", "k", "v"], ["stats"], ["stats", "settings"]):
        ran = run(*arguments, CACHE_BACKEND="memory")
        assert ran.code == 2
        assert "memory of each process" in ran.err


@pytest.mark.parametrize("options", [["--encrypted"], ["--blinded"], ["--encrypted", "--blinded"]])
def test_a_cache_is_opened_as_its_application_opens_it(run: Run, application: Application, options: list[str]) -> None:
    """With the wrong options nothing is read, and nothing is written that the application could not read."""
    manager = application()
    given = Options(encrypted="--encrypted" in options, blinded="--blinded" in options)
    manager.get_cache("mine", **given).set("k", "v")
    manager.close()
    for arguments in (["get", "mine", "k"], ["set", "mine", "k", "leak"], ["delete", "mine", "k"]):
        ran = run(*arguments)
        assert ran.code == 2
        assert " ".join(options) in ran.err
    assert run("get", "mine", "k", "--reveal", "--json", *options).json["value"] == "v"
    assert run("set", "mine", "k", "w", *options).code == 0
    manager = application()
    assert manager.get_cache("mine", **given).get("k") == "w"
    manager.close()


def test_the_bound_of_the_application_is_not_ours(run: Run, application: Application) -> None:
    """A set from here evicts nothing, though the default bound is far below the application's."""
    manager = application()
    manager.get_cache("many", maxsize=5000).set_many({f"k{n}": n for n in range(1500)})
    manager.close()
    assert run("set", "many", "one_more", "x").code == 0
    manager = application()
    assert manager.get_cache("many", maxsize=5000).size() == 1501
    manager.close()


def test_another_key_ring(run: Run, folder: Path) -> None:
    """An entry that cannot be verified is told from one that is not there, and nothing is deleted."""
    run("set", "settings", "k", "v")
    run("set", "running_strategies", "k", "v")
    (folder / "db" / ".cache_key").unlink()
    (folder / "elsewhere").mkdir()
    run("set", "settings", "x", "y", SQLITE_CACHE_PATH="elsewhere/cache")
    (folder / "elsewhere" / ".cache_key").rename(folder / "db" / ".cache_key")
    for name in ("settings", "running_strategies"):
        ran = run("get", name, "k", "--json")
        assert ran.code == 6
        assert ran.error["type"] == "UnreadableRecordError"
        assert run("stats", name, "--json").json["caches"][0]["entries"] == 1
    assert run("list", "settings", "--json").json["unreadable"] == 1
    assert run("list", "running_strategies").code == 6


@pytest.mark.parametrize(
    "arguments", [["get", "settings", "k"], ["set", "settings", "k", "w"], ["set", "new", "k", "w"]]
)
def test_a_lost_key_ring_is_not_replaced(run: Run, folder: Path, arguments: list[str]) -> None:
    """With cache files and no key ring, every command refuses: a new ring would hide the loss."""
    run("set", "settings", "k", "v")
    ring = folder / "db" / ".cache_key"
    ring.unlink()
    ran = run(*arguments)
    assert ran.code == 3
    assert "restore it from a backup" in ran.err
    assert not ring.exists()


def test_reading_leaves_no_trace(run: Run, folder: Path) -> None:
    """Neither in an empty folder nor in a used one does a look create, change or remove a file."""
    looks = (
        ["info"],
        ["stats"],
        ["stats", "settings"],
        ["get", "settings", "k", "--reveal"],
        ["list", "settings"],
        ["doctor"],
        ["symbols", "search", "x"],
        ["symbols", "show", "x", "NSE"],
    )
    for look in looks:
        for environment in ({}, {"CACHE_BACKEND": "", "REDIS_PORT": "1", "REDIS_TIMEOUT": "0.1"}):
            run(*look, **environment)
    assert tree(folder) == {}
    assert list(folder.iterdir()) == []
    run("set", "settings", "k", "v")
    run("set", "auth", "k", "v")
    before = tree(folder)
    for look in looks:
        assert run(*look).code in {0, 1}
    assert tree(folder) == before


HOSTILE = ("\x1b[2J\x1b]0;owned\x07", "a\nb\rc", "\u202egnp.exe", "[bold red]x[/]", ":smile:", "\u2028", "\x9b31m")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_cannot_steer_the_terminal(run: Run, text: str) -> None:
    """Control characters are written as escapes; markup stays text."""
    run("set", "quotes", "k", text)
    shown = run("get", "quotes", "k", "--reveal").out
    assert not [character for character in shown if not character.isprintable() and character != "\n"]
    if text.isprintable():
        assert text in shown
    assert run("get", "quotes", "k", "--reveal", "--json").json["value"] == text


@pytest.mark.parametrize("key", ["", "a\x00b", "a\nb", "\udcff", "k" * 513, "\u2028"])
def test_keys_that_cannot_be(run: Run, key: str) -> None:
    """Control characters, surrogates and endless keys are refused in one line, before anything is opened."""
    for arguments in (["get", "quotes", key], ["set", "quotes", key, "v"], ["delete", "quotes", key]):
        ran = run(*arguments)
        if key == "":
            assert ran.code in {0, 1}
        else:
            assert ran.code == 2
            assert ran.err.count("\n") == 1
            assert ran.err.startswith("error: a key ")


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "", "x" * 65, "a b", "a.db", "~", "*"])
def test_names_that_cannot_be(run: Run, folder: Path, name: str) -> None:
    """A name that could leave the folder is no name; nothing is created for it."""
    for arguments in (["get", name, "k"], ["set", name, "k", "v"], ["list", name], ["stats", name], ["clear", name]):
        ran = run(*arguments, "--json")
        assert ran.code == 2
        assert ran.error["type"] == "UsageError"
    assert tree(folder) == {}


def test_values_that_are_too_large(run: Run) -> None:
    """More than a cache takes is refused with both numbers, and without the value."""
    ran = run("set", "quotes", "k", "-", stdin="x" * (2 << 20))
    assert ran.code == 2
    assert "1,048,576" in ran.err
    assert "xxxx" not in ran.err


def test_json_is_one_object_whatever_the_value_is(run: Run) -> None:
    """Standard output parses as one JSON object, ASCII only."""
    run("set", "quotes", "k", '["\\ud800", "é", 1e308, 123456789012345678901234567890]', "--json-value")
    ran = run("get", "quotes", "k", "--reveal", "--json")
    if ran.code == 0:
        assert json.loads(ran.out)["type"] == "list"
        assert ran.out.isascii()

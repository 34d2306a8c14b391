"""What commands print: tables that fit, JSON of the documented shape, and never a secret."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from rich.cells import cell_len

from openalgo_cache.audit import Event
from openalgo_cache.cli.app import SHAPES
from openalgo_cache.cli.output import ago, count, date, size, span
from openalgo_cache.cli.shapes.entries import Stored
from openalgo_cache.codec.keyring import shown
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from tests.cli.conftest import Run
from tests.cli.shapes_held import deviations

MODULE = [sys.executable, "-m", "openalgo_cache.cli"]

SECRETS = {
    "REDIS_PASSWORD": "pw-in-the-environment",
    "REDIS_URL": "redis://user:pw-in-the-url@localhost:1/0",
    "VALKEY_PASSWORD": "pw-of-valkey",
    "SESSION_REDIS_URL": "redis://user:pw-of-sessions@localhost:1/1",
}


def ring_secrets(folder: Path) -> list[str]:
    """Return what of the key ring's file must never be seen."""
    ring = json.loads((folder / "db" / ".cache_key").read_bytes())
    return [ring["root"], *(key["secret"] for key in ring["keys"])]


def test_secrets_are_never_shown(run: Run, folder: Path) -> None:
    """Passwords, keys and values are planted everywhere, and looked for in all that every command prints."""
    for name in ("auth", "broker", "settings", "quotes", "running_strategies"):
        assert run("set", name, "user_1", f"value-in-{name}", **SECRETS).code == 0
        run("set", name, "user_2", json.dumps({"token": f"value-in-{name}"}), "--json-value", **SECRETS)
    run("symbols", "generate", "m.csv", "--rows", "50")
    run("symbols", "import", "m.csv", **SECRETS)
    planted = ["pw-in-the-environment", "pw-in-the-url", "pw-of-valkey", "pw-of-sessions", "value-in-"]
    planted += ring_secrets(folder)
    commands = [
        ["info"], ["info", "--all"], ["stats"], ["stats", "auth"], ["doctor"], ["list", "settings"], ["list", "auth"],
        ["get", "auth", "user_1"], ["get", "settings", "user_2"], ["get", "running_strategies", "user_1"],
        ["delete", "broker", "user_1"], ["clear", "quotes"], ["clear", "broker", "--yes"], ["use", "sqlite"],
        ["symbols", "search", "RELIANCE"], ["symbols", "import", "m.csv"], ["get"], ["nonsense"],
    ]  # fmt: skip
    for command in commands:
        for form in ([], ["--json"]):
            ran = run(*command, *form, **SECRETS)
            assert not [secret for secret in planted if secret in ran.out + ran.err], command
            assert ran.code != 70, ran.err
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    for command in (["info", "--all"], ["doctor"], ["stats"], ["set", "tokens", "k", "v"]):
        for form in ([], ["--json"]):
            ran = run(
                *command, *form, CACHE_ENCRYPTION_KEY=key, CACHE_NAMESPACE="live", SQLITE_CACHE_PATH="other/cache"
            )
            assert key not in ran.out + ran.err
            assert ran.code == 0


@pytest.mark.usefixtures("elsewhere")
def test_every_command_in_both_forms(run: Run) -> None:
    """Each command prints a table or one JSON object of its documented shape, and nothing on standard error."""
    run("set", "settings", "other", "x")
    with closing(CacheManager(Settings.from_environment())) as house:
        house.audit().record(Event("auth", "GET", "~key", "app", hit=True))
    runs: dict[str, list[str]] = {
        "symbols generate": ["m.csv", "--rows", "40", "--force"],
        "symbols import": ["m.csv"],
        "symbols search": ["RELIANCE"],
        "symbols show": ["RELIANCE", "NSE"],
        "symbols status": [],
        "symbols sync": [],
        "set": ["settings", "k", "v"],
        "get": ["settings", "k"],
        "list": ["settings"],
        "copy": ["--from", "sqlite", "--to", "elsewhere"],
        "export": ["x.oac", "--force"],
        "import": ["x.oac"],
        "stats": [],
        "info": [],
        "doctor": [],
        "keys create": ["--output", "new.ring"],
        "keys add": [],
        "keys activate": [shown(RingFile(Path("db/.cache_key")).load().active.id)],
        "keys list": [],
        "keys verify": [],
        "access list": [],
        "access check": ["auth", "blueprints.auth"],
        "audit verify": [],
        "audit tail": [],
        "audit search": ["--cache", "auth"],
        "use": ["sqlite"],
        "delete": ["settings", "k"],
        "clear": ["settings", "--yes"],
    }
    elsewhere = {"encrypt-files", "keys rotate", "keys retire"}  # tests/encrypted (another apsw), test_rotation.py
    assert set(runs) == set(SHAPES) - elsewhere
    for words, arguments in runs.items():
        if words == "delete":
            run("set", "settings", "k", "v")
        told = run(*words.split(), *arguments)
        assert (told.code, told.err) == (0, ""), words
        assert told.out.strip()
        if words == "delete":
            run("set", "settings", "k", "v")
        if words == "keys create":
            Path("new.ring").unlink()
        ran = run(*words.split(), *arguments, "--json")
        assert (ran.code, ran.err) == (0, ""), words
        assert deviations(ran.json, SHAPES[words]) == [], words


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_tables_fit_the_terminal(run: Run, width: int) -> None:
    """No line is wider than the terminal, and nothing is cut off."""
    name = "a-rather-long-name-of-a-cache-that-nobody-would-type-twice"
    key = "k" * 100
    run("set", name, key, "v" * 300)
    run("set", "running_strategies", "s", "v")
    run("symbols", "generate", "m.csv", "--rows", "2000")
    run("symbols", "import", "m.csv")
    commands = [
        ["info", "--all"], ["stats"], ["stats", name], ["doctor"], ["get", name, key],
        ["symbols", "search", "NIFTY"], ["symbols", "show", "RELIANCE", "NSE"],
        ["export", "x.oac", "--force"], ["import", "x.oac"], ["import", "x.oac", "--dry-run"],
    ]  # fmt: skip
    for command in commands:
        ran = run(*command, width=width, CACHE_ENCRYPTION_ENABLED="false")
        assert ran.code in {0, 5}
        assert max(cell_len(line) for line in ran.out.splitlines()) <= width, command
        assert "…" not in ran.out
    shown = "".join(run("get", name, key, "--reveal", width=width).out.split())
    assert name in shown
    assert run("list", name, width=width).out == f"{key}\n"
    assert "v" * 300 in shown
    assert name in "".join(run("stats", width=width).out.split())


def test_colours(run: Run) -> None:
    """Colours come where they are wanted: not into a pipe, and not with NO_COLOR."""
    run("set", "settings", "k", "v")
    escape = re.compile("\x1b\\[[0-9;]*m")
    assert not escape.search(run("doctor").out)
    coloured = run("doctor", FORCE_COLOR="1", TERM="xterm-256color").out
    assert re.search("\x1b\\[[0-9;]*3[0-9]m", coloured)
    assert not re.search(
        "\x1b\\[[0-9;]*3[0-9]m", run("doctor", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").out
    )


def test_a_console_that_lacks_characters(folder: Path) -> None:
    """Where the terminal's encoding has no such character its number is shown, and nothing breaks."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for arguments in (
        ["set", "quotes", "ключ", "₹"],
        ["list", "quotes"],
        ["get", "quotes", "ключ", "--reveal"],
        ["stats"],
    ):
        done = subprocess.run([*MODULE, *arguments], capture_output=True, env=environment, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()


def test_warnings_of_the_library(run: Run) -> None:
    """What the library warns of goes to standard error, one line each, in JSON if that was asked for."""
    run("set", "user_strategies", "k", "v")
    told = run("set", "user_strategies", "k", "v", CACHE_ENCRYPTION_ENABLED="false")
    assert told.code == 0
    assert "warning: cache user_strategies: CACHE_ENCRYPTION_ENABLED=false" in told.err
    ran = run("set", "user_strategies", "k", "v", "--json", CACHE_ENCRYPTION_ENABLED="false")
    assert "CACHE_ENCRYPTION_ENABLED=false" in json.loads(ran.err)["warning"]["message"]
    assert deviations(ran.json, Stored) == []


def test_spans_and_sizes_in_words() -> None:
    """A span is said in its two largest units, a size in the unit that fits."""
    assert [span(n) for n in (0, 1, 59.6, 61, 3600, 7260, 90_061, -5)] == [
        "0 s", "1 s", "1 min", "1 min 1 s", "1 h", "2 h 1 min", "1 d 1 h", "0 s"
    ]  # fmt: skip
    assert [size(n) for n in (0, 999, 1000, 1_500_000, 2_000_000_000, 10**16)] == [
        "0 bytes", "999 bytes", "1.0 KB", "1.5 MB", "2.0 GB", "10000.0 TB"
    ]  # fmt: skip
    assert [ago(100.0, 160.0), ago(160.0, 100.0), ago(None, 1.0)] == ["1 min ago", "in 1 min", ""]
    assert [count(1, "row"), count(1200, "row")] == ["1 row", "1,200 rows"]
    assert date(time.time())[:2] == "20"

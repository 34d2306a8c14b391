"""The program as a whole: how it starts, how it fails, how it ends, and what it never shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from openalgo_cache import CacheManager, errors
from openalgo_cache.cli.exits import Code, code_of
from tests.cli.conftest import Run

MODULE = [sys.executable, "-m", "openalgo_cache.cli"]
GROUPS = ["", "info", "stats", "get", "set", "delete", "list", "clear", "copy", "export", "import",
          "use", "doctor", "symbols", "symbols import", "keys", "keys add", "audit", "audit search"]  # fmt: skip


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, which gets arguments as a program does."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_as_a_module_and_as_a_script() -> None:
    """`python -m openalgo_cache.cli` and the installed script are the same program."""
    module = subprocess.run([*MODULE, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert module.stdout == f"openalgo-cache {version('openalgo-cache')}\n"
    script = Path(sys.executable).with_name("openalgo-cache.exe" if sys.platform == "win32" else "openalgo-cache")
    if script.exists():
        ran = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=True)
        assert ran.stdout == module.stdout


def test_results_and_exit_codes_of_the_real_program(folder: Path) -> None:
    """What the runner shows in this process holds for a process of its own: streams, codes, one JSON object."""
    done = subprocess.run([*MODULE, "set", "quotes", "k", "v"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    got = subprocess.run(
        [*MODULE, "get", "quotes", "k", "--reveal", "--json"], capture_output=True, timeout=60, check=False
    )
    assert json.loads(got.stdout)["value"] == "v"
    lost = subprocess.run([*MODULE, "get", "quotes", "x", "--json"], capture_output=True, timeout=60, check=False)
    assert (lost.returncode, lost.stderr) == (1, b"")
    wrong = subprocess.run([*MODULE, "get", "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert json.loads(wrong.stderr)["error"]["type"] == "UsageError"


def test_without_the_extra() -> None:
    """The script says what to install, in one line; rich comes with typer."""
    code = "import sys; sys.modules['typer'] = None; from openalgo_cache.cli import main; sys.exit(main())"
    done = python(code, "info")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'openalgo-cache needs an extra: pip install "openalgo-cache[cli]"\n'


def test_help_loads_nothing_heavy() -> None:
    """Asking for help loads neither rich nor the cache."""
    code = """import sys
from openalgo_cache.cli import main
try:
    main()
except SystemExit as end:
    print(*sys.modules, sep="\\n")
    sys.exit(end.code)
"""
    done = python(code, "get", "--help")
    assert done.returncode == 0
    heavy = {"rich", "apsw", "cryptography", "ormsgpack", "sqlite3", "openalgo_cache.manager"}
    assert heavy.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("words", GROUPS)
@pytest.mark.parametrize("width", [40, 80])
def test_help(run: Run, words: str, width: int) -> None:
    """Every command explains itself, with examples, in any terminal."""
    for flag in ("--help", "-h"):
        ran = run(*words.split(), flag, width=width)
        assert ran.code == 0
        assert ran.out.startswith("Usage: ")
        assert "--json" in ran.out or words in {"symbols", "keys", "audit"}
        if words not in {"", "symbols", "keys", "audit"}:
            assert f"  openalgo-cache {words}" in ran.out or "--env-file" in ran.out
        prose = ran.out.partition("Examples:")[0]
        assert max(map(len, prose.splitlines())) <= width


def test_no_command(run: Run) -> None:
    """Without a command there is help, as a mistake; an unknown one is named."""
    for arguments in ([], ["symbols"]):
        ran = run(*arguments)
        assert ran.code == 2
        assert "Commands:" in ran.err
    ran = run("infos")
    assert ran.code == 2
    assert "infos" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["get"], ["get", "quotes"], ["get", "quotes", "k", "more"], ["list", "quotes", "--limit", "-1"], ["--nope"],
     ["list", "quotes", "--limit", "x"], ["info", "extra"], ["set", "quotes", "k"], ["delete", "quotes"], ["use"]],
)  # fmt: skip
def test_usage_errors(run: Run, arguments: list[str]) -> None:
    """A wrong command line is exit code 2, on standard error, in both forms."""
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err
    ran = run(*arguments, "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.error["type"] == "UsageError"


def test_every_error_of_the_tree_has_its_code() -> None:
    """No error of ours counts as a bug, and each ends with the code that is documented for it."""
    codes = {
        name: code_of(kind("x")).value
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.CacheError)
    }
    assert codes == {
        "CacheError": 4, "ConfigurationError": 3, "InvalidKeyError": 2, "InvalidLifetimeError": 2,
        "UnsupportedValueError": 2, "ValueTooLargeError": 2, "ReadOnlyCacheError": 2, "BlindedKeysError": 2,
        "AccessDeniedError": 3, "KeyRingError": 3, "UnreadableRecordError": 6, "BackendUnavailableError": 4,
        "BackendMisconfiguredError": 3, "SymbolImportError": 6, "UnreadableExportError": 6,
        "LockLostError": 4, "LockTimeoutError": 4, "AuditUnavailableError": 4, "InvalidEpochError": 2,
    }  # fmt: skip
    assert code_of(PermissionError(13, "no")) is Code.UNAVAILABLE
    assert code_of(RuntimeError("?")) is Code.BUG


def test_what_was_not_foreseen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug shows its traceback, unless JSON was asked for, and has an exit code of its own."""
    import openalgo_cache.cli.overview

    def break_down(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(openalgo_cache.cli.overview, "info", break_down)
    ran = run("info")
    assert (ran.code, ran.out) == (70, "")
    assert "Traceback" in ran.err
    ran = run("info", "--json")
    assert ran.code == 70
    assert ran.error["type"] == "RuntimeError"
    assert "on purpose" not in ran.err


def test_a_store_that_cannot_be_opened(run: Run, folder: Path) -> None:
    """A folder in the file's place: one line, exit code 4, and no silent miss."""
    run("set", "settings", "k", "v")
    for path in (folder / "db").glob("cache_settings.db*"):
        path.unlink()
    (folder / "db" / "cache_settings.db").mkdir()
    for arguments in (
        ["get", "settings", "k"],
        ["set", "settings", "k", "v"],
        ["list", "settings"],
        ["stats", "settings"],
    ):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (4, "")
        assert ran.err.startswith("error: the cache file ")
        assert "Traceback" not in ran.err
    run("set", "quotes", "k", "v")
    ran = run("stats", "--json")
    assert ran.code == 0
    assert {one["name"]: len(one["problems"]) for one in ran.json["caches"]} == {"quotes": 0, "settings": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c() -> None:
    """Interrupted at a question, it ends with 130 and says nothing more."""
    subprocess.run([*MODULE, "set", "quotes", "k", "v"], timeout=60, check=True, capture_output=True)
    process = subprocess.Popen(
        [*MODULE, "clear", "quotes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    asked = b""
    while not asked.endswith(b"[y/N] "):
        read = os.read(process.stderr.fileno(), 1000)
        assert read, asked
        asked += read
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end differently there")
def test_the_reader_goes_away(application: Callable[[], CacheManager]) -> None:
    """`keys | head` ends quietly."""
    manager = application()
    manager.get_cache("quotes", maxsize=9999).set_many({"k" * 200 + str(n): 1 for n in range(5000)})
    manager.close()
    process = subprocess.Popen(
        [*MODULE, "list", "quotes", "--limit", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"kkk")
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) != 0


def test_beside_a_running_application(run: Run, folder: Path) -> None:
    """What the command changes, a process that has the value in its near tier sees at its next read."""
    code = """import sys
from openalgo_cache import get_cache
cache = get_cache("settings")
cache.set("theme", "light")
for line in sys.stdin:
    print(cache.get("theme"), flush=True)
"""
    application = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert application.stdin is not None
    assert application.stdout is not None

    def seen() -> str:
        assert application.stdin is not None
        assert application.stdout is not None
        application.stdin.write("\n")
        application.stdin.flush()
        return application.stdout.readline().strip()

    try:
        assert seen() == seen() == "light"
        run("set", "settings", "theme", "dark")
        assert seen() == "dark"
        run("delete", "settings", "theme")
        assert seen() == "None"
        run("set", "settings", "theme", "blue")
        assert seen() == "blue"
        run("clear", "settings", "--yes")
        assert seen() == "None"
    finally:
        application.communicate(timeout=60)
    assert application.returncode == 0

"""What ``import openalgo_cache`` offers, and what it does not load."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import openalgo_cache

# Whoever imports these must not have to change anything.
PROPOSED = (
    "AuditCacheWrapper",
    "CacheAccessControl",
    "CacheBackend",
    "EncryptedCacheWrapper",
    "MemoryBackend",
    "SQLiteBackend",
    "SecureCacheManager",
    "auto_detect_backend",
    "configure_cache_environment",
    "get_cache",
    "get_cache_backend",
    "get_cache_stats",
    "is_redis_available",
    "validate_cache_configuration",
)
OURS = ("MISSING", "Cache", "CacheManager", "Entry", "Settings", "earliest", "register", "until")
HEAVY = (
    "flask",
    "redis",
    "valkey",
    "rich",
    "sqlalchemy",
    "typer",
    "pickle",
    "werkzeug",
    "asyncio",
    "pytest",
    "logging.config",
)


def python(code: str, folder: Path) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("COV", "CACHE_"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [*PROPOSED, *OURS])
def test_a_name_can_be_imported(name: str) -> None:
    """From the package itself."""
    assert getattr(openalgo_cache, name) is not None
    assert name in openalgo_cache.__all__
    assert name in dir(openalgo_cache)


@pytest.mark.parametrize("name, extra", [("RedisBackend", "redis"), ("ValkeyBackend", "valkey")])
def test_a_servers_backend_needs_its_extra(name: str, extra: str, tmp_path: Path) -> None:
    """Without the client library, asking for the backend says what to install; with it, it is a backend."""
    if find_spec(extra) is not None:
        assert issubclass(getattr(openalgo_cache, name), openalgo_cache.CacheBackend)
    hidden = f"""
import sys
for name in ("redis", "valkey", "hiredis", "libvalkey"):
    sys.modules[name] = None
try:
    from openalgo_cache import {name}
except ImportError as error:
    print(error)
"""
    assert f"openalgo-cache[{extra}]" in python(hidden, tmp_path)


def test_every_error_is_at_the_front_door() -> None:
    """And all of them are CacheErrors."""
    from openalgo_cache import errors

    for name, error in vars(errors).items():
        if isinstance(error, type):
            assert getattr(openalgo_cache, name) is error
            assert name in openalgo_cache.__all__
            assert issubclass(error, openalgo_cache.CacheError)


@pytest.mark.parametrize(
    "error, builtin",
    [
        ("ConfigurationError", ValueError),
        ("InvalidKeyError", ValueError),
        ("InvalidLifetimeError", ValueError),
        ("UnsupportedValueError", TypeError),
        ("ValueTooLargeError", ValueError),
        ("ReadOnlyCacheError", TypeError),
        ("AccessDeniedError", PermissionError),
        ("BackendUnavailableError", ConnectionError),
    ],
)
def test_errors_are_those_that_a_caller_would_expect(error: str, builtin: type[Exception]) -> None:
    """Code that caught the builtin goes on catching ours."""
    assert issubclass(getattr(openalgo_cache, error), builtin)


def test_all_is_complete_and_sorted() -> None:
    """``import *`` gives what ``__all__`` says, and needs no extra."""
    assert openalgo_cache.__all__ == sorted(openalgo_cache.__all__)
    assert len(openalgo_cache.__all__) == len(set(openalgo_cache.__all__))
    names: dict[str, Any] = {}
    exec("from openalgo_cache import *", names)  # noqa: S102  # a star is not allowed inside a function
    assert set(openalgo_cache.__all__) <= set(names)
    assert not {"RedisBackend", "ValkeyBackend"} & set(openalgo_cache.__all__)


def test_what_the_type_checker_sees_is_what_is_there() -> None:
    """The list of imports for tools and the table of places are the same."""
    source = Path(openalgo_cache.__file__).read_text(encoding="utf-8")
    seen = {line.rpartition(" as ")[2] for line in source.splitlines() if line.startswith("    from openalgo_cache.")}
    assert seen == set(openalgo_cache._PLACE_OF)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'get_cash'"):
        _ = openalgo_cache.get_cash
    assert not hasattr(openalgo_cache, "__wrapped__")


def test_importing_loads_nothing_that_is_not_needed(tmp_path: Path) -> None:
    """No extra, no pickle; the package itself loads none of its modules."""
    loaded = python("import sys, openalgo_cache\nprint(*sorted(sys.modules))", tmp_path).split()
    assert [name for name in loaded if name.startswith("openalgo_cache.")] == []
    assert [name for name in HEAVY if name in loaded] == []


def test_using_a_cache_loads_no_extra(tmp_path: Path) -> None:
    """On SQLite and in memory: set, get, load once, decorate a plain function."""
    code = """
import sys
from openalgo_cache import get_cache
for backend in ("sqlite", "memory"):
    cache = get_cache(f"quotes-{backend}", backend=backend)
    cache.set("key", {"a": 1})
    assert cache.get("key") == {"a": 1}
    assert cache.get_or_set("other", lambda: 1) == 1
print(*sorted(sys.modules))
"""
    loaded = python(code, tmp_path).split()
    assert [name for name in HEAVY if name in loaded] == []


def test_asking_for_a_cache_at_import_time_does_nothing(tmp_path: Path) -> None:
    """Modules do that: no file, no folder, no thread, and no error for a server that is down."""
    code = """
import os, threading
os.environ.update(CACHE_BACKEND="redis", REDIS_URL="redis://127.0.0.1:1")
from openalgo_cache import get_cache
auth = get_cache("auth")
print(threading.active_count(), repr(auth))
"""
    assert python(code, tmp_path).split(maxsplit=1) == ["1", "<Cache 'auth', encrypted, cache>\n"]
    assert list(tmp_path.iterdir()) == []


def test_testing_can_be_imported_without_pytest(tmp_path: Path) -> None:
    """Then the clock and the chaos are there, and the contracts say what they need."""
    code = """
import sys
sys.modules["pytest"] = None
from openalgo_cache.testing import ChaosBackend, FakeClock
from openalgo_cache import MemoryBackend
assert ChaosBackend(MemoryBackend(clock=FakeClock())).get("key") is None
try:
    from openalgo_cache.testing import BackendContract
except ImportError as error:
    print(error)
"""
    assert "BackendContract needs pytest" in python(code, tmp_path)

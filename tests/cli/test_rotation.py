"""keys rotate and keys retire, as they are typed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openalgo_cache import CacheManager
from openalgo_cache.cli.shapes.rotation import Retired, Rotated
from openalgo_cache.rotation import rotating
from tests.cli.conftest import Run
from tests.cli.shapes_held import deviations
from tests.rotation.rings import ring_file

Application = Callable[[], CacheManager]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "SETTLES", 0.0)
    monkeypatch.setattr(rotating, "GRACE", 0.0)
    # By then the audit log's thread would have done what it does in the background.
    monkeypatch.setattr(rotating.Rotation, "_wait_for_grace", lambda self, _key: self._manager.audit().close())


def fill(application: Application) -> None:
    """Store something."""
    manager = application()
    manager.get_cache("quotes").set("M&M|NSE", 1.5)
    manager.get_cache("auth").set("user_123", "t0ken")
    manager.close()


def test_rotate_and_retire(run: Run, application: Application, folder: Path) -> None:
    """What is printed, in words and as JSON."""
    fill(application)
    old = f"{ring_file(folder).load().active.id:08x}"
    ran = run("keys", "rotate")
    active = f"{ring_file(folder).load().active.id:08x}"
    assert ran.code == 0
    assert f"Key {active} is the active one;" in ran.out
    assert "cache_quotes.db" in ran.out
    ran = run("keys", "retire", old, "--json")
    assert (ran.code, deviations(ran.json, Retired)) == (0, [])
    assert (ran.json["key"], ran.json["retired"], ran.json["problem"]) == (old, True, None)
    ran = run("keys", "rotate", "--retire", "--json")
    assert (ran.code, deviations(ran.json, Rotated)) == (0, [])
    assert ran.json["retired"] == [active]
    assert ran.json["active"] == f"{ring_file(folder).load().active.id:08x}"
    uses = {one["cache"]: (one["resealed"], one["needs"]) for one in ran.json["caches"]}
    assert uses["quotes"] == uses["auth"] == (1, {ran.json["active"]: 1})
    ran = run("keys", "rotate", "--retire")
    assert f"Key {uses['auth'][1].popitem()[0]} was retired. Exports" in " ".join(ran.out.split())
    assert run("get", "quotes", "M&M|NSE", "--reveal", "--json").json["value"] == 1.5


def test_a_key_in_use_stays(run: Run, application: Application, folder: Path) -> None:
    """Exit code 1, with the counts of each cache and the fix."""
    fill(application)
    old = f"{ring_file(folder).load().active.id:08x}"
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr(rotating, "GRACE", 60.0)
        run("keys", "rotate")
        ran = run("keys", "retire", old)
    assert ran.code == 1
    assert "a moment ago" in ran.out
    ring_file(folder).update(lambda ring: ring.with_active(int(old, 16)))
    active = ring_file(folder).load().keys[-1].id
    ran = run("keys", "retire", f"{active:08x}", "--json")
    assert (ran.code, ran.json["retired"], deviations(ran.json, Retired)) == (1, False, [])
    assert "'openalgo-cache keys rotate' seals them" in ran.json["problem"]
    assert {one["cache"] for one in ran.json["caches"] if one["needs"].get(f"{active:08x}")} >= {"quotes", "auth"}


@pytest.mark.parametrize("key", ["00000001", "1", "none", "123456789", ""])
def test_what_is_no_key(run: Run, application: Application, key: str) -> None:
    """A key that the ring does not have, or that is none."""
    fill(application)
    ran = run("keys", "retire", key)
    assert (ran.code, ran.out) in {(2, ""), (3, "")}


def test_in_an_empty_folder(run: Run, folder: Path) -> None:
    """There is nothing to rotate, and nothing is made."""
    ran = run("keys", "rotate")
    assert ran.code == 3
    assert "there is no key ring" in ran.err
    assert not (folder / "db").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way there")
def test_ctrl_c(application: Application, run: Run, folder: Path) -> None:
    """It says how things are; the same command goes on."""
    fill(application)
    process = subprocess.Popen(
        [sys.executable, "-m", "openalgo_cache.cli", "keys", "rotate"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    while len(ring_file(folder).load().keys) == 1:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "the same command again goes on" in said
    assert run("keys", "rotate", "--json").json["resumed"]

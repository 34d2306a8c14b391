"""The file for gunicorn, loaded as gunicorn loads it."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.composed import DEPLOY


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn is not for Windows")
def test_it_removes_what_killed_instances_left_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their folders of counters; not those of instances that run, nor what it does not know."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    settings: dict[str, Any] = runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))
    start, end = settings["on_starting"], settings["on_exit"]
    start.__globals__["worker_tmp_dir"] = str(tmp_path)
    start(None)
    start(None)
    running = sorted(tmp_path.iterdir())
    assert len(running) == 2
    (tmp_path / "openalgo-metrics-unknown").mkdir()

    os.close(start.__globals__["_locks"].pop(0))  # one of them is killed
    start(None)
    left = sorted(tmp_path.iterdir())
    assert len(left) == 3
    assert len(set(running) & set(left)) == 1
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in left if folder.name != "openalgo-metrics-unknown")

    end(None)
    assert len(list(tmp_path.iterdir())) == 2
    for lock in start.__globals__["_locks"]:
        os.close(lock)

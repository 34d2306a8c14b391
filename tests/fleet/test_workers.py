"""One instance with several workers: what it counts is the sum of what they count, whichever is asked."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.fleet.instance import Instance
from tests.servers.process import HOST, wait_until

pytestmark = [pytest.mark.server, pytest.mark.soak]

_TOKEN = "of-the-diagnostics-0123456789abcdef"
_CALLS = 40


def test_metrics_of_two_workers(tmp_path: Path, small_master: dict[str, str]) -> None:
    """Each call of the API is a hit in one cache; each worker shows both's, and those stay when both are gone."""
    variables = {**small_master, "WEB_CONCURRENCY": "2", "DIAGNOSTICS_TOKEN": _TOKEN, "CACHE_AUTO_CONFIGURE": "false"}
    instance = Instance("two", tmp_path, variables)
    found = re.search(r"API key: (\S+)", instance.prepare())
    assert found is not None
    instance.start()
    try:
        instance.wait_until_ready()
        _call(instance, found[1])  # finds nothing
        for _ in range(_CALLS):
            _call(instance, found[1])
        wait_until(lambda: _hits(instance) == _CALLS, "a worker to show what both have counted", 5)
        assert {_hits(instance) for _ in range(20)} == {_CALLS}
        assert {_uptime(instance) > 0 for _ in range(20)} == {True}
        instance.reload()  # both workers end, and others begin
        wait_until(lambda: instance.logged().count("Booting worker") == 4, "the workers to be exchanged")
        wait_until(lambda: {_hits(instance) for _ in range(10)} == {_CALLS}, "new workers to show it, too")
    finally:
        assert instance.stop() == 0


def _call(instance: Instance, key: str) -> None:
    body = json.dumps({"apikey": key}).encode()
    _ask(instance, "/api/v1/ping", {"Content-Type": "application/json"}, body)


def _hits(instance: Instance) -> float:
    text = _ask(instance, "/metrics", {"Authorization": f"Bearer {_TOKEN}"})
    found = re.search(r'^openalgo_cache_hits_total\{cache="api_keys_verified"\} (\S+)', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _uptime(instance: Instance) -> float:
    uptime: float = json.loads(_ask(instance, "/diagnostics/cache-state", {"Authorization": f"Bearer {_TOKEN}"}))[
        "uptime"
    ]
    return uptime


def _ask(instance: Instance, path: str, headers: dict[str, str], body: bytes | None = None) -> str:
    request = urllib.request.Request(f"http://{HOST}:{instance.port}{path}", body, headers)  # ours
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # likewise
        text: str = answer.read().decode()
    return text

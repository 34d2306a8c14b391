"""The host's caches belong to the modules that use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openalgo_cache import AccessDeniedError, Settings
from openalgo_host.host import Host
from tests.host.conftest import Hands


@pytest.mark.parametrize(
    "name", ["api_keys_verified", "api_keys_invalid", "session", "settings", "auth", "of-a-plug-in"]
)
def test_others_are_denied(host: Host, name: str) -> None:
    """A plug-in that asks for somebody else's cache, or for one that nobody has named, is refused by name."""
    cache = host.manager.get_cache(name)
    for act in (lambda: cache.get("key"), lambda: cache.set("key", 1), cache.clear):
        with pytest.raises(AccessDeniedError, match=r"tests\.host\.test_access may not .*access\.toml"):
            act()


def test_a_denial_is_audited(host: Host) -> None:
    """Whether or not anything else is."""
    with pytest.raises(AccessDeniedError):
        host.manager.get_cache("api_keys_verified").get("a-key-that-is-guessed")
    (file,) = host.settings.cache_folder.glob("cache_audit*.log")
    said = [json.loads(line) for line in file.read_text().splitlines()]
    (denied,) = [line for line in said if line["operation"] == "DENIED"]
    assert (denied["cache"], denied["caller"]) == (
        "api_keys_verified",
        "tests.host.test_access.test_a_denial_is_audited",
    )
    assert "a-key-that-is-guessed" not in file.read_text()


def test_the_operator_may_say_otherwise(tmp_path: Path, hands: Hands) -> None:
    """CACHE_ACCESS_RULES wins."""
    rules = tmp_path / "rules.toml"
    rules.write_text('default = ["tests.*", "openalgo_host.*"]\n')
    rules.chmod(0o600)
    host = Host.open(Settings(base_folder=tmp_path, cache_auto_configure=False, cache_access_rules=rules), hands)
    host.manager.get_cache("of-a-plug-in").set("key", 1)
    host.close()

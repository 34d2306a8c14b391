"""Access rules: those of the catalogue, and those of a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from openalgo_cache import AccessDeniedError, CacheAccessControl
from openalgo_cache.catalogue import AUDIT_HEADS, catalogue
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.policy.access import catalogue_rules
from openalgo_cache.policy.rules import ALL, Grant
from openalgo_cache.policy.rulesfile import load_rules
from openalgo_cache.settings import InvalidSettingsError, Settings, override
from tests.policy.modules import FRIEND, STRANGER, ruled, run_as
from tests.stacks import manager


def test_every_cache_of_the_catalogue_has_its_rules() -> None:
    """All eleven, and no other name, which would guard nothing; the audit log's own cache is nobody's."""
    assert set(CacheAccessControl.ACCESS_RULES) == set(catalogue(Settings())) - {AUDIT_HEADS}
    assert all(CacheAccessControl.ACCESS_RULES.values())


@pytest.mark.parametrize(
    "cache, module, allowed",
    [
        ("auth", "database.auth_db", True),
        ("auth_cache", "blueprints.auth", True),
        ("auth", "blueprints.auth2", False),
        ("auth", "Blueprints.Auth", False),
        ("auth", "evil.database.auth_db", False),
        ("auth", "database.auth_db.evil", False),
        ("symbol_cache", "services.search", True),
        ("symbols", "services", False),
        ("symbols", "services.deep.down", True),
        ("api_keys_cache", "restx_api.orders", True),
        ("quotes", "database.auth_db", False),
        ("running_strategies", "blueprints.python_strategy", True),
    ],
)
def test_the_question_of_the_proposal(cache: str, module: str, allowed: bool) -> None:
    """Its names and its patterns; but what no rule allows is denied."""
    assert CacheAccessControl.check_access(cache, module) is allowed


def test_a_subclass_has_rules_of_its_own() -> None:
    """As a program may have made one."""

    class Mine(CacheAccessControl):
        ACCESS_RULES = {"quotes": ["services.*"]}  # noqa: RUF012  # as the proposal wrote it

    assert Mine.check_access("quotes", "services.a")
    assert not Mine.check_access("auth", "database.auth_db")


def test_without_a_profile_there_is_no_guard(tmp_path: Path) -> None:
    """And nothing to pay for."""
    house = manager(tmp_path)
    assert type(house.get_cache("auth")).__name__ == "Cache"
    assert house.access_rules() is None


def test_the_catalogues_own_profile(tmp_path: Path) -> None:
    """What it does not name is closed to all."""
    house = manager(tmp_path, cache_access_rules="catalogue")
    auth, quotes = house.get_cache("auth"), house.get_cache("quotes")
    run_as("database.auth_db", "auth['user'] = 'token'", auth=auth)
    for cache, module in ((auth, STRANGER), (quotes, "database.auth_db")):
        with pytest.raises(AccessDeniedError, match="rules catalogue give"):
            run_as(module, "cache.get('user')", cache=cache)
    house.close()


def test_a_file_extends_the_catalogue(tmp_path: Path) -> None:
    """What it names stands in place of the catalogue's; the default is for what nobody names."""
    path = tmp_path / "rules.toml"
    path.write_text(
        """
        extends = "catalogue"
        default = ["services.*"]
        [caches]
        auth = ["mine"]
        [caches.quotes]
        read = ["*"]
        write = ["services.quotes"]
        """
    )
    rules = load_rules(path)
    assert rules.grant("auth") == Grant.of(("mine",))
    assert rules.grant("broker") == catalogue_rules().grant("broker")
    assert rules.grant("other").rights("services.a") == ALL
    assert rules.grant("quotes") == Grant(("*",), ("services.quotes",), ())
    assert rules.grant("quotes").rights("anybody") == {"read"}
    assert rules.grant("quotes").describe("clear") == "nobody"


def test_an_empty_file_denies_all(tmp_path: Path) -> None:
    """Where rules exist, what they do not allow is denied."""
    house = ruled(tmp_path, "")
    with pytest.raises(AccessDeniedError, match="to nobody"):
        run_as(FRIEND, "cache.get('key')", cache=house.get_cache("quotes"))


@pytest.mark.parametrize(
    "text, fault",
    [
        ("[cache]\nauth = []", "cache is not known here: a rules file has extends, default, caches"),
        ("extends = 'others'", "extends can only be 'catalogue'"),
        ("caches = ['auth']", "caches is a table"),
        ("default = 'services.*'", "default is a list of patterns"),
        ("[caches]\nauth = [5]", "caches.auth, pattern 1, is no pattern"),
        ("[caches]\nauth = ['a', 'database/auth_db.py']", "caches.auth, pattern 2, is no pattern"),
        ("[caches]\nauth = ['database.auth_db.py']", "is no pattern"),
        ("[caches]\nauth = ['']", "is no pattern"),
        ("[caches]\nauth_cache = []", "caches.auth_cache names no cache of the catalogue: it is called auth"),
        ("[caches]\n'../auth' = []", "names no cache: names are"),
        ("[caches.auth]\nreads = ['a']", "caches.auth.reads is no right: there are read, write, clear"),
        ("[caches.auth]\nread = 'a'", "caches.auth.read is a list"),
        ("[caches\n", "is not TOML: .*line 1"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, fault: str) -> None:
    """With the file, the place in it, and what would be right."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=fault) as refused:
        load_rules(path)
    assert str(path) in str(refused.value)
    assert "CACHE_ACCESS_RULES" in str(refused.value)


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    """Nobody starts five times to learn of five."""
    path = tmp_path / "rules.toml"
    path.write_text("extends = 1\ndefault = 2\ncaches = 3\nelse = 4")
    with pytest.raises(ConfigurationError) as refused:
        load_rules(path)
    assert str(refused.value).count(str(path)) == 4


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    """Each is said in one line."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_rules(tmp_path / "absent.toml")
    (tmp_path / "rules.toml").write_bytes(b"default = ['\xff']")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load_rules(tmp_path / "rules.toml")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666], ids=oct)
def test_a_file_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    """And so is one in a folder where they could put another in its place."""
    path = tmp_path / "rules.toml"
    path.write_text("default = ['*']")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"chmod go-w {path}"):
        load_rules(path)
    path.chmod(0o644)
    load_rules(path)
    tmp_path.chmod(stat.S_IMODE(tmp_path.stat().st_mode) | mode & 0o022)
    with pytest.raises(ConfigurationError, match=f"chmod go-w {tmp_path}$"):
        load_rules(path)
    tmp_path.chmod(0o1777)  # as /tmp: others can add files, and replace none
    load_rules(path)


def test_the_setting(tmp_path: Path) -> None:
    """A word or a path, which begins at the folder of .env and has to be there."""
    (tmp_path / ".env").write_text("CACHE_ACCESS_RULES=rules.toml\n")
    with pytest.raises(InvalidSettingsError, match=r"CACHE_ACCESS_RULES=.*is not a file"):
        Settings.from_environment({}, tmp_path / ".env")
    (tmp_path / "rules.toml").write_text("default = ['*']")
    assert Settings.from_environment({}, tmp_path / ".env").cache_access_rules == tmp_path / "rules.toml"
    assert Settings.from_environment({"CACHE_ACCESS_RULES": "catalogue"}, None).cache_access_rules == "catalogue"


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """Whoever changes it has to start anew, so that a rule cannot change under a call."""
    house = ruled(tmp_path, f"default = ['{FRIEND}']")
    cache = house.get_cache("quotes")
    (tmp_path / "rules.toml").write_text("default = []")
    run_as(FRIEND, "cache.get('key')", cache=cache)
    run_as(FRIEND, "cache.get('key')", cache=house.get_cache("others"))
    house.close()


def test_a_broken_file_lets_nobody_in(tmp_path: Path) -> None:
    """No handle is given out at all; the next try says the same."""
    house = ruled(tmp_path, "default = 5")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="default is a list"):
            house.get_cache("quotes")


def test_the_front_door_uses_the_rules_of_the_settings(tmp_path: Path) -> None:
    """``get_cache_backend`` and handles that nobody keeps are guarded, too."""
    house = ruled(tmp_path, "")
    with override(house.settings), pytest.raises(AccessDeniedError):
        run_as(STRANGER, "cache.get('key')", cache=house.new_cache("quotes"))

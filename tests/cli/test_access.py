"""``openalgo-cache access``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def rules(folder: Path) -> str:
    """A file of rules; return its path."""
    path = folder / "access.toml"
    path.write_text("[caches]\nauth = ['blueprints.*']\n[caches.quotes]\nread = ['*']\nwrite = ['services.quotes']\n")
    path.chmod(0o600)
    return str(path)


def test_without_rules_everybody_may_do_everything(run: Run) -> None:
    """It says so, and nothing else."""
    for command in (("list",), ("check", "auth", "anybody")):
        ran = run("access", *command)
        assert ran.code == 0
        assert "There are no access rules" in ran.out
    assert run("access", "list", "--json").json["rules"] is None


def test_rules_are_listed(run: Run, rules: str, folder: Path) -> None:
    """Each cache that is named, and the others; nothing is left behind."""
    before = set(folder.iterdir())
    ran = run("access", "list", CACHE_ACCESS_RULES=rules, width=200)
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()[-3:]] == ["auth", "quotes", "(every"]
    listed = run("access", "list", "--json", CACHE_ACCESS_RULES=rules).json
    assert listed["caches"][1] == {"cache": "quotes", "read": ["*"], "write": ["services.quotes"], "clear": []}
    assert listed["default"] == {"cache": "", "read": [], "write": [], "clear": []}
    assert len(run("access", "list", "--json", CACHE_ACCESS_RULES="catalogue").json["caches"]) == 12
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    "module, code, read, write",
    [
        ("services.quotes", 1, "*", "services.quotes"),
        ("plugins.stranger", 1, "*", None),
        ("openalgo_cache.cli.records", 0, None, None),
    ],
)
def test_a_module_is_checked(run: Run, rules: str, module: str, code: int, read: str | None, write: str | None) -> None:
    """Each right with the pattern that gives it; the exit code says whether all are there."""
    ran = run("access", "check", "quotes", module, "--json", CACHE_ACCESS_RULES=rules)
    assert (ran.code, ran.json["patterns"].get("read"), ran.json["patterns"].get("write")) == (code, read, write)
    assert ran.json["clear"] is (code == 0)
    words = run("access", "check", "quotes", module, CACHE_ACCESS_RULES=rules).out
    assert ("clear: no, only nobody" in words) is (code == 1)


def test_broken_rules_are_a_configuration_error(run: Run, rules: str) -> None:
    """With the place in the file."""
    Path(rules).write_text("default = 5")
    ran = run("access", "list", "--json", CACHE_ACCESS_RULES=rules)
    assert ran.code == 3
    assert "default is a list of patterns" in ran.error["message"]


def test_the_command_line_itself_may_use_every_cache(run: Run, folder: Path) -> None:
    """Whatever the rules say: it is the operator's."""
    rules = folder / "none.toml"
    rules.write_text("")
    assert run("set", "quotes", "key", "5", CACHE_ACCESS_RULES=str(rules)).code == 0
    assert run("get", "quotes", "key", CACHE_ACCESS_RULES=str(rules)).code == 0
    assert run("clear", "quotes", "--yes", CACHE_ACCESS_RULES=str(rules)).code == 0

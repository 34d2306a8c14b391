"""Weak points 8 and 21: modules that use caches which are not theirs, and accesses that leave no trace, or too much."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import AccessDeniedError, CacheAccessControl
from tests.policy.modules import run_as
from tests.security.attack import Attack
from tests.security.conftest import SUBJECTS
from tests.security.proposal import wrappers
from tests.security.subjects import OnFile

STRANGER = "plugins.stranger"
OWNER = "database.auth_db"
KEY = "0123456789abcdef-plain-api-key"
VERBS = {
    "get": "result = cache.get('user')",
    "exists": "result = cache.exists('user')",
    "size": "result = cache.size()",
    "set": "cache.set('user', 'mine')",
    "delete": "cache.delete('user')",
    "clear": "cache.clear()",
}

Start = Callable[..., OnFile]


@pytest.fixture(params=SUBJECTS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Start one of the two, with settings of the test's own."""
    started: list[OnFile] = []

    def start_one(**settings: Any) -> OnFile:
        started.append(OnFile(request.param, tmp_path, **settings))
        return started[-1]

    yield start_one
    for one in started:
        one.close()


def with_rules(start: Start) -> OnFile:
    """Start with the access rules that each brings."""
    subject = start()
    if subject.is_proposal:  # it has no setting for them
        return subject
    subject.close()
    return start(cache_access_rules="catalogue")


# 8: rules that hold


@pytest.mark.attack("08", "a rule that no cache's name leads to")
@pytest.mark.parametrize("name", ["auth", "symbols", "api_keys_verified", "feed_token", "running_strategies"])
@pytest.mark.parametrize("who", SUBJECTS)
def test_08_rules_name_the_caches(attack: Attack, who: str, name: str) -> None:
    """The rules are found by the names that the caches have."""
    control = wrappers.CacheAccessControl if who == "proposal" else CacheAccessControl
    attack.tried(succeeded=control.check_access(name, STRANGER), what=name)


@pytest.mark.attack("08", "a module that uses a cache which is not its own")
@pytest.mark.parametrize("name", ["auth", "settings", "quotes"])
def test_08_every_verb_is_checked(start: Start, attack: Attack, name: str) -> None:
    """Also where no rule names the cache: with rules in force, what they do not open is closed."""
    cache = with_rules(start).cache(name)
    for verb, source in VERBS.items():
        done = False
        with suppress(AccessDeniedError):
            run_as(STRANGER, source, cache=cache)
            done = True
        attack.tried(succeeded=done, what=f"{verb} of {name}")


# 21: traces


def trail(subject: OnFile, caplog: pytest.LogCaptureFixture) -> str:
    """Return what is left of all that was done: the lines of the audit, or of the log where that is the audit."""
    if subject.is_proposal:
        return caplog.text
    return audited(subject)


def audited(subject: OnFile) -> str:
    """Return the lines of the audit."""
    subject.house.audit().flush()
    return "".join(path.read_text("ascii") for path in subject.house.audit().days.files().values())


@pytest.mark.attack("21", "a cache that is cleared without a trace")
def test_21_clears_are_always_audited(start: Start, caplog: pytest.LogCaptureFixture, attack: Attack) -> None:
    """Nobody has to turn that on."""
    caplog.set_level(logging.INFO)
    subject = start()
    cache = subject.cache("auth")
    cache.set("user", "token")
    caplog.clear()
    run_as(OWNER, "def log_out(): cache.clear()\nlog_out()", cache=cache)
    attack.tried(succeeded="CLEAR" not in trail(subject, caplog))


@pytest.mark.attack("21", "a forged record that is refused without a trace")
def test_21_rejected_records_are_always_audited(tmp_path: Path, attack: Attack) -> None:
    """Somebody can write to the store: that has to be known."""
    with closing(OnFile("ours", tmp_path)) as subject:
        subject.cache("auth").set("user", "token")
        subject.plant("auth", "user", b"forged")
        assert subject.cache("auth").get("user") is None
        attack.tried(succeeded="REJECT" not in audited(subject))


@pytest.mark.attack("21", "an access without a trace, though audit is on")
def test_21_audit_is_no_matter_of_the_log_level(start: Start, caplog: pytest.LogCaptureFixture, attack: Attack) -> None:
    """It has a file of its own, and writes at whatever level the application logs."""
    caplog.set_level(logging.INFO)
    subject = start(cache_audit_enabled=True)
    cache = subject.cache("auth")
    caplog.clear()
    for source in ("cache.set('user', 'token')", "cache.get('user')", "cache.delete('user')"):
        run_as(OWNER, source, cache=cache)
    found = trail(subject, caplog)
    attack.tried(succeeded=not all(word in found for word in ("SET", "GET", "DELETE")), times=3)


@pytest.mark.attack("21", "an API key in the audit log")
def test_21_no_raw_key_in_the_audit(start: Start, caplog: pytest.LogCaptureFixture, attack: Attack) -> None:
    """Keys that the store gets as hashes are hashes there as well."""
    caplog.set_level(logging.DEBUG)
    subject = start(cache_audit_enabled=True)
    cache = subject.cache("api_keys_verified")
    cache.set(KEY, "ann")
    assert cache.get(KEY) == "ann"
    cache.delete(KEY)
    found = trail(subject, caplog)
    assert "GET" in found
    attack.tried(succeeded=KEY in found + caplog.text)


@pytest.mark.attack("21", "an access by nobody")
def test_21_audit_names_the_caller(start: Start, caplog: pytest.LogCaptureFixture, attack: Attack) -> None:
    """Module and function."""
    caplog.set_level(logging.DEBUG)
    subject = start(cache_audit_enabled=True)
    cache = subject.cache("auth")
    run_as(OWNER, "def look_up(): cache.get('user')\nlook_up()", cache=cache)
    attack.tried(succeeded=f"{OWNER}.look_up" not in trail(subject, caplog))

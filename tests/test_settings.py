"""The settings: names and defaults, what is refused and how, secrets, and the pages made from them."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import logging
import os
import re
import subprocess
import sys
import threading
import typing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openalgo_cache.errors import ConfigurationError
from openalgo_cache.settings import (
    Finding,
    InvalidSettingsError,
    Sentinels,
    Settings,
    configure_cache_environment,
    current_settings,
    effective,
    install,
    override,
    preferred_server,
    validate_cache_configuration,
)
from openalgo_cache.settings.__main__ import main
from openalgo_cache.settings.dotenv import parse_dotenv
from openalgo_cache.settings.model import VARIABLES
from openalgo_cache.settings.reference import env_example, markdown

ROOT = Path(__file__).resolve().parent.parent
KEY = bytes(range(32))
KEY_TEXT = base64.urlsafe_b64encode(KEY).decode()

PROPOSED: dict[str, object] = {
    "CACHE_BACKEND": None,
    "CACHE_AUTO_CONFIGURE": True,
    "SQLITE_CACHE_PATH": Path("db/cache"),
    "SQLITE_DEFAULT_TTL": 3600,
    "SQLITE_WAL_MODE": True,
    "SQLITE_FILE_ENCRYPTION": False,
    "SQLITE_VACUUM_INTERVAL": 86400,
    "REDIS_HOST": "localhost",
    "REDIS_PORT": 6379,
    "REDIS_DB": 0,
    "REDIS_PASSWORD": None,
    "REDIS_POOL_SIZE": 10,
    "REDIS_TIMEOUT": 5,
    "REDIS_TLS": False,
    "REDIS_KEY_PREFIX": "openalgo",
    "CACHE_ENCRYPTION_ENABLED": True,
    "CACHE_ENCRYPTED_NAMES": frozenset({"auth", "api_keys", "tokens"}),
    "CACHE_BLINDED_NAMES": frozenset(),
    "CACHE_ACCESS_RULES": None,
    "CACHE_AUDIT_ENABLED": False,
    "CACHE_AUDIT_LOG_PATH": None,  # the proposal's db/cache_audit.log, unless the cache files are elsewhere
    "CACHE_STATS_ENABLED": True,
    "CACHE_METRICS_ENABLED": False,
    "SYMBOL_CACHE_PRELOAD": True,
    "SYMBOL_CACHE_REFRESH_INTERVAL": None,
    "INSTANCE_ID": None,
    "INSTANCE_NAME": "openalgo-default",
    "MULTI_INSTANCE_MODE": False,
    "SESSION_TYPE": "filesystem",
    "SESSION_REDIS_URL": None,
    "AUTH_CACHE_TTL": None,
    "SYMBOL_CACHE_TTL": None,
    "SETTINGS_CACHE_TTL": 3600,
    "BROKER_CACHE_TTL": 300,
    "STRATEGY_CACHE_TTL": 600,
    "API_KEY_CACHE_TTL": 36000,
}
ADDED: dict[str, object] = {
    "REDIS_URL": None,
    "REDIS_USERNAME": None,
    "REDIS_TLS_CA": None,
    "REDIS_TLS_CERT": None,
    "REDIS_TLS_KEY": None,
    "REDIS_CLUSTER": False,
    "REDIS_SENTINELS": None,
    "REDIS_OPERATION_TIMEOUT": 0.25,
    "REDIS_PLAINTEXT_HOSTS": frozenset(),
    "CACHE_AUDIT_CACHES": None,
    "CACHE_AUDIT_ON_FULL": "block",
    "CACHE_AUDIT_QUEUE_SIZE": 10_000,
    "CACHE_AUDIT_RETENTION_DAYS": 90,
    "CACHE_NAMESPACE": None,
    "CACHE_KEY_FILE": None,
    "CACHE_ENCRYPTION_KEY": None,
    "SESSION_EXPIRY_TIME": "03:00",
    "CACHE_NEAR_ENABLED": True,
    "CACHE_NEAR_MAX_STALENESS": 30,
    "CACHE_MAX_VALUE_BYTES": 1_048_576,
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder without a .env, and leave no settings behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(effective, "_effective", {})
    return tmp_path


def read(**variables: str) -> Settings:
    """Read settings from these variables alone."""
    return Settings.from_environment(variables, dotenv=None)


def faults(**variables: str) -> dict[str, Finding]:
    """Return the errors that these variables cause, by variable."""
    with pytest.raises(InvalidSettingsError) as caught:
        read(**variables)
    return {finding.variable: finding for finding in caught.value.findings if finding.severity == "error"}


# Names and defaults


def test_every_variable_is_there_with_its_default(empty_folder: Path) -> None:
    """The proposal's variables and the added ones have the documented defaults; Valkey's have none of their own."""
    expected = PROPOSED | ADDED
    expected |= {name.replace("REDIS", "VALKEY"): None for name in expected if name.startswith("REDIS_")}
    settings = read()
    found = {variable.name: getattr(settings, variable.name.lower()) for variable in VARIABLES}
    assert found == {
        name: empty_folder / value if isinstance(value, Path) else value for name, value in expected.items()
    }


def test_an_attribute_a_variable_and_no_other() -> None:
    """The fields beside the variables are about the reading itself, and about whose settings they are."""
    others = {field.name for field in dataclasses.fields(Settings)} - {variable.name.lower() for variable in VARIABLES}
    assert others == {"sources", "dotenv_path", "base_folder", "reading_warnings", "for_sessions"}


def test_every_value_has_the_type_that_its_field_states() -> None:
    """Reading a variable gives what the annotation promises."""
    hints = typing.get_type_hints(Settings, include_extras=True)
    assert hints["redis_port"] is int
    assert type(read(REDIS_PORT="6380").redis_port) is int
    assert type(read(CACHE_ENCRYPTION_KEY=KEY_TEXT, CACHE_NAMESPACE="n").cache_encryption_key) is bytes


def test_settings_can_be_made_directly(empty_folder: Path) -> None:
    """A test or a program needs no environment; relative paths become absolute all the same."""
    settings = Settings(cache_backend="memory", sqlite_cache_path=Path("there/cache"))
    assert settings.sqlite_cache_path == empty_folder / "there" / "cache"
    assert settings.cache_folder == empty_folder / "there"
    assert settings == dataclasses.replace(settings)
    assert hash(settings) == hash(dataclasses.replace(settings))


# Values


@pytest.mark.parametrize("text", ["true", "TRUE", "True", "1", "yes", "on", " on "])
def test_what_means_true(text: str) -> None:
    """The usual words are taken in any case."""
    assert read(CACHE_METRICS_ENABLED=text).cache_metrics_enabled is True


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "off"])
def test_what_means_false(text: str) -> None:
    """The usual words are taken in any case."""
    assert read(SQLITE_WAL_MODE=text).sqlite_wal_mode is False


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("CACHE_BACKEND", "SQLite", "sqlite"),
        ("SQLITE_DEFAULT_TTL", "0", None),
        ("SQLITE_DEFAULT_TTL", "0.0", None),
        ("SQLITE_DEFAULT_TTL", "0.5", 0.5),
        ("SQLITE_DEFAULT_TTL", "60", 60),
        ("SQLITE_VACUUM_INTERVAL", "0", None),
        ("AUTH_CACHE_TTL", "43200", 43200),
        ("AUTH_CACHE_TTL", "0", None),
        ("REDIS_PORT", "65535", 65535),
        ("REDIS_HOST", "redis-1.example.com", "redis-1.example.com"),
        ("REDIS_HOST", "[::1]", "::1"),
        ("REDIS_HOST", "::1", "::1"),
        ("REDIS_PASSWORD", "p#ss 'wörd' =", "p#ss 'wörd' ="),
        ("REDIS_TIMEOUT", "2.5", 2.5),
        ("REDIS_PLAINTEXT_HOSTS", " Redis.internal, 10.0.0.5,", frozenset({"redis.internal", "10.0.0.5"})),
        ("REDIS_SENTINELS", "127.0.0.1", Sentinels("mymaster", (("127.0.0.1", 26379),))),
        (
            "REDIS_SENTINELS",
            "trading@127.0.0.1:26380, localhost , [::1]:26381",
            Sentinels("trading", (("127.0.0.1", 26380), ("localhost", 26379), ("::1", 26381))),
        ),
        ("CACHE_ENCRYPTED_NAMES", "quotes, api_keys ,", frozenset({"quotes", "api_keys"})),
        ("CACHE_NAMESPACE", "paper.trading-1", "paper.trading-1"),
        ("SESSION_EXPIRY_TIME", "3:30", "03:30"),
        ("SESSION_EXPIRY_TIME", "23:59", "23:59"),
        ("INSTANCE_NAME", "Büro, links", "Büro, links"),
    ],
)
def test_a_text_becomes_a_typed_value(name: str, text: str, value: object) -> None:
    """Each kind of variable has its own reading; 0 of a lifetime means no expiry."""
    assert getattr(read(**{"CACHE_BACKEND": "memory", name: text}), name.lower()) == value


@pytest.mark.parametrize("text", [KEY_TEXT, base64.b64encode(KEY).decode()])
def test_a_key_may_use_either_alphabet(text: str) -> None:
    """Fernet's url-safe keys and plain base64 give the same bytes."""
    assert read(CACHE_ENCRYPTION_KEY=text, CACHE_NAMESPACE="n").cache_encryption_key == KEY


@pytest.mark.parametrize(
    "name, text, problem",
    [
        ("CACHE_BACKEND", "sqllite", "names no backend"),
        ("CACHE_AUTO_CONFIGURE", "maybe", "neither true nor false"),
        ("SQLITE_DEFAULT_TTL", "-1", "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", "nan", "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", "inf", "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", "1e3", "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", "1_000", "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", "٣٦٠٠", "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", "1h", "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", str(2**64), "not a number of seconds"),
        ("SQLITE_DEFAULT_TTL", "9" * 5000, "not a number of seconds"),
        ("SQLITE_CACHE_PATH", "C:\temp\new", "control character"),
        ("SQLITE_CACHE_PATH", "db\0cache", "control character"),
        ("REDIS_PORT", "0", "not a port"),
        ("REDIS_PORT", "65536", "not a port"),
        ("REDIS_PORT", "6379.0", "not a port"),
        ("REDIS_DB", str(2**64), "not a whole number"),
        ("REDIS_DB", "-1", "not a whole number"),
        ("REDIS_DB", "9" * 5000, "not a whole number"),
        ("REDIS_POOL_SIZE", "0", "not a whole number"),
        ("REDIS_TIMEOUT", "0", "not a number of seconds"),
        ("REDIS_TIMEOUT", "nan", "not a number of seconds"),
        ("REDIS_HOST", "localhost:6379", "not the name or address"),
        ("REDIS_HOST", "-o", "not the name or address"),
        ("REDIS_HOST", "a b", "not the name or address"),
        ("REDIS_URL", "http://localhost", "a scheme"),
        ("REDIS_URL", "redis://", "names no host"),
        ("REDIS_URL", "redis://localhost:99999", "not a URL"),
        ("REDIS_URL", "redis://localhost/zero", "number of a database"),
        ("REDIS_URL", "redis://localhost?ssl_cert_reqs=none", "options"),
        ("REDIS_URL", "redis://:pa#ss@localhost", "percent-encoded"),
        ("REDIS_URL", "unix://socket", "whole path"),
        ("REDIS_PASSWORD", "secret\nsecret", "unprintable"),
        ("REDIS_KEY_PREFIX", "a:b", "characters that are not allowed"),
        ("CACHE_NAMESPACE", "x" * 65, "characters that are not allowed"),
        ("CACHE_NAMESPACE", "n\udce9", "characters that are not allowed"),
        ("CACHE_ENCRYPTED_NAMES", "auth,Api Keys", "cannot name a cache"),
        ("CACHE_ENCRYPTION_KEY", "short", "not base64"),
        ("CACHE_ENCRYPTION_KEY", base64.b64encode(KEY[:16]).decode(), "16 bytes"),
        ("CACHE_ENCRYPTION_KEY", base64.b64encode(b"\0" * 32).decode(), "not random"),
        ("CACHE_ENCRYPTION_KEY", KEY_TEXT + "!", "not base64"),
        ("INSTANCE_ID", "instance 1", "characters that are not allowed"),
        ("INSTANCE_NAME", "a\tb", "control characters"),
        ("SESSION_TYPE", "cookie", "is none of"),
        ("SESSION_EXPIRY_TIME", "24:00", "not a time of day"),
        ("SESSION_EXPIRY_TIME", "3 pm", "not a time of day"),
        ("REDIS_SENTINELS", "a b@localhost", "service name"),
        ("REDIS_SENTINELS", "mymaster@localhost:0", "not a port"),
        ("CACHE_NEAR_MAX_STALENESS", "0", "not a number of seconds"),
    ],
)
def test_a_wrong_text_is_refused_with_the_variable_and_a_fix(name: str, text: str, problem: str) -> None:
    """The finding names the variable, says what is wrong, and says what to do, in one printable line."""
    finding = faults(**{name: text})[name]
    assert problem in finding.problem
    assert finding.fix
    assert str(finding).isprintable()
    assert len(finding.value_shown) <= 80


def test_the_port_that_kubernetes_sets_gets_a_hint() -> None:
    """A service called redis makes Kubernetes set REDIS_PORT to a URL."""
    assert "enableServiceLinks" in faults(REDIS_PORT="tcp://10.0.0.1:6379")["REDIS_PORT"].fix


@pytest.mark.parametrize("text", ['"true"', "true # by default"])
def test_quotes_and_comments_outside_of_dotenv_get_a_hint(text: str) -> None:
    """Docker's --env-file hands both on."""
    assert "only in .env" in faults(SQLITE_WAL_MODE=text)["SQLITE_WAL_MODE"].fix


@given(st.dictionaries(st.sampled_from([variable.name for variable in VARIABLES]), st.text(), max_size=6))
def test_no_text_gets_past_the_findings(variables: dict[str, str]) -> None:
    """Whatever the variables hold, settings come out, or our own error."""
    with contextlib.suppress(InvalidSettingsError):
        assert repr(read(**variables)).isprintable()


# All findings at once


def test_all_findings_are_reported_together() -> None:
    """One start shows everything that has to be corrected: a line for each, and the findings as data."""
    with pytest.raises(InvalidSettingsError) as caught:
        read(REDIS_PORT="x", SQLITE_WAL_MODE="maybe", MULTI_INSTANCE_MODE="true", REDIS_PASS="hunter2")
    error = caught.value
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, ValueError)
    lines = str(error).splitlines()
    assert lines[0] == "3 settings of the cache cannot work:"
    assert len(lines) == 1 + len(error.findings)
    for finding in error.findings:
        assert any(finding.variable in line and finding.problem in line and finding.fix in line for line in lines)
    severities = {finding.variable: finding.severity for finding in error.findings}
    assert severities["REDIS_PASS"] == "warning"
    assert {name for name, severity in severities.items() if severity == "error"} == {
        "REDIS_PORT",
        "SQLITE_WAL_MODE",
        "INSTANCE_ID",
    }


def test_a_rule_does_not_complain_about_a_variable_that_could_not_be_read() -> None:
    """A namespace with a bad character is not also a missing namespace."""
    assert set(faults(CACHE_ENCRYPTION_KEY=KEY_TEXT, CACHE_NAMESPACE="a b")) == {"CACHE_NAMESPACE"}


# Secrets

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "variables",
    [
        {"REDIS_PASSWORD": SECRET},
        {"VALKEY_PASSWORD": SECRET},
        {"REDIS_URL": f"redis://user:{SECRET}@localhost:6380/1"},
        {"VALKEY_URL": f"redis://:{SECRET}@localhost"},
        {"SESSION_TYPE": "redis", "SESSION_REDIS_URL": f"rediss://:{SECRET}@localhost"},
        {"CACHE_ENCRYPTION_KEY": KEY_TEXT, "CACHE_NAMESPACE": "n"},
    ],
)
def test_a_secret_that_is_set_never_shows(variables: dict[str, str]) -> None:
    """Neither the repr, nor the listing, nor a server's repr has it; that it is set shows."""
    settings = read(**variables)
    listing = settings.describe()
    text = repr(settings) + repr(listing) + repr(settings.server("redis")) + repr(settings.server("valkey"))
    text += repr(settings.redis_url) + repr(settings.session_redis_url)
    for secret in (SECRET, KEY_TEXT, repr(KEY)):
        assert secret not in text
    assert "(hidden)" in text


@pytest.mark.parametrize(
    "name, text",
    [
        ("REDIS_PASSWORD", f"{SECRET}\n"[:-1] + "\x00"),
        ("CACHE_ENCRYPTION_KEY", SECRET),
        ("REDIS_URL", f"redis://:{SECRET}@host:port"),
        ("SESSION_REDIS_URL", f"http://:{SECRET}@host"),
        ("REDIS_HOST", f"redis://:{SECRET}@host"),
        ("REDIS_PORT", f"redis://:{SECRET}@host"),
        ("REDIS_PASWORD", SECRET),
    ],
)
def test_a_secret_that_is_refused_never_shows(name: str, text: str) -> None:
    """An error is read by more people than the variable is; so is a warning about a misspelt name."""
    with pytest.raises(InvalidSettingsError) as caught:
        read(**{name: text, "REDIS_DB": "x"})
    assert SECRET not in str(caught.value) + repr(caught.value.findings)


def test_a_url_shows_without_its_password() -> None:
    """Host, port, user and database are what one wants to check."""
    lines = {line.variable: line.value for line in read(REDIS_URL=f"redis://me:{SECRET}@[::1]:6380/2").describe()}
    assert lines["REDIS_URL"] == "redis://me:(hidden)@[::1]:6380/2"


# Where a value comes from


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """An empty variable is unset, so that the file's value holds; the listing says where each came from."""
    path = tmp_path / "some.env"
    path.write_text("REDIS_PORT=1\nREDIS_DB=2\nREDIS_POOL_SIZE=3\nINSTANCE_ID=\n")
    environ = {"REDIS_PORT": "11", "REDIS_DB": "", "REDIS_POOL_SIZE": "  "}
    settings = Settings.from_environment(environ, dotenv=path)
    assert (settings.redis_port, settings.redis_db, settings.redis_pool_size) == (11, 2, 3)
    sources = {line.variable: line.source for line in settings.describe()}
    assert sources["REDIS_PORT"] == "environment"
    assert sources["REDIS_DB"] == ".env"
    assert sources["INSTANCE_ID"] == "default"
    assert sources["SQLITE_CACHE_PATH"] == "default"
    assert settings.dotenv_path == path


def test_a_listing_has_every_variable_and_what_it_does() -> None:
    """``openalgo-cache info`` prints it; what a program set is marked too."""
    settings = dataclasses.replace(read(REDIS_DB="3"), cache_backend="memory")
    listing = {line.variable: line for line in settings.describe()}
    assert list(listing) == [variable.name for variable in VARIABLES]
    assert all(line.help for line in listing.values())
    assert (listing["REDIS_DB"].value, listing["REDIS_DB"].source) == ("3", "environment")
    assert (listing["CACHE_BACKEND"].value, listing["CACHE_BACKEND"].source) == ("memory", "code")
    assert repr(settings) == "Settings(cache_backend='memory', redis_db='3')"


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    """A service whose working folder differs finds the same files."""
    (tmp_path / "app").mkdir()
    path = tmp_path / "app" / ".env"
    path.write_text(f"CACHE_KEY_FILE=keys/ring\nCACHE_AUDIT_LOG_PATH={tmp_path / 'audit.log'}\n")
    settings = Settings.from_environment({"SQLITE_CACHE_PATH": "data/cache"}, dotenv=path)
    assert settings.sqlite_cache_path == tmp_path / "app" / "data" / "cache"
    assert settings.cache_key_file == tmp_path / "app" / "keys" / "ring"
    assert settings.cache_audit_log_path == tmp_path / "audit.log"


def test_a_tilde_is_the_home_folder() -> None:
    """Shells expand it, .env readers don't."""
    assert read(SQLITE_CACHE_PATH="~/db/cache").sqlite_cache_path == Path.home() / "db" / "cache"


def test_dotenv_is_looked_for_in_the_current_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a parent folder belongs to somebody else."""
    (tmp_path / ".env").write_text("REDIS_DB=1\n")
    assert Settings.from_environment({}).redis_db == 1
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert Settings.from_environment({}).redis_db == 0


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    """The named file is read in place of .env, and has to exist."""
    (tmp_path / ".env").write_text("REDIS_DB=1\n")
    (tmp_path / "paper.env").write_text("REDIS_DB=2\n")
    assert Settings.from_environment({"OPENALGO_CACHE_ENV_FILE": "paper.env"}).redis_db == 2
    with pytest.raises(InvalidSettingsError, match=r"OPENALGO_CACHE_ENV_FILE=none.env cannot be read"):
        Settings.from_environment({"OPENALGO_CACHE_ENV_FILE": "none.env"})
    with pytest.raises(InvalidSettingsError, match="cannot be read"):
        Settings.from_environment({}, dotenv=tmp_path / "none.env")


def test_a_folder_called_dotenv_is_not_read(tmp_path: Path) -> None:
    """Virtual environments are sometimes made there."""
    (tmp_path / ".env").mkdir()
    assert Settings.from_environment({}).dotenv_path is None


def test_a_file_in_utf_16_is_refused(tmp_path: Path) -> None:
    """PowerShell's redirection writes it."""
    (tmp_path / ".env").write_bytes("REDIS_DB=1\n".encode("utf-16"))
    with pytest.raises(InvalidSettingsError, match="Save it as UTF-8"):
        Settings.from_environment({})


def test_doubtful_lines_of_the_file_are_warnings(tmp_path: Path) -> None:
    """A line that cannot be read, and a variable in a value, are named by place; neither content shows."""
    (tmp_path / ".env").write_text(f"# ours\nREDIS_DB 1 {SECRET}\nREDIS_PASSWORD=${{{SECRET}}}\n")
    settings = Settings.from_environment({})
    warnings = {finding.variable: finding for finding in settings.check()}
    assert set(warnings) == {".env:2", "REDIS_PASSWORD"}
    assert all(finding.severity == "warning" for finding in warnings.values())
    assert SECRET not in repr(warnings)


def test_nothing_changes_the_environment(tmp_path: Path) -> None:
    """Reading is all that happens, to the process and to the file."""
    path = tmp_path / ".env"
    path.write_text("REDIS_DB=1\n")
    before = dict(os.environ)
    configure_cache_environment()
    assert dict(os.environ) == before
    assert path.read_text() == "REDIS_DB=1\n"


def test_the_session_url_has_a_second_name() -> None:
    """SESSION_REDIS is read where SESSION_REDIS_URL is not set; both at once should agree."""
    settings = read(SESSION_TYPE="redis", SESSION_REDIS="redis://localhost:6379/1")
    assert settings.session_redis_url is not None
    assert settings.session_redis_url.db == 1
    both = read(SESSION_TYPE="redis", SESSION_REDIS="redis://localhost/1", SESSION_REDIS_URL="redis://localhost/2")
    assert both.session_redis_url is not None
    assert both.session_redis_url.db == 2
    assert [finding.variable for finding in both.check()] == ["SESSION_REDIS"]


@pytest.mark.parametrize(
    "name, meant",
    [
        ("REDIS_PASS", "REDIS_PASSWORD"),
        ("CACHE_BACKENDS", "CACHE_BACKEND"),
        ("redis_host", "REDIS_HOST"),
        ("SQLITE_PATH_CACHE", None),
        ("REDIS_SERVICE_HOST", None),
        ("REDIS_PORT_6379_TCP_ADDR", None),
        ("CACHE_TYPE", None),
        ("REDDIS_HOST", None),
    ],
)
def test_a_misspelt_variable_is_a_warning(name: str, meant: str | None) -> None:
    """Close relatives of our names are asked about; what Kubernetes and others set is left alone."""
    hints = [finding.fix for finding in read(**{name: "1"}).check() if finding.variable == name]
    assert hints == ([f"Did you mean {meant}?"] if meant else [])


# Rules over several variables


def test_several_instances_need_a_shared_backend_and_a_name() -> None:
    """SQLite is one machine's; without a name two instances could not be told apart."""
    found = faults(MULTI_INSTANCE_MODE="true", CACHE_BACKEND="sqlite")
    assert set(found) == {"CACHE_BACKEND", "INSTANCE_ID"}
    settings = read(MULTI_INSTANCE_MODE="true", CACHE_BACKEND="redis", INSTANCE_ID="i-1", SESSION_TYPE="redis")
    assert settings.check() == []


def test_several_instances_with_local_sessions_are_doubtful() -> None:
    """Users would be logged out when the balancer sends them elsewhere."""
    settings = read(MULTI_INSTANCE_MODE="true", CACHE_BACKEND="valkey", INSTANCE_ID="i-1")
    assert [(finding.variable, finding.severity) for finding in settings.check()] == [("SESSION_TYPE", "warning")]


def test_a_key_in_the_environment_needs_a_namespace_and_no_key_file() -> None:
    """The namespace otherwise comes from the key ring, and two keys cannot both count."""
    assert "CACHE_NAMESPACE" in faults(CACHE_ENCRYPTION_KEY=KEY_TEXT)["CACHE_ENCRYPTION_KEY"].problem
    found = faults(CACHE_ENCRYPTION_KEY=KEY_TEXT, CACHE_NAMESPACE="n", CACHE_KEY_FILE="ring")
    assert "CACHE_KEY_FILE" in found["CACHE_ENCRYPTION_KEY"].problem


def test_encryption_is_turned_off_loudly() -> None:
    """It is allowed, and said every time."""
    assert [finding.variable for finding in read(CACHE_ENCRYPTION_ENABLED="false").check()] == [
        "CACHE_ENCRYPTION_ENABLED"
    ]


def test_a_path_that_looks_like_a_database_is_doubtful() -> None:
    """The path is what file names begin with."""
    assert "cache.db_auth.db" in read(SQLITE_CACHE_PATH="db/cache.db").check()[0].problem


@pytest.mark.parametrize(
    "variables, variable",
    [
        ({"REDIS_HOST": "redis.internal"}, "REDIS_HOST"),
        ({"REDIS_HOST": "10.0.0.5", "CACHE_BACKEND": "redis"}, "REDIS_HOST"),
        ({"REDIS_URL": "redis://redis.internal"}, "REDIS_URL"),
        ({"VALKEY_HOST": "valkey.internal"}, "VALKEY_HOST"),
        ({"REDIS_SENTINELS": "mymaster@localhost,10.0.0.5"}, "REDIS_SENTINELS"),
    ],
)
def test_plain_text_to_another_machine_is_refused(variables: dict[str, str], variable: str) -> None:
    """The password would be readable on the way."""
    assert "PLAINTEXT_HOSTS" in faults(**variables)[variable].fix


@pytest.mark.parametrize(
    "variables",
    [
        {"REDIS_HOST": "127.0.0.2"},
        {"REDIS_HOST": "LOCALHOST"},
        {"REDIS_HOST": "::1"},
        {"REDIS_HOST": "redis.internal", "REDIS_TLS": "true"},
        {"REDIS_HOST": "Redis.internal", "REDIS_PLAINTEXT_HOSTS": "redis.INTERNAL"},
        {"REDIS_URL": "rediss://redis.internal"},
        {"REDIS_URL": "unix:///run/redis.sock"},
        {"REDIS_HOST": "redis.internal", "CACHE_BACKEND": "sqlite"},
        {"REDIS_HOST": "redis.internal", "CACHE_AUTO_CONFIGURE": "false"},
        {"VALKEY_HOST": "valkey.internal", "CACHE_BACKEND": "redis"},
    ],
)
def test_what_is_safe_or_not_used_is_accepted(variables: dict[str, str]) -> None:
    """This machine, TLS, a host that was allowed by name, and servers that nobody will ask."""
    assert read(**variables).check() == []


def test_certificates_are_checked_together(tmp_path: Path) -> None:
    """They need TLS, belong together, and have to exist."""
    pem = tmp_path / "some.pem"
    pem.write_text("")
    assert set(faults(REDIS_TLS_CA=str(pem))) == {"REDIS_TLS_CA"}
    assert set(faults(REDIS_TLS="true", REDIS_TLS_CERT=str(pem))) == {"REDIS_TLS_KEY"}
    assert set(faults(REDIS_TLS="true", REDIS_TLS_CA="none.pem")) == {"REDIS_TLS_CA"}
    settings = read(REDIS_TLS="true", REDIS_TLS_CA=str(pem), REDIS_TLS_CERT=str(pem), REDIS_TLS_KEY=str(pem))
    assert settings.check() == []


def test_a_cluster_excludes_sentinels_and_databases() -> None:
    """A cluster has database 0 alone, and finds its primaries itself."""
    found = faults(REDIS_CLUSTER="true", REDIS_SENTINELS="localhost", REDIS_DB="1")
    assert set(found) == {"REDIS_CLUSTER", "REDIS_DB"}
    assert set(faults(REDIS_CLUSTER="true", REDIS_URL="unix:///run/redis.sock")) == {"REDIS_CLUSTER"}


def test_tls_over_a_unix_socket_is_refused() -> None:
    """The socket never leaves the machine, and servers don't offer it."""
    assert set(faults(REDIS_URL="unix:///run/redis.sock", REDIS_TLS="true")) == {"REDIS_TLS"}


# Servers


def test_a_url_wins_over_the_variables_for_the_parts_that_it_has() -> None:
    """What the URL leaves out comes from its variable."""
    server = read(
        REDIS_URL="rediss://me:p%23w@127.0.0.1:6380",
        REDIS_HOST="localhost",
        REDIS_PORT="1",
        REDIS_DB="5",
        REDIS_PASSWORD="other",
    ).server("redis")
    assert (server.host, server.port, server.db, server.username, server.password, server.tls) == (
        "127.0.0.1",
        6380,
        5,
        "me",
        "p#w",
        True,
    )


def test_a_unix_socket_comes_by_url() -> None:
    """Its database stands in the query, as redis-py writes it."""
    server = read(REDIS_URL="unix://:pw@/run/redis.sock?db=2").server("redis")
    assert (server.unix_socket, server.db, server.password) == (Path("/run/redis.sock"), 2, "pw")
    assert server.address == str(Path("/run/redis.sock"))


def test_valkey_falls_back_to_redis_part_by_part() -> None:
    """A variable of Valkey's beats Redis's variable and its URL; the rest is shared."""
    settings = read(
        REDIS_URL="redis://:pw@127.0.0.1:6380/1", REDIS_POOL_SIZE="4", VALKEY_PORT="7000", VALKEY_TLS="true"
    )
    valkey, redis = settings.server("valkey"), settings.server("redis")
    assert (valkey.host, valkey.port, valkey.db, valkey.password, valkey.pool_size, valkey.tls) == (
        "127.0.0.1",
        7000,
        1,
        "pw",
        4,
        True,
    )
    assert (redis.port, redis.tls) == (6380, False)
    assert settings.valkey_host is None


def test_a_host_of_valkeys_own_is_not_redis_socket() -> None:
    """The socket of the other server is no part of the fallback then."""
    settings = read(REDIS_URL="unix:///run/redis.sock", VALKEY_HOST="localhost")
    assert settings.server("valkey").unix_socket is None
    assert settings.server("redis").unix_socket is not None


@pytest.mark.parametrize(
    "variables, configured",
    [
        ({}, False),
        ({"REDIS_HOST": "localhost", "REDIS_PORT": "6379", "REDIS_TIMEOUT": "1"}, False),
        ({"REDIS_PORT": "6380"}, True),
        ({"REDIS_PASSWORD": "pw"}, True),
        ({"REDIS_URL": "redis://127.0.0.1"}, True),
    ],
)
def test_a_server_is_configured_by_saying_more_than_the_defaults(variables: dict[str, str], configured: bool) -> None:
    """A copied example file says nothing about a server yet."""
    assert read(**variables).server("redis").configured is configured


def test_valkey_is_meant_where_its_own_variables_name_a_server() -> None:
    """A password of Valkey's names none."""
    assert preferred_server(read(VALKEY_PASSWORD="pw")) == "redis"
    assert preferred_server(read(VALKEY_HOST="localhost")) == "valkey"


# The settings of the process


def test_settings_are_read_once_and_again_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """``current_settings`` stays; ``configure_cache_environment`` reads anew and installs what it read."""
    monkeypatch.setenv("REDIS_DB", "1")
    first = current_settings()
    monkeypatch.setenv("REDIS_DB", "2")
    assert current_settings() is first
    second = configure_cache_environment()
    assert (first.redis_db, second.redis_db) == (1, 2)
    assert current_settings() is second


def test_a_failed_reading_leaves_the_older_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running process is not left without settings."""
    settings = install(Settings(redis_db=7))
    monkeypatch.setenv("REDIS_DB", "x")
    with pytest.raises(InvalidSettingsError):
        configure_cache_environment()
    assert current_settings() is settings


def test_settings_can_be_overridden_for_a_while() -> None:
    """Tests leave behind what they found, even nothing."""
    with override(Settings(redis_db=1)) as outer:
        with override(Settings(redis_db=2)):
            assert current_settings().redis_db == 2
        assert current_settings() is outer
    assert current_settings().redis_db == 0


def test_threads_that_read_first_get_the_same_settings() -> None:
    """Whoever comes first decides; nobody keeps settings of his own."""
    barrier = threading.Barrier(8)
    seen: list[Settings] = []

    def read_together() -> None:
        barrier.wait(timeout=30)
        seen.append(current_settings())

    threads = [threading.Thread(target=read_together) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(seen) == 8
    assert len({id(settings) for settings in seen}) == 1


def test_validation_returns_and_logs_warnings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without settings it reads the environment; a warning is a line in the log."""
    monkeypatch.setenv("CACHE_ENCRYPTION_ENABLED", "false")
    with caplog.at_level(logging.WARNING, logger="openalgo_cache"):
        findings = validate_cache_configuration()
    assert [finding.variable for finding in findings] == ["CACHE_ENCRYPTION_ENABLED"]
    assert [record.name for record in caplog.records] == ["openalgo_cache"]


def test_validation_raises_for_settings_that_a_program_made() -> None:
    """The rules hold for them too."""
    with pytest.raises(ValueError, match="INSTANCE_ID"):
        validate_cache_configuration(Settings(multi_instance_mode=True))


# Pages and weight


def test_the_example_file_says_what_holds_anyway(tmp_path: Path) -> None:
    """Copied as it is, it changes nothing, brings no warning, and has every variable."""
    (tmp_path / ".env").write_text(env_example(), encoding="utf-8")
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.check() == []
    names = {*parse_dotenv(env_example()).values, "CACHE_BACKEND"}
    assert names == {variable.name for variable in VARIABLES}
    assert "\n# CACHE_BACKEND=" in env_example()


def test_the_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """.env.example and docs/configuration.md are what the declarations give."""
    monkeypatch.chdir(ROOT)
    assert main(["check"]) == 0, capsys.readouterr().err


def test_stale_pages_are_found_and_the_example_is_renewed(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``check`` names the file and the command that renews it."""
    assert main(["check"]) == 1
    assert "settings write" in capsys.readouterr().err
    assert main(["write"]) == 0
    assert (empty_folder / ".env.example").read_text(encoding="utf-8") == env_example()
    assert main(["check"]) == 1
    assert ".env.example" not in capsys.readouterr().err
    assert main(["reference"]) == 0
    assert capsys.readouterr().out.strip() == markdown().strip()


def test_the_pages_do_not_promise_what_nothing_does() -> None:
    """A variable that no other module asks for is marked as having no effect, and one that acts is not.

    Whoever makes one act takes ``not_yet`` from its declaration.
    """
    sources = [path for path in (ROOT / "src").rglob("*.py") if "settings" not in path.parts]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    acting_by_rules = {
        "REDIS_URL",
        "REDIS_PLAINTEXT_HOSTS",
        "CACHE_AUDIT_LOG_PATH",
        "SESSION_REDIS_URL",
        "INSTANCE_NAME",
    }  # the settings themselves make something of these
    asked_in_vain = {"SYMBOL_CACHE_TTL"}  # the catalogue passes it on, and the view of the symbols expires nothing
    for variable in VARIABLES:
        if variable.twin or variable.name in acting_by_rules | asked_in_vain:
            continue
        name = variable.name.lower()
        asked = rf"\.{name}\b|\bserver\.{name.removeprefix('redis_')}\b"
        assert bool(re.search(asked, code)) is not bool(variable.not_yet), variable.name


def test_the_import_is_light() -> None:
    """The settings are read at every start: nothing slow comes along with them."""
    script = (
        "import sys, openalgo_cache; before = set(sys.modules)\n"
        "import openalgo_cache.settings; print(*set(sys.modules) - before)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    slow = {"argparse", "difflib", "importlib.metadata", "logging", "socket", "ssl", "urllib.request"}
    assert not slow & set(run.stdout.split())

"""Weak points 6, 7 and 18: what of a secret can be read in the store or its files, and who believes what is forged."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from openalgo_cache import CacheError
from openalgo_cache.codec.sealing import Unsealed
from tests.security.attack import Attack
from tests.security.subjects import OnFile, Subject

pytestmark = pytest.mark.server

API_KEY = "0123456789abcdef-plain-api-key"
KEYED_BY_SECRETS = {
    "broker": API_KEY,
    "api_keys_verified": "8a7e4c-hash-of-an-api-key",
    "strategy_webhook": "b8d2f1e0-token-of-a-webhook",
    "auth": "auth-ann.of.somewhere",
    "feed_token": "feed-ann.of.somewhere",
    "telegram_credentials": "creds_ann.of.somewhere",
}
HOLDING_SECRETS = ["feed_token", "api_keys_verified", "broker", "telegram_credentials", "whatsapp_sessions"]

PICKLES = {"admin": b"\x8c\x05admin.", True: b"\x88.", False: b"\x89."}
PACKED = {"admin": b"\xa5admin", True: b"\xc3", False: b"\xc2"}


def forgeries(stored: str, value: str | bool) -> Iterator[bytes]:
    """Yield records that say ``value``, as somebody makes them who knows every format and no key."""
    yield PICKLES[value]
    yield PACKED[value]
    yield Unsealed().seal(stored, PACKED[value], 1, 0.0, math.inf)
    yield b"\x7f\xf0" + bytes(6) + Unsealed().seal(stored, PACKED[value], 1, 0.0, math.inf)  # as on a server


@pytest.mark.attack("06", "a secret in a key's name")
@pytest.mark.parametrize("name", list(KEYED_BY_SECRETS))
def test_06_no_secret_in_a_key(anywhere: Subject, attack: Attack, name: str) -> None:
    """API keys, tokens of webhooks and names of users stand in no store in plain text."""
    key = KEYED_BY_SECRETS[name]
    anywhere.cache(name).set(key, "value")
    assert anywhere.cache(name).get(key) == "value"
    attack.tried(succeeded=key.encode() in anywhere.contents(), what=name)


@pytest.mark.attack("07", "a forged login")
def test_07_forged_login(anywhere: Subject, attack: Attack) -> None:
    """A row that says whose an API key is makes nobody the administrator."""
    cache = anywhere.cache("api_keys_verified")
    forge(anywhere, "api_keys_verified", "stranger", "admin", attack)
    assert cache.get("stranger") == ("admin" if anywhere.is_proposal else None)


@pytest.mark.attack("07", "paper trading turned into live trading")
def test_07_forged_mode(anywhere: Subject, attack: Attack) -> None:
    """``analyze_mode`` is no secret, but who can change it makes paper orders real."""
    anywhere.cache("settings").set("analyze_mode", True)
    forge(anywhere, "settings", "analyze_mode", False, attack)


def forge(subject: Subject, name: str, key: str, value: str | bool, attack: Attack) -> None:
    """Plant every forgery that the reader could take; the proposal takes its own format alone."""
    for number, record in enumerate(forgeries(f"openalgo:{name}:{key}", value)):
        if subject.is_proposal and number:
            break
        subject.plant(name, key, record)
        attack.tried(succeeded=subject.cache(name).get(key) is not None, what=record)


@pytest.mark.attack("07", "a secret that can be read in the store")
@pytest.mark.parametrize("name", HOLDING_SECRETS)
def test_07_no_secret_is_readable(anywhere: Subject, attack: Attack, name: str) -> None:
    """Not only what the proposal thought of is encrypted."""
    anywhere.cache(name).set("key", {"token": API_KEY})
    assert anywhere.cache(name).get("key") == {"token": API_KEY}
    attack.tried(succeeded=API_KEY.encode() in anywhere.contents(), what=name)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes of files")
@pytest.mark.attack("18", "a file that others may read")
def test_18_files_are_private(usual_umask: None, subject: Subject, attack: Attack) -> None:
    """The log and its index as well as the file, whatever the umask."""
    assert isinstance(subject, OnFile)
    subject.cache("auth").set("key", "value")
    subject.cache("quotes").set("key", "value")
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in subject.db.iterdir()}
    assert {"cache_auth.db", "cache_auth.db-wal", "cache_auth.db-shm"} <= set(names)
    attack.tried(succeeded=any(mode & 0o077 for mode in names.values()), what=names)


@pytest.mark.attack("18", "what was deleted, in free pages and the log")
def test_18_no_deleted_secret_is_left(subject: Subject, attack: Attack) -> None:
    """What is deleted leaves ciphertext behind at most, also where SQLite does not overwrite it (secure_delete)."""
    assert isinstance(subject, OnFile)
    cache = subject.cache("feed_token")
    for number in range(200):
        cache.set(f"user {number}", API_KEY * 10)
    for number in range(200):
        cache.delete(f"user {number}")
    assert cache.size() == 0
    attack.tried(succeeded=API_KEY.encode() in subject.contents())


@pytest.mark.attack("18", "a cache name that leads out of the folder")
@pytest.mark.parametrize(
    "who, name",
    [
        ("proposal", "x/../../../out"),
        *(
            ("ours", name)
            for name in ("x/../../../out", "../out", "..", "a\0b", "/tmp/out", "C:\\out", "a\\b", "\xe4", "")
        ),
    ],
)
def test_18_no_name_leaves_the_folder(tmp_path: Path, attack: Attack, who: str, name: str) -> None:
    """A cache's name is the name of one file, and nothing else."""
    with closing(OnFile(who, tmp_path)) as subject:
        (subject.db / "cache_x").mkdir()  # for the proposal's file names to lead through
        with suppress(CacheError):
            subject.cache(name).set("key", "value")
        outside = [path for path in tmp_path.rglob("*.db") if path.parent != subject.db]
        attack.tried(succeeded=bool(outside), what=name)

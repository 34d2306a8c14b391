"""`keys list`, `create`, `add`, `activate` and `verify`: what they do to the ring, refuse, and never show."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.ringfile import RingFile
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from tests.cli.conftest import Run, tree
from tests.servers.process import ServerProcess

FERNET_KEY = base64.urlsafe_b64encode(bytes(range(100, 132))).decode()


def ring_of(folder: Path) -> KeyRing:
    """Return the ring in a folder."""
    return RingFile(folder / "db" / ".cache_key").load()


def events(folder: Path) -> list[tuple[str, str]]:
    """Return operations and details of the audit log."""
    lines = [line for path in sorted((folder / "db").glob("*.log")) for line in path.read_text().splitlines()]
    said = [json.loads(line) for line in lines]
    return [(one["operation"], one.get("detail") or "") for one in said if str(one.get("operation")).startswith("KEY_")]


# One host


def test_a_key_is_added_activated_and_listed(run: Run, folder: Path) -> None:
    """Decrypt-only first, then active; what the first one sealed is still there, and all of it is audited."""
    run("set", "quotes", "a", "1")
    first = ring_of(folder).active.id
    added = run("keys", "add", "--json").json
    assert [key["state"] for key in added["keys"]] == ["active", "decrypt-only"]
    assert added["in_effect"]
    second = added["key"]
    assert ring_of(folder).active.id == first
    run("set", "quotes", "b", "2")
    assert run("keys", "activate", second).code == 0
    run("set", "quotes", "c", "3")
    listed = run("keys", "list", "--json").json
    assert [(key["id"], key["state"]) for key in listed["keys"]] == [
        (f"{first:08x}", "decrypt-only"),
        (second, "active"),
    ]
    assert (listed["holders"], listed["holders_problem"]) == ([], None)
    assert [run("get", "quotes", key).code for key in "abc"] == [0, 0, 0]
    verified = run("keys", "verify", "--cache", "quotes", "--json").json
    assert verified["caches"][0] == {
        "name": "quotes", "records": 3, "by_key": {f"{first:08x}": 2, second: 1}, "unknown": {}, "unverifiable": 0,
    }  # fmt: skip
    assert verified["problems"] == []
    assert events(folder) == [("KEY_ADD", f"key {second}"), ("KEY_ACTIVATE", f"key {second}")]


def test_no_command_shows_a_secret(run: Run, folder: Path) -> None:
    """Neither in tables nor as JSON, nor in the audit log."""
    run("set", "quotes", "a", "1")
    said = "".join(
        run(*command, *form).out
        for command in (["keys", "add"], ["keys", "list"], ["keys", "verify"], ["keys", "create", "--output", "x"])
        for form in ([], ["--json"])
    )
    said += "".join(path.read_text() for path in (folder / "db").glob("*.log"))
    content = json.loads((folder / "db" / ".cache_key").read_bytes())
    for secret in (content["root"], *(key["secret"] for key in content["keys"])):
        assert secret not in said
        assert base64.b64decode(secret).hex() not in said


def test_looking_leaves_no_trace(run: Run, folder: Path) -> None:
    """Without a ring `list` says so, and `verify` that there is nothing; none is made."""
    before = tree(folder)
    assert run("keys", "list").code == 1
    assert run("keys", "verify").code == 3
    assert run("keys", "add").code == 3
    assert run("keys", "activate", "00000001").code == 3
    assert tree(folder) == before


@pytest.mark.parametrize("text", ["", "1", "x" * 8, "123456789", "0x123456", "-1234567"])
def test_what_is_no_key_id_is_refused(run: Run, text: str) -> None:
    """As a mistake on the command line."""
    run("set", "quotes", "a", "1")
    ran = run("keys", "activate", "--", text)
    assert ran.code == 2
    assert "eight hexadecimal digits" in ran.err


def test_a_lost_ring_is_given_up_on_purpose_only(run: Run, folder: Path) -> None:
    """What needs the ring that is gone is named, and asked about; with --json nobody is asked."""
    run("set", "quotes", "a", "1")
    path = folder / "db" / ".cache_key"
    old = path.read_bytes()
    path.unlink()
    assert "cache_quotes.db" in run("keys", "create", stdin="n\n").err
    assert run("keys", "create", "--json").error["type"] == "UsageError"
    assert not path.exists()
    made = run("keys", "create", "--yes")
    assert made.code == 0
    assert path.read_bytes() != old
    assert run("keys", "create", "--yes").code == 2, "never over another one"
    verified = run("keys", "verify", "--cache", "quotes")
    assert verified.code == 6
    assert "this ring does not have" in " ".join(verified.out.split())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_verify_says_what_is_wrong(run: Run, folder: Path) -> None:
    """A file that others can read, a damaged one, a record that is none: each is found, and nothing is changed."""
    run("set", "quotes", "a", "1")
    path = folder / "db" / ".cache_key"
    content = path.read_bytes()
    path.chmod(0o644)
    assert "chmod 600" in str(run("keys", "verify", "--json").json["problems"])
    path.chmod(0o600)
    path.write_bytes(content[:50])
    assert "damaged" in str(run("keys", "verify", "--json").json["problems"])
    path.write_bytes(content)
    with closing(CacheManager(Settings.from_environment())) as house:
        backend = house.get_cache("quotes").backend
        entry = backend.get("openalgo:quotes:a")
        assert entry is not None
        backend.set("openalgo:quotes:b", entry)  # moved
        backend.set("openalgo:quotes:c", entry._replace(payload=b"nothing of ours"))
    verified = run("keys", "verify", "--json")
    assert verified.code == 6
    (quotes,) = [one for one in verified.json["caches"] if one["name"] == "quotes"]
    assert (quotes["records"], quotes["unverifiable"]) == (3, 2)


# Where the ring cannot be changed


def test_a_single_key_in_the_environment(run: Run, folder: Path) -> None:
    """It is listed; to add one takes a file, which goes on with it."""
    environment = {"CACHE_ENCRYPTION_KEY": FERNET_KEY, "CACHE_NAMESPACE": "desk"}
    run("set", "quotes", "a", "1", **environment)
    listed = run("keys", "list", "--json", **environment).json
    assert (listed["path"], len(listed["keys"]), listed["keys"][0]["created_at"]) == (None, 1, None)
    refused = run("keys", "add", **environment)
    assert refused.code == 2
    assert "CACHE_KEY_FILE" in refused.err
    written = run("keys", "add", "--output", "new.ring", "--json", **environment).json
    assert not written["in_effect"]
    moved_on = {"CACHE_KEY_FILE": str(folder / "new.ring"), "CACHE_NAMESPACE": "desk"}
    listed_now = run("keys", "list", "--json", **moved_on).json
    assert listed_now["fingerprint"] == listed["fingerprint"]
    assert [key["id"] for key in listed_now["keys"]] == [listed["keys"][0]["id"], written["key"]]
    assert run("keys", "activate", written["key"], **moved_on).code == 0
    assert run("get", "quotes", "a", **moved_on).code == 0
    if sys.platform != "win32":
        assert stat.S_IMODE((folder / "new.ring").stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs a file of root's")
def test_a_secret_managers_file(run: Run, folder: Path) -> None:
    """It is not changed from here; the error says how to get its new content, which nothing overwrites."""
    path = folder / "secret"
    path.touch(mode=0o600)
    path.write_text(FERNET_KEY)
    path.chmod(0o440)
    environment = {"CACHE_KEY_FILE": str(path)}
    refused = run("keys", "add", **environment)
    assert refused.code == 3
    assert "--output FILE" in refused.err
    assert path.read_text() == FERNET_KEY
    assert run("keys", "add", "--output", "new.ring", **environment).code == 0
    assert run("keys", "add", "--output", "new.ring", **environment).code == 2
    assert len(RingFile(folder / "new.ring").load().keys) == 2


# Several instances


@pytest.fixture
def shared(redis_server: ServerProcess, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The settings of an instance on a server, with a folder and a ring file of its own."""
    prefix = f"t{os.getpid()}-{tmp_path.name}"

    def settings(name: str, **more: Any) -> dict[str, Any]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return {
            **redis_server.settings(), "cache_backend": "redis", "redis_key_prefix": prefix, "instance_id": name,
            "multi_instance_mode": True, "base_folder": folder,
            "sqlite_cache_path": folder / "db" / "cache", **more,
        }  # fmt: skip

    return settings


@pytest.mark.server
def test_nobody_seals_with_a_key_that_another_instance_lacks(
    run: Run, shared: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """`activate` names who lacks it; when its file has come there, it goes through. The others are seen in the list."""
    for name in ("one", "two"):
        (tmp_path / name / "db").mkdir(parents=True, mode=0o700)
    file = RingFile(tmp_path / "one" / "db" / ".cache_key")
    file.load_or_create()
    elsewhere = tmp_path / "two" / "db" / ".cache_key"
    elsewhere.touch(mode=0o600)
    elsewhere.write_bytes(file.path.read_bytes())
    here = shared("one")
    environment = {
        name.upper(): str(value) for name, value in here.items() if name not in {"base_folder", "multi_instance_mode"}
    }
    with closing(CacheManager(Settings(**shared("two")))) as two:
        two.get_cache("auth").set("k", "v")
        new = run("keys", "add", "--json", **environment).json["key"]
        refused = run("keys", "activate", new, **environment)
        assert refused.code == 2
        assert "not yet held by two" in " ".join(refused.err.split())
        verified = run("keys", "verify", "--json", **environment)
        assert any("two does not hold" in problem for problem in verified.json["problems"])
        elsewhere.write_bytes(file.path.read_bytes())
        two.live_ring().tick()
        holders = two.census.holders("redis")
        assert holders is not None
        holders.tick()
        listed = run("keys", "list", "--json", **environment).json
        assert [(one["instance"], new in one["keys"]) for one in listed["holders"]] == [("two", True)]
        assert run("keys", "activate", new, **environment).code == 0
        assert two.get_cache("auth").get("k") == "v"


@pytest.mark.server
def test_a_server_that_is_away_can_tell_nothing(run: Run, tmp_path: Path) -> None:
    """Then it takes --force."""
    environment = {"CACHE_BACKEND": "redis", "REDIS_PORT": "1"}
    assert run("keys", "create", **environment).code == 0
    new = run("keys", "add", "--json", **environment).json["key"]
    refused = run("keys", "activate", new, **environment)
    assert refused.code == 2
    assert "--force" in refused.err
    assert run("keys", "activate", new, "--force", **environment).code == 0

"""Yesterday's files under another key ring, or none: nothing is lost or served, and the right ring reads it all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from openalgo_cache import CacheManager, files
from openalgo_cache.backends.sqlite import SQLiteBackend
from openalgo_cache.codec.keyring import ACTIVE, DECRYPT_ONLY, Key, KeyRing
from openalgo_cache.codec.ringfile import FILE_NAME, RingFile
from openalgo_cache.errors import KeyRingError, UnreadableRecordError
from openalgo_cache.sentinels import MISSING
from tests.stacks import manager

CACHES: dict[str, dict[str, Any]] = {
    "quotes": {},  # signed
    "user_strategies": {},  # encrypted
    "auth": {},  # encrypted, with blinded keys
    "hidden": {"blinded": True},  # signed, with blinded keys
}
STATES = ("running_strategies", "strategy_configs")
KEYS = ("user_1", "user_2", "M&M")


def ring_file(folder: Path) -> Path:
    """Return where the key ring lies."""
    return folder / "db" / FILE_NAME


def replace_ring(folder: Path, ring: KeyRing) -> None:
    """Put another ring in the place of the old one."""
    files.replace_private(ring_file(folder), ring.to_json())


def rows(folder: Path) -> dict[str, list[Any]]:
    """Return every row of every cache file."""
    found = {}
    for path in sorted((folder / "db").glob("cache_*.db")):
        if any(part in path.name for part in (".recency", ".backup", "audit_heads")):
            continue
        with closing(apsw.Connection(str(path))) as connection:
            found[path.name] = connection.execute("SELECT * FROM cache ORDER BY key").fetchall()
    return found


def write_all(house: CacheManager) -> None:
    """Write to every cache and state."""
    for name, options in CACHES.items():
        house.get_cache(name, **options).set_many({key: f"{name} {key}" for key in KEYS})
    for name in STATES:
        house.get_cache(name).set_many({key: f"{name} {key}" for key in KEYS})


def reads_all(house: CacheManager) -> bool:
    """Return whether everything can be read."""
    return all(
        house.get_cache(name, **options).get(key) == f"{name} {key}"
        for name, options in [*CACHES.items(), *((name, {}) for name in STATES)]
        for key in KEYS
    )


def upkeep(house: CacheManager) -> None:
    """Do what happens in the background from time to time."""
    for name, options in [*CACHES.items(), *((name, {}) for name in STATES)]:
        backend = house.get_cache(name, **options).backend
        assert isinstance(backend, SQLiteBackend)
        backend.maintain()


def other_ring(folder: Path) -> None:
    """Another installation's ring is there."""
    replace_ring(folder, KeyRing.generate())


def new_ring(folder: Path) -> None:
    """The ring was lost, and somebody has made a new one."""
    ring_file(folder).unlink()
    RingFile(ring_file(folder)).load_or_create()


def single_key(folder: Path) -> None:
    """A single key is there."""
    files.replace_private(ring_file(folder), b"A" * 43 + b"=")


@pytest.mark.parametrize("switch", [other_ring, new_ring, single_key])
def test_another_ring_on_yesterdays_files(tmp_path: Path, switch: Callable[[Path], None]) -> None:
    """Caches miss, states raise, no row is touched; with the right ring everything is there again."""
    with closing(manager(tmp_path)) as yesterday:
        write_all(yesterday)
    right = ring_file(tmp_path).read_bytes()
    before = rows(tmp_path)
    switch(tmp_path)
    with closing(manager(tmp_path)) as today:
        for name, options in CACHES.items():
            cache = today.get_cache(name, **options)
            assert [cache.get(key, MISSING) for key in KEYS] == [MISSING] * len(KEYS)
            assert cache.get_many(KEYS) == {}
            assert not any(cache.exists(key) for key in KEYS)
            if not cache.policy.blinded:
                assert list(cache.items()) == []
                assert cache.stats()["rejected"] > 0
            assert cache.size() == len(KEYS)
        for name in STATES:
            state = today.get_cache(name)
            for key in KEYS:
                with pytest.raises(UnreadableRecordError, match="not in the key ring; the record is kept"):
                    state.get(key)
                with pytest.raises(UnreadableRecordError):
                    state.add(key, "new")
                with pytest.raises(UnreadableRecordError):
                    state.incr(key)
            with pytest.raises(UnreadableRecordError):
                state.get_many(KEYS)
            with pytest.raises(UnreadableRecordError):
                list(state.items())
        upkeep(today)
        assert rows(tmp_path) == before
    ring_file(tmp_path).unlink()
    files.write_private_new(ring_file(tmp_path), right)
    with closing(manager(tmp_path)) as again:
        assert reads_all(again)
    assert rows(tmp_path) == before


@pytest.mark.parametrize("content", [None, b"", b"{}", b"no key ring"])
def test_an_unusable_ring_on_yesterdays_files(tmp_path: Path, content: bytes | None) -> None:
    """None is made: caches miss, state raises, nothing is written, above all nothing unsealed, until it is back."""
    with closing(manager(tmp_path)) as yesterday:
        write_all(yesterday)
    right = ring_file(tmp_path).read_bytes()
    before = rows(tmp_path)
    if content is None:
        ring_file(tmp_path).unlink()
    else:
        ring_file(tmp_path).write_bytes(content)
    with closing(manager(tmp_path)) as today:
        for name, options in CACHES.items():
            cache = today.get_cache(name, **options)
            cache.set("user_1", "unsealed")
            assert cache.get("user_1") is None
            assert cache.health()["status"] == "unavailable"
        for name in STATES:
            with pytest.raises(KeyRingError, match="restore it"):
                today.get_cache(name).get("user_1")
            with pytest.raises(KeyRingError):
                today.get_cache(name).set("user_1", "unsealed")
        assert rows(tmp_path) == before
        there = ring_file(tmp_path).read_bytes() if ring_file(tmp_path).exists() else None
        assert there == content, "a ring is never replaced on its own"
        ring_file(tmp_path).touch(mode=0o600)
        ring_file(tmp_path).write_bytes(right)
        for name, options in CACHES.items():
            assert today.get_cache(name, **options).get("user_1") is None, "whoever asks first finds the ring"
        assert reads_all(today)


def test_a_ring_with_a_new_active_key(tmp_path: Path) -> None:
    """What the older key sealed is read on; what is written now names the new key."""
    with closing(manager(tmp_path)) as yesterday:
        write_all(yesterday)
    old = RingFile(ring_file(tmp_path)).load()
    first = Key(old.active.id, DECRYPT_ONLY, old.active.created_at, old.active.secret)
    second = Key(old.active.id ^ 1 or 2, ACTIVE, 0.0, bytes(range(32)))
    replace_ring(tmp_path, KeyRing(old.id, old._root, [first, second]))
    with closing(manager(tmp_path)) as today:
        assert reads_all(today)
        cache = today.get_cache("quotes")
        cache.set("new", 1)
        assert cache.get("new") == 1
        entry = cache.backend.get(cache._opened().keyspace.stored("new"))
        assert entry is not None
        assert int.from_bytes(entry.payload[24:28], "big") == second.id


def test_two_processes_with_different_rings_harm_nobody(tmp_path: Path) -> None:
    """One that was started with the wrong ring misses; the other one's entries stay."""
    with closing(manager(tmp_path)) as right:
        write_all(right)
        content = ring_file(tmp_path).read_bytes()
        other_ring(tmp_path)
        with closing(manager(tmp_path)) as wrong:
            for name, options in CACHES.items():
                cache = wrong.get_cache(name, **options)
                assert [cache.get(key) for key in KEYS] == [None] * len(KEYS)
                assert cache.get_or_set("wrong's own", lambda: 1) == 1
            assert reads_all(right)
            files.replace_private(ring_file(tmp_path), content)
            assert right.get_cache("quotes").get("wrong's own") is None
        assert reads_all(right)

"""The sweep: every record of an old key is sealed anew, and nothing else of it changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import CacheManager, Settings, register
from openalgo_cache.audit import Event
from openalgo_cache.backends.base import Entry
from openalgo_cache.backends.sqlite.backup import Backups
from openalgo_cache.codec.envelope import MAC, parse_extras, parse_head
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.codec.resealing import Resealer
from openalgo_cache.codec.sealing import RingSeal
from openalgo_cache.errors import BackendUnavailableError, ConfigurationError
from openalgo_cache.keys import owner
from openalgo_cache.rotation.cachefiles import cache_files
from openalgo_cache.rotation.places import Place, servers
from openalgo_cache.rotation.sweep import Sweep
from openalgo_cache.rotation.tally import needing, unreadable
from openalgo_cache.selection import Choice
from openalgo_cache.testing.clock import FakeClock
from tests.rotation.rings import add_active, keys_in, no_rest, raw, ring_file, sweep
from tests.servers.process import ServerProcess
from tests.stacks import manager
from tests.symbols.samples import ROWS, csv_of

Make = Callable[..., CacheManager]


class Side(Enum):
    """A class that only the application knows."""

    BUY = 1


@dataclass
class Order:
    """Another one."""

    symbol: str
    side: Side


def application_types() -> None:
    """Register the application's classes."""
    register(Side, "tests.Side")
    register(Order, "tests.Order")


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.server)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make managers of one installation."""
    variables: dict[str, Any] = {}
    if request.param == "redis":
        server: ServerProcess = request.getfixturevalue("redis_server")
        prefix = f"t{tmp_path.name[-20:]}-{id(tmp_path)}"
        variables = {**server.settings(), "redis_key_prefix": prefix}

    def make_manager(**more: Any) -> CacheManager:
        return CacheManager(Settings(base_folder=tmp_path, cache_backend=request.param, **{**variables, **more}))

    return make_manager


def fill(caches: CacheManager) -> None:
    """Store something of every kind."""
    caches.get_cache("settings").set("theme", "dark")
    caches.get_cache("settings").set("long", "x" * 5_000, ttl=3_600)  # compressed
    caches.get_cache("auth").set("user_123", "s3cret-t0ken", ttl=300, tags=("user:123",))
    caches.get_cache("running_strategies").set("s1", {"legs": [1, 2]})
    caches.get_cache("quotes", stale_for=600).set("M&M|NSE", 1.5, ttl=60)
    caches.get_cache("orders", encrypted=True, blinded=True).set("key", Order("SBIN", Side.BUY))
    caches.get_cache("quotes").lock("rebuild", ttl=300).__enter__()
    caches.get_cache("sessions", encrypted=True, blinded=True).set("a" * 43, {"user": "me"})


def check(caches: CacheManager) -> None:
    """See what ``fill`` stored."""
    assert caches.get_cache("settings").get("theme") == "dark"
    assert caches.get_cache("settings").get("long") == "x" * 5_000
    assert caches.get_cache("auth").get("user_123") == "s3cret-t0ken"
    assert caches.get_cache("running_strategies").get("s1") == {"legs": [1, 2]}
    assert caches.get_cache("quotes").get("M&M|NSE") == 1.5
    assert caches.get_cache("orders", encrypted=True, blinded=True).get("key") == Order("SBIN", Side.BUY)
    assert caches.get_cache("sessions", encrypted=True, blinded=True).get("a" * 43) == {"user": "me"}


def parts(ring: KeyRing, stored: str, record: bytes) -> tuple[Any, ...]:
    """Return all that a record says, apart from how it is sealed."""
    head = parse_head(record)
    namespace, cache = owner(stored) or (None, "")
    body, _, _ = RingSeal(ring, namespace or ring.id, cache, head.mode).open(stored, record)
    return head.mode, head.codec, head.flags, head.created_at, head.expires_at, parse_extras(record, head), body


def test_everything_is_sealed_anew_and_nothing_else_changes(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caches of the catalogue and others, locks, sessions, tags, other namespaces; nothing is decoded on the way."""
    application_types()
    with closing(make()) as one, closing(make(cache_namespace="desk.2")) as other:
        fill(one)
        fill(other)
        before = raw(one)
    old, new = add_active(tmp_path)
    with closing(make()) as sweeper:
        assert keys_in(sweeper) == {old: len(before)}
        monkeypatch.setattr("openalgo_cache.codec.codec.unpack", None)
        monkeypatch.setattr("openalgo_cache.codec.codec.loads", None)
        tallies = sweep(sweeper)
        monkeypatch.undo()
        after = raw(sweeper)
        assert keys_in(sweeper) == {new: len(before)}
        assert sum(tally.resealed for tally in tallies) == len(before) == needing(tallies, [new])
        assert {tally.cache for tally in tallies} == {
            name + at
            for at in ("", "@desk.2")
            for name in (
                "settings", "auth", "running_strategies", "quotes", "orders", "quotes.locks", "sessions"
            )
        }  # fmt: skip
        ring = ring_file(tmp_path).load()
        for at, (record, expires_at) in before.items():
            resealed, expires_again = after[at]
            assert expires_again == expires_at
            assert parts(ring, at[1], resealed) == parts(ring, at[1], record)
        again = sweep(sweeper)
        assert (sum(tally.resealed for tally in again), raw(sweeper)) == (0, after)
    ring_file(tmp_path).update(lambda ring: ring.without(old))
    with closing(make()) as one, closing(make(cache_namespace="desk.2")) as other:
        for caches in (one, other):
            check(caches)
            caches.get_cache("auth").clear(tag="user:123")
            assert caches.get_cache("auth").get("user_123") is None


def test_what_cannot_be_verified_or_belongs_to_others_is_counted_and_left_alone(make: Make, tmp_path: Path) -> None:
    """Rubbish, records that were moved or damaged, and those of other key rings."""
    with closing(make()) as caches:
        cache = caches.get_cache("settings")
        cache.set("good", 1)
        stack = cache._opened()
        keyspace, backend = stack.keyspace, stack.backend
        record = backend.get(keyspace.stored("good"))
        assert record is not None
        backend.set(keyspace.stored("moved"), record)
        backend.set(keyspace.stored("harmed"), Entry(record.payload[:-1] + b"!", None))
        backend.set(keyspace.stored("rubbish"), Entry(b"rubbish", None))
        foreign = RingSeal(KeyRing.generate(), "elsewhere", "settings", MAC)
        backend.set(
            keyspace.stored("foreign"), Entry(foreign.seal(keyspace.stored("foreign"), b"x", 1, 0.0, 9e9), None)
        )
    old, new = add_active(tmp_path)
    with closing(make()) as caches:
        before = raw(caches)
        (tally,) = sweep(caches)
        assert (tally.resealed, tally.needs, tally.unreadable, tally.foreign) == (1, {new: 1}, {old: 2}, 2)
        assert unreadable([tally], [old]) == 2
        after = raw(caches)
        assert {at for at in before if before[at] != after[at]} == {
            at for at in before if at[1] == keyspace.stored("good")
        }
        (counted,) = sweep(caches, counts_only=True)
        assert (counted.needs, counted.unreadable, counted.foreign) == ({new: 1}, {old: 2}, 2)


def test_a_value_of_any_size_is_sealed_anew(make: Make, tmp_path: Path) -> None:
    """How large values may be is the application's setting, which whoever rotates need not have."""
    large = "x" * (2 << 20)
    with closing(make(cache_max_value_bytes=4 << 20)) as caches:
        caches.get_cache("tokens", encrypted=True).set("large", large)
    old, new = add_active(tmp_path)
    with closing(make()) as sweeper:
        sweep(sweeper)
        assert keys_in(sweeper) == {new: 1}
    ring_file(tmp_path).update(lambda ring: ring.without(old))
    with closing(make(cache_max_value_bytes=4 << 20)) as caches:
        assert caches.get_cache("tokens", encrypted=True).get("large") == large


def test_a_lease_is_left_to_the_loader(make: Make, tmp_path: Path) -> None:
    """It is counted, and what its loader brings is stored as if nothing had happened."""
    with closing(make()) as caches, closing(make()) as sweeper:
        cache = caches.get_cache("quotes")

        def load() -> int:
            old, _ = add_active(tmp_path)
            (tally,) = sweep(sweeper)
            assert (tally.resealed, tally.needs) == (0, {old: 1})
            return 7

        assert cache.get_or_set("key", load, ttl=60) == 7
        assert cache.get("key") == 7
        assert len(raw(sweeper)) == 1


def test_a_newer_write_stays_and_what_was_deleted_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep exchanges only what it looked at; what came between is looked at again."""
    with closing(manager(tmp_path)) as caches:
        cache = caches.get_cache("settings")
        cache.set_many({"kept": 1, "written": 1, "deleted": 1})
        _, new = add_active(tmp_path)
        ring = ring_file(tmp_path).load()
        listed = list(cache.backend.scan())  # type: ignore[attr-defined]
        cache.set("written", 2)
        cache.delete("deleted")
        monkeypatch.setattr(cache.backend, "scan", lambda _prefix: iter(listed))
        (tally,) = Sweep(ring, Resealer(ring), rest=no_rest).run([Place("a file", cache.backend)])
        assert (tally.resealed, tally.needs) == (2, {new: 2})
    with closing(manager(tmp_path)) as caches:
        assert dict(caches.get_cache("settings").items()) == {"kept": 1, "written": 2}


def test_a_key_that_changes_all_the_time_is_left_to_the_next_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted as what it is, and nobody waits for it."""
    with closing(manager(tmp_path)) as caches:
        cache = caches.get_cache("settings")
        cache.set("hot", 1)
        old, _ = add_active(tmp_path)
        ring = ring_file(tmp_path).load()
        monkeypatch.setattr(cache.backend, "compare_and_set", lambda *_: False)
        (tally,) = Sweep(ring, Resealer(ring), rest=no_rest).run([Place("a file", cache.backend)])
        assert (tally.resealed, tally.needs) == (0, {old: 1})


def test_backups_are_sealed_anew_with_their_history(tmp_path: Path) -> None:
    """Each keeps what it held; a state that is lost comes back from one after the old key was retired."""
    clock = FakeClock()
    with closing(manager(tmp_path, clock)) as caches:
        cache = caches.get_cache("running_strategies")
        for day in range(3):
            cache.set("s1", day)
            cache.backend.maintain()  # type: ignore[attr-defined]
            clock.advance(86_400)
        cache.set("s1", "today")
    database = tmp_path / "db" / "cache_running_strategies.db"
    backups = Backups(database, lambda _stored, _record: True).existing()
    assert len(backups) == 3
    old, new = add_active(tmp_path)
    with closing(manager(tmp_path, clock)) as caches:
        (live, saved) = sweep(caches)
        assert (live.place, live.resealed, saved.place, saved.resealed) == (
            "cache_running_strategies.db",
            1,
            "backups of cache_running_strategies.db",
            3,
        )
        assert keys_in(caches) == {new: 4}
        assert [path.stat().st_mode & 0o777 for path in backups] == [0o600] * 3
        unchanged = [path.stat().st_ino for path in backups]
        sweep(caches)
        assert [path.stat().st_ino for path in backups] == unchanged
    ring_file(tmp_path).update(lambda ring: ring.without(old))
    database.write_bytes(b"harmed" * 1_000)
    with closing(manager(tmp_path, clock)) as caches:
        assert caches.get_cache("running_strategies").get("s1") == 2


def test_a_backup_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Whether it needs an old key cannot be told."""
    with closing(manager(tmp_path)) as caches:
        cache = caches.get_cache("running_strategies")
        cache.set("s1", 1)
        cache.backend.maintain()  # type: ignore[attr-defined]
        (backup,) = Backups(tmp_path / "db" / "cache_running_strategies.db", lambda _s, _r: True).existing()
        backup.write_bytes(b"harmed")
        with pytest.raises(BackendUnavailableError, match=backup.name):
            sweep(caches)


def test_what_expired_is_passed_over(tmp_path: Path) -> None:
    """Nobody can read it with any key."""
    clock = FakeClock()
    with closing(manager(tmp_path, clock)) as caches:
        caches.get_cache("settings").set_many({"a": 1, "b": 2}, ttl=10)
        caches.get_cache("settings").set("c", 3, ttl=100)
        clock.advance(50)
        _, new = add_active(tmp_path)
        (tally,) = sweep(caches)
        assert (tally.resealed, tally.needs) == (1, {new: 1})


def test_which_files_are_caches(tmp_path: Path) -> None:
    """All beside the ring that are ours, of every namespace; not what lies beside a cache, nor other programs'."""
    names = ("quotes", "symbols2")
    with closing(manager(tmp_path)) as one, closing(manager(tmp_path, cache_namespace="x.y")) as other:
        for caches in (one, other):
            for name in names:
                caches.get_cache(name).set("key", 1)
            caches.get_cache("quotes").lock("name").__enter__()
            caches.get_cache("quotes").backend.maintain()  # type: ignore[attr-defined]  # flushes what was read when
        (tmp_path / "master.csv").write_text(csv_of(ROWS), encoding="utf-8")
        one.symbols(background=False).import_master(tmp_path / "master.csv")
    with closing(manager(tmp_path, sqlite_cache_path=tmp_path / "db" / "second")) as third:
        third.get_cache("quotes").set("key", 1)
    folder = tmp_path / "db"
    (folder / "openalgo.db").write_bytes(b"another program's")
    (folder / "cache_new.db").touch()
    (folder / "cache_quotes.damaged-1.db").write_bytes((folder / "cache_quotes.db").read_bytes())
    with closing(manager(tmp_path)) as caches:
        assert [one.path.name for one in cache_files(caches)] == [
            "cache_quotes.db", "cache_quotes.locks.db", "cache_quotes.locks@x%2Ey.db", "cache_quotes@x%2Ey.db",
            "cache_symbols2.db", "cache_symbols2@x%2Ey.db", "second_quotes.db",
        ]  # fmt: skip
        (folder / "cache_settings.db").write_bytes(b"damaged")
        with pytest.raises(BackendUnavailableError, match=r"cache_settings.db is no cache file, or a damaged one"):
            cache_files(caches)


def test_a_server_under_two_names_is_one(tmp_path: Path) -> None:
    """Valkey's variables fall back to Redis's; and sessions may be on a server that the caches are not on."""
    with closing(manager(tmp_path, redis_host="cache.test", redis_plaintext_hosts=frozenset({"cache.test"}))) as caches:
        assert [server.name for server in servers(caches)] == ["redis"]
    with closing(manager(tmp_path)) as caches:
        assert servers(caches) == []
    with closing(manager(tmp_path, session_type="redis")) as caches:
        assert [server.name for server in servers(caches)] == ["redis"]


def test_a_backend_that_cannot_be_searched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an old key sealed there would be lost with it."""
    with closing(manager(tmp_path)) as caches:
        caches.ring()
        monkeypatch.setattr(caches, "choice", lambda: Choice("elsewhere", "", "CACHE_BACKEND"))
        with pytest.raises(ConfigurationError, match="'elsewhere', which cannot be searched"):
            sweep(caches)


@pytest.mark.server
def test_what_instances_share_is_sealed_anew(tmp_path: Path, redis_server: ServerProcess) -> None:
    """The symbol master on the server, and the heads of the audit log; another instance reads both with the new key."""
    prefix = f"t{os.getpid()}-{time.monotonic_ns()}"
    ring = ring_file(tmp_path)
    ring.load_or_create()
    (tmp_path / "master.csv").write_text(csv_of(ROWS), encoding="utf-8")

    def instance(name: str) -> CacheManager:
        variables: dict[str, Any] = {**redis_server.settings(), "redis_key_prefix": prefix}
        variables |= {"base_folder": tmp_path / name, "cache_key_file": ring.path, "instance_name": name}
        return CacheManager(Settings(cache_backend="redis", **variables))

    with closing(instance("one")) as one:
        one.symbols(background=False).import_master(tmp_path / "master.csv")
        one.audit().record_now(Event(None, "TEST", None, None))
    old, new = add_active(tmp_path)
    with closing(instance("two")) as two:
        tallies = sweep(two)
        assert {tally.cache: tally.resealed for tally in tallies} == {"symbols": 2, "audit_heads": 1}
        ring.update(lambda before: before.without(old))
    with closing(instance("three")) as three:
        assert three.symbols(background=False).count() == len(ROWS)
        assert len(dict(three._open_heads().items())) == 1
        assert {parse_head(record).key_id for record, _ in raw(three).values()} == {new}

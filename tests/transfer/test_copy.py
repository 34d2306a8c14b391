"""``copy_cache``: what arrives, what is left alone, what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import (
    MISSING,
    BackendUnavailableError,
    BlindedKeysError,
    Cache,
    CacheError,
    CacheManager,
    ConfigurationError,
    Existing,
    TransferReport,
    UnreadableRecordError,
    copy_cache,
)
from openalgo_cache.backends.base import Entry
from openalgo_cache.codec.codec import Contents
from openalgo_cache.codec.envelope import Extras
from openalgo_cache.stack import Stack, build_stack
from openalgo_cache.testing import ChaosBackend, FakeClock
from tests.cli.toy_backend import ToyBackend
from tests.stacks import manager

NOW = 1_800_000_000.0
VALUES: dict[Any, Any] = {
    "M&M|NSE": {"ltp": 24_000.5, "depth": [1, None, True]},
    "NIFTY 50": "x" * 5_000,  # long enough to be compressed where nothing is encrypted
    "50% *[a]{b}?": Decimal("1.10"),
    "!x": (1, "1"),
    2026: {1, 2},
    True: datetime(2026, 3, 1, tzinfo=UTC),
    b"\x00\xff": b"",
    ("NSE", 1, (b"z", None)): math.inf,
    "निफ्टी": None,
}


@pytest.fixture
def clock() -> FakeClock:
    """The time of both ends."""
    return FakeClock(NOW)


@pytest.fixture
def source_manager(tmp_path: Path, clock: FakeClock) -> Iterator[CacheManager]:
    """Where caches are copied from."""
    made = manager(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture
def target_manager(tmp_path: Path, clock: FakeClock, source_manager: CacheManager) -> Iterator[CacheManager]:
    """Where they are copied to: another namespace, and so other files, of the same key ring."""
    source_manager.ring()
    made = manager(tmp_path, clock, cache_namespace="other")
    yield made
    made.close()


def counts(report: TransferReport) -> dict[str, int]:
    """Return what a report counts that is not 0."""
    names = ("moved", "unchanged", "kept", "passed", "unreadable", "lost")
    return {name: number for name in names if (number := getattr(report, name))}


def plant(cache: Cache, key: str, payload: bytes, expires_at: float | None = None) -> None:
    """Put a record into a store, past the handle."""
    stack = cache._opened()
    stack.backend.set(stack.keyspace.stored(key), Entry(payload, expires_at))


def record(cache: Cache, key: str) -> Entry | None:
    """Return what the store has under a key."""
    stack = cache._opened()
    return stack.backend.get(stack.keyspace.stored(key))


@pytest.mark.parametrize(
    "options",
    [{}, {"encrypted": True}, {"blinded": True}, {"encrypted": True, "blinded": True}],
    ids=["signed", "encrypted", "blinded", "both"],
)
@pytest.mark.parametrize("backend", ["sqlite", "memory"])
def test_every_kind_of_key_and_value_arrives(
    source_manager: CacheManager, target_manager: CacheManager, backend: str, options: Any
) -> None:
    """Equal, of the same type, under the same key; out of a file or out of this process's memory."""
    source_manager.ring()
    source = source_manager.new_cache("quotes", backend=backend, maxsize=None, **options)
    target = target_manager.new_cache("quotes", maxsize=None, **options)
    for key, value in VALUES.items():
        source.set(key, value, ttl=None)
    assert counts(copy_cache(source, target)) == {"moved": len(VALUES)}
    for key, value in VALUES.items():
        arrived = target.get(key, MISSING)
        assert (type(arrived), arrived) == (type(value), value)
    assert counts(copy_cache(source, target)) == {"unchanged": len(VALUES)}
    source.close()
    target.close()


def test_sealings_may_differ(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """What was signed is encrypted where that is demanded, and under hashes of its keys; but hashes lead nowhere."""
    source = source_manager.get_cache("quotes")
    target = target_manager.get_cache("quotes", encrypted=True, blinded=True)
    secret = "s3cr3t" * 1_000
    source.set_many({"key": secret, 7: 7})
    assert counts(copy_cache(source, target)) == {"moved": 2}
    assert (target.get("key"), target.get(7)) == (secret, 7)
    assert b"s3cr3t" not in record(target, "key").payload  # type: ignore[union-attr]
    assert len(record(target, "key").payload) > 6_000  # type: ignore[union-attr]  # not compressed
    with pytest.raises(BlindedKeysError, match="keyed hashes"):
        copy_cache(target, source_manager.new_cache("quotes2"))


def test_lifetimes_arrive_to_the_millisecond(
    source_manager: CacheManager, target_manager: CacheManager, clock: FakeClock
) -> None:
    """The absolute expiry is what is copied, and the time of creation with it; copying late prolongs nothing."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set("short", 1, ttl=10.0625)
    source.set("never", 2, ttl=None)
    clock.advance(5)
    copy_cache(source, target)
    assert target.ttl("short") == pytest.approx(5.0625, abs=0.001)
    assert target.ttl("never") is None
    assert record(target, "short").expires_at == pytest.approx(NOW + 10.0625, abs=0.001)  # type: ignore[union-attr]
    clock.advance(5.1)
    assert target.get("short", MISSING) is MISSING
    assert counts(copy_cache(source, target)) == {"unchanged": 1}


def test_what_expires_on_the_way_is_passed(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """An entry that is live when it is read and not when it is written is no loss; nor is a load's lease."""
    late = target_manager.new_cache("quotes")
    late._now = lambda: NOW + 20  # the target's clock is ahead
    source = source_manager.get_cache("quotes")
    source.set("short", 1, ttl=10)
    stack = source._opened()
    stored = stack.keyspace.stored("loading")
    stack.backend.set(stored, Entry(stack.codec.encode_lease(stored, NOW, NOW + 30), NOW + 30))
    assert counts(copy_cache(source, late)) == {"passed": 2}
    assert late.size() == 0
    late.close()


def test_entries_keep_to_the_targets_limit(
    source_manager: CacheManager, tmp_path: Path, clock: FakeClock, target_manager: CacheManager
) -> None:
    """Where the session ends earlier, a token that comes from elsewhere does not outlive it."""
    earlier = manager(tmp_path, clock, cache_namespace="earlier", session_expiry_time="02:00")
    source, target = source_manager.get_cache("auth"), earlier.get_cache("auth")
    source.set("user", "token")
    copy_cache(source, target)
    ours, theirs = source.ttl("user"), target.ttl("user")
    assert ours is not None
    assert theirs is not None
    assert (ours - theirs) % 86_400 == pytest.approx(3_600)
    assert counts(copy_cache(source, target)) == {"unchanged": 1}
    earlier.close()


@pytest.mark.parametrize(
    "existing, older, newer, same_age",
    [
        (Existing.OLDER, "moved", "kept", "kept"),
        (Existing.NOTHING, "kept", "kept", "kept"),
        (Existing.ANYTHING, "moved", "moved", "moved"),
    ],
)
def test_what_may_be_replaced(
    source_manager: CacheManager,
    target_manager: CacheManager,
    clock: FakeClock,
    existing: Existing,
    older: str,
    newer: str,
    same_age: str,
) -> None:
    """By default only what was written before; nothing, or anything, if that is asked for."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    target.set("older there", "theirs")
    clock.advance(1)
    for key in ("older there", "newer there", "same age"):
        source.set(key, "ours")
    target.set("same age", "theirs")
    clock.advance(1)
    target.set("newer there", "theirs")
    dry = copy_cache(source, target, existing=existing, dry_run=True)
    assert target.get("older there") == "theirs"
    report = copy_cache(source, target, existing=existing)
    assert report == dry
    expected = {"older there": older, "newer there": newer, "same age": same_age}
    assert {key: "moved" if target.get(key) == "ours" else "kept" for key in expected} == expected
    assert counts(report).get("moved", 0) == list(expected.values()).count("moved")


def test_a_dry_run_changes_nothing(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """It says what would be done, and the near copies of the target stay."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set_many({"a": 1, "b": 2})
    target.set("c", 3)
    target.get("c")
    assert counts(copy_cache(source, target, dry_run=True)) == {"moved": 2}
    assert (target.size(), target.stats()["near_size"]) == (1, 1)


def test_unreadable_records_of_a_cache_are_counted(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """They are not copied, not deleted, and do not stop the rest; in the way, they are what a miss is."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set_many({"a": 1, "b": 2, "c": 3})
    good = record(source, "a")
    assert good is not None
    plant(source, "b", good.payload)  # moved to another key
    plant(source, "c", b"rubbish")
    plant(target, "a", b"rubbish")
    report = copy_cache(source, target)
    assert counts(report) == {"moved": 1, "unreadable": 2}
    assert not report.complete
    assert (target.get("a"), target.size()) == (1, 1)
    assert record(source, "b") is not None
    assert record(source, "c") is not None


@pytest.mark.parametrize("where", ["source", "target"])
def test_an_unreadable_record_of_a_state_cache_stops_it(
    source_manager: CacheManager, target_manager: CacheManager, where: str
) -> None:
    """Unless it is to be passed over; nothing is deleted or replaced, whatever is said."""
    source = source_manager.get_cache("running_strategies")
    target = target_manager.get_cache("running_strategies")
    source.set_many({f"s{number}": number for number in range(9)})
    harmed = source if where == "source" else target
    plant(harmed, "s4", b"rubbish")
    for existing in Existing:
        with pytest.raises(UnreadableRecordError, match="skip_unreadable"):
            copy_cache(source, target, existing=existing)
    report = copy_cache(source, target, skip_unreadable=True, existing=Existing.ANYTHING)
    assert (report.seen, report.unreadable, report.complete) == (9, 1, False)
    assert record(harmed, "s4") == Entry(b"rubbish", None)
    assert {key: target.get(f"s{key}") for key in (0, 8)} == {0: 0, 8: 8}


def test_extras_are_carried_over(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """An epoch and a stale_until stay in the record, authenticated; it is kept for as long as it may be of use."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes", encrypted=True)
    contents = Contents(b"\x07", NOW - 5, NOW + 60, Extras(NOW + 500, b"revision 7"))
    ours, theirs = source._opened(), target._opened()
    stored = ours.keyspace.stored("key")
    ours.backend.set(stored, Entry(ours.codec.record_of(stored, contents), NOW + 500))
    assert counts(copy_cache(source, target)) == {"moved": 1}
    arrived = record(target, "key")
    assert arrived is not None
    assert arrived.expires_at == pytest.approx(NOW + 500, abs=0.001)
    assert theirs.codec.contents_of(theirs.keyspace.stored("key"), arrived.payload) == contents


@pytest.mark.parametrize("options", [{}, {"encrypted": True, "blinded": True}], ids=["signed", "both"])
def test_tags_arrive(
    source_manager: CacheManager, target_manager: CacheManager, clock: FakeClock, options: Any
) -> None:
    """What was ended by a tag stays behind; the rest can be ended by its tags where it has arrived."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes", **options)
    source.set("ended", 1, tags=("old",))
    source.set("one", 1, tags=("user:ann", "positions"))
    source.set("other", 2, tags=("user:bob",), ttl=None)
    source.clear(tag="old")
    assert counts(copy_cache(source, target, dry_run=True)) == {"moved": 2, "passed": 1}
    assert target.size() == 0
    assert counts(copy_cache(source, target)) == {"moved": 2, "passed": 1}
    assert counts(copy_cache(source, target)) == {"unchanged": 2, "passed": 1}
    target.clear(tag="positions")
    assert target.get_many(["ended", "one", "other"]) == {"other": 2}
    assert source.get_many(["one", "other"]) == {"one": 1, "other": 2}


@pytest.mark.parametrize("name", ["quotes", "running_strategies"])
def test_tags_that_the_target_has_already(
    source_manager: CacheManager, target_manager: CacheManager, clock: FakeClock, name: str
) -> None:
    """The entries of both stand under one tag afterwards, whichever of the two tags is older."""
    source, target = source_manager.get_cache(name), target_manager.get_cache(name)
    for first, second in ((source, target), (target, source)):
        first.set("first", 1, tags=("early",) if first is source else ("late",))
        clock.advance(1)
        second.set("second", 2, tags=("early",) if first is source else ("late",))
        clock.advance(1)
    source.set("mine", 3, tags=("early", "late"))
    copy_cache(source, target)
    assert target.get_many(["first", "second", "mine"]) == {"first": 1, "second": 2, "mine": 3}
    target.clear(tag="early")
    target.clear(tag="late")
    assert target.get_many(["first", "second", "mine"]) == {}


def test_tags_of_another_key_ring(tmp_path: Path, clock: FakeClock) -> None:
    """Nobody could end such entries by their tags where they came, so they stay; of a state cache that is an error."""
    one, other = manager(tmp_path / "one", clock), manager(tmp_path / "other", clock)
    for name in ("quotes", "running_strategies"):
        one.get_cache(name).set("plain", 1)
        one.get_cache(name).set("tagged", 1, tags=("user:ann",))
    assert counts(copy_cache(one.get_cache("quotes"), other.get_cache("quotes"))) == {"moved": 1, "unreadable": 1}
    state = one.get_cache("running_strategies"), other.get_cache("running_strategies")
    with pytest.raises(UnreadableRecordError, match="tags"):
        copy_cache(*state)
    assert counts(copy_cache(*state, skip_unreadable=True)) == {"moved": 1, "unreadable": 1}
    one.close()
    other.close()


def test_another_key_ring(tmp_path: Path, clock: FakeClock) -> None:
    """Readable keys and values go over sealed anew; hashes of keys would mean nothing there, and are refused."""
    one, other = manager(tmp_path / "one", clock), manager(tmp_path / "other", clock)
    one.get_cache("settings").set("theme", "dark")
    one.get_cache("auth").set("user", "token")
    assert counts(copy_cache(one.get_cache("settings"), other.get_cache("settings"))) == {"moved": 1}
    assert other.get_cache("settings").get("theme") == "dark"
    with pytest.raises(BlindedKeysError, match="CACHE_KEY_FILE"):
        copy_cache(one.get_cache("auth"), other.get_cache("auth"))
    assert other.get_cache("auth").size() == 0
    one.close()
    other.close()


def test_from_memory_to_sqlite(tmp_path: Path, clock: FakeClock) -> None:
    """With the installation's key ring there, what lies in memory goes to files; even under hashes of its keys."""
    made = manager(tmp_path, clock)
    made.ring()
    memory = made.new_cache("auth", backend="memory")
    memory.set("user", "token")
    assert counts(copy_cache(memory, made.get_cache("auth"))) == {"moved": 1}
    assert made.get_cache("auth").get("user") == "token"
    made.close()


def test_a_ring_that_came_later(tmp_path: Path, clock: FakeClock) -> None:
    """A memory cache from before there was a key ring has hashes of its own; the error says what to do."""
    memory = manager(tmp_path, clock, backend="memory")
    auth, quotes = memory.get_cache("auth"), memory.get_cache("quotes")
    auth.set("user", "token")
    quotes.set("key", 1)
    assert list(tmp_path.iterdir()) == []
    files = manager(tmp_path, clock)
    with pytest.raises(BlindedKeysError, match="there before the cache was first used"):
        copy_cache(auth, files.get_cache("auth"))
    assert counts(copy_cache(quotes, files.get_cache("quotes"))) == {"moved": 1}
    files.close()


def test_onto_itself(source_manager: CacheManager) -> None:
    """A cache and itself are no source and target."""
    cache = source_manager.get_cache("quotes")
    with pytest.raises(ConfigurationError, match="onto itself"):
        copy_cache(cache, cache)


def test_a_plain_source_is_read_before_it_is_sealed(source_manager: CacheManager, tmp_path: Path) -> None:
    """What nobody signed gets no signature unless it is a value."""
    source, target = source_manager.get_cache("mine", local=True), source_manager.get_cache("quotes")
    source.set("good", [1])
    good = record(source, "good")
    assert good is not None
    plant(source, "bad", good.payload[:-1] + b"\xc1")
    assert counts(copy_cache(source, target)) == {"moved": 1, "unreadable": 1}
    assert target.get("good") == [1]


def test_the_target_is_in_use(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """Near copies of what is replaced go, and a value that is being loaded does not come back over what was copied."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set_many({"near": "new", "loading": "copied"}, ttl=None)
    plant(target, "near", target._opened().codec.encode(target._opened().keyspace.stored("near"), "old", 1.0, None))
    assert target.get("near") == "old"

    def load() -> str:
        copy_cache(source, target)
        return "loaded"

    assert target.get_or_set("loading", load) == "loaded"
    assert (target.get("near"), target.get("loading")) == ("new", "copied")


def test_the_application_writes_between_look_and_step(
    source_manager: CacheManager, target_manager: CacheManager, clock: FakeClock
) -> None:
    """A step takes only what was looked at; what came between is looked at, too, and stays if it is newer."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set("key", "copied")
    clock.advance(1)
    application = manager(target_manager.settings.base_folder, clock, cache_namespace="other").get_cache("quotes")
    backend = target._opened().backend
    whole = type(backend).compare_and_set

    def step(self: Any, key: str, expected: bytes | None, new: Entry | None) -> bool:
        type(backend).compare_and_set = whole  # type: ignore[method-assign]
        application.set("key", "application's")
        return whole(self, key, expected, new)

    try:
        type(backend).compare_and_set = step  # type: ignore[method-assign]
        assert counts(copy_cache(source, target)) == {"kept": 1}
    finally:
        type(backend).compare_and_set = whole  # type: ignore[method-assign]
    assert target.get("key") == "application's"
    application.close()


def chaotic(cache: Cache) -> ChaosBackend:
    """Put a backend that can fail under a cache, and return it."""
    stack = cache._opened()
    chaos = ChaosBackend(stack.backend)
    cache._stack = replace(stack, backend=chaos)
    return chaos


def test_what_is_not_there_when_it_is_read_back(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """A store that takes a write and does not keep it is found out."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set_many({"a": 1, "b": 2})
    backend = target._opened().backend
    stack = target._opened()

    class Forgetful:
        """Hands on every verb, and forgets one key."""

        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
            return key.endswith("a") or backend.compare_and_set(key, expected, new)

    target._stack = replace(stack, backend=Forgetful())  # type: ignore[arg-type]
    report = copy_cache(source, target)
    assert counts(report) == {"moved": 1, "lost": 1}
    assert not report.complete
    target._stack = stack


@pytest.mark.parametrize("verb", ["scan", "get_many", "compare_and_set"])
def test_a_failing_store_raises(source_manager: CacheManager, target_manager: CacheManager, verb: str) -> None:
    """Whatever the caches' policy says of failures: a copy never pretends. Called again, it does the rest."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set_many({f"k{number}": number for number in range(100)})
    chaos = chaotic(source if verb == "scan" else target)
    chaos.fail(verb, times=1)
    with pytest.raises(BackendUnavailableError):
        copy_cache(source, target)
    report = copy_cache(source, target)
    assert report.moved + report.unchanged == 100


def lossy(made: CacheManager, name: str, clock: FakeClock) -> tuple[Cache, ChaosBackend]:
    """Return a cache of a manager whose store can fail, and that store."""
    real = made.new_cache(name)
    chaos = ChaosBackend(real.backend)

    def build() -> Stack:
        return build_stack(name, real.policy, "sqlite", made.ground(), lambda _request: chaos)

    return Cache(name, real.policy, build, clock), chaos


@pytest.mark.parametrize("mended", [False, True])
def test_what_the_source_could_not_delete_does_not_come_along(
    source_manager: CacheManager, target_manager: CacheManager, clock: FakeClock, mended: bool
) -> None:
    """A token that was revoked while the store failed stays revoked, whether or not the store lets us delete by now."""
    source, chaos = lossy(source_manager, "auth", clock)
    target = target_manager.get_cache("auth")
    source.set_many({"revoked": "token", "other": "token"})
    chaos.fail("delete_many", "compare_and_set")
    with pytest.raises(BackendUnavailableError):
        source.delete("revoked")
    if mended:
        chaos.heal()
    assert counts(copy_cache(source, target)) == {"moved": 1, "passed": 1}
    assert target.get_many(["revoked", "other"]) == {"other": "token"}
    source.close()


def test_what_the_target_could_not_delete(
    source_manager: CacheManager, target_manager: CacheManager, clock: FakeClock
) -> None:
    """It is deleted before anything is written, so that a later delete does not take what was copied; else we stop."""
    source = source_manager.get_cache("auth")
    target, chaos = lossy(target_manager, "auth", clock)
    target.set("user", "old")
    clock.advance(1)
    source.set("user", "new")
    chaos.fail("delete_many", "compare_and_set")
    with pytest.raises(BackendUnavailableError):
        target.delete("user")
    with pytest.raises(BackendUnavailableError):
        copy_cache(source, target)
    chaos.heal()
    assert counts(copy_cache(source, target)) == {"moved": 1}
    assert target.get("user") == "new"
    target.close()


def test_a_source_that_cannot_list(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """The error names the backend."""
    source = source_manager.new_cache("quotes")
    source._stack = replace(source._opened(), backend=ToyBackend("x"), backend_name="toy")
    with pytest.raises(CacheError, match="toy, cannot list"):
        copy_cache(source, target_manager.get_cache("quotes"))


def test_progress(source_manager: CacheManager, target_manager: CacheManager) -> None:
    """It is told at the beginning, and up to the end."""
    source, target = source_manager.get_cache("quotes"), target_manager.get_cache("quotes")
    source.set_many({f"k{number}": number for number in range(200)})
    told: list[int] = []
    copy_cache(source, target, progress=lambda report: told.append(report.seen))
    assert (told[0], told[-1], told == sorted(told)) == (0, 200, True)

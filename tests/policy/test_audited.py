"""What the audit log is told: each verb, each key, whether it was there, and who; never a value, a raw key or a tag."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import on_behalf_of
from openalgo_cache.backends.base import Entry
from openalgo_cache.cache import Cache
from openalgo_cache.errors import BackendUnavailableError, ConfigurationError
from openalgo_cache.manager import CacheManager
from openalgo_cache.settings import Settings
from openalgo_cache.testing import FakeClock
from openalgo_cache.trace import cache_trace
from tests.policy.modules import FRIEND, await_as, run_as
from tests.policy.test_denials import lines
from tests.policy.test_verbs import ASYNC, PLAIN
from tests.stacks import manager

Said = tuple[str, str | None, bool | None]

CAME: dict[str, Said] = {
    "get": ("GET", "key", True),
    "__getitem__": ("GET", "key", True),
    "get_many": ("GET", "key", True),
    "exists": ("EXISTS", "key", True),
    "__contains__": ("EXISTS", "key", True),
    "ttl": ("TTL", "key", True),
    "keys": ("KEYS", "key", True),
    "__iter__": ("KEYS", "key", True),
    "items": ("ITEMS", "key", True),
    "values": ("ITEMS", "key", True),
    "size": ("SIZE", None, None),
    "__len__": ("SIZE", None, None),
    "set": ("SET", "key", None),
    "__setitem__": ("SET", "key", None),
    "set_many": ("SET", "key", None),
    "update": ("SET", "key", None),
    "add": ("ADD", "key", True),
    "touch": ("TOUCH", "key", True),
    "incr": ("INCR", "key", None),
    "pop": ("POP", "key", True),
    "delete": ("DELETE", "key", True),
    "__delitem__": ("DELETE", "key", True),
    "delete_many": ("DELETE", "key", None),
    "clear": ("CLEAR", None, None),
    "get_or_set": ("GET_OR_SET", "key", True),
    "setdefault": ("GET_OR_SET", "key", None),
    "lock": ("LOCK", "key", None),
    "backend": ("BACKEND", None, None),
}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CacheManager]:
    """A manager that audits every cache, without access rules."""
    house = manager(tmp_path, cache_audit_enabled=True, cache_audit_caches=frozenset({"quotes", "auth"}))
    yield house
    house.close()


@pytest.fixture
def cache(house: CacheManager) -> Cache:
    """One of them, with an entry that nobody has heard of yet."""
    cache = house.get_cache("quotes", ttl=60)
    cache._inner["key"] = 7  # type: ignore[attr-defined]  # past the audit
    return cache


def said(house: CacheManager) -> list[dict[str, Any]]:
    """Return the lines that were written since the manager was made."""
    house.audit().flush()
    return lines(house)


def events(house: CacheManager) -> list[Said]:
    """Return operation, key and hit of each."""
    return [(line["operation"], line["key"], line["hit"]) for line in said(house)]


@pytest.mark.parametrize("traced", [False, True], ids=["plain", "traced"])
def test_every_verb_is_a_line(house: CacheManager, cache: Cache, traced: bool) -> None:
    """One for each key, however many verbs the library calls for it, on a loop as well; also while somebody traces."""
    seen = 0
    for source, name in [(source, name) for face in (PLAIN, ASYNC) for name, source in face.items()]:
        cache._inner["key"] = 7  # type: ignore[attr-defined]  # past the audit
        with cache_trace() if traced else nullcontext():
            (await_as if "aio" in source else run_as)(FRIEND, source, cache=cache)
        new = said(house)[seen:]
        seen += len(new)
        assert [(line["operation"], line["key"], line["hit"]) for line in new] == [CAME[name]], source
        assert new[0]["caller"] == (f"{FRIEND}.result" if "aio" in source else FRIEND), source


def test_the_asyncio_caller_of_a_task(house: CacheManager, cache: Cache) -> None:
    """Is who called, not the loop that awaits; of a clear, too."""
    source = "await asyncio.create_task(cache.aio.get('key'))\nawait asyncio.create_task(cache.aio.clear())"
    await_as(FRIEND, source, cache=cache, asyncio=asyncio)
    assert [(line["operation"], line["caller"]) for line in said(house)] == [
        ("GET", f"{FRIEND}.result"),
        ("CLEAR", f"{FRIEND}.result"),
    ]


THERE: dict[str, Said] = {
    "cache.get('none')": ("GET", "none", True),
    "cache.get('absent')": ("GET", "absent", False),
    "cache.get('absent', 5)": ("GET", "absent", False),
    "'absent' in cache": ("EXISTS", "absent", False),
    "cache.touch('absent')": ("TOUCH", "absent", False),
    "cache.delete(key='absent')": ("DELETE", "absent", False),
    "cache.pop('absent', None)": ("POP", "absent", False),
    "cache.pop('absent', default=None)": ("POP", "absent", False),
    "cache.pop('none')": ("POP", "none", True),
    "cache.add('new', 1)": ("ADD", "new", False),
    "cache.get_or_set('newer', lambda: 1)": ("GET_OR_SET", "newer", False),
    "cache.get_or_set(load=lambda: 1, key='newest')": ("GET_OR_SET", "newest", False),
    "cache.get((1, True))": ("GET", "!t3:!i13:!b1", False),
    "cache.get('key', epoch=5)": ("GET", "key", False),
}
NOT_THERE = ("cache['absent']", "cache.ttl('absent')", "cache.pop('absent')", "del cache['absent']")


def test_whether_something_was_there(house: CacheManager, cache: Cache) -> None:
    """A cached None was; a KeyError is a miss, not a failure."""
    cache._inner["none"] = None  # type: ignore[attr-defined]  # past the audit
    for source in THERE:
        run_as(FRIEND, source, cache=cache)
    assert events(house) == list(THERE.values())
    for source in NOT_THERE:
        with pytest.raises(KeyError):
            run_as(FRIEND, source, cache=cache)
    misses = said(house)[len(THERE) :]
    assert {(line["key"], line["hit"], line["detail"]) for line in misses} == {("absent", False, None)}


def test_bulk_verbs_have_a_line_for_each_key(house: CacheManager, cache: Cache) -> None:
    """Whatever they are given: what can be gone through but once is gone through once."""
    assert run_as(FRIEND, "result = cache.get_many(iter(['a', 'key']))", cache=cache) == {"key": 7}
    assert run_as(FRIEND, "result = cache.delete_many(keys=iter(['a', 'key']))", cache=cache) == 1
    run_as(FRIEND, "cache.set_many(items={'b': 1, 'c': 2})\ncache.update(zip('de', 'fg'), h=1)", cache=cache)
    assert events(house) == [
        ("GET", "a", False),
        ("GET", "key", True),
        ("DELETE", "a", None),
        ("DELETE", "key", None),
        *(("SET", key, None) for key in "bcdeh"),
    ]
    assert cache.get_many("bcdeh") == {"b": 1, "c": 2, "d": "f", "e": "g", "h": 1}


def test_what_fails_is_a_line_too(house: CacheManager, cache: Cache) -> None:
    """With the class of what was raised; it may have been done."""
    with pytest.raises(ValueError, match="control"):
        run_as(FRIEND, "cache.set('a\\0', 1)", cache=cache)
    with pytest.raises(ZeroDivisionError):
        run_as(FRIEND, "cache.get_or_set('a', lambda: 1 / 0)", cache=cache)
    with pytest.raises(ValueError, match="not list"):
        run_as(FRIEND, "cache.get([])", cache=cache)
    with pytest.raises(ZeroDivisionError):
        await_as(FRIEND, "await cache.aio.get_or_set('a', lambda: 1 / 0)", cache=cache)
    assert [(line["operation"], line["key"], line["detail"]) for line in said(house)] == [
        ("SET", None, "raised InvalidKeyError"),
        ("GET_OR_SET", "a", "raised ZeroDivisionError"),
        ("GET", None, "raised InvalidKeyError"),
        ("GET_OR_SET", "a", "raised ZeroDivisionError"),
    ]


def test_a_decorated_function_is_a_line_a_call(house: CacheManager, cache: Cache) -> None:
    """With the key that was made of its arguments, in the name of who decorated it."""
    double = run_as(FRIEND, "@cache.cached('{x}')\ndef result(x): return x * 2", cache=cache)
    assert (double(3), double(3)) == (6, 6)
    triple = run_as(FRIEND, "@cache.cached('{x}')\nasync def result(x): return x * 3", cache=cache)
    assert asyncio.run(triple(4)) == 12
    assert events(house) == [("GET_OR_SET", "3", False), ("GET_OR_SET", "3", True), ("GET_OR_SET", "4", False)]
    assert {line["caller"] for line in said(house)} == {FRIEND}


def test_both_modules_are_named(house: CacheManager, cache: Cache) -> None:
    """The one that is acted for, and the one whose code it is."""
    with on_behalf_of("blueprints.auth"):
        run_as(FRIEND, "cache.get('key')", cache=cache)
    assert said(house)[0]["caller"] == f"blueprints.auth (by {FRIEND})"


def test_nothing_secret_is_in_a_line(house: CacheManager) -> None:
    """No value, no key of a blinded cache, no name of a tag or a lock; the hash of the key is the store's."""
    auth = house.get_cache("auth")
    source = """
    auth.set('telling key', 'telling value', tags=('telling tag',))
    auth.get('telling key')
    auth.get_many(['telling key'])
    auth.get_or_set('telling two', lambda: 'telling value')
    auth.lock('telling lock')
    auth.clear(tag='telling tag')
    auth.pop('telling key', 'telling default')
    """
    run_as(FRIEND, source.replace("\n    ", "\n"), auth=auth)
    found = said(house)
    assert len(found) == 7
    assert "telling" not in json.dumps(found)
    assert found[0]["key"] == found[1]["key"] == auth.shown("telling key")
    (clear,) = (line for line in found if line["operation"] == "CLEAR")
    assert clear["detail"].startswith("entries of the tag ")


def test_listing_a_blinded_cache_says_that_it_cannot_be(house: CacheManager) -> None:
    """To the caller, and to the log."""
    for source in ("auth.keys()", "auth.items()", "auth.values()", "iter(auth)", "list(auth)"):
        with pytest.raises(TypeError, match="keyed hashes of its keys: they cannot be listed"):
            run_as(FRIEND, source, auth=house.get_cache("auth"))
    assert {line["detail"] for line in said(house)} == {"raised BlindedKeysError"}


# What is audited in any case


def test_clears_are_audited_wherever(tmp_path: Path) -> None:
    """Though nothing else is: with how many there were, or the hash of the tag."""
    house = manager(tmp_path)
    cache = house.get_cache("others")
    assert type(cache) is Cache
    cache.set_many({"a": 1, "b": 2}, tags=("telling",))
    run_as(FRIEND, "def tidy(): cache.clear(tag='telling')\ntidy()\ncache.clear()", cache=cache)
    await_as(FRIEND, "await cache.aio.clear()", cache=cache)
    found = said(house)
    assert [(line["operation"], line["key"], line["caller"]) for line in found] == [
        ("CLEAR", None, f"{FRIEND}.tidy"),
        ("CLEAR", None, FRIEND),
        ("CLEAR", None, f"{FRIEND}.result"),
    ]
    assert found[0]["detail"] == f"entries of the tag {cache._opened().tags.ids(('telling',))[0].hex()}"
    assert found[1]["detail"] == "2 entries"
    house.close()


def test_rejected_records_are_audited_wherever(tmp_path: Path) -> None:
    """Once for each, with the key as it may be shown; a record that stays is not a line a read."""
    clock = FakeClock()
    house = manager(tmp_path, clock)
    auth = house.get_cache("auth")
    auth.set_many({"a": "telling", "b": "telling"})
    stored = [auth._opened().keyspace.stored(key) for key in "ab"]
    records = auth.backend.get_many(stored)
    auth.backend.set(stored[0], records[stored[1]])  # moved: surely forged, so it goes
    assert run_as(FRIEND, "result = auth.get('a')", auth=auth) is None
    auth.backend.set(stored[1], Entry(b"nothing of ours", None))  # stays
    for _ in range(5):
        run_as(FRIEND, "auth.get('b')", auth=auth)
    clock.advance(60)
    run_as(FRIEND, "auth.get('b')", auth=auth)
    found = said(house)
    assert [(line["operation"], line["key"], line["caller"]) for line in found] == [
        ("REJECTED", auth.shown("a"), FRIEND),
        ("REJECTED", auth.shown("b"), FRIEND),
        ("REJECTED", auth.shown("b"), FRIEND),
    ]
    assert found[2]["detail"].endswith("; 4 more reads met it before")
    assert "telling" not in json.dumps(found)
    house.close()


def test_lost_deletes_are_audited_wherever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each key; they are security's business."""
    house = manager(tmp_path)
    auth = house.get_cache("auth")
    auth.set_many({"a": 1, "b": 2})
    stack = auth._opened()

    def fail(*_: object) -> int:
        raise BackendUnavailableError("the disk is full")

    monkeypatch.setattr(type(stack.backend), "delete_many", fail)
    with pytest.raises(BackendUnavailableError):
        run_as(FRIEND, "auth.delete_many('ab')", auth=auth)
    monkeypatch.undo()
    assert [(line["operation"], line["key"], line["caller"]) for line in said(house)] == [
        ("DELETE_LOST", auth.shown("a"), FRIEND),
        ("DELETE_LOST", auth.shown("b"), FRIEND),
    ]
    house.close()


def test_other_caches_are_not_guarded(house: CacheManager) -> None:
    """What is not audited has a bare handle."""
    assert type(house.get_cache("settings")) is Cache
    assert type(house.get_cache("auth")) is not Cache


def test_any_cache_can_be_blinded_by_a_setting(tmp_path: Path) -> None:
    """Its keys are hashes in store, trace and audit log; they are not listed, and all else works as ever."""
    house = manager(
        tmp_path,
        cache_blinded_names=frozenset({"people"}),
        cache_audit_enabled=True,
        cache_audit_caches=frozenset({"*"}),
    )
    cache = house.get_cache("people_of_note")
    assert (cache.policy.blinded, cache.policy.sealing.value) == (True, "signed")
    cache.set("telling", 1, tags=("telling",))
    with cache_trace() as trace:
        assert cache.get("telling") == 1
    with pytest.raises(TypeError, match="cannot be listed"):
        list(cache.keys())
    stored = [key for key, _ in cache.backend.scan()]  # type: ignore[attr-defined]  # SQLite can
    shown = str(trace) + repr(cache) + repr(cache.stats()) + repr(stored) + json.dumps(said(house))
    assert "telling" not in shown
    assert [line["key"] for line in said(house)][:2] == [cache.shown("telling")] * 2
    assert cache.size() == 2  # the tag's record is one
    assert cache.clear(tag="telling") == 1
    assert cache.get("telling") is None
    cache.clear()
    assert len(cache) == 0
    house.close()


def test_what_cannot_be_blinded_by_a_setting(tmp_path: Path) -> None:
    """State, whose application lists its keys; what stays in this process needs no hashes."""
    house = manager(tmp_path, cache_blinded_names=frozenset({"strategy_configs", "api_keys_invalid"}))
    with pytest.raises(ConfigurationError, match=r"CACHE_BLINDED_NAMES: .* kept as state"):
        house.get_cache("strategy_configs")
    assert not house.get_cache("api_keys_invalid").policy.blinded
    house.close()


@pytest.mark.parametrize(
    "options, more", [({"local": True}, {}), ({"backend": "memory"}, {}), ({}, {"backend": "memory"})]
)
def test_what_stays_in_the_process_leaves_no_file(
    tmp_path: Path, options: dict[str, Any], more: dict[str, Any]
) -> None:
    """Clearing it makes no audit log, and no key ring to sign one with, unless it is audited."""
    settings = Settings(base_folder=tmp_path, cache_auto_configure=False, cache_backend=more.get("backend"))
    with closing(CacheManager(settings)) as house:
        cache = house.get_cache("quotes", **options)
        cache.set("key", 1)
        assert cache.clear() == 1
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == []

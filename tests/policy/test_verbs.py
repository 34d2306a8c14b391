"""Every verb of every face is judged: nothing that a cache has was forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from openalgo_cache import AccessDeniedError
from openalgo_cache.aio import AsyncCache
from openalgo_cache.cache import Cache
from openalgo_cache.guarded.verbs import VERBS
from openalgo_cache.manager import CacheManager
from openalgo_cache.policy.rules import RIGHTS
from openalgo_cache.trace import cache_trace
from tests.policy.modules import FRIEND, OF_EVERY_CLASS, STRANGER, await_as, ruled, run_as

PLAIN: Final = {
    "get": "cache.get('key')",
    "__getitem__": "cache['key']",
    "get_many": "cache.get_many(['key'])",
    "exists": "cache.exists('key')",
    "__contains__": "'key' in cache",
    "ttl": "cache.ttl('key')",
    "keys": "list(cache.keys())",
    "__iter__": "[*iter(cache)]",
    "items": "list(cache.items())",
    "values": "list(cache.values())",
    "size": "cache.size()",
    "__len__": "len(cache)",
    "set": "cache.set('key', 1)",
    "__setitem__": "cache['key'] = 1",
    "set_many": "cache.set_many({'key': 1})",
    "update": "cache.update({'key': 1})",
    "add": "cache.add('key', 1)",
    "touch": "cache.touch('key')",
    "incr": "cache.incr('key')",
    "pop": "cache.pop('key', None)",
    "delete": "cache.delete('key')",
    "__delitem__": "del cache['key']",
    "delete_many": "cache.delete_many(['key'])",
    "clear": "cache.clear()",
    "get_or_set": "cache.get_or_set('key', lambda: 2)",
    "setdefault": "cache.setdefault('key', 2)",
    "lock": "cache.lock('key')",
    "backend": "cache.backend",
}
ASYNC: Final = {
    "get": "await cache.aio.get('key')",
    "get_many": "await cache.aio.get_many(['key'])",
    "exists": "await cache.aio.exists('key')",
    "ttl": "await cache.aio.ttl('key')",
    "keys": "[key async for key in cache.aio.keys()]",
    "items": "[pair async for pair in cache.aio.items()]",
    "size": "await cache.aio.size()",
    "set": "await cache.aio.set('key', 1)",
    "set_many": "await cache.aio.set_many({'key': 1})",
    "add": "await cache.aio.add('key', 1)",
    "touch": "await cache.aio.touch('key')",
    "incr": "await cache.aio.incr('key')",
    "pop": "await cache.aio.pop('key', None)",
    "delete": "await cache.aio.delete('key')",
    "delete_many": "await cache.aio.delete_many(['key'])",
    "clear": "await cache.aio.clear()",
    "get_or_set": "await cache.aio.get_or_set('key', lambda: 2)",
    "lock": "cache.aio.lock('key')",
}
CALLS = [*((name, source) for name, source in PLAIN.items()), *((name, source) for name, source in ASYNC.items())]

NOT_JUDGED: Final = {
    "name": "the caller has it already",
    "policy": "what a cache is like, not what is in it",
    "maxsize": "likewise",
    "stats": "counts alone; whoever watches an application must not have rights to its secrets",
    "health": "likewise, and it never raises",
    "shown": "turns a key that the caller has into its hash",
    "close": "loses nothing: the cache opens again",
    "aio": "hands out the face whose verbs are judged",
    "cached": "judges every call of what it decorates",
    "__init__": "",
    "__repr__": "name, sealing and durability",
}


def has(face: type) -> set[str]:
    """Return the public attributes of a class of ours, with the special methods that it or its bases define."""
    names = set()
    for kind in face.__mro__:
        if kind.__module__.startswith("openalgo_cache"):
            names |= {name for name in vars(kind) if not name.startswith("_") or name.endswith("__")}
    return names - OF_EVERY_CLASS - {"__slots__", "__annotations__", "__qualname__"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CacheManager]:
    """A manager whose rules let one module use all caches."""
    house = ruled(tmp_path, f"default = ['{FRIEND}']")
    yield house
    house.close()


def run(module: str, source: str, cache: Cache) -> object:
    """Run one call of a table in the name of a module."""
    return (await_as if "aio" in source else run_as)(module, source, cache=cache)


def test_nothing_that_a_cache_has_was_forgotten() -> None:
    """Each attribute is judged, or has a reason not to be; and each that is judged is tried below."""
    assert has(Cache) - set(NOT_JUDGED) == set(VERBS) == set(PLAIN)
    assert has(AsyncCache) - set(NOT_JUDGED) == set(ASYNC)


def test_a_denied_call_does_nothing(house: CacheManager) -> None:
    """It raises before the cache is even opened, and says who, what and where; also while somebody traces."""
    cache = house.get_cache("quotes")
    for traced in (False, True):
        for name, source in CALLS:
            with cache_trace() if traced else nullcontext(), pytest.raises(AccessDeniedError) as denied:
                run(STRANGER, source, cache)
            assert (denied.value.module, denied.value.cache, denied.value.verb) == (STRANGER, "quotes", name)
    assert cache._stack is None
    assert cache.stats()["denied"] == 2 * len(CALLS)


def test_an_allowed_call_does_what_it_says(house: CacheManager) -> None:
    """Beside a denied one, and also while somebody traces."""
    cache = house.get_cache("quotes")
    for traced in (False, True):
        for _, source in CALLS:
            run_as(FRIEND, "cache['key'] = 7", cache=cache)
            with cache_trace() if traced else nullcontext():
                run(FRIEND, source, cache)


def test_a_call_takes_the_rights_that_it_says(tmp_path: Path) -> None:
    """No more than those, and each of them."""
    subsets = [{right for right, bit in zip(RIGHTS, bits, strict=True) if bit} for bits in product((0, 1), repeat=3)]
    named = {frozenset(subset): "_".join(["all", *sorted(subset)]) for subset in subsets}
    rules = [
        f"[caches.{name}]\n" + "".join(f"{right} = ['{FRIEND}']\n" for right in had) for had, name in named.items()
    ]
    house = ruled(tmp_path, "".join(rules), backend="memory")
    for verb, source in CALLS:
        for rights, name in named.items():
            cache = house.get_cache(name)
            cache._inner["key"] = 7  # type: ignore[attr-defined]  # past the guard
            if VERBS[verb].needs <= rights:
                run(FRIEND, source, cache)
                continue
            lacking = next(right for right in RIGHTS if right in VERBS[verb].needs - rights)
            with pytest.raises(AccessDeniedError, match=f"may not {lacking} the cache '{name}'"):
                run(FRIEND, source, cache)
    house.close()


def test_a_verb_that_is_new_fails_before_it_is_forgotten(house: CacheManager) -> None:
    """A guarded handle has the state of what it guards, and every slot of it."""
    cache = house.get_cache("quotes")
    for kind in Cache.__mro__:
        for slot in getattr(kind, "__slots__", ()):
            if slot not in {"__weakref__", "_aio"}:
                assert getattr(cache, slot) is getattr(cache._inner, slot)  # type: ignore[attr-defined]  # its inner one

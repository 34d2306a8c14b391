"""Names and keys made to be taken for each other: what is stored under one is found under that one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openalgo_cache import CacheManager
from openalgo_cache.cache import Cache
from openalgo_cache.errors import InvalidKeyError
from openalgo_cache.keys import Key, text
from openalgo_cache.sentinels import MISSING
from tests.security.attack import Attack
from tests.stacks import manager

NAMESPACES = (None, "a", "b", "a.b", "a-b", "A", "a_")
CACHES = ("a", "b", "ab", "a-b", "a_b", "b-", "a-locks", "tags", "0")
PIECES = (
    "a", "b", ":", "@", "~", "!", "!s", "!t", "!i1", "!x", "%", "%25", "%3A", "*", "?", "[", "{", "}", "\\", "^", " ",
    "openalgo:", "openalgo@a:", "a:", ":a", "b:", "!changes", "!listeners", "#", "1", "\u00e9", "\u0966", "A", ".", "/",
    "..",
)  # fmt: skip
PAIRS = 20
"""In each example."""

key_texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
key_atoms = st.one_of(key_texts, key_texts.map(str.encode), st.sampled_from((0, 1, -1, True, False, 10, 97)))
adversarial_keys: st.SearchStrategy[Any] = st.one_of(key_atoms, st.lists(key_atoms, max_size=3).map(tuple))
places = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(CACHES), adversarial_keys)


def is_possible(key: Key) -> bool:
    """Return whether a key may be used at all."""
    try:
        text(key)
    except InvalidKeyError:
        return False
    return True


def identity(place: tuple[str | None, str, Key]) -> tuple[object, ...]:
    """Return what two places have in common only if they are one; 1 is not True."""
    namespace, cache, key = place
    parts = tuple((type(part), part) for part in key) if isinstance(key, tuple) else key
    return namespace, cache, type(key), parts


class Town:
    """One store, or one folder, and a manager a namespace.

    Args:
        folder: Where key ring and files lie.
        **where: The backend and where it is.
    """

    def __init__(self, folder: Path, **where: Any) -> None:
        self._houses: dict[str | None, CacheManager] = {
            namespace: manager(folder, cache_near_enabled=False, cache_namespace=namespace, **where)
            for namespace in NAMESPACES
        }

    def cache(self, namespace: str | None, name: str) -> Cache:
        """Return a cache."""
        return self._houses[namespace].get_cache(name)

    def empty(self) -> None:
        """Clear every cache."""
        for namespace in NAMESPACES:
            for name in CACHES:
                self.cache(namespace, name).clear()

    def close(self) -> None:
        """Close everything."""
        for house in self._houses.values():
            house.close()


@contextmanager
def town_on(name: str, folder: Path, server: Callable[[str], Any]) -> Iterator[tuple[Town, Callable[[], object]]]:
    """Yield a town and what empties it."""
    where: dict[str, Any] = {"backend": name}
    empty: Callable[[], object] | None = None
    client = None
    if name in {"redis", "valkey"}:
        running = server(f"{name}_server")
        where |= running.settings()
        client = running.client()
        empty = client.flushall
    town = Town(folder, **where)
    try:
        yield town, empty or town.empty
    finally:
        town.close()
        if client is not None:
            client.close()


def cross(town: Town, chosen: list[tuple[str | None, str, Key]]) -> Iterator[tuple[bool, str]]:
    """Store something in each place, and yield for each whether anything else is found there, or missing."""
    stored = {identity(place): place for place in chosen if is_possible(place[2])}
    for number, (namespace, name, key) in enumerate(stored.values()):
        town.cache(namespace, name).set(key, number)
    for number, (namespace, name, key) in enumerate(stored.values()):
        found = town.cache(namespace, name).get(key)
        yield found != number, f"{found!r} in place of {number} under {namespace} {name} {key!r}"
    for namespace, name, key in stored.values():
        for other in ((namespace, "0", key), (None, name, key), (namespace, name, (key, 0))):
            if is_possible(other[2]) and identity(other) not in stored:
                found = town.cache(*other[:2]).get(other[2], MISSING)
                yield found is not MISSING, f"{found!r} under {other}, where nothing was stored"
    if stored:
        cleared = next(iter(stored.values()))[:2]
        town.cache(*cleared).clear()
        for number, (namespace, name, key) in enumerate(stored.values()):
            found = town.cache(namespace, name).get(key, MISSING)
            wrong = found is not MISSING if (namespace, name) == cleared else found != number
            yield wrong, f"{found!r} under {namespace} {name} {key!r} after clear() of {cleared}"


@pytest.mark.parametrize(
    "name, examples",
    [
        pytest.param("redis", 20, marks=pytest.mark.server),
        ("sqlite", 5),
        pytest.param("redis", 5_000, marks=[pytest.mark.server, pytest.mark.soak]),
        pytest.param("valkey", 500, marks=[pytest.mark.server, pytest.mark.soak]),
        pytest.param("sqlite", 500, marks=pytest.mark.soak),
    ],
)
@pytest.mark.attack("names", "adversarial (namespace, cache, key) taken for another")
def test_no_place_is_taken_for_another(
    name: str, examples: int, tmp_path: Path, request: pytest.FixtureRequest, attack: Attack
) -> None:
    """No cross hits, and ``clear()`` touches its own alone: 100,000 places and more in ``make attack``."""
    with town_on(name, tmp_path, request.getfixturevalue) as (town, empty):

        @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
        @given(st.lists(places, min_size=PAIRS, max_size=PAIRS))
        def confuse(chosen: list[tuple[str | None, str, Key]]) -> None:
            empty()
            for succeeded, what in cross(town, chosen):
                attack.tried(succeeded=succeeded, what=what)

        confuse()


@pytest.mark.attack("names", "adversarial tags taken for keys")
def test_no_tag_is_taken_for_a_key(tmp_path: Path, attack: Attack) -> None:
    """No caller's key leads to a tag's record, and none is listed."""
    house = manager(tmp_path)
    cache = house.get_cache("quotes")
    cache.set("key", 1, tags=("desk",))
    (tag,) = cache._opened().tags.ids(("desk",))
    stored = cache._opened().tags.stored(tag)
    behind = stored.removeprefix(cache._opened().keyspace.prefix)
    for key in (behind, "!s" + behind, behind.encode(), (behind,), "%" + behind, tag, tag.hex(), "!" + behind):
        attack.tried(succeeded=cache._opened().keyspace.stored(key) == stored, what=repr(key))
        attack.tried(succeeded=cache.get(key, MISSING) is not MISSING, what=repr(key))
    attack.tried(succeeded=list(cache.keys()) != ["key"])
    house.close()

"""Epochs: their form in a record, what they cost, who waits for whose load, and what a copy keeps of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openalgo_cache.cache import Cache
from openalgo_cache.codec.envelope import parse_extras, parse_head
from openalgo_cache.epochs import Epoch, sealed_form
from openalgo_cache.errors import ConfigurationError
from openalgo_cache.sentinels import MISSING
from openalgo_cache.testing import FakeClock, Rig
from openalgo_cache.trace import cache_trace
from openalgo_cache.transfer import copy_cache, export_caches, import_caches
from tests.rigs import chaos
from tests.stacks import manager
from tests.workers import PATIENCE

epochs = st.integers() | st.text(max_size=60) | st.binary(max_size=254)


@given(epochs, epochs)
def test_the_form_tells_epochs_apart(one: Epoch, other: Epoch) -> None:
    """Two have the same form only if they are of one type and equal."""
    assert (sealed_form(one, bytes) == sealed_form(other, bytes)) == (type(one) is type(other) and one == other)


def test_the_form_is_frozen() -> None:
    """Records that lie in stores have it."""
    forms: dict[Epoch, bytes] = {
        "": b"s",
        "7": b"s7",
        "é": b"s\xc3\xa9",
        b"7": b"b7",
        0: b"i\0",
        7: b"i\7",
        -1: b"i\xff",
        128: b"i\0\x80",
    }
    for secret in (b"", b"a secret of the ring"):
        for epoch, form in forms.items():
            assert sealed_form(epoch, lambda: secret) == blake2b(form, key=secret, digest_size=16).digest()  # noqa: B023
    assert sealed_form(None, bytes) is None


def test_an_epoch_costs_no_call_of_the_store(rig: Rig) -> None:
    """One call for each verb; what has none is answered from near, as ever."""
    cache = rig.cache()
    cache.set("key", 1, epoch=1)
    cache.set_many({"a": 1, "b": 2}, epoch=1)
    for _ in range(3):
        cache.get("key", epoch=1)
    cache.get_many(["a", "b"], epoch=1)
    cache.set("plain", 1)
    for _ in range(3):
        cache.get("plain")
    calls = {verb: count for verb, count in chaos(cache).calls.items() if verb != "change_token"}
    assert calls.pop("get") + calls.pop("look", 0) == 4
    assert calls == {"set": 1, "set_many": 2, "get_many": 1}
    assert cache.stats()["near_hits"] == 2


def test_the_epoch_is_authenticated(tmp_path: Path) -> None:
    """Who changes it in the store forges the record."""
    with closing(manager(tmp_path, FakeClock())) as house:
        for name, encrypted in (("signed", False), ("secret", True)):
            cache = house.get_cache(name, encrypted=encrypted)
            cache.set("key", "value", epoch=1)
            stored = cache._opened().keyspace.stored("key")
            entry = cache.backend.get(stored)
            assert entry is not None
            head = parse_head(entry.payload)
            here, other = (sealed_form(number, cache._opened().epoch_secret) for number in (1, 2))
            assert here is not None
            assert other is not None
            assert parse_extras(entry.payload, head).epoch == here
            forged = entry.payload.replace(here, other)
            cache.backend.set(stored, entry._replace(payload=forged))
            assert cache.get("key", MISSING, epoch=2) is MISSING
            assert cache.stats()["rejected"] == 1
            assert cache.backend.get(stored) is None


def test_a_trace_shows_reads_with_an_epoch(tmp_path: Path) -> None:
    """They are answered by the store."""
    with closing(manager(tmp_path, FakeClock())) as house:
        cache = house.get_cache("quotes")
        with cache_trace() as trace:
            cache.get_or_set("key", lambda: 1, epoch=1)
            cache.get("key", epoch=1)
            cache.get_many(["key"], epoch=1)
        assert [step.answer for step in trace] == ["miss", "loader", "store", "store"]


def test_a_template_of_an_epoch_is_checked(tmp_path: Path) -> None:
    """When the function is decorated, as the others are."""
    with closing(manager(tmp_path, FakeClock())) as house, pytest.raises(ConfigurationError, match="version"):
        house.get_cache("quotes").cached(epoch="{version}")(lambda user: user)


# Loads


def test_nobody_waits_twice_for_another_epoch(tmp_path: Path) -> None:
    """Whose epoch is overtaken again and again loads for itself, and stores nothing."""
    with closing(manager(tmp_path, FakeClock(), "memory")) as house, ThreadPoolExecutor(3) as pool:
        cache = house.get_cache("quotes")
        held = [Held("first"), Held("second")]
        first = pool.submit(cache.get_or_set, "key", held[0], epoch=1)
        assert held[0].running.wait(PATIENCE)
        waits = Waiting(cache, epoch=2)
        assert waits.step() > 0
        held[0].release.set()
        assert first.result(PATIENCE) == "first"
        cache.delete("key")
        second = pool.submit(cache.get_or_set, "key", held[1], epoch=1)
        assert held[1].running.wait(PATIENCE)
        assert waits.step() < 0  # it is time to load, though another loader is still running
        assert waits.end("own") == "own"
        held[1].release.set()
        assert second.result(PATIENCE) == "second"
        assert [cache.get("key", epoch=1), cache.get("key", epoch=2)] == ["second", None]


class Held:
    """A loader that a test holds."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.running = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> str:
        """Load."""
        self.running.set()
        assert self.release.wait(PATIENCE)
        return self.value


class Waiting:
    """A course that a test takes step by step."""

    def __init__(self, cache: Cache, epoch: Epoch) -> None:
        self.steps = cache._course("key", None, (), epoch)

    def step(self) -> float:
        """Return the seconds to wait; less than 0 when it is time to load."""
        return next(self.steps)

    def end(self, value: Any) -> Any:
        """Hand over what was loaded, and return what the course returns."""
        try:
            self.steps.send(value)
        except StopIteration as end:
            return end.value
        raise AssertionError("the course goes on")


# Copies


def test_copies_and_exports_keep_epochs(tmp_path: Path) -> None:
    """And an entry that is there under another epoch is not taken for the same."""
    clock = FakeClock()
    with closing(manager(tmp_path, clock)) as house, closing(manager(tmp_path, clock, cache_namespace="copy")) as other:
        source = house.get_cache("tokens", encrypted=True, blinded=True)
        source.set("ann", "token", epoch=7)
        source.set("bob", "token")
        target = other.get_cache("tokens", encrypted=True, blinded=True)
        assert copy_cache(source, target).moved == 2
        assert copy_cache(source, target).unchanged == 2
        assert [target.get("ann", epoch=7), target.get("ann"), target.get("bob")] == ["token", None, "token"]
        export_caches(tmp_path / "export.oac", [source], manager=house)
        target.clear()
        import_caches(tmp_path / "export.oac", manager=other)
        assert [target.get("ann", epoch=7), target.get("ann", epoch="7"), target.get("bob")] == ["token", None, "token"]

"""The contract of a backend that tells which keys changed (``SupportsInvalidation``)."""

# ruff: noqa: S101  # assert is how pytest asks

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from openalgo_cache.backends.base import Entry
from openalgo_cache.testing.rig import Contract, Rig, eventually


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.calls: list[str] = []
        self.open = False

    def forget(self) -> None:
        """Begin anew."""
        self.keys.clear()
        self.calls.clear()

    def heard(self, *keys: str) -> bool:
        """Return whether all ``keys`` were told to have changed, by name or because all may have."""
        return self.keys.issuperset(keys) or "drop_all" in self.calls or "resume" in self.calls

    def drop(self, stored: Iterable[str]) -> None:
        """Keep the keys."""
        self.calls.append("drop")
        self.keys.update(stored)

    def drop_all(self) -> None:
        """Keep that it was said."""
        self.calls.append("drop_all")

    def suspend(self) -> None:
        """Keep that it was said."""
        self.open = False
        self.calls.append("suspend")

    def resume(self) -> None:
        """Keep that it was said."""
        self.open = True
        self.calls.append("resume")


class InvalidationContract(Contract):
    """What a listener hears, and that a cache which keeps entries near sees what others write."""

    lag = 5.0

    @pytest.fixture
    def ear(self, rig: Rig) -> Ear:
        """A listener to the cache "quotes", which has begun to hear."""
        ear = Ear()
        rig.backend().subscribe(ear)  # type: ignore[attr-defined]  # see SupportsInvalidation
        assert eventually(lambda: ear.open, self.lag), "the stream does not begin"
        return ear

    def test_every_change_is_heard(self, rig: Rig, ear: Ear) -> None:
        """Whichever verb makes it, on another backend."""
        backend: Any = rig.backend()
        key = rig.prefix("quotes") + "NIFTY 50"
        changes: tuple[Callable[[], object], ...] = (
            lambda: backend.set(key, Entry(b"1", None)),
            lambda: backend.set_many({key: Entry(b"2", None)}),
            lambda: backend.compare_and_set(key, b"2", Entry(b"3", None)),
            lambda: backend.compare_and_set(key, b"3", None),
            lambda: backend.compare_and_set(key, None, Entry(b"4", None)),
            lambda: backend.delete(key),
            lambda: backend.set(key, Entry(b"5", None)),
            lambda: backend.delete_many([key]),
            lambda: backend.set(key, Entry(b"6", None)),
            backend.clear,
        )
        for nth, change in enumerate(changes):
            ear.forget()
            change()
            assert eventually(lambda: ear.heard(key), self.lag), f"change {nth} is unheard"

    def test_keys_are_heard_as_they_are_stored(self, rig: Rig, ear: Ear) -> None:
        """Letter by letter, and every one of many."""
        texts = ["a", "a%25", "é", "नि", "!i7", "~x", "M&M|NSE", *map(str, range(300))]
        keys = {rig.prefix("quotes") + text for text in texts}
        ear.forget()
        rig.backend().set_many({key: Entry(b"", None) for key in keys})
        assert eventually(lambda: ear.heard(*keys), self.lag)

    def test_other_caches_are_not_heard(self, rig: Rig, ear: Ear) -> None:
        """Not even one whose name begins alike."""
        ear.forget()
        for name in ("quotes2", "other"):
            rig.backend(name).set(rig.prefix(name) + "key", Entry(b"", None))
        own = rig.prefix("quotes") + "key"
        rig.backend().set(own, Entry(b"", None))
        assert eventually(lambda: ear.heard(own), self.lag)
        assert ear.keys <= {own}

    def test_a_listener_hears_once_it_is_subscribed_twice(self, rig: Rig, ear: Ear) -> None:
        """To subscribe again changes nothing."""
        backend: Any = rig.backend()
        for _ in range(3):
            backend.subscribe(ear)
        ear.forget()
        key = rig.prefix("quotes") + "key"
        backend.set(key, Entry(b"", None))
        assert eventually(lambda: ear.heard(key), self.lag)
        assert ear.calls.count("drop") <= 1

    def test_nothing_is_heard_after_the_end(self, rig: Rig) -> None:
        """Closing the backend suspends its listeners: they must not go on trusting what they have."""
        backend: Any = rig.backend()
        ear = Ear()
        backend.subscribe(ear)
        assert eventually(lambda: ear.open, self.lag)
        backend.close()
        assert eventually(lambda: not ear.open, self.lag)
        other = Ear()
        rig.backend().subscribe(other)  # type: ignore[attr-defined]  # see SupportsInvalidation
        assert eventually(lambda: other.open, self.lag)
        other.forget()
        key = rig.prefix("quotes") + "key"
        rig.backend().set(key, Entry(b"", None))
        assert eventually(lambda: other.heard(key), self.lag)
        assert not ear.keys

    def test_a_cache_serves_from_near_until_another_writes(self, rig: Rig, sealing: dict[str, Any]) -> None:
        """Entries are kept, and leave."""
        one, other = rig.cache(**sealing), rig.cache(**sealing)
        other.set("key", 0)

        def is_near() -> bool:
            before = one.stats()["near_hits"]
            assert one.get("key") == version
            return bool(one.stats()["near_hits"] > before)

        for version in range(4):
            other.set("key", version)
            assert eventually(lambda: one.get("key") == version, self.lag)  # noqa: B023  # called at once
            assert eventually(is_near, self.lag), "nothing is kept near"

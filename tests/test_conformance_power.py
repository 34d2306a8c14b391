"""The contracts find defects: a backend with any of these fails at least one test."""

# ruff: noqa: D101, D102  # a defect's name says it

from __future__ import annotations

import inspect
import itertools
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.backends.base import CacheBackend, Entry, Request
from openalgo_cache.backends.memory import MemoryBackend, _Slot
from openalgo_cache.testing import (
    BackendContract,
    BoundContract,
    CacheContract,
    ChangeTokenContract,
    Contract,
    Rig,
    ScanContract,
)
from openalgo_cache.testing.sealings import BY_NAME


class Suite(BackendContract, ScanContract, BoundContract, ChangeTokenContract, CacheContract):
    """The contracts of the memory backend, on one that may be defective."""

    def __init__(self, backend: type[MemoryBackend]) -> None:
        self.backend_class = backend

    def make_backend(self, request: Request) -> CacheBackend:
        """Make it."""
        return self.backend_class.create(request)


def runs(suite: Contract) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every test of a suite with its parameters; caches are only signed, which is enough here."""
    tests = [(name, test) for name, test in inspect.getmembers(suite, inspect.ismethod) if name.startswith("test_")]
    for name, test in sorted(tests, key=lambda one: not hasattr(BackendContract, one[0])):
        marks = {mark.args[0]: mark.args[1] for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"}
        if "sealing" in inspect.signature(test).parameters:
            marks["sealing"] = [next(iter(marks.get("sealing", [BY_NAME["signed"]])))]
        for values in itertools.product(*marks.values()):
            yield name, dict(zip(marks, values, strict=True))


def first_failure(suite: Contract, folder: Path) -> str | None:
    """Run the tests until one fails, and return its name."""
    for nth, (name, values) in enumerate(runs(suite)):
        test, rig = getattr(suite, name), Rig(suite, folder / str(nth))
        given = {
            "rig": lambda rig=rig: rig,
            "backend": rig.backend,
            "key": lambda rig=rig: rig.prefix("quotes") + "NIFTY 50",
            "cache": lambda rig=rig: rig.cache(**BY_NAME["signed"]),
        }
        wanted = inspect.signature(test).parameters
        try:
            test(**values, **{fixture: make() for fixture, make in given.items() if fixture in wanted})  # type: ignore[no-untyped-call]
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001  # pytest's own outcomes are no Exceptions
            return name
    return None


class IgnoresExpiry(MemoryBackend):
    def get(self, key: str) -> Entry | None:
        slot = self._slots.entries.get(key)
        return slot.entry if slot is not None else None


class LivesAtItsExpiry(MemoryBackend):
    def get(self, key: str) -> Entry | None:
        slot = self._slots.entries.get(key)
        if slot is None or (slot.entry.expires_at is not None and slot.entry.expires_at < self._now()):
            return None
        return slot.entry


class RoundsExpiryToSeconds(MemoryBackend):
    def set_many(self, entries: Any) -> None:
        super().set_many(
            {
                key: one._replace(expires_at=one.expires_at and float(round(one.expires_at)))
                for key, one in entries.items()
            }
        )


class KeepsTheOldExpiry(MemoryBackend):
    def set(self, key: str, entry: Entry) -> None:
        old = self.get(key)
        super().set(key, entry if old is None else entry._replace(expires_at=old.expires_at))


class CountsTheExpired(MemoryBackend):
    def size(self) -> int:
        return len(self._slots.entries)


class DeletesTheExpired(MemoryBackend):
    def delete_many(self, keys: Any) -> int:
        return sum(self._slots.remove(key) is not None for key in keys)


class AlwaysDeletes(MemoryBackend):
    def delete(self, key: str) -> bool:
        super().delete(key)
        return True


class TakesEmptyForAbsent(MemoryBackend):
    def exists(self, key: str) -> bool:
        return bool((entry := self.get(key)) and entry.payload)

    def get_many(self, keys: Any) -> dict[str, Entry]:
        return {key: entry for key in keys if (entry := self.get(key)) is not None and entry.payload}


class ReturnsBytearrays(MemoryBackend):
    def get(self, key: str) -> Entry | None:
        entry = super().get(key)
        return entry and Entry(bytearray(entry.payload), entry.expires_at)  # type: ignore[arg-type]  # the defect


class StoresText(MemoryBackend):
    def set_many(self, entries: Any) -> None:
        super().set_many(
            {key: Entry(one.payload.decode(errors="replace").encode(), one.expires_at) for key, one in entries.items()}
        )


class FoldsCase(MemoryBackend):
    def get(self, key: str) -> Entry | None:
        return super().get(key.lower())

    def set_many(self, entries: Any) -> None:
        super().set_many({key.lower(): entry for key, entry in entries.items()})


class StripsKeys(MemoryBackend):
    def get(self, key: str) -> Entry | None:
        return super().get(key.strip())

    def set_many(self, entries: Any) -> None:
        super().set_many({key.strip(): entry for key, entry in entries.items()})


class CutsKeys(MemoryBackend):
    def get(self, key: str) -> Entry | None:
        return super().get(key[:255])

    def set_many(self, entries: Any) -> None:
        super().set_many({key[:255]: entry for key, entry in entries.items()})


class SharesWithOtherCaches(MemoryBackend):
    everywhere: Any = None

    @classmethod
    def create(cls, request: Request) -> MemoryBackend:
        made = super().create(request)
        cls.everywhere = made._slots = cls.everywhere or made._slots
        return made


class ComparesNothing(MemoryBackend):
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        present = self.get(key)
        return super().compare_and_set(key, None if present is None else present.payload, new)


class ComparesLengths(MemoryBackend):
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        present = self.get(key)
        if present is not None and expected is not None and len(present.payload) == len(expected):
            expected = present.payload
        return super().compare_and_set(key, expected, new)


class ComparesTheExpired(MemoryBackend):
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        slot = self._slots.entries.get(key)
        if (None if slot is None else slot.entry.payload) != expected:
            return False
        if new is None:
            return self.delete(key) or True
        self.set(key, new)
        return True


class TakesEmptyForNone(MemoryBackend):
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        return super().compare_and_set(key, expected or None, new)


class RefusesToRemoveNothing(MemoryBackend):
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        return (expected, new) != (None, None) and super().compare_and_set(key, expected, new)


class ComparesThenSets(MemoryBackend):
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        entry = self.get(key)
        if (None if entry is None else entry.payload) != expected:
            return False
        time.sleep(0.0001)  # where another thread comes between
        if new is None:
            self.delete(key)
        else:
            self.set(key, new)
        return True


class FailsWithoutKeys(MemoryBackend):
    def get_many(self, keys: Any) -> dict[str, Entry]:
        wanted = list(keys)
        assert wanted
        return super().get_many(wanted)


class ClosesOnce(MemoryBackend):
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class DeadlocksWithItself(MemoryBackend):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.own = threading.Lock()

    def get_many(self, keys: Any) -> dict[str, Entry]:
        if not self.own.acquire(timeout=0.05):
            raise TimeoutError
        return super().get_many(keys)  # and never released


class ScansByPattern(MemoryBackend):
    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        everything = super().scan()
        pattern = prefix.replace("_", "?").replace("%25", "*") + "*"  # LIKE's characters
        return ((key, entry) for key, entry in everything if fnmatchcase(key, pattern))


class ScansTheExpired(MemoryBackend):
    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        return ((key, slot.entry) for key, slot in list(self._slots.entries.items()) if key.startswith(prefix))


class ScansWhileOthersWrite(MemoryBackend):
    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        return ((key, slot.entry) for key, slot in self._slots.entries.items() if key.startswith(prefix))


class ScansFirstPageOnly(MemoryBackend):
    def scan(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        return itertools.islice(super().scan(prefix), 500)


class KeepsOneTooMany(MemoryBackend):
    @classmethod
    def create(cls, request: Request) -> MemoryBackend:
        return cls(request.maxsize and request.maxsize + 1, request.clock)


class EvictsTheNewest(MemoryBackend):
    def set_many(self, entries: Any) -> None:
        for key, entry in entries.items():
            if key in self._slots.entries or len(self._slots.entries) < self._slots._capacity:
                super().set_many({key: entry})


class BoundsOnlySet(MemoryBackend):
    def compare_and_set(self, key: str, expected: bytes | None, new: Entry | None) -> bool:
        if new is None or (present := self.get(key)) is not None or expected is not None:
            return super().compare_and_set(key, expected, new)
        del present
        self._slots.entries[key] = _Slot(new)
        return True


class BoundsWhatIsUnbounded(MemoryBackend):
    @classmethod
    def create(cls, request: Request) -> MemoryBackend:
        return cls(request.maxsize or 1_000, request.clock)


class MovesNoTokenForDeletes(MemoryBackend):
    def delete_many(self, keys: Any) -> int:
        before = self.change_token[0]
        count = super().delete_many(keys)
        self.change_token[0] = before
        return count


class MovesTheTokenForReads(MemoryBackend):
    def get(self, key: str) -> Entry | None:
        self.change_token[0] += 1
        return super().get(key)


class FollowsEvictions(MemoryBackend):
    def _changed(self, evicted: int = 0) -> None:
        del evicted
        super()._changed()


DEFECTS = [
    found
    for found in list(globals().values())
    if isinstance(found, type) and issubclass(found, MemoryBackend) and found is not MemoryBackend
]


def test_the_backend_without_a_defect_passes(tmp_path: Path) -> None:
    """The way in which this module runs the tests finds nothing by itself."""
    suite = Suite(MemoryBackend)
    assert len(list(runs(suite))) > 60
    assert first_failure(suite, tmp_path) is None


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(defect: type[MemoryBackend], tmp_path: Path) -> None:
    """By one test at least."""
    assert first_failure(Suite(defect), tmp_path) is not None

"""The contracts of tags, epochs, locks and expired values find defects: with any of these at least one test fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import atomic, flight, reading, tags
from openalgo_cache.backends.base import CacheBackend, Request
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.cache import Cache
from openalgo_cache.codec.codec import Terms
from openalgo_cache.errors import LockLostError
from openalgo_cache.lock import Lock
from openalgo_cache.sentinels import DEFAULT
from openalgo_cache.stack import Stack
from openalgo_cache.steps import Keep, Put, Seen
from openalgo_cache.tags import Tags
from openalgo_cache.testing.cache_epochs import CacheEpochs
from openalgo_cache.testing.cache_locks import CacheLocks
from openalgo_cache.testing.cache_stale import CacheStale
from openalgo_cache.testing.cache_tags import CacheTags
from openalgo_cache.writing import Writer
from tests.test_conformance_power import first_failure, runs


class Verbs(CacheTags, CacheEpochs, CacheLocks, CacheStale):
    """The contracts, on a store without defects."""

    def make_backend(self, request: Request) -> CacheBackend:
        """Make it."""
        return MemoryBackend.create(request)


_take = Lock._take
_exit = Lock.__exit__
_clear = Cache.clear
_board = flight.Flights.board
_in_force: Callable[..., bool] = reading._in_force
_look_up = reading.Reader._look_up
_reserve = flight._reserve
_set_on_terms: Callable[..., None] = Writer._set_on_terms
_stands = reading._stands


def touch_without_tags(self: Cache, key: Any, ttl: Any = DEFAULT) -> bool:
    """Store the value anew."""
    if key not in self:
        return False
    self.set(key, self.get(key), ttl)
    return True


def take_for_ever(self: Lock, found: Any, holder: bytes) -> Keep | Put:
    """Take no lock from anybody, however late."""
    return Keep(None) if found is not None and found.value[0] != b"" else _take(self, found, holder)


def replace_anybodys(self: Lock, record: Any, until: float) -> None:
    """Ask nobody whose the lock is."""
    self._records._exchange(self._name, lambda _: Put(record, until + 1e5, result=True), None)


def exit_silently(self: Lock, *error: Any) -> None:
    """Tell nobody that the lock was lost."""
    try:
        _exit(self, *error)
    except LockLostError:
        return


def take_with_the_same_fence(self: Lock, found: Any, holder: bytes) -> Keep | Put:
    """Let it fall to what the clock says."""
    decision = _take(self, found, holder)
    if isinstance(decision, Keep):
        return decision
    fence = int(self._records._now() * 1e6)
    return decision._replace(value=(holder, fence, decision.value[2]), result=fence)


def locks_beside_entries(self: Cache) -> Any:
    """Keep them in the cache itself."""
    return self


def in_force_for_any_epoch(*given: Any) -> bool:
    """Compare the epoch of a record with itself."""
    terms: Terms | None = given[2]
    return _in_force(*given[:5], None if terms is None else terms.epoch)


def set_without_epoch(*given: Any) -> None:
    """Seal none."""
    _set_on_terms(*given[:5], None)


def look_up_of_any_epoch(self: Any, stack: Stack, stored: str, epoch: bytes | None = None) -> Seen:
    """Find whatever is there."""
    entry = stack.backend.get(stored)
    terms = None if entry is None else stack.codec.decode(stored, entry.payload)[2]
    return _look_up(self, stack, stored, epoch if terms is None or terms.is_lease else terms.epoch)


def board_any(self: flight.Flights, stored: str, epoch: bytes | None, loop: object | None) -> Any:
    """Take no notice of what a flight loads."""
    found, leads = _board(self, stored, epoch, loop)
    found.epoch = epoch
    return found, leads


def fall_back_for_ever(*arguments: Any) -> Any:
    """Ask neither until when nor whether it was revoked."""
    return arguments[-1].seen.stale


DEFECTS: dict[str, tuple[Any, str, Any]] = {
    "tags are not looked at": (Tags, "hold", lambda _self, _tags: True),
    "tags are not looked at in bulk": (Tags, "hold_each", lambda _self, _payloads: lambda _tags: True),
    "one tag of several is enough": (
        Tags,
        "_match",
        staticmethod(lambda own, known: any(known.get(tag, tags._NONE).number == number for tag, number in own)),
    ),
    "all tags are one": (Tags, "_id", lambda _self, _name: bytes(16)),
    "every generation is the same": (tags, "_draw", lambda: 7),
    "touch forgets the tags": (Cache, "touch", touch_without_tags),
    "what is loaded has no tags": (flight, "_reserve", lambda *given: _reserve(*given)._replace(tags=())),
    "a tag clears everything": (Cache, "clear", lambda self, *, tag=None: _clear(self) if tag is None or tag else 0),
    "a tag clears nothing": (Cache, "clear", lambda self, *, tag=None: _clear(self) if tag is None else 1),
    "an epoch is not compared": (reading, "_in_force", in_force_for_any_epoch),
    "an epoch is not compared before a write": (reading.Reader, "_look_up", look_up_of_any_epoch),
    "an epoch is forgotten": (Writer, "_set_on_terms", set_without_epoch),
    "an added epoch is forgotten": (atomic, "sealed_form", lambda *_: None),
    "a loaded epoch is forgotten": (flight, "sealed_form", lambda *_: None),
    "a flight carries everybody": (flight.Flights, "board", board_any),
    "a lock excludes nobody": (Lock, "_take", lambda self, _found, holder: _take(self, None, holder)),
    "a lock is for ever": (Lock, "_take", take_for_ever),
    "fences do not rise": (Lock, "_take", take_with_the_same_fence),
    "anybody releases a lock": (Lock, "_replace_ours", replace_anybodys),
    "a lost lock is not told": (Lock, "__exit__", exit_silently),
    "extend does nothing": (Lock, "extend", lambda _self, _ttl=None: None),
    "locks lie among entries": (Cache, "_lock_records", locks_beside_entries),
    "nothing stands in": (flight, "_fall_back", lambda *_: None),
    "what was revoked stands in": (flight, "_fall_back", fall_back_for_ever),
    "what stands in is kept for no time": (flight, "RETRY_SECONDS", 1e-6),
    "what stands in is a value": (
        reading,
        "_stands",
        lambda entry, _expiry, terms, now: _stands(entry, now + 1 if terms else _expiry, terms, now),
    ),
}


def test_without_a_defect_they_pass(tmp_path: Path) -> None:
    """The way in which this module runs them finds nothing by itself."""
    suite = Verbs()
    assert len(list(runs(suite))) > 20
    assert first_failure(suite, tmp_path) is None


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(defect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one test at least."""
    owner, name, replacement = DEFECTS[defect]
    monkeypatch.setattr(owner, name, replacement)
    assert first_failure(Verbs(), tmp_path) is not None

"""Rotation and retirement: what they do, what they refuse, and that each goes on where another one was interrupted."""

from __future__ import annotations

import json
import os
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache import CacheManager
from openalgo_cache.backends.base import Entry
from openalgo_cache.codec.keyring import Key, KeyRing
from openalgo_cache.errors import KeyRingError
from openalgo_cache.rotation.rotating import GRACE, KeyInUseError, Rotation
from tests.rotation.rings import SkippingClock, add_active, keys_in, resealed, ring_file, waiting
from tests.stacks import manager


class Installation:
    """An installation whose clock a wait sets on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SkippingClock()
        self.told: list[str] = []

    def caches(self, **more: Any) -> CacheManager:
        """Return a manager, to be closed."""
        return manager(self.folder, self.clock, **more)

    def rotation(self, caches: CacheManager, **more: Any) -> Rotation:
        """Return what rotates keys here."""
        return Rotation(caches, tell=self.told.append, pause=waiting(caches, self.clock), **more)

    def rotate(self, **how: Any) -> Any:
        """Rotate."""
        with closing(self.caches()) as caches:
            return self.rotation(caches).rotate(**how)

    def retire(self, key_id: int, **how: Any) -> Any:
        """Retire a key."""
        with closing(self.caches()) as caches:
            return self.rotation(caches).retire(key_id, **how)

    @property
    def ring(self) -> KeyRing:
        """The ring."""
        return ring_file(self.folder).load()

    def keys_in_records(self) -> dict[int, int]:
        """Return how many records each key sealed."""
        with closing(self.caches()) as caches:
            return keys_in(caches)


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    """An installation with something in it."""
    found = Installation(tmp_path)
    with closing(found.caches()) as caches:
        caches.get_cache("quotes").set_many({str(number): number for number in range(100)})
        caches.get_cache("running_strategies").set("s1", [1, 2])
        caches.get_cache("auth").set("user", "token", ttl=300)
    return found


def test_a_rotation(here: Installation) -> None:
    """Afterwards one new key is active, nothing needs the old one, and all can be read."""
    old = here.ring.active.id
    done = here.rotate()
    assert (done.resumed, done.retired, done.left) == (False, (), ())
    assert resealed(done.tallies) == 102
    assert [key.id for key in here.ring.keys] == [old, done.active]
    assert here.ring.active.id == done.active
    assert here.keys_in_records() == {done.active: 102}
    again = here.rotate(then_retire=True)
    assert (again.resumed, again.active, again.retired) == (True, done.active, (old,))
    assert [key.id for key in here.ring.keys] == [done.active]
    with closing(here.caches()) as caches:
        assert caches.get_cache("quotes").get("99") == 99
        assert caches.get_cache("running_strategies").get("s1") == [1, 2]
        assert caches.get_cache("auth").get("user") == "token"
    third = here.rotate()
    assert (third.resumed, third.active != done.active) == (False, True)


def test_a_rotation_to_a_key_that_was_added_before(here: Installation) -> None:
    """So that several hosts can get it first."""
    key = Key.generate()
    ring_file(here.folder).update(lambda ring: ring.with_key(key))
    done = here.rotate()
    assert (done.resumed, done.active) == (True, key.id)
    assert here.keys_in_records() == {key.id: 102}


def test_without_another_key(here: Installation) -> None:
    """As on the other hosts of a rotation, where there may be nothing to do: no key is added for that."""
    _, new = add_active(here.folder)
    for _ in range(2):
        done = here.rotate(new_key=False)
        assert (done.active, done.left) == (new, ())
    assert here.keys_in_records() == {new: 102}
    assert len(here.ring.keys) == 2


def test_what_an_older_rotation_left_is_taken_along(here: Installation) -> None:
    """Each key but the active one is old."""
    first, second = add_active(here.folder)
    with closing(here.caches()) as caches:
        caches.get_cache("books").set("key", 1)
    third = add_active(here.folder)[1]
    done = here.rotate(then_retire=True)
    assert (done.active, set(done.retired)) == (third, {first, second})
    assert resealed(done.tallies) == 103
    assert here.keys_in_records() == {third: 103}


def test_a_key_in_use_is_not_retired(here: Installation) -> None:
    """The refusal has the counts and the fix."""
    old, new = add_active(here.folder)
    here.clock.wait(GRACE)
    with pytest.raises(KeyInUseError, match=f"102 records need key {old:08x}: 'openalgo-cache keys rotate'") as refused:
        here.retire(old)
    assert {(tally.cache, tally.needs[old]) for tally in refused.value.tallies} == {
        ("quotes", 100), ("running_strategies", 1), ("auth", 1)
    }  # fmt: skip
    with pytest.raises(KeyRingError, match="active one"):
        here.retire(new)
    with pytest.raises(KeyRingError, match="no key 00000001"):
        here.retire(1)
    assert [key.id for key in here.ring.keys] == [old, new]


def test_a_backup_keeps_a_key(here: Installation) -> None:
    """It is sealed anew by a rotation like everything else."""
    with closing(here.caches()) as caches:
        cache = caches.get_cache("running_strategies")
        cache.get("s1")
        cache.backend.maintain()  # type: ignore[attr-defined]
        old, new = add_active(here.folder)
    with closing(here.caches()) as caches:
        caches.clear_all(include_state=True)
        for name in ("quotes", "auth", "running_strategies"):
            caches.get_cache(name).clear()
    here.clock.wait(GRACE)
    with pytest.raises(KeyInUseError, match="1 records need") as refused:
        here.retire(old)
    needing_it = [tally.place for tally in refused.value.tallies if tally.needs[old]]
    assert needing_it == ["backups of cache_running_strategies.db"]
    assert here.rotate(then_retire=True).retired == (old,)
    assert here.keys_in_records() == {new: 1}


def test_a_key_that_was_active_a_moment_ago_is_not_retired(here: Installation) -> None:
    """A process that has not looked at the ring since may still seal with it."""
    old = here.ring.active.id
    here.rotate()
    with pytest.raises(KeyInUseError, match=r"a moment ago.* try again in \d+ seconds"):
        here.retire(old)
    here.clock.wait(GRACE)
    here.retire(old)
    assert old not in here.ring


def test_a_key_that_is_needed_after_all_comes_back(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written between the count and the retirement is found by a second count."""
    old = here.ring.active.id
    with closing(here.caches()) as late:
        cache = late.get_cache("quotes")
        stored = cache._opened().keyspace.stored("late")
        record = cache._opened().codec.encode(stored, 1, here.clock(), None)
        here.rotate()
        here.clock.wait(GRACE)
        with closing(here.caches()) as caches:
            rotation = here.rotation(caches)
            real = rotation._file.update

            def update(change: Any) -> KeyRing:
                cache.backend.set(stored, Entry(record, None))
                return real(change)

            monkeypatch.setattr(type(rotation._file), "update", lambda _file, change: update(change))
            with pytest.raises(KeyInUseError, match="1 records need"):
                rotation.retire(old)
            monkeypatch.undo()
    assert old in here.ring
    here.rotate(then_retire=True)
    assert old not in here.ring
    with closing(here.caches()) as caches:
        assert caches.get_cache("quotes").get("late") == 1


def test_a_record_that_cannot_be_verified_keeps_its_key_until_somebody_says_so(here: Installation) -> None:
    """It stays where it is all the same."""
    old = here.ring.active.id
    with closing(here.caches()) as caches:
        stack = caches.get_cache("quotes")._opened()
        record = stack.backend.get(stack.keyspace.stored("1"))
        assert record is not None
        stack.backend.set(stack.keyspace.stored("moved"), record)
    here.rotate()
    here.clock.wait(GRACE)
    with pytest.raises(KeyInUseError, match=r"1 records name key .* --skip-unreadable"):
        here.retire(old)
    here.retire(old, skip_unreadable=True)
    assert old not in here.ring
    assert here.keys_in_records()[old] == 1


@pytest.mark.skipif(os.name == "nt", reason="a folder has no mode there")
def test_a_ring_that_is_mounted(here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written beside it, and what an older key sealed is sealed anew all the same."""
    _, new = add_active(here.folder)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    ring_file(here.folder).path.rename(mounted / "ring")
    mounted.chmod(0o500)
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != mounted)  # root may write everywhere
    with closing(here.caches(cache_key_file=mounted / "ring")) as caches:
        rotation = here.rotation(caches)
        assert rotation.rotate(new_key=False).active == new
        assert keys_in(caches) == {new: 102}
        with here.rotation(caches)._alone(), pytest.raises(KeyRingError, match="another process is rotating"):
            rotation.rotate(new_key=False)
    assert [path.name for path in mounted.iterdir()] == ["ring"]
    mounted.chmod(0o700)


def test_two_at_once(here: Installation) -> None:
    """The second is told."""
    refused = pytest.raises(KeyRingError, match="another process is rotating")
    with closing(here.caches()) as caches, here.rotation(caches)._alone(), refused:
        here.rotate()
    here.rotate()


@pytest.mark.parametrize("stage", ["before", "added", "activated", "half", "swept", "retired"])
def test_an_interrupted_rotation_goes_on(here: Installation, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """By the same command, to the same key, wherever it was stopped."""
    old = here.ring.active.id
    stops = {"before": "_next_key", "added": "_activate", "activated": "_sweep", "swept": "_wait_for_grace"}

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with closing(here.caches()) as caches:
        seen = (lambda count, _total: stop() if count else None) if stage == "half" else None
        rotation = here.rotation(caches, progress=seen)
        if stage in stops:
            monkeypatch.setattr(rotation, stops[stage], stop)
        if stage == "retired":
            real = rotation._retire

            def retire_and_stop(*arguments: Any, **options: Any) -> None:
                real(*arguments, **options)
                stop()

            monkeypatch.setattr(rotation, "_retire", retire_and_stop)
        with pytest.raises(KeyboardInterrupt):
            rotation.rotate(then_retire=True)
    begun = here.ring.keys[-1].id
    if stage == "retired":
        assert [key.id for key in here.ring.keys] == [begun]
        return
    with closing(here.caches()) as caches:
        assert len(dict(caches.get_cache("quotes").items())) == 100
    done = here.rotate(then_retire=True)
    assert done.resumed == (stage != "before")
    assert done.active == begun or stage == "before"
    assert [key.id for key in here.ring.keys] == [done.active]
    assert here.keys_in_records() == {done.active: 102}
    assert old not in here.ring


def test_a_lease_is_waited_for(here: Installation) -> None:
    """A loader that is under way stores what it brings, and the rotation ends after it."""
    with closing(here.caches()) as loading:
        cache = loading.get_cache("books")
        goes_on, waits = threading.Event(), threading.Event()

        def load() -> int:
            waits.set()
            goes_on.wait(60)
            return 7

        thread = threading.Thread(target=cache.get_or_set, args=("key", load), kwargs={"ttl": 600})
        thread.start()
        waits.wait(60)
        with closing(here.caches()) as caches:
            rotation = here.rotation(caches)

            def wait(seconds: float) -> None:
                goes_on.set()
                thread.join(60)
                waiting(caches, here.clock)(seconds)

            rotation._pause = wait
            done = rotation.rotate()
        assert done.left == ()
        assert here.keys_in_records() == {done.active: 103}


def test_what_lies_in_memory_is_read_on(here: Installation) -> None:
    """Nobody else can seal it anew, so the process keeps the key for it; nobody sees it in the ring any more."""
    with closing(here.caches()) as running:
        cache = running.get_cache("scratch", backend="memory", encrypted=True)
        cache.set("key", "value")
        old = here.ring.active.id
        here.rotate(then_retire=True)
        running.live_ring().tick()
        assert old not in running.ring()
        assert cache.get("key") == "value"
        cache.set("key", "another")
        assert cache.get("key") == "another"


def test_where_the_key_is_in_a_variable(tmp_path: Path) -> None:
    """There is no file to put another key in."""
    key = "A" * 43 + "="
    variables: dict[str, Any] = {"cache_encryption_key": key, "cache_namespace": "desk"}
    with closing(manager(tmp_path, **variables)) as caches, pytest.raises(KeyRingError, match="CACHE_KEY_FILE"):
        Rotation(caches)


def test_what_was_done_with_keys_is_audited(here: Installation) -> None:
    """Also where CACHE_AUDIT_ENABLED says nothing; and the heads of the log are sealed anew like everything else."""
    old = here.ring.active.id
    done = here.rotate(then_retire=True)
    log = next(here.folder.glob("db/cache_audit.*.log"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["operation"], line["detail"]) for line in lines if line["operation"].startswith("KEY_")] == [
        ("KEY_ADD", f"key {done.active:08x}"),
        ("KEY_ACTIVATE", f"key {done.active:08x}"),
        ("KEY_RETIRE", f"key {old:08x}"),
    ]
    with closing(here.caches()) as caches:
        assert dict(caches._open_heads().items())

"""Instances that share a server have the same master, whatever happens on the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openalgo_cache.backends.base import CacheBackend, Entry
from openalgo_cache.backends.memory import MemoryBackend
from openalgo_cache.errors import BackendUnavailableError, SymbolImportError, UnreadableRecordError
from openalgo_cache.symbols import Instrument, shelf, snapshot
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.shelf import GRACE, Shelf
from openalgo_cache.symbols.version import MasterVersion
from tests.symbols.samples import OTHER_RING, RING, ROWS, Hand, row
from tests.symbols.sharing import KEYSPACE, RECORD, Instance, codec_of, store_in


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Hand) -> CacheBackend:
    """What the instances share."""
    return store_in(tmp_path / "server", clock) if request.param == "sqlite" else MemoryBackend(None, clock)


Make = Callable[..., Instance]


@pytest.fixture
def make(store: CacheBackend, tmp_path: Path, clock: Hand, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes instances; chunks are small, so that there are several."""
    monkeypatch.setattr(shelf, "CHUNK_BYTES", 300)

    def instance(name: str, ring: object = RING) -> Instance:
        return Instance(tmp_path, store, clock, name, ring)  # type: ignore[arg-type]  # a ring

    return instance


def rows_of(instance: Instance) -> list[Instrument]:
    """All that an instance has, in order, read and verified from its file."""
    number = MasterFiles(instance.base).current()
    assert number is not None
    version = MasterVersion(MasterFiles(instance.base).path_of(number), number, RING)
    try:
        return list(version.in_order())
    finally:
        version.close()


def test_what_one_imports_the_others_have(make: Make) -> None:
    """Field by field and in the same order, under the same number; asked for the first time, they fetch it at once."""
    one, two = make("one"), make("two")
    report = one.master.import_master(ROWS)
    assert report.published
    assert report.notes == []
    assert two.master.by_symbol("M&M", "NSE") == one.master.by_symbol("M&M", "NSE")
    assert rows_of(two) == rows_of(one)
    assert len(rows_of(two)) == len(ROWS)
    theirs, ours = two.master.stats(), one.master.stats()
    assert theirs["version"] == ours["version"] == report.version
    assert theirs["imported_at"] == ours["imported_at"]
    assert theirs["exchanges"] == ours["exchanges"]
    assert theirs["source"] == "", "the file is on another machine"


def test_who_comes_second_takes_what_the_first_one_has(make: Make) -> None:
    """Of instances that all found nothing, one imports: the others neither do it again nor replace it."""
    one, two = make("one"), make("two")
    assert (one.master.count(), two.master.count()) == (0, 0)
    report = one.master.import_first(ROWS)
    assert report is not None
    assert report.published
    assert two.master.import_first([row("OTHER")]) is None
    assert one.master.import_first([row("OTHER")]) is None
    two.master.synchronise()
    assert two.master.stats()["version"] == one.master.stats()["version"] == report.version


def test_first_imports_at_once(make: Make) -> None:
    """Whoever published first, while the other one was at work, is followed."""
    one, two = make("one"), make("two")

    def rows() -> Iterator[dict[str, str]]:
        assert two.master.import_first([row("THEIRS")]) is not None
        yield row("OURS")

    report = one.master.import_first(rows())
    assert report is not None
    assert not report.published
    assert one.master.stats()["version"] == two.master.stats()["version"]
    assert one.master.by_symbol("THEIRS", "NSE") is not None


def test_awkward_names_travel_bit_by_bit(make: Make) -> None:
    """Names with all that brokers put in them, and one token on two exchanges."""
    one, two = make("one"), make("two")
    rows = [
        *ROWS, row("ÄÖ", name="Ünïcode 株"), row("X" * 200, name=""), row("=1+1", name="' OR 1=1 --", brsymbol="\\%_"),
        row("NIFTY 50", "NSE", strike="0.1", tick_size="5e-2", contract_value="0.001", token="256265::::1001"),
    ]  # fmt: skip
    one.master.import_master(rows)
    assert two.master.count() == len(rows)
    assert [list(map(repr, one)) for one in rows_of(two)] == [list(map(repr, one)) for one in rows_of(one)]
    for symbol, exchange in (("M&M", "NSE"), ("NIFTY 50", "NSE_INDEX"), ("BAJAJ-AUTO", "NSE"), ("08ABB", "BSE"),
                             ("BTCUSD.P", "CRYPTO"), ("ÄÖ", "NSE")):  # fmt: skip
        assert two.master.by_symbol(symbol, exchange) == one.master.by_symbol(symbol, exchange) is not None
    assert two.master.all_by_token("519937::::2031") == one.master.all_by_token("519937::::2031")
    assert len(two.master.all_by_token("519937::::2031")) == 2


def test_a_new_version_replaces_the_old_everywhere(make: Make, store: CacheBackend) -> None:
    """Each instance sees it at its next look; the old chunks go when their readers had time."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1"), *ROWS])
    assert two.symbols >= {"S1"}
    first = store.size()
    two.master.import_master([row("S2"), *ROWS])
    assert "S1" in one.symbols
    one.pass_time(1)
    assert {"S2"} == one.symbols & {"S1", "S2"}
    assert store.size() > first
    one.pass_time(GRACE)
    assert store.size() == first
    two.pass_time()
    assert store.size() == first


def test_who_has_it_downloads_nothing(make: Make) -> None:
    """Start after start, and look after look."""
    one = make("one")
    one.master.import_master(ROWS)
    two = make("two")
    assert two.master.count() == len(ROWS)
    again = make("two")
    for _ in range(5):
        again.pass_time(1)
    assert again.master.count() == len(ROWS)
    assert {key for _, key in again.link.steps} == {RECORD}
    one.link.steps.clear()
    one.pass_time(1)
    assert len(one.link.steps) <= 2, "one look at the record, and one whether there is something to clear away"


def test_look_ups_never_ask_the_server(make: Make) -> None:
    """They cost the same whatever the backend."""
    one, two = make("one"), make("two")
    one.master.import_master(ROWS)
    assert two.master.count()
    two.link.steps.clear()
    two.clock.now += 100
    assert two.master.by_symbol("M&M", "NSE")
    assert two.master.search("NIFTY")
    assert two.link.steps == []


def test_a_server_that_is_down(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The old master is served; what is imported meanwhile is published when the server answers; it is logged once."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1")])
    assert two.symbols == {"S1"}
    one.link.is_cut = two.link.is_cut = True
    with caplog.at_level(logging.INFO):
        report = one.master.import_master([row("S2")])
        assert report.published is False
        assert "does not answer" in report.notes[0]
        for _ in range(3):
            one.pass_time()
            two.pass_time()
        assert (one.symbols, two.symbols) == ({"S2"}, {"S1"})
        assert "does not answer" in one.master.stats()["sharing_problem"]
        one.link.is_cut = two.link.is_cut = False
        one.pass_time()
        two.pass_time()
    assert one.symbols == two.symbols == {"S2"}
    assert one.master.stats()["sharing_problem"] is None
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 2, "one an instance"


def test_an_older_import_does_not_replace_a_newer_one(make: Make) -> None:
    """An instance that was cut off publishes nothing over what others published meanwhile: it takes that."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1")])
    assert two.symbols == {"S1"}
    two.link.is_cut = True
    assert not two.master.import_master([row("S2")]).published
    one.master.import_master([row("S3")])
    two.link.is_cut = False
    two.pass_time()
    one.pass_time()
    assert one.symbols == two.symbols == {"S3"}


def test_a_publisher_that_was_held_up(make: Make) -> None:
    """Somebody else publishes between any two of its steps: one of the two wins, and everybody has that one."""
    seen = set()
    for place in range(14):
        one, two = make(f"one{place}"), make(f"two{place}")
        one.master.synchronise()
        two.master.synchronise()
        steps = 0

        def meanwhile(_verb: str, _key: str, place: int = place, one: Instance = one, two: Instance = two) -> None:
            nonlocal steps
            steps += 1
            if steps == place + 1:
                two.master.import_master([row("SB"), row(f"SB{place}")])

        one.link.before = meanwhile
        report = one.master.import_master([row("SA"), row(f"SA{place}")])
        one.link.before = None
        one.pass_time()
        two.pass_time()
        assert one.symbols == two.symbols
        assert report.published == ("SA" in one.symbols)
        if not report.published:
            assert "published a master while this one was imported" in report.notes[0]
        seen.add(min(one.symbols))
    assert seen == {"SA", "SB"}


def test_two_first_imports_at_once(make: Make) -> None:
    """Nothing was published before: whoever was slower takes the other one's at once, not when it next looks."""
    one, two = make("one"), make("two")
    steps = 0

    def meanwhile(_verb: str, _key: str) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:  # it has seen that nothing is published, and begins to
            two.master.import_master([row("SB")])

    one.link.before = meanwhile
    assert not one.master.import_master([row("SA")]).published
    assert one.symbols == two.symbols == {"SB"}


def test_a_publisher_that_is_killed(make: Make, store: CacheBackend) -> None:
    """At any step: nobody sees half a version, and with the next publication nothing is left of it."""

    class Killed(BaseException):
        pass

    one, two = make("one"), make("two")
    one.master.import_master([row("S0")])
    assert two.symbols == {"S0"}
    usual = store.size()
    for place in range(40):
        steps = 0

        def kill(_verb: str, _key: str, place: int = place) -> None:
            nonlocal steps
            steps += 1
            if steps > place:
                raise Killed

        fresh = make("one")  # a process that starts
        fresh.link.before = kill
        try:
            fresh.master.import_master([row("S1"), row(f"S1{place}")])
        except Killed:
            two.pass_time()
            assert two.symbols in ({"S0"}, {"S1", f"S1{place}"})
            assert make(f"three{place}").symbols == two.symbols
        else:
            break
    else:
        raise AssertionError("it was never finished")
    assert place > 5
    two.pass_time()
    assert two.symbols == {"S1", f"S1{place}"}
    two.pass_time(GRACE)
    assert store.size() == usual


def test_a_reader_in_the_middle_of_a_swap(make: Make) -> None:
    """It goes on with the new version when chunks of the old one vanish under it."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1"), *ROWS])
    chunks = 0

    def meanwhile(verb: str, key: str) -> None:
        nonlocal chunks
        if verb == "get" and key != RECORD:
            chunks += 1
            if chunks == 2:
                one.master.import_master([row("S2"), *ROWS])
                one.pass_time(GRACE)

    two.link.before = meanwhile
    assert {"S2"} == two.symbols & {"S1", "S2"}
    assert chunks > 3


def test_every_bit_of_the_record_and_of_a_chunk(make: Make, store: CacheBackend, tmp_path: Path) -> None:
    """Flipped one at a time: nothing of it is served, and whoever has a master goes on with that."""
    one = make("one")
    one.master.import_master([row("S1")])
    chunk = KEYSPACE.stored(("snapshot", one.master.stats()["version"], 0))
    for key in (RECORD, chunk):
        entry = store.get(key)
        assert entry is not None
        for place in range(0, len(entry.payload) * 8, 7):
            spoilt = bytearray(entry.payload)
            spoilt[place // 8] ^= 1 << place % 8
            store.set(key, Entry(bytes(spoilt), None))
            reader = Shelf(store, KEYSPACE, codec_of(), one.clock)
            try:
                current = reader.look().current
                assert current is None or key == chunk
                if current is not None:
                    reader.fetch(current, lambda _part: None)
                    raise AssertionError("a damaged chunk was taken")
            except UnreadableRecordError:
                pass
        store.set(key, Entry(entry.payload[:-1], None))
        two = make(f"two{key == chunk}")
        assert two.symbols == set()
        assert two.master.problem is None
        store.set(key, entry)
        two.pass_time()
        assert two.symbols == {"S1"}


def test_chunks_that_change_places(make: Make, store: CacheBackend) -> None:
    """Swapped, taken from another version, or missing: what is left of it is not served."""
    one = make("one")
    one.master.import_master([row("S1"), *ROWS])
    old = one.master.stats()["version"]
    first, second = (store.get(KEYSPACE.stored(("snapshot", old, place))) for place in (0, 1))
    one.master.import_master([row("S2"), *ROWS])
    new = one.master.stats()["version"]
    right = store.get(KEYSPACE.stored(("snapshot", new, 0)))
    assert first is not None
    assert second is not None
    assert right is not None
    for wrong in (first, second, store.get(KEYSPACE.stored(("snapshot", new, 1))), store.get(RECORD)):
        assert wrong is not None
        store.set(KEYSPACE.stored(("snapshot", new, 0)), wrong)
        assert make("two").symbols == set()
    store.delete(KEYSPACE.stored(("snapshot", new, 0)))
    three = make("three")
    assert three.symbols == set()
    assert "incomplete" in three.master.stats()["sharing_problem"]
    store.set(KEYSPACE.stored(("snapshot", new, 0)), right)
    three.pass_time()
    assert {"S2"} == three.symbols & {"S1", "S2"}


def test_an_older_record_that_is_put_back(make: Make, store: CacheBackend) -> None:
    """Who has seen a newer one does not go back, and puts the newer one into its place again."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1")])
    old = {key: store.get(key) for _, key in one.link.steps if store.get(key) is not None}
    assert two.symbols == {"S1"}
    one.master.import_master([row("S2")])
    two.pass_time()
    for key, entry in old.items():
        assert entry is not None
        store.set(key, entry)
    two.pass_time()
    one.pass_time()
    assert one.symbols == two.symbols == make("three").symbols == {"S2"}


def test_a_store_that_lost_everything(make: Make, store: CacheBackend) -> None:
    """The instances put it back; one that was away for long does not take them back."""
    one, away = make("one"), make("away")
    one.master.import_master([row("S1")])
    assert away.symbols == {"S1"}
    one.master.import_master([row("S2")])
    one.master.import_master([row("S3")])
    store.clear()
    away.pass_time()  # it is the first to notice, and has an old one
    one.pass_time()
    away.pass_time()
    assert one.symbols == away.symbols == make("new").symbols == {"S3"}


def test_another_key_ring(make: Make, store: CacheBackend) -> None:
    """What another installation published is neither used nor overwritten, and it is said."""
    one, other = make("one"), make("other", OTHER_RING)
    one.master.import_master([row("S1")])
    published = store.get(RECORD)
    assert other.symbols == set()
    assert "was not published with this key ring" in other.master.stats()["sharing_problem"]
    report = other.master.import_master([row("S2")])
    assert report.published is False
    assert "key ring" in report.notes[0]
    other.pass_time()
    assert other.symbols == {"S2"}
    assert store.get(RECORD) == published


def test_a_full_disk(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot write the new version serves the old one, leaves nothing behind, and tries again."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1")])
    assert two.symbols == {"S1"}
    one.master.import_master([row("S2")])
    before = sorted(path.name for path in two.base.parent.iterdir())

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("openalgo_cache.symbols.building.Builder.index", full)
        two.pass_time()
        assert two.symbols == {"S1"}
        assert "No space left" in two.master.stats()["sharing_problem"]
        assert sorted(path.name for path in two.base.parent.iterdir()) == before
    two.pass_time()
    assert two.symbols == {"S2"}


def test_an_import_that_fails_publishes_nothing(make: Make) -> None:
    """Neither now nor later, even if the instance was behind when it began."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1")])
    assert two.symbols == {"S1"}
    one.master.import_master([row("S2")])
    with pytest.raises(SymbolImportError):
        two.master.import_master([row("S3", lotsize="none")])
    two.pass_time()
    one.pass_time()
    assert one.symbols == two.symbols == {"S2"}


def test_a_damaged_master_is_not_published(make: Make) -> None:
    """What does not verify here must not spread."""
    one = make("one")
    one.master.import_master(ROWS)
    number = one.master.stats()["version"]
    path = MasterFiles(one.base).path_of(number)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"BAJAJ-AUTO28MAR248250CE", b"BAJAJ-AUTO28MAR248250XX"))
    version = MasterVersion(path, number, RING)
    with pytest.raises(UnreadableRecordError):
        snapshot.pack(version, lambda _part: None)
    version.close()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"serial": "x"}', b'{"serial": 10, "version": 5}'])
def test_a_damaged_note(make: Make, content: bytes) -> None:
    """What the instance knew of the shared master is learnt again."""
    one, two = make("one"), make("two")
    one.master.import_master([row("S1")])
    assert two.symbols == {"S1"}
    MasterFiles(two.base).seen.write_bytes(content)
    one.master.import_master([row("S2")])
    two.pass_time()
    assert two.symbols == {"S2"}
    assert json.loads(MasterFiles(two.base).seen.read_bytes())["serial"] == 2


def test_progress(make: Make) -> None:
    """It rises to the end, on both sides."""
    one, two = make("one"), make("two")
    for instance, stages in (
        (one, ["reading", "writing", "indexing", "checking", "packing", "publishing", "done"]),
        (two, ["fetching", "indexing"]),
    ):
        told: list[tuple[str, float]] = []
        if instance is one:
            instance.master.import_master(ROWS, progress=lambda what, done, told=told: told.append((what, done)))  # type: ignore[misc]
        else:
            instance.master.synchronise(lambda what, done, told=told: told.append((what, done)))  # type: ignore[misc]
        assert list(dict.fromkeys(what for what, _ in told)) == stages
        parts = [done for _, done in told]
        assert parts == sorted(parts)
        assert parts[-1] == (1.0 if instance is one else 0.8)


def test_a_snapshot_of_another_release() -> None:
    """It is refused with its reason; so is one that grows beyond all measure."""
    for packed, what in ((b"nonsense", "cannot be read"), (_zipped([2]), "cannot be read"),
                         (_zipped([2, 0.0, [], []]), "another release")):  # fmt: skip
        with pytest.raises(UnreadableRecordError, match=what):
            snapshot.unpack(packed)


def test_a_snapshot_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not unpacked to its end."""
    monkeypatch.setattr(snapshot, "LARGEST", 100)
    with pytest.raises(UnreadableRecordError, match="larger"):
        snapshot.unpack(_zipped([1, 0.0, [], [["x" * 1_000]]]))


def _zipped(value: object) -> bytes:
    import zlib

    import ormsgpack

    return zlib.compress(ormsgpack.packb(value))


def test_a_silent_server_at_synchronise(make: Make) -> None:
    """Asked for by name, it raises."""
    one = make("one")
    one.link.is_cut = True
    with pytest.raises(BackendUnavailableError):
        one.master.synchronise()

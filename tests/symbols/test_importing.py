"""Imports replace the master as a whole or not at all, whatever happens to them."""

from __future__ import annotations

import io
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openalgo_cache.errors import BackendUnavailableError, SymbolImportError, UnreadableRecordError
from openalgo_cache.symbols import SymbolMaster
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.version import MasterVersion
from tests.symbols.samples import OTHER_RING, RING, ROWS, Hand, csv_of, row

STAGES = ("reading", "writing", "indexing", "checking")

IMPORT_AND_WAIT = """
import sys
from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.symbols import SymbolMaster

def wait(stage, done):
    if stage == sys.argv[2]:
        print("there", flush=True)
        sys.stdin.read()  # until killed

SymbolMaster(sys.argv[1], KeyRing.of_one("A" * 43 + "=")).import_master(
    [dict(symbol=f"NEW{n}", brsymbol="b", name="n", exchange="NSE", brexchange="NSE", token="t", expiry="", strike="0",
          lotsize="1", instrumenttype="EQ", tick_size="0.05", contract_value="") for n in range(3000)], progress=wait)
"""


def versions(base: Path) -> list[Path]:
    """Return the files of versions."""
    return sorted(base.parent.glob("cache_symbols-*.db"))


def test_what_an_import_makes(base: Path) -> None:
    """One file of a version, a pointer and a lock, readable by their owner alone; and a report."""
    base.parent.parent.mkdir(exist_ok=True)
    master = SymbolMaster(base, RING, Hand(12.5))
    assert (master.count(), master.problem) == (0, None)
    assert not base.parent.exists(), "asking makes nothing"
    report = master.import_master(ROWS)
    assert {re.sub(r"[0-9a-f]{32}", "*", path.name) for path in base.parent.iterdir()} == {
        "cache_symbols-*.db", "cache_symbols.current", "cache_symbols.lock",
    }  # fmt: skip
    if os.name != "nt":
        assert {stat.S_IMODE(path.stat().st_mode) for path in base.parent.iterdir()} == {0o600}
        assert stat.S_IMODE(base.parent.stat().st_mode) == 0o700
    assert report.rows == master.count() == len(ROWS)
    assert report.version in versions(base)[0].name
    assert report.seconds > 0
    stats = master.stats()
    assert (stats["total_symbols"], stats["version"], stats["imported_at"]) == (len(ROWS), report.version, 12.5)
    assert (stats["signed"], stats["source"], stats["problem"]) == (True, "", None)
    assert stats["exchanges"]["NSE_INDEX"] == 3
    assert sum(stats["exchanges"].values()) == len(ROWS)


@pytest.mark.skipif(os.name == "nt", reason="modes mean nothing there")
def test_files_are_private_whatever_the_umask(base: Path) -> None:
    """Also while they are being written."""
    seen: set[int] = set()

    def look(_stage: str, _done: float) -> None:
        seen.update(stat.S_IMODE(path.stat().st_mode) for path in base.parent.iterdir())

    before = os.umask(0)
    try:
        SymbolMaster(base, RING).import_master(ROWS, progress=look)
    finally:
        os.umask(before)
    assert seen == {0o600}


def test_a_new_master_replaces_the_old_one(master: SymbolMaster, base: Path) -> None:
    """The old one's file is gone, its instruments too, also those that were held in memory."""
    assert master.by_symbol("RELIANCE", "NSE") is not None
    master.import_master([row("NEW")])
    assert master.by_symbol("RELIANCE", "NSE") is None
    assert master.by_symbol("NEW", "NSE") is not None
    assert master.search("RELIANCE") == []
    assert len(versions(base)) == 1


def test_other_readers_see_it_a_second_later(master: SymbolMaster, base: Path) -> None:
    """Not at every look-up, but once a second, the pointer is looked at."""
    clock = Hand()
    reader = SymbolMaster(base, RING, clock)
    assert reader.count() == len(ROWS)
    held = reader.by_symbol("RELIANCE", "NSE")
    master.import_master([row("NEW")])
    clock.now += 0.5
    assert reader.by_symbol("RELIANCE", "NSE") == held
    clock.now += 0.6
    assert reader.by_symbol("RELIANCE", "NSE") is None
    assert reader.count() == 1


def test_a_clock_that_is_set_back_stops_nothing(master: SymbolMaster, base: Path) -> None:
    """A reader whose clock jumps to yesterday looks at the pointer at once."""
    clock = Hand()
    reader = SymbolMaster(base, RING, clock)
    assert reader.count() == len(ROWS)
    master.import_master([row("NEW")])
    clock.now -= 86_400
    assert reader.count() == 1


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
def test_a_reader_whose_file_is_gone_takes_the_next_one(master: SymbolMaster, base: Path) -> None:
    """Also when it had not looked at the pointer yet, and needs to open the file once more."""
    reader = SymbolMaster(base, RING, Hand())
    assert reader.count() == len(ROWS)
    current = reader._current.lookups()
    assert current is not None
    version = current.version
    version.close()
    version._closed = False  # as if all its connections were in use by other threads
    master.import_master([row("NEW")])
    assert reader.by_symbol("NEW", "NSE") is not None


def test_bad_rows_refuse_the_whole(master: SymbolMaster, base: Path) -> None:
    """The old master stays, no file is left, and the error lists every row."""
    bad = csv_of([row("A"), row("B", strike="x"), row("C", lotsize="-1"), row("A")])
    with pytest.raises(
        SymbolImportError, match=r"^3 rows of the master contract cannot be imported.*row 3: strike 'x'"
    ) as e:
        master.import_master(io.StringIO(bad))
    assert e.value.problems == [
        (3, "strike 'x' is not a number"),
        (4, "lotsize '-1' is negative"),
        (5, "'A' on 'NSE' is in row 2 already"),
    ]
    assert "skip_bad=True" in str(e.value)
    assert master.count() == len(ROWS)
    assert len(versions(base)) == 1


def test_skipping_bad_rows(master: SymbolMaster) -> None:
    """The good rows are imported, and the report lists the others; of duplicates the first one stays."""
    bad = csv_of([row("A", token="first"), row("B", strike="x"), row("A", token="second"), row("A", "BSE")])
    report = master.import_master(io.StringIO(bad), skip_bad=True)
    assert (report.rows, report.skipped) == (2, 2)
    assert report.problems == [(3, "strike 'x' is not a number"), (4, "'A' on 'NSE' is in row 2 already")]
    assert [(one.exchange, one.token) for one in master.search("A")] == [("BSE", "TA"), ("NSE", "first")]


@pytest.mark.parametrize("rows", [[], [row("", strike="x")]])
def test_no_good_rows_are_no_master(master: SymbolMaster, rows: list[dict[str, Any]]) -> None:
    """Not even when bad rows are skipped is the old master replaced by nothing."""
    with pytest.raises(SymbolImportError, match="no good rows, and the old master stays"):
        master.import_master(rows, skip_bad=True)
    assert master.count() == len(ROWS)


def test_progress(base: Path, tmp_path: Path) -> None:
    """It goes through the stages, only forwards, to the end."""
    path = tmp_path / "master.csv"
    path.write_text(csv_of(row(f"S{n}") for n in range(2_500)), encoding="utf-8")
    told: list[tuple[str, float]] = []
    report = SymbolMaster(base, RING).import_master(path, progress=lambda stage, done: told.append((stage, done)))
    assert list(dict.fromkeys(stage for stage, _ in told)) == [*STAGES, "done"]
    assert [done for _, done in told] == sorted(done for _, done in told)
    assert told[-1] == ("done", 1.0)
    assert len([1 for stage, _ in told if stage == "reading"]) > 2
    assert SymbolMaster(base, RING).stats()["source"] == str(path)
    assert report.rows == 2_500


class Interrupted(BaseException):
    """Stands for Ctrl-C and whatever else ends a program."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt, RuntimeError])
def test_an_import_that_is_interrupted(
    master: SymbolMaster, base: Path, stage: str, error: type[BaseException]
) -> None:
    """At any stage: the old master stays, and the file goes."""

    def interrupt(now: str, _done: float) -> None:
        if now == stage:
            raise error

    with pytest.raises(error):
        master.import_master([row("NEW")], progress=interrupt)
    assert master.count() == len(ROWS)
    assert len(versions(base)) == 1
    master.import_master([row("NEW")])
    assert master.count() == 1


def test_rows_that_fail_half_way(master: SymbolMaster, base: Path) -> None:
    """What a program's own rows raise gets through, and the old master stays."""

    def rows() -> Iterator[dict[str, Any]]:
        yield row("NEW")
        raise LookupError("their database is gone")

    with pytest.raises(LookupError):
        master.import_master(rows())
    assert (master.count(), len(versions(base))) == (len(ROWS), 1)


@pytest.mark.parametrize("stage", STAGES)
def test_an_import_that_is_killed(master: SymbolMaster, base: Path, stage: str) -> None:
    """At any stage, with -9: the old master is served on, the lock is free, the next import clears the rest away."""
    with subprocess.Popen(
        [sys.executable, "-c", IMPORT_AND_WAIT, str(base), stage], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as importer:
        assert importer.stdout is not None
        assert importer.stdout.readline().strip() == b"there"
        importer.kill()
    assert importer.returncode != 0
    assert len(versions(base)) == 2, "it was killed in the middle"
    fresh = SymbolMaster(base, RING)
    assert (fresh.count(), fresh.problem) == (len(ROWS), None)
    assert fresh.by_symbol("RELIANCE", "NSE") == master.by_symbol("RELIANCE", "NSE")
    master.import_master([row("NEW")])
    assert master.count() == 1
    assert len(versions(base)) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on file sizes to stand for a full disk")
def test_a_full_disk(master: SymbolMaster, base: Path) -> None:
    """The error is the library's own, the old master stays, nothing is left behind."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "sys.argv[2] = 'never'\n" + IMPORT_AND_WAIT
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(base), "-"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "BackendUnavailableError: the new symbol master cannot be written in" in done.stderr
    assert SymbolMaster(base, RING).count() == len(ROWS)
    assert len(versions(base)) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(master: SymbolMaster, base: Path) -> None:
    """The old master is served on."""
    base.parent.chmod(0o500)
    try:
        with pytest.raises(BackendUnavailableError, match="cannot be written"):
            master.import_master([row("NEW")])
        assert master.count() == len(ROWS)
    finally:
        base.parent.chmod(0o700)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """Where nothing can be made, the error is the library's own."""
    (tmp_path / "db").write_text("", encoding="utf-8")
    with pytest.raises(BackendUnavailableError, match="cannot be written"):
        SymbolMaster(tmp_path / "db" / "cache").import_master(ROWS)


def test_two_imports_at_once(master: SymbolMaster, base: Path) -> None:
    """The second one waits for the first, and is the one that stays."""
    first_is_in, let_first_go = threading.Event(), threading.Event()
    order: list[str] = []

    def hold(stage: str, _done: float) -> None:
        if stage == "writing":
            first_is_in.set()
            assert let_first_go.wait(60)
        elif stage == "done":
            order.append("first")

    first = threading.Thread(target=lambda: master.import_master([row("FIRST")], progress=hold))
    second = threading.Thread(
        target=lambda: SymbolMaster(base, RING).import_master(
            [row("SECOND")], progress=lambda stage, _done: order.append("second") if stage == "done" else None
        )
    )
    first.start()
    assert first_is_in.wait(60)
    second.start()
    assert master.count() == len(ROWS), "readers don't wait"
    let_first_go.set()
    first.join(60)
    second.join(60)
    assert order == ["first", "second"]
    assert SymbolMaster(base, RING).by_symbol("SECOND", "NSE") is not None
    assert len(versions(base)) == 1


def test_litter_is_told_from_somebodys_master(master: SymbolMaster, base: Path) -> None:
    """What an import left half-way goes; a finished master of another key ring, and unknown files, stay."""
    files = MasterFiles(base)
    foreign = SymbolMaster(base, OTHER_RING)
    foreign_number = foreign.import_master([row("THEIRS")]).version
    assert len(versions(base)) == 2, "ours could not be verified with their ring, so it was kept"
    litter = files.path_of("0" * 32)
    litter.write_bytes(b"SQLite format 3\x00" + bytes(4080))
    (base.parent / "cache_symbols-notes.db").write_bytes(b"")
    left = [base.parent / f".cache_symbols{name}.123.abc.tmp" for name in (f"-{'0' * 32}.db", ".current")]
    for path in left:
        path.write_bytes(b"")
    (base.parent / f"other_symbols-{'0' * 32}.db").write_bytes(b"")
    report = SymbolMaster(base, RING).import_master([row("OURS")])
    assert not any(path.exists() for path in (litter, *left))
    assert {path.name for path in base.parent.glob("*.db")} == {
        f"cache_symbols-{report.version}.db",
        f"cache_symbols-{foreign_number}.db",
        "cache_symbols-notes.db",
        f"other_symbols-{'0' * 32}.db",
    }
    MasterVersion(files.path_of(foreign_number), foreign_number, OTHER_RING).close()


def test_a_version_that_does_not_read_back(master: SymbolMaster, base: Path) -> None:
    """What was written is read once before it is served: a disk that spoils it spoils nothing else."""

    def spoil(stage: str, _done: float) -> None:
        if stage == "checking":
            (new,) = [path for path in versions(base) if path.name != Path(master.stats()["file"]).name]
            content = bytearray(new.read_bytes())
            content[content.rindex(b"NEWNEWNEW")] ^= 1
            new.write_bytes(content)

    with pytest.raises(UnreadableRecordError, match="is damaged"):
        master.import_master([row("NEWNEWNEW")], progress=spoil)
    assert (master.count(), len(versions(base))) == (len(ROWS), 1)


def test_bases_do_not_meet(tmp_path: Path) -> None:
    """Two masters in one folder, one's name the beginning of the other's, keep apart."""
    one, two = SymbolMaster(tmp_path / "cache"), SymbolMaster(tmp_path / "cache_symbols-x")
    one.import_master([row("ONE")])
    two.import_master([row("TWO")])
    one.import_master([row("ONE")])
    assert two.by_symbol("TWO", "NSE") is not None
    assert one.by_symbol("TWO", "NSE") is None


def test_unsigned_masters(base: Path) -> None:
    """Without a key ring all works the same; nothing is signed, and it is said."""
    master = SymbolMaster(base)
    master.import_master(ROWS)
    assert master.by_symbol("M&M", "NSE") is not None
    assert master.stats()["signed"] is False


def test_too_many_exchanges(base: Path) -> None:
    """The search index has marks for a thousand."""
    rows = [row("A", f"X{n}") for n in range(1_001)]
    with pytest.raises(SymbolImportError, match="more than 1,000 exchanges"):
        SymbolMaster(base).import_master(rows)
    assert SymbolMaster(base).import_master(rows[:1_000]).rows == 1_000

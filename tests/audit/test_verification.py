"""Verification: whatever somebody does to the files is found, and placed; and nothing else is."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from openalgo_cache.testing import FakeClock
from tests.audit.logs import DAY, GET, places, until, verified, write_days
from tests.stacks import manager

FIRST, SECOND, THIRD = "2026-01-01", "2026-01-02", "2026-01-03"

Lines = list[bytes]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of three days; each file has twelve lines or so, of two processes in turn."""
    folder = tmp_path_factory.mktemp("written")
    write_days(folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of it, at the same path as far as the heads can tell."""
    shutil.copytree(written / "db", tmp_path / "db")
    return tmp_path


def file_of(folder: Path, day: str) -> Path:
    """Return the file of a day."""
    return folder / "db" / f"cache_audit.{day}.log"


def change(folder: Path, day: str, how: Callable[[Lines], Lines | None]) -> None:
    """Change the lines of a day."""
    path = file_of(folder, day)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(how(lines) or lines))


def edit(lines: Lines) -> None:
    """Make a hit of a line a miss."""
    lines[4] = lines[4].replace(b'"hit":true', b'"hit":false')


def edit_sequence(lines: Lines) -> None:
    """Renumber a line."""
    lines[4] = lines[4].replace(b'"sequence":', b'"sequence":9')


def delete(lines: Lines) -> None:
    """Delete a line."""
    del lines[4]


def swap(lines: Lines) -> None:
    """Exchange two lines of one process."""
    lines[4], lines[6] = lines[6], lines[4]


def duplicate(lines: Lines) -> None:
    """Write a line once more."""
    lines.insert(7, lines[4])


def insert(lines: Lines) -> None:
    """Write something of one's own."""
    lines.insert(4, b"nothing happened here\n")


def half(lines: Lines) -> None:
    """Cut a line in the middle."""
    lines[4] = lines[4][:100] + b"\n"


def garbage(lines: Lines) -> None:
    """Overwrite a line with zeros."""
    lines[4] = bytes(len(lines[4]) - 1) + b"\n"


def test_what_nobody_touched_is_whole(folder: Path) -> None:
    """Two processes and three days: no finding, not even a note."""
    report = verified(folder)
    assert report.findings == []
    assert (report.chains, len(report.files)) == (4, 3)
    assert report.lines == sum(len(path.read_bytes().splitlines()) for path in (folder / "db").glob("*.log"))


@pytest.mark.parametrize(
    "how, found",
    [
        (edit, [("edited", SECOND, 5)]),
        (edit_sequence, [("edited", SECOND, 5), ("deleted", SECOND, 7)]),
        (delete, [("deleted", SECOND, 6)]),
        (swap, [("moved", SECOND, 7)]),
        (duplicate, [("duplicated", SECOND, 8)]),
        (insert, [("unreadable", SECOND, 5)]),
        (half, [("unreadable", SECOND, 5), ("deleted", SECOND, 7)]),
        (garbage, [("unreadable", SECOND, 5), ("deleted", SECOND, 7)]),
    ],
)
def test_a_change_is_found_and_placed(
    folder: Path, how: Callable[[Lines], Lines | None], found: list[tuple[str, str, int | None]]
) -> None:
    """By file and line, and by the writer and its number; nothing else is blamed."""
    change(folder, SECOND, how)
    report = verified(folder)
    assert places(report.findings) == found
    assert all(one.writer and one.sequence for one in report.findings if one.kind != "unreadable")


def test_a_deleted_line_is_named(folder: Path) -> None:
    """Its number in its chain is the one that is missing."""
    change(folder, SECOND, delete)
    (finding,) = verified(folder).problems
    assert (finding.kind, finding.count) == ("deleted", 1)
    assert finding.sequence == finding.last_sequence


def test_lines_cut_off_the_end_are_missed(folder: Path) -> None:
    """The heads know how far each chain goes."""
    change(folder, THIRD, lambda lines: lines[:-2])
    report = verified(folder)
    assert places(report.problems) == [("cut", THIRD, None)] * 2
    assert len({finding.writer for finding in report.problems}) == 2


def test_lines_cut_off_an_earlier_day_are_missed(folder: Path) -> None:
    """By whoever went on the next day, and by the heads where nobody did."""
    change(folder, SECOND, lambda lines: lines[:-1])
    assert places(verified(folder).problems) == [("cut", SECOND, None)]


@pytest.mark.parametrize("day", [FIRST, SECOND, THIRD])
def test_a_file_that_is_gone_is_missed(folder: Path, day: str) -> None:
    """Whichever it is."""
    file_of(folder, day).unlink()
    report = verified(folder)
    assert ("file missing", day, None) in places(report.problems)


def test_all_files_gone_are_missed(folder: Path) -> None:
    """Only the heads are left to tell."""
    for day in (FIRST, SECOND, THIRD):
        file_of(folder, day).unlink()
    report = verified(folder)
    assert {finding.kind for finding in report.problems} == {"file missing"}
    assert sum(finding.count for finding in report.problems) > 30


def test_exchanged_files_are_found(folder: Path) -> None:
    """Both are named."""
    one, other = file_of(folder, FIRST), file_of(folder, SECOND)
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    found = places(verified(folder).problems)
    assert ("wrong day", FIRST, 1) in found
    assert ("moved", SECOND, 2) in found or ("moved", SECOND, 1) in found


def test_lines_of_another_installation_are_found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """They are genuine there, and none of ours."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_days(elsewhere, days=1)
    foreign = file_of(elsewhere, FIRST).read_bytes().splitlines(keepends=True)
    change(folder, SECOND, lambda lines: [*lines[:4], *foreign[1:3], *lines[4:]])
    found = places(verified(folder).problems)
    assert {(kind, day) for kind, day, _ in found} == {("unknown writer", SECOND)}
    assert {line for _, _, line in found} == {5, 6}


def test_lines_of_another_namespace_are_found(tmp_path: Path) -> None:
    """The same key ring signs for each namespace under other keys."""
    for namespace in ("live", "test"):
        with closing(manager(tmp_path, FakeClock(), cache_namespace=namespace)) as house:
            house.audit().record(GET)
    live, test = (tmp_path / "db" / f"cache_audit@{name}.{FIRST}.log" for name in ("live", "test"))
    assert verified(tmp_path, cache_namespace="live").findings == []
    live.write_bytes(live.read_bytes() + test.read_bytes())
    kinds = [one.kind for one in verified(tmp_path, cache_namespace="live").problems]
    assert set(kinds) == {"unknown writer"}


def test_the_rest_of_a_line_is_a_note_where_somebody_said_so(tmp_path: Path) -> None:
    """A process was killed in the middle; the next that wrote set what was left apart."""
    with closing(manager(tmp_path)) as house:
        house.audit().record(GET)
    (path,) = house.audit().days.files().values()
    whole = path.read_bytes()
    for torn in (b"{", whole.splitlines()[1][:-1], bytes(700)):
        with path.open("ab") as file:
            file.write(torn)
        assert [finding.kind for finding in verified(tmp_path).findings][-1:] == ["half-written"]
        with closing(manager(tmp_path)) as other:
            other.audit().record(GET)
        report = verified(tmp_path)
        assert report.problems == []
        assert {finding.kind for finding in report.findings} == {"half-written"}


def test_a_chain_that_has_not_ended_is_a_note(tmp_path: Path) -> None:
    """As long as its process runs, and for ever if it was killed."""
    with closing(manager(tmp_path)) as house:
        house.audit().record_now(GET)
        report = verified(tmp_path)
        assert report.problems == []
        assert [finding.kind for finding in report.findings] == ["not ended"]
    assert verified(tmp_path).findings == []


def test_a_change_before_a_chain_began_is_found_without_the_heads(folder: Path) -> None:
    """Each chain says how the newest file ended that it found."""
    for path in (folder / "db").glob("cache_audit_heads*"):
        path.unlink()
    lines = file_of(folder, FIRST).read_bytes().splitlines(keepends=True)
    second = [one for one in lines if b"second" in one]
    writer = second[0].split(b'"writer":"')[1][:32]
    file_of(folder, FIRST).write_bytes(b"".join(one for one in lines if writer not in one))  # a whole chain
    found = places(verified(folder).problems)
    assert [one[0] for one in found] == ["changed before"]


def test_verifying_takes_no_more_memory_for_a_longer_file(tmp_path: Path) -> None:
    """Lines are looked at one by one."""
    with closing(manager(tmp_path)) as house:
        for _ in range(6000):
            house.audit().record(GET)
    tracemalloc.start()
    try:
        assert verified(tmp_path).lines == 6002
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (path,) = (tmp_path / "db").glob("*.log")
    assert peak < path.stat().st_size / 2


# Retention


def test_days_whose_time_is_up_go_and_a_line_says_so(tmp_path: Path) -> None:
    """With it everything verifies as before, and the heads of what went are forgotten."""
    clock = write_days(tmp_path, days=3)
    clock.advance(9 * DAY)
    with closing(manager(tmp_path, clock, cache_audit_retention_days=10)) as house:
        house.audit().record_now(GET)
        log = house.audit()
        until(lambda: list(log.days.files()) == [SECOND, THIRD, "2026-01-12"])
        clock.advance(DAY)
        log.record_now(GET)
        until(lambda: list(log.days.files()) == [THIRD, "2026-01-12", "2026-01-13"])
    report = verified(tmp_path)
    assert report.findings == []
    with closing(manager(tmp_path)) as house:
        days = {head["day"] for _, head in house.get_cache("audit_heads").items()}
    assert days == {THIRD, "2026-01-13"}


def test_a_file_that_does_not_verify_is_kept(tmp_path: Path) -> None:
    """It is evidence."""
    clock = write_days(tmp_path, days=3)
    change(tmp_path, FIRST, edit)
    clock.advance(30 * DAY)
    with closing(manager(tmp_path, clock, cache_audit_retention_days=10)) as house:
        log = house.audit()
        log.record_now(GET)
        until(lambda: list(log.days.files()) == [FIRST, "2026-02-02"])
    assert [one[:2] for one in places(verified(tmp_path).problems)] == [("edited", FIRST)]


def test_who_deletes_a_file_without_a_word_is_found_whatever_retention_said_of_others(tmp_path: Path) -> None:
    """Each file has a statement of its own."""
    clock = write_days(tmp_path, days=3)
    clock.advance(9 * DAY)
    with closing(manager(tmp_path, clock, cache_audit_retention_days=10)) as house:
        log = house.audit()
        log.record_now(GET)
        until(lambda: FIRST not in log.days.files())
    file_of(tmp_path, SECOND).unlink()
    assert ("file missing", SECOND, None) in places(verified(tmp_path).problems)

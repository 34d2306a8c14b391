"""Whoever can write the file can make instruments vanish, but not change one that is handed out."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from openalgo_cache.codec.keyring import KeyRing
from openalgo_cache.errors import UnreadableRecordError
from openalgo_cache.symbols import Instrument, SymbolMaster
from openalgo_cache.symbols.masterfiles import MasterFiles
from openalgo_cache.symbols.signing import Signer
from openalgo_cache.symbols.version import MasterVersion
from tests.symbols.samples import OTHER_RING, RING, ROWS, Hand, row

TRUTH = {(one["symbol"], one["exchange"]): one for one in ROWS}


def file_of(master: SymbolMaster) -> Path:
    """Return the current version's file."""
    return Path(master.stats()["file"])


def edit(master: SymbolMaster, *statements: str) -> None:
    """Change the file behind the master's back, as somebody who may write it, and close the master."""
    path = file_of(master)
    master.close()
    with closing(apsw.Connection(str(path))) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
        for statement in statements:
            connection.execute(statement)


def all_answers(master: SymbolMaster) -> Iterator[Instrument]:
    """Ask for everything in every way."""
    for wanted in ROWS:
        exchange = wanted["exchange"]
        for one in (
            master.by_symbol(wanted["symbol"], exchange),
            master.by_token(wanted["token"], exchange),
            master.by_brsymbol(wanted["brsymbol"], exchange),
        ):
            if one is not None:
                yield one
        yield from master.all_by_token(wanted["token"])
    for query in ("NIFTY", "RELIANCE", "M&M", "2", "X5", "nippon", "24000", "BAJAJ"):
        yield from master.search(query)
    yield from master.fno_search()
    yield from master.fno_search("NIFTY", underlying="NIFTY")
    for strike, call, put in master.option_chain("NIFTY", "28-MAR-24", "NFO"):
        for side, kind in ((call, "CE"), (put, "PE")):
            if side is not None:
                assert (side.strike, side.instrumenttype) == (strike, kind)
                yield side
    assert set(master.expiries()) <= {one["expiry"] for one in ROWS}
    assert set(master.underlyings(include_futures=True)) <= {one["name"] for one in ROWS}


def assert_nothing_false(master: SymbolMaster) -> int:
    """Check every answer against the truth; return how many there were."""
    count = 0
    for one in all_answers(master):
        truth = TRUTH[one.symbol, one.exchange]
        assert all(str(getattr(one, field)) == str(value) or (value == "" and getattr(one, field) is None)
                   or float(getattr(one, field)) == float(value) for field, value in truth.items())  # fmt: skip
        count += 1
    return count


@pytest.mark.parametrize(
    "change",
    [
        "token = '999'",
        "symbol = symbol || 'X'",
        "brsymbol = 'OTHER'",
        "name = 'OTHER'",
        "name = ''",
        "strike = strike + 50",
        "strike = 1e999",
        "series = (SELECT max(id) FROM series)",
        "series = 1",
        "mark = zeroblob(16)",
        "mark = x''",
        "mark = NULL",
        "mark = (SELECT mark FROM instrument WHERE id = 1)",
        "token = NULL",
        "symbol = NULL",
        "symbol = CAST(x'ff' AS TEXT), token = CAST(x'ff' AS TEXT)",
    ],
)
def test_changed_rows(master: SymbolMaster, change: str) -> None:
    """A row that is not as it was written is not handed out; the others are."""
    before = assert_nothing_false(master)
    edit(master, f"UPDATE instrument SET {change} WHERE symbol = 'NIFTY28MAR2420800CE'")  # noqa: S608  # what the test is about
    assert master.by_symbol("NIFTY28MAR2420800CE", "NFO") is None
    assert 0 < assert_nothing_false(master) < before
    assert master.stats()["unreadable_rows"] > 0 or "symbol = " in change or "series" in change


@pytest.mark.parametrize(
    "change",
    [
        "lotsize = 1", "tick_size = 7.0", "contract_value = 3.0", "expiry = '04-APR-24'", "exchange = 'BFO'",
        "underlying = 'BANKNIFTY'", "instrumenttype = 'PE'", "brexchange = ''",
        "lotsize = 50.0", "exchange = NULL",
    ],
)  # fmt: skip
def test_changed_series(master: SymbolMaster, change: str) -> None:
    """What rows share is part of every row's mark."""
    before = assert_nothing_false(master)
    calls = "instrumenttype = 'CE' AND underlying = 'NIFTY'"
    edit(master, f"UPDATE OR IGNORE series SET {change} WHERE {calls}")  # noqa: S608  # what the test is about
    unchanged = change == "lotsize = 50.0"  # SQLite stores that as the integer it was
    assert (master.by_symbol("NIFTY28MAR2420800CE", "NFO") is None) != unchanged
    assert (assert_nothing_false(master) < before) != unchanged


@pytest.mark.parametrize("kind", ["'PE'", "'FUT'", "''", "NULL"])
def test_kinds_are_read_from_what_is_signed(master: SymbolMaster, kind: str) -> None:
    """The column that filters by kind carries no mark, so the answer is looked at again."""
    edit(master, f"UPDATE series SET kind = {kind} WHERE instrumenttype = 'CE'")  # noqa: S608  # what the test is about
    assert_nothing_false(master)
    for wanted in ("CE", "PE", "FUT"):
        assert {one.instrumenttype for one in master.fno_search(instrumenttype=wanted)} <= {wanted}


def test_moved_rows(master: SymbolMaster) -> None:
    """Two rows that change places, and a row that is there twice, do not verify."""
    edit(
        master,
        "UPDATE instrument SET id = -1 WHERE id = 3",
        "UPDATE instrument SET id = 3 WHERE id = 4",
        "UPDATE instrument SET id = 4 WHERE id = -1",
        "DROP INDEX by_symbol",
        "INSERT INTO instrument SELECT 1000 + id, series, exchange, strike, symbol, brsymbol, name, 'T', mark "
        "FROM instrument",
        "CREATE INDEX by_symbol ON instrument (symbol, exchange)",
    )
    assert_nothing_false(master)
    moved = [one for one in TRUTH if master.by_symbol(*one) is None]
    assert len(moved) == 2


def test_rows_of_another_version(master: SymbolMaster) -> None:
    """A row that was true yesterday does not come back today: every version has its own key."""
    old = file_of(master).read_bytes()
    master.import_master([row("RELIANCE", token="today", name="RELIANCE INDUSTRIES LIMITED")])
    yesterday = file_of(master).with_name("yesterday.db")
    yesterday.write_bytes(old)
    edit(
        master,
        f"ATTACH '{yesterday}' AS yesterday",
        "DELETE FROM instrument",
        "DELETE FROM series",
        "INSERT INTO series SELECT * FROM yesterday.series",
        "INSERT INTO instrument SELECT * FROM yesterday.instrument",
    )
    assert list(all_answers(master)) == []


def test_a_version_under_another_name(master: SymbolMaster, base: Path) -> None:
    """Nor does the whole file of yesterday pass for today's: the key follows from the version's number."""
    old = file_of(master).read_bytes()
    today = master.import_master([row("NEW")])
    MasterFiles(base).path_of(today.version).write_bytes(old)
    fresh = SymbolMaster(base, RING, Hand())
    assert fresh.count() == 0
    assert "was not signed with this key ring" in str(fresh.problem)


def test_a_forged_row(master: SymbolMaster) -> None:
    """Who has no key can make no mark, neither a new one nor by calling the row unsigned."""
    other = KeyRing.generate()
    number = file_of(master).stem[-32:]
    fields = ("EVIL", "EVIL", "EVIL", "NSE", "NSE", "666", "", 0.0, 1, "EQ", 0.05, None, "")
    mark = Signer(other, bytes.fromhex(number)).sign(5_000, fields)
    series = "INSERT INTO series VALUES (900, 'NSE', 'NSE', '', 1, 'EQ', 0.05, NULL, '', '', 0)"
    for forged in (f"x'{mark.hex()}'", "x''", "NULL"):
        edit(
            master,
            "DELETE FROM instrument WHERE id = 5000", "DELETE FROM series WHERE id = 900", series,
            f"INSERT INTO instrument VALUES (5000, 900, 0, 0.0, 'EVIL', 'EVIL', 'EVIL', '666', {forged})",  # noqa: S608  # what the test is about
        )  # fmt: skip
        assert master.by_symbol("EVIL", "NSE") is None
        assert master.by_token("666", "NSE") is None
        assert master.search("EVIL") == []


@pytest.mark.parametrize("column", ["token", "brsymbol"])
def test_a_forged_index(master: SymbolMaster, column: str) -> None:
    """An index that leads elsewhere leads to nothing: what was found must be what was asked for."""
    edit(
        master,
        "DROP INDEX by_symbol",
        f"CREATE INDEX by_symbol ON instrument ({column}, exchange)",
        "UPDATE sqlite_schema SET sql = replace(sql, '(token', '(symbol') WHERE name = 'by_symbol'",
        "UPDATE sqlite_schema SET sql = replace(sql, '(brsymbol', '(symbol') WHERE name = 'by_symbol'",
    )
    option = TRUTH["NIFTY28MAR2420800CE", "NFO"]
    assert master.by_symbol(option[column], "NFO") is None
    assert master.many_by_symbol([(option[column], "NFO")]) == [None]
    assert master.search(option[column])[:1] in ([], [master.by_token(option["token"], "NFO")])
    assert_nothing_false(master)


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE trigrams",),
        ("DELETE FROM trigrams_data",),
        ("UPDATE trigrams_data SET block = x'ffffffffffff'",),
        ("DROP TABLE instrument", "CREATE VIEW instrument AS SELECT * FROM series"),
        ("ALTER TABLE instrument RENAME TO real", "CREATE VIEW instrument AS SELECT * FROM real"),
        ("DROP TABLE series",),
        ("DROP INDEX by_symbol", "DROP INDEX by_token"),
        ("ALTER TABLE series ADD COLUMN more TEXT", "ALTER TABLE instrument RENAME COLUMN mark TO other"),
        ("UPDATE sqlite_schema SET sql = 'CREATE TABLE instrument (x)' WHERE name = 'instrument'",),
        ("UPDATE sqlite_schema SET rootpage = 2",),
    ],
)
def test_other_tables(master: SymbolMaster, statements: tuple[str, ...]) -> None:
    """A file of another build answers less or nothing, and never with an exception."""
    edit(master, *statements)
    assert_nothing_false(master)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE header SET content = replace(content, '\"rows\": ', '\"rows\": 1')",
        "UPDATE header SET mark = zeroblob(16)",
        "UPDATE header SET mark = x''",
        "UPDATE header SET content = x'', mark = x''",
        "UPDATE header SET content = NULL",
        "DELETE FROM header",
        "DROP TABLE header",
    ],
)
def test_a_forged_header(master: SymbolMaster, statement: str) -> None:
    """A version whose header does not verify is not served at all; the file stays."""
    path = file_of(master)
    edit(
        master,
        statement.replace("replace(content", "CAST(replace(CAST(content AS TEXT)").replace("1')", "1') AS BLOB)"),
    )
    assert list(all_answers(master)) == []
    assert master.count() == 0
    assert master.problem is not None
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1_000, b"SQLite format 3\x00" + bytes(4_080)])
def test_another_file_in_its_place(master: SymbolMaster, content: bytes) -> None:
    """It is not served, and the next import mends it."""
    path = file_of(master)
    master.close()
    path.write_bytes(content)
    assert list(all_answers(master)) == []
    assert master.problem is not None
    master.import_master(ROWS)
    assert master.problem is None
    assert master.count() == len(ROWS)


@pytest.mark.parametrize("content", [b"", b"../../etc/passwd\n", b"\xff" * 33, b"0" * 32, b"A" * 32])
def test_a_damaged_pointer(master: SymbolMaster, base: Path, content: bytes, clock: Hand) -> None:
    """Who has the version open goes on with it if it cannot know better; the next import mends it."""
    pointer = base.parent / "cache_symbols.current"
    pointer.write_bytes(content)
    clock.now += 2
    fresh = SymbolMaster(base, RING, Hand())
    assert fresh.count() == 0
    assert fresh.problem is not None
    assert master.count() == (0 if content == b"0" * 32 else len(ROWS))
    fresh.import_master(ROWS)
    clock.now += 2
    assert fresh.problem is None
    assert fresh.count() == master.count() == len(ROWS)


def test_a_lost_file(master: SymbolMaster) -> None:
    """It is said, and the next import mends it."""
    path = file_of(master)
    master.close()
    path.unlink()
    assert master.count() == 0
    assert "has lost its file" in str(master.problem)
    assert master.by_symbol("M&M", "NSE") is None
    master.import_master(ROWS)
    assert master.problem is None
    assert master.count() == len(ROWS)


def test_every_bit_of_a_row(master: SymbolMaster) -> None:
    """Flipped one at a time, in the row's own bytes: it is never served wrong, and once mended it is served again."""
    wanted = TRUTH["BAJAJ-AUTO28MAR248250CE", "NFO"]
    symbol = wanted["symbol"]
    path = file_of(master)
    with closing(apsw.Connection(str(path))) as connection:
        mark = connection.execute("SELECT mark FROM instrument WHERE symbol = ?", (symbol,)).get
    content = path.read_bytes()
    assert content.count(mark) == 2, "in the table, where a search reads it, and in the index, where a look-up does"
    with path.open("r+b") as file:
        for end in (content.index(mark) + len(mark), content.rindex(mark) + len(mark)):
            begin = content.rindex(symbol.encode(), 0, end)
            for place in range(begin - 12, end):  # from SQLite's header of the row on
                for bit in range(8):
                    file.seek(place)
                    file.write(bytes([content[place] ^ (1 << bit)]))
                    file.flush()
                    master.close()
                    looked_up, found = master.by_symbol(symbol, "NFO"), master.search("BAJAJ-AUTO 8250")
                    if place >= begin + len(symbol):  # the symbol itself may be read from another index
                        assert looked_up is None or not found
                    for one in filter(None, (looked_up, *found)):
                        assert (one.symbol, one.token, one.strike) == (symbol, wanted["token"], 8250)
                file.seek(place)
                file.write(bytes([content[place]]))
                file.flush()
    master.close()
    assert master.search("BAJAJ-AUTO 8250") == [master.by_symbol(symbol, "NFO")] != [None]


def test_bits_anywhere_in_the_file(master: SymbolMaster, tmp_path: Path) -> None:
    """Pages, indexes, schema, header: whatever flips, answers are true or missing, and the only errors are ours."""
    path = file_of(master)
    number = path.stem[-32:]
    content = path.read_bytes()
    draw = random.Random(5)
    spoilt = tmp_path / path.name
    shutil.copy(path, spoilt)
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(draw.choice([1, 1, 20])):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        spoilt.write_bytes(changed)
        try:
            version = MasterVersion(spoilt, number, RING)
        except UnreadableRecordError:
            continue
        version.close()
        MasterFiles(tmp_path / "cache").switch(number)
        assert_nothing_false(SymbolMaster(tmp_path / "cache", RING, Hand()))


@pytest.mark.parametrize("keep", [0, 1, 100, 4_096, 20_000, 60_000])
def test_a_file_that_is_cut(master: SymbolMaster, keep: int) -> None:
    """What is left of it gives true answers or none."""
    path = file_of(master)
    master.close()
    with path.open("r+b") as file:
        file.truncate(keep)
    assert_nothing_false(master)


@pytest.mark.parametrize("reader,writer", [(OTHER_RING, RING), (None, RING), (RING, None)])
def test_another_key_ring_or_none(base: Path, reader: Any, writer: Any) -> None:
    """Nothing is served, nothing is deleted, it is said; with the right ring all is there again."""
    right = SymbolMaster(base, writer, Hand())
    right.import_master(ROWS)
    path = file_of(right)
    wrong = SymbolMaster(base, reader, Hand())
    assert list(all_answers(wrong)) == []
    assert (wrong.count(), wrong.stats()["total_symbols"]) == (0, 0)
    expected = "is signed, and no key ring was given" if reader is None else "was not signed with this key ring"
    assert expected in str(wrong.problem)
    assert path.exists()
    fresh = SymbolMaster(base, writer, Hand())
    assert (fresh.count(), fresh.problem) == (len(ROWS), None)
    wrong.import_master([row("THEIRS")])
    assert path.exists(), "somebody's master is never deleted"
    assert wrong.count() == 1


def test_damage_is_logged_once_and_without_values(master: SymbolMaster, caplog: pytest.LogCaptureFixture) -> None:
    """One line a version, however often it is met, and nothing of the row in it."""
    edit(master, "UPDATE instrument SET token = 'SECRET-TOKEN'")
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            assert list(all_answers(master)) == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "is damaged or forged" in record.message
    assert not any(text in caplog.text for text in ("SECRET-TOKEN", "RELIANCE", "NIFTY", "2885"))
    assert master.stats()["unreadable_rows"] > 100


def test_a_problem_is_logged_once(master: SymbolMaster, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not at every question."""
    clock = Hand()
    wrong = SymbolMaster(base, OTHER_RING, clock)
    with caplog.at_level(logging.DEBUG):
        for _ in range(5):
            clock.now += 2
            assert wrong.count() == 0
    assert len(caplog.records) == 1


def test_marks_bind_number_and_fields() -> None:
    """Another number, another type, another border between two fields: another mark."""
    signer = Signer(RING, b"v" * 16)
    mark = signer.sign(1, ("ab", "c", 1, 1.0, None))
    assert len(mark) == 16
    assert signer.verify(1, ("ab", "c", 1, 1.0, None), mark)
    others: list[tuple[int, tuple[object, ...]]] = [
        (2, ("ab", "c", 1, 1.0, None)),
        (1, ("a", "bc", 1, 1.0, None)),
        (1, ("ab", "c", 1.0, 1.0, None)),
        (1, ("ab", "c", 1, 1, None)),
        (1, ("ab", "c", True, 1.0, None)),
        (1, ("ab", "c", 1, 1.0, "")),
        (1, ("ab", "c", 1, 1.0)),
        (1, (b"ab", "c", 1, 1.0, None)),
        (1, ("ab", "c", 2**70, 1.0, None)),
    ]
    assert not any(signer.verify(number, fields, mark) for number, fields in others)
    assert not Signer(RING, b"w" * 16).verify(1, ("ab", "c", 1, 1.0, None), mark)
    for wrong in (b"", mark[:-1], mark + b"x", None, "text", 5):
        assert not signer.verify(1, ("ab", "c", 1, 1.0, None), wrong)


def test_the_format_of_marks_is_frozen() -> None:
    """A release can read what an older one wrote."""
    fields = ("NIFTY28MAR2420800CE", "NIFTY24MAR20800CE", "NIFTY", "NFO", "NFO", "11270146::::44024", "28-MAR-24",
              20800.0, 50, "CE", 0.05, None, "NIFTY")  # fmt: skip
    assert Signer(RING, bytes(range(16))).sign(7, fields).hex() == "0531fefeced422336444ae350f8785e2"


def test_check_finds_every_kind_of_damage(master: SymbolMaster) -> None:
    """The reading-back after an import meets rows, indexes and the search index."""
    path, number = file_of(master), file_of(master).stem[-32:]
    content = path.read_bytes()
    with closing(MasterVersion(path, number, RING)) as version:
        version.check()
    damages: list[Callable[[], object]] = [
        lambda: edit(master, "UPDATE instrument SET token = 'x' WHERE id = 2"),
        lambda: edit(master, "DELETE FROM instrument WHERE id = 2"),
        lambda: path.write_bytes(content.replace(b"BAJAJ-AUTO28MAR248250CE", b"BAJAJ-AUTO28MAR248250XX")),
        lambda: path.write_bytes(content[: len(content) // 2]),
    ]
    for damage in damages:
        path.write_bytes(content)
        damage()
        with pytest.raises(UnreadableRecordError), closing(MasterVersion(path, number, RING)) as version:
            version.check()


def test_a_version_of_another_release(master: SymbolMaster, caplog: pytest.LogCaptureFixture) -> None:
    """It is not served, it is said; being ours, it makes room at the next import."""
    path = file_of(master)
    content = b'{"format": 1}'
    mark = Signer(RING, bytes.fromhex(path.stem[-32:])).sign(0, (content,))
    edit(master, f"UPDATE header SET content = x'{content.hex()}', mark = x'{mark.hex()}'")  # noqa: S608  # what the test is about
    assert master.count() == 0
    assert "another release of openalgo-cache: import the master again" in str(master.problem)
    caplog.clear()
    master.import_master(ROWS)
    assert not path.exists()
    assert not caplog.records

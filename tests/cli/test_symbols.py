"""symbols import, search, show and generate."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import get_type_hints

import pytest

from openalgo_cache.cli.shapes.symbols import Fields, Generated, Imported, MasterStatus, Searched, Shown
from openalgo_cache.symbols import COLUMNS, Instrument
from tests.cli.conftest import Run, tree
from tests.cli.shapes_held import deviations

ROWS = [
    "RELIANCE,RELIANCE,RELIANCE LIMITED,NSE,NSE,26369::::103,,0.0,1,EQ,0.05,",
    "M&M,M&M,MAHINDRA LIMITED,NSE,NSE,28673::::112,,0.0,1,EQ,0.05,",
    "NIFTY28MAR2420800CE,NIFTY24MAR20800CE,NIFTY,NFO,NFO,100::::1,28-MAR-24,20800.0,50,CE,0.05,",
    "NIFTY28MAR2420800PE,NIFTY24MAR20800PE,NIFTY,NFO,NFO,101::::2,28-MAR-24,20800.0,50,PE,0.05,",
]


@pytest.fixture
def contract(folder: Path) -> Path:
    """A small master contract."""
    path = folder / "master.csv"
    path.write_text("\n".join([",".join(COLUMNS), *ROWS]) + "\n")
    return path


@pytest.fixture
def imported(contract: Path, run: Run) -> None:
    """Import it."""
    assert run("symbols", "import", str(contract)).code == 0


def test_the_shape_has_the_instruments_fields() -> None:
    """What --json prints of an instrument is what the master has of it."""
    documented = get_type_hints(Fields)
    assert list(documented) == list(Instrument._fields)
    assert documented == get_type_hints(Instrument)


def test_import(run: Run, contract: Path) -> None:
    """A file becomes the master; the report says how many there are."""
    ran = run("symbols", "import", str(contract), "--json")
    assert ran.code == 0
    assert deviations(ran.json, Imported) == []
    assert (ran.json["rows"], ran.json["skipped"], ran.json["problems"]) == (4, 0, [])
    assert "Imported 4 instruments in" in run("symbols", "import", str(contract)).out
    assert run("stats", "symbols", "--json").json["caches"][0]["entries"] == 4


def test_import_of_a_packed_file_and_of_standard_input(run: Run, contract: Path, folder: Path) -> None:
    """A .gz is unpacked, and - is what is piped in."""
    (folder / "master.csv.gz").write_bytes(gzip.compress(contract.read_bytes()))
    assert run("symbols", "import", "master.csv.gz", "--json").json["rows"] == 4
    assert run("symbols", "import", "-", "--json", stdin=contract.read_text()).json["rows"] == 4


def test_bad_rows_keep_the_old_master(run: Run, contract: Path, imported: None) -> None:
    """Rows are named by number, on standard error, and nothing is replaced."""
    bad = contract.with_name("bad.csv")
    bad.write_text(contract.read_text() + "a,b,c\nX,X,X,NSE,NSE,1::::1,soon,nan,-1,EQ,0.05,\n")
    ran = run("symbols", "import", "bad.csv")
    assert (ran.code, ran.out) == (6, "")
    assert "  row 6: " in ran.err
    assert "  row 7: " in ran.err
    ran = run("symbols", "import", "bad.csv", "--json")
    assert (ran.code, ran.out) == (6, "")
    assert ran.error["type"] == "SymbolImportError"
    assert [problem["row"] for problem in ran.error["problems"]] == [6, 7]
    assert run("stats", "symbols", "--json").json["caches"][0]["entries"] == 4


def test_bad_rows_can_be_left_out(run: Run, contract: Path) -> None:
    """With --skip-bad the good rows are imported, and the bad ones listed."""
    contract.write_text(contract.read_text() + "a,b,c\n" * 30)
    ran = run("symbols", "import", str(contract), "--skip-bad", "--json")
    assert ran.code == 0
    assert deviations(ran.json, Imported) == []
    assert (ran.json["rows"], ran.json["skipped"]) == (4, 30)
    assert [problem["row"] for problem in ran.json["problems"]] == list(range(6, 36))
    shown = run("symbols", "import", str(contract), "--skip-bad").out
    assert "Left out 30 bad rows" in shown
    assert "row 25" in shown
    assert "row 26" not in shown


def test_many_bad_rows_are_cut_short(run: Run, contract: Path) -> None:
    """A terminal is not flooded; --json has more."""
    contract.write_text(contract.read_text() + "a,b,c\n" * 5000)
    ran = run("symbols", "import", str(contract))
    assert ran.code == 6
    assert ran.err.count("\n") < 30
    assert len(run("symbols", "import", str(contract), "--json").error["problems"]) == 1000


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 500, b"a,b\n1,2\n", b"PK\x03\x04", "symbol,\U0001f600\x1b[31m\n".encode()]
)
def test_what_is_no_master_contract(run: Run, folder: Path, content: bytes) -> None:
    """Any file may be given by mistake: one line says so, with exit code 6, and nothing in it steers the terminal."""
    (folder / "x.csv").write_bytes(content)
    ran = run("symbols", "import", "x.csv", "--skip-bad")
    assert (ran.code, ran.out) == (6, "")
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.err


def test_a_file_that_is_not_there(run: Run, folder: Path) -> None:
    """A wrong path is a mistake on the command line."""
    for path in ("none.csv", ".", "a\x00b"):
        ran = run("symbols", "import", path)
        assert ran.code == 2
        assert "Traceback" not in ran.err
    assert tree(folder) == {}


def test_search(run: Run, imported: None) -> None:
    """All terms must be found; the best comes first; --exchange in any case."""
    ran = run("symbols", "search", "nifty", "20800", "--json")
    assert ran.code == 0
    assert deviations(ran.json, Searched) == []
    assert [one["symbol"] for one in ran.json["instruments"]] == ["NIFTY28MAR2420800CE", "NIFTY28MAR2420800PE"]
    assert ran.json["more"] is False
    limited = run("symbols", "search", "nifty", "--limit", "1", "--exchange", "nfo", "--json").json
    assert (len(limited["instruments"]), limited["more"], limited["exchange"]) == (1, True, "NFO")
    shown = run("symbols", "search", "M&M").out
    assert "MAHINDRA LIMITED" in shown
    ran = run("symbols", "search", "nifty", "--exchange", "NSE", "--json")
    assert (ran.code, ran.json["instruments"]) == (1, [])
    assert run("symbols", "search", "nothing like it").code == 1


def test_show(run: Run, imported: None) -> None:
    """One instrument, with all of its fields."""
    ran = run("symbols", "show", "M&M", "nse", "--json")
    assert ran.code == 0
    assert deviations(ran.json, Shown) == []
    assert ran.json["instrument"]["name"] == "MAHINDRA LIMITED"
    assert "28673::::112" in run("symbols", "show", "M&M", "NSE").out
    ran = run("symbols", "show", "M&M", "BSE", "--json")
    assert (ran.code, ran.json["found"], ran.json["instrument"]) == (1, False, None)
    assert "There is no M&M on BSE" in run("symbols", "show", "M&M", "BSE").out


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE instrument;--", '"', "%", "*", "\udcff", "\x00", "a" * 10_000, "[b]", ""]
)
def test_hostile_searches(run: Run, imported: None, text: str) -> None:
    """Whatever is typed is looked for literally."""
    for arguments in (["symbols", "search", "--", text], ["symbols", "show", "--", text, "NSE"]):
        ran = run(*arguments)
        assert ran.code in {0, 1}
        assert ran.err == ""
    assert run("symbols", "show", "M&M", "NSE").code == 0


def test_without_a_master(run: Run, folder: Path) -> None:
    """Nothing was imported: nothing is found, and nothing is created by looking."""
    assert run("symbols", "search", "x", "--json").json["instruments"] == []
    assert run("symbols", "search", "x").code == 1
    assert run("symbols", "show", "x", "NSE").code == 1
    assert tree(folder) == {}


def test_a_master_that_cannot_be_verified(run: Run, folder: Path, imported: None) -> None:
    """Signed with another ring, damaged, or with a lost ring: an error, and not an empty answer."""
    ring = (folder / "db" / ".cache_key").read_bytes()
    (folder / "db" / ".cache_key").unlink()
    for arguments in (["search", "M&M"], ["show", "M&M", "NSE"], ["import", "master.csv"]):
        assert run("symbols", *arguments).code == 3
    run("set", "settings", "k", "v", SQLITE_CACHE_PATH="other/cache")
    (folder / "db" / ".cache_key").write_bytes((folder / "other" / ".cache_key").read_bytes())
    (folder / "db" / ".cache_key").chmod(0o600)
    for arguments in (["search", "M&M"], ["show", "M&M", "NSE"]):
        ran = run("symbols", *arguments, "--json")
        assert (ran.code, ran.out) == (6, "")
        assert "key ring" in ran.error["message"]
    (folder / "db" / ".cache_key").write_bytes(ring)
    assert run("symbols", "show", "M&M", "NSE").code == 0


def test_generate(run: Run, folder: Path) -> None:
    """The same seed makes the same bytes; what is there is not overwritten by accident."""
    ran = run("symbols", "generate", "a.csv", "--rows", "300", "--json")
    assert ran.code == 0
    assert deviations(ran.json, Generated) == []
    assert ran.json == {"file": "a.csv", "rows": 300, "seed": 20240301, "bytes": (folder / "a.csv").stat().st_size}
    with (folder / "a.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 301
    run("symbols", "generate", "b.csv", "--rows", "300")
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()
    ran = run("symbols", "generate", "b.csv", "--rows", "10")
    assert ran.code == 2
    assert "--force" in ran.err
    assert run("symbols", "generate", "b.csv", "--rows", "10", "--seed", "7", "--force").code == 0
    assert (folder / "b.csv").read_text().count("\n") == 11
    assert run("symbols", "import", "b.csv", "--json").json["rows"] == 10


@pytest.mark.parametrize("arguments", [["--rows", "0"], ["--rows", "-5"], ["--rows", "x"], ["--seed", "x"]])
def test_numbers_that_cannot_be(run: Run, folder: Path, arguments: list[str]) -> None:
    """A number that is none, or too small, is a mistake on the command line."""
    assert run("symbols", "generate", "a.csv", *arguments).code == 2
    assert tree(folder) == {}


def test_generate_into_nowhere(run: Run) -> None:
    """A folder that is not there is one line and exit code 4."""
    ran = run("symbols", "generate", "no/such/folder.csv", "--rows", "5")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_status_without_a_server(run: Run, folder: Path, contract: Path) -> None:
    """It says what is served here, and leaves nothing behind by looking."""
    ran = run("symbols", "status", "--json")
    assert ran.code == 0
    assert ran.json == {"own": None, "shared": False, "published": None, "in_step": True}
    assert not (folder / "db").exists()
    version = run("symbols", "import", str(contract), "--json").json["version"]
    ran = run("symbols", "status", "--json")
    assert deviations(ran.json, MasterStatus) == []
    assert (ran.json["own"]["version"], ran.json["own"]["rows"]) == (version, 4)
    assert ran.json["own"]["source"] == str(contract)
    assert "no instances share a server" in run("symbols", "status").out
    assert run("symbols", "sync", "--json").json == ran.json
